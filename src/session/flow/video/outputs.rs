//! Layer 2, flow: restream outputs of the managed stream, asked for by REST or with the stream (protocol.md §18.15).

use crate::base::ids::{Package, ReplyTo};
use crate::session::effects::RestAnswer;
use crate::session::event::HttpOutcome;
use crate::session::flow::managed_streams::call;
use crate::session::flow::provider::{self, Provider};
use crate::session::managers::managed_streams::{Managed, Output, Purpose};
use crate::session::rest::OutputAction;
use crate::session::{Cx, Session};
use serde_json::{Value, json};

/// An error answer.
type Refusal = (u16, &'static str, &'static str);

const NOT_FOUND: Refusal = (404, "STREAM_NOT_FOUND", "Stream not found");
const NOT_A_VIEWER: Refusal = (
    403,
    "NOT_A_VIEWER",
    "Only viewers of the stream can add and see outputs",
);

fn is_viewer(stream: &Managed, package: &str) -> bool {
    stream.viewers.iter().any(|viewer| &**viewer == package)
}

/// One REST call about outputs of `stream_id`.
pub(crate) fn rest(
    s: &mut Session,
    reply: ReplyTo,
    stream_id: &str,
    package: &str,
    action: OutputAction,
    cx: &mut Cx<'_>,
) {
    let Some(stream) = s.m.managed_streams.by_id(stream_id) else {
        refuse(reply, NOT_FOUND, cx);
        return;
    };
    match action {
        // Addresses carry the keys of other services.
        OutputAction::List if !is_viewer(stream, package) => refuse(reply, NOT_A_VIEWER, cx),
        OutputAction::List => {
            let streaming = &cx.cfg.streaming;
            let outputs: Vec<Value> = stream.outputs.iter().map(in_list).collect();
            let body = json!({
                "streamId": stream_id, "total": outputs.len(), "outputs": outputs,
                "maxPerStream": streaming.managed_outputs_per_stream, "maxPerApp": streaming.managed_outputs_per_app,
            });
            cx.fx.reply(reply, RestAnswer::json(200, body.to_string()));
        }
        OutputAction::Add { url, name } => match check_add(stream, package, &url, cx) {
            Err(refusal) => refuse(reply, refusal, cx),
            Ok(()) => begin_add(s, &Package::new(package), url, name, Some(reply), cx),
        },
        OutputAction::Remove { output_id } => remove(s, reply, package, output_id, cx),
    }
}

