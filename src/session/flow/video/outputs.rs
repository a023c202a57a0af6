//! Layer 2, flow: restream outputs of the managed stream, asked for by REST or with the stream (protocol.md §18.15).

use crate::base::ids::{Package, ReplyTo};
use crate::session::effects::RestAnswer;
use crate::session::event::HttpOutcome;
use crate::session::flow::live_input::call;
use crate::session::flow::managed_status::tell_all;
use crate::session::flow::provider;
use crate::session::managers::managed_streams::{Managed, Output, Purpose, Stage};
use crate::session::rest::OutputAction;
use crate::session::{Cx, Session};
use crate::wire::members::Members;
use serde_json::{Value, json};
use std::borrow::Cow;

/// An error answer.
type Refusal = (u16, &'static str, Cow<'static, str>);

fn refusal(status: u16, error: &'static str, message: impl Into<Cow<'static, str>>) -> Refusal {
    (status, error, message.into())
}

fn not_found() -> Refusal {
    refusal(404, "STREAM_NOT_FOUND", "Managed stream not found")
}

fn not_a_viewer(verb: &str) -> Refusal {
    let text = format!("App must be viewing the stream to {verb} outputs");
    refusal(403, "NOT_A_VIEWER", text)
}

fn provider_refused() -> Refusal {
    refusal(502, "CLOUDFLARE_ERROR", "Failed to create output")
}

fn is_viewer(stream: &Managed, package: &str) -> bool {
    stream.viewers.iter().any(|viewer| &**viewer == package)
}

fn failed(output: &Output) -> bool {
    output.status == "error"
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
        refuse(reply, not_found(), cx);
        return;
    };
    match action {
        // Addresses carry the keys of other services.
        OutputAction::List if !is_viewer(stream, package) => {
            refuse(reply, not_a_viewer("list"), cx)
        }
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
        let text = "URL is required and must be a string";
        return Err(refusal(400, "INVALID_URL", text));
    }
    let rest = url
        .strip_prefix("rtmp://")
        .or_else(|| url.strip_prefix("rtmps://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
        let text = "URL must start with rtmp:// or rtmps://";
        return Err(refusal(400, "INVALID_URL_FORMAT", text));
    }
    if !is_viewer(stream, package) {
        return Err(not_a_viewer("add"));
    }
    // One that failed is none: its app may try again.
    let known = || stream.outputs.iter().filter(|output| !failed(output));
    let max = streaming.managed_outputs_per_stream;
    if known().count() as u64 >= max {
        let text = format!("Stream has reached maximum of {max} outputs");
        return Err(refusal(409, "MAX_OUTPUTS_REACHED", text));
    }
    let own = known().filter(|output| &*output.added_by == package);
    let max = streaming.managed_outputs_per_app;
    if own.count() as u64 >= max {
        let text = format!("Your app has reached maximum of {max} outputs for this stream");
        return Err(refusal(409, "MAX_APP_OUTPUTS_REACHED", text));
    }
    if known().any(|output| output.url == url) {
        let text = "This RTMP URL is already configured as an output";
        return Err(refusal(409, "DUPLICATE_URL", text));
    }
    if stream.input.is_none() {
        let text = "The stream is still being created";
        return Err(refusal(500, "INTERNAL_ERROR", text));
    }
    Ok(())
}

/// Apps name their destinations `{url, name?}`, mini-apps on the phone give the URL alone.
pub(crate) fn destinations(m: &Members) -> impl Iterator<Item = (&str, Option<&str>)> + Clone {
    m.list("restreamDestinations")
        .into_iter()
        .flatten()
        .filter_map(|item| {
            let url = item["url"].as_str().or_else(|| item.as_str());
            Some((url?, item["name"].as_str()))
        })
        .take(10)
}

/// Adds the destinations that the stream was asked for with.
pub(crate) fn add_wanted(s: &mut Session, cx: &mut Cx<'_>) {
    let Some(stream) = s.m.managed_streams.current.as_ref() else {
        return;
    };
    let Some(owner) = stream.viewers.first().cloned() else {
        return;
    };
    let wanted: Vec<(String, Option<String>)> = destinations(&stream.request)
        .map(|(url, name)| (url.to_owned(), name.map(str::to_owned)))
        .collect();
    for (url, name) in wanted {
        add_requested(s, &owner, url, name, cx);
    }
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
            error: Some(message.into_owned()),
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
    let is_old = |output: &Output| failed(output) && output.url == url;
    stream.outputs.retain(|output| !is_old(output));
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
        return refuse(reply, not_found(), cx);
    };
    let Some(stream) = s.m.managed_streams.current.as_ref() else {
        return refuse(reply, not_found(), cx);
    };
    let known = stream
        .outputs
        .iter()
        .find(|output| !output.id.is_empty() && output.id == output_id);
    match (known, &stream.input) {
        (Some(output), _) if &*output.added_by != package => {
            let text = "You can only remove outputs that you added";
            refuse(reply, refusal(403, "NOT_AUTHORIZED", text), cx);
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
        _ => {
            let refusal = refusal(404, "OUTPUT_NOT_FOUND", "Output not found");
            refuse(reply, refusal, cx);
        }
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
                return refuse(reply, provider_refused(), cx);
            }
            if let Some(stream) = s.m.managed_streams.by_id(&stream_id) {
                stream.outputs.retain(|output| output.id != output_id);
            }
            tell_changed(s, &stream_id, cx);
            let body = json!({"success": true, "message": "Output removed successfully"});
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
            let is_it =
                |output: &Output| output.id.is_empty() && !failed(output) && output.url == url;
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
        _ if !is_there => refuse(reply, not_found(), cx),
        None => refuse(reply, provider_refused(), cx),
        Some(id) => {
            tell_changed(s, stream_id, cx);
            let text = "Output added successfully";
            let body = json!({"success": true, "outputId": id, "message": text});
            cx.fx.reply(reply, RestAnswer::json(200, body.to_string()));
        }
    }
}

/// Viewers hear of outputs that came or went.
fn tell_changed(s: &mut Session, stream_id: &str, cx: &mut Cx<'_>) {
    let Some(stream) = s.m.managed_streams.by_id(stream_id) else {
        return;
    };
    let status = match stream.stage {
        Stage::Live => "active",
        _ if stream.flows => "active",
        _ => "initializing",
    };
    tell_all(s, status, Some("Outputs updated"), cx);
}

/// The session ends while a REST caller waits.
pub(crate) fn abandoned(purpose: &Purpose, cx: &mut Cx<'_>) {
    let reply = match purpose {
        Purpose::AddOutput { reply, .. } => *reply,
        Purpose::RemoveOutput { reply, .. } => Some(*reply),
        _ => None,
    };
    if let Some(reply) = reply {
        refuse(reply, not_found(), cx);
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