fn check_add(stream: &Managed, package: &str, url: &str, cx: &Cx<'_>) -> Result<(), Refusal> {
    let streaming = &cx.cfg.streaming;
    if url.is_empty() {
        return Err((400, "INVALID_URL", "url is required"));
    }
    let rest = url
        .strip_prefix("rtmp://")
        .or_else(|| url.strip_prefix("rtmps://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
        return Err((
            400,
            "INVALID_URL_FORMAT",
            "url must start with rtmp:// or rtmps://",
        ));
    }
    if !is_viewer(stream, package) {
        return Err(NOT_A_VIEWER);
    }
    if stream.outputs.len() as u64 >= streaming.managed_outputs_per_stream {
        return Err((
            409,
            "MAX_OUTPUTS_REACHED",
            "The stream has the maximum number of outputs",
        ));
    }
    let own = stream
        .outputs
        .iter()
        .filter(|output| &*output.added_by == package);
    if own.count() as u64 >= streaming.managed_outputs_per_app {
        return Err((
            409,
            "MAX_APP_OUTPUTS_REACHED",
            "The app has the maximum number of outputs",
        ));
    }
    if stream.outputs.iter().any(|output| output.url == url) {
        return Err((409, "DUPLICATE_URL", "The stream already has this output"));
    }
    if stream.input.is_none() {
        return Err((500, "INTERNAL_ERROR", "The stream is still being created"));
    }
    Ok(())
}

/// An output that came with the stream request: the rules of REST hold; a refused one is listed as failed, for there is no
/// other answer.
pub(crate) fn add_requested(
    s: &mut Session,
    added_by: &Package,
    url: String,
    name: Option<String>,
    cx: &mut Cx<'_>,
) {
    let Some(stream) = s.m.managed_streams.current.as_mut() else {
        return;
    };
    match check_add(stream, added_by, &url, cx) {
        Ok(()) => begin_add(s, added_by, url, name, None, cx),
        Err((_, _, message)) => stream.outputs.push(Output {
            id: String::new(),
            url,
            name,
            added_by: added_by.clone(),
            status: "error",
            error: Some(message.to_owned()),
        }),
    }
}

/// Asks the provider for one more output; it counts from now on.
pub(crate) fn begin_add(
    s: &mut Session,
    added_by: &Package,
    url: String,
    name: Option<String>,
    reply: Option<ReplyTo>,
    cx: &mut Cx<'_>,
) {
    let Some(provider) = provider::configured(&cx.cfg.streaming) else {
        return;
    };
    let Some(stream) = s.m.managed_streams.current.as_mut() else {
        return;
    };
    let Some(uid) = stream.input.as_ref().map(|input| input.uid.clone()) else {
        return;
    };
    let purpose = Purpose::AddOutput {
        stream_id: stream.id.clone(),
        url: url.clone(),
        reply,
    };
    let request = provider.add_output(&uid, &url);
    stream.outputs.push(Output {
        id: String::new(),
        url,
        name,
        added_by: added_by.clone(),
        status: "active",
        error: None,
    });
    call(s, &provider, request, purpose, cx);
}

fn remove(s: &mut Session, reply: ReplyTo, package: &str, output_id: String, cx: &mut Cx<'_>) {
    let Some(provider) = provider::configured(&cx.cfg.streaming) else {
        return refuse(reply, NOT_FOUND, cx);
    };
    let Some(stream) = s.m.managed_streams.current.as_ref() else {
        return refuse(reply, NOT_FOUND, cx);
    };
    let known = stream
        .outputs
        .iter()
        .find(|output| !output.id.is_empty() && output.id == output_id);
    match (known, &stream.input) {
        (Some(output), _) if &*output.added_by != package => {
            let text = "Only the app that added an output can remove it";
            refuse(reply, (403, "NOT_AUTHORIZED", text), cx);
        }
        (Some(_), Some(input)) => {
            let request = provider.remove_output(&input.uid, &output_id);
            let purpose = Purpose::RemoveOutput {
                stream_id: stream.id.clone(),
                output_id,
                reply,
            };
            call(s, &provider, request, purpose, cx);
        }
        _ => refuse(reply, (404, "OUTPUT_NOT_FOUND", "Output not found"), cx),
    }
}

/// The provider answered.
pub(crate) fn answered(s: &mut Session, purpose: Purpose, outcome: &HttpOutcome, cx: &mut Cx<'_>) {
    match purpose {
        Purpose::AddOutput {
            stream_id,
            url,
            reply,
        } => added(s, &stream_id, &url, reply, outcome, cx),
        Purpose::RemoveOutput {
            stream_id,
            output_id,
            reply,
        } => {
            let gone = matches!(outcome, HttpOutcome::Answer { status: 404, .. });
            if !outcome.is_success() && !gone {
                return refuse(reply, (502, "CLOUDFLARE_ERROR", "The provider refused"), cx);
            }
            if let Some(stream) = s.m.managed_streams.by_id(&stream_id) {
                stream.outputs.retain(|output| output.id != output_id);
            }
            let body = json!({"success": true, "message": "Output removed"});
            cx.fx.reply(reply, RestAnswer::json(200, body.to_string()));
        }
        Purpose::Create { .. } | Purpose::Poll { .. } | Purpose::Delete => {}
    }
}

fn added(
    s: &mut Session,
    stream_id: &str,
    url: &str,
    reply: Option<ReplyTo>,
    outcome: &HttpOutcome,
    cx: &mut Cx<'_>,
) {
    let id = match outcome {
        HttpOutcome::Answer { body, .. } if outcome.is_success() => {
            provider::configured(&cx.cfg.streaming).and_then(|provider| provider.output_id(body))
        }
        _ => None,
    };
    let is_there = match s.m.managed_streams.by_id(stream_id) {
        None => false,
        Some(stream) => {
            let is_it = |output: &Output| output.id.is_empty() && output.url == url;
            match (&id, stream.outputs.iter().position(is_it)) {
                (Some(id), Some(at)) => stream.outputs[at].id.clone_from(id),
                // A REST caller is told; what came with the stream stays visible as failed.
                (None, Some(at)) if reply.is_some() => {
                    stream.outputs.remove(at);
                }
                (None, Some(at)) => {
                    stream.outputs[at].status = "error";
                    stream.outputs[at].error = Some("The provider refused".to_owned());
                }
                (_, None) => {}
            }
            true
        }
    };
    let Some(reply) = reply else { return };
    match id {
        _ if !is_there => refuse(reply, NOT_FOUND, cx),
        None => refuse(reply, (502, "CLOUDFLARE_ERROR", "The provider refused"), cx),
        Some(id) => {
            let body = json!({"success": true, "outputId": id, "message": "Output added"});
            cx.fx.reply(reply, RestAnswer::json(200, body.to_string()));
        }
    }
}

/// The session ends while a REST caller waits.
pub(crate) fn abandoned(purpose: &Purpose, cx: &mut Cx<'_>) {
    let reply = match purpose {
        Purpose::AddOutput { reply, .. } => *reply,
        Purpose::RemoveOutput { reply, .. } => Some(*reply),
        _ => None,
    };
    if let Some(reply) = reply {
        refuse(reply, NOT_FOUND, cx);
    }
}

fn refuse(reply: ReplyTo, (status, error, message): Refusal, cx: &mut Cx<'_>) {
    let body = json!({"error": error, "message": message});
    cx.fx
        .reply(reply, RestAnswer::json(status, body.to_string()));
}

/// As `managed_stream_status` lists it.
pub(crate) fn in_status(output: &Output) -> Value {
    let mut item = json!({"url": output.url, "status": output.status});
    if let Some(name) = &output.name {
        item["name"] = name.as_str().into();
    }
    if let Some(error) = &output.error {
        item["error"] = error.as_str().into();
    }
    item
}

fn in_list(output: &Output) -> Value {
    json!({
        "outputId": output.id, "url": output.url, "name": output.name, "addedBy": &*output.added_by,
        "status": output.status, "error": output.error,
    })
}
