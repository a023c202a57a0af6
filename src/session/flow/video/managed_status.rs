//! Layer 2, flow: what viewers of the managed stream are told (behaviour.md §7.6.4, protocol.md §9.14, 9.15).

use crate::base::ids::Package;
use crate::session::effects::Class;
use crate::session::event::Sdk;
use crate::session::flow::{outputs, requests};
use crate::session::managers::managed_streams::{Managed, Playback, Stage};
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use serde_json::{Map, Value};

/// With `initializing`.
pub(crate) const WAITING: &str = "Waiting for stream to start...";

/// The same status to every viewer.
pub(crate) fn tell_all(s: &mut Session, status: &str, message: Option<&str>, cx: &mut Cx<'_>) {
    let viewers =
        s.m.managed_streams
            .current
            .as_ref()
            .map(|stream| stream.viewers.clone())
            .unwrap_or_default();
    for viewer in viewers {
        tell(s, &viewer, status, message, cx);
    }
}

/// `managed_stream_status` to one viewer, unless it is what this viewer heard last. The phone hears it for each of its mini-apps.
pub(crate) fn tell(
    s: &mut Session,
    viewer: &Package,
    status: &str,
    message: Option<&str>,
    cx: &mut Cx<'_>,
) {
    let Some(stream) = s.m.managed_streams.current.as_ref() else {
        return;
    };
    if stream.anew.contains(viewer) {
        return;
    }
    let id = stream.id.clone();
    let requests: Vec<_> = match &stream.phone_requests[..] {
        known @ [_, ..] if is_phone(viewer) => known.iter().map(|id| Some(id.as_str())).collect(),
        _ => vec![None],
    };
    let body =
        |request_id: &Option<&str>| status_body(stream, viewer, status, message, *request_id);
    let content = String::from_utf8_lossy(&body(&None)).into_owned();
    let bodies: Vec<_> = requests.iter().map(body).collect();
    if !s.m.streams.is_news(&id, viewer, &content) {
        return;
    }
    let is_end = matches!(status, "stopped" | "error");
    for body in bodies {
        let is_told = if is_end {
            requests::tell_end(s, viewer, body, u64::MAX, cx)
        } else {
            requests::tell(s, viewer, &body, cx)
        };
        if !is_told {
            s.m.streams.forget_app(viewer);
        }
    }
}

/// Who joins hears where the stream is, alone: other mini-apps of the phone have heard it.
pub(crate) fn tell_joined(
    s: &mut Session,
    viewer: &Package,
    request_id: Option<&str>,
    (status, message): (&str, Option<&str>),
    cx: &mut Cx<'_>,
) {
    let Some(stream) = s.m.managed_streams.current.as_ref() else {
        return;
    };
    // What one mini-app is told is news to the others all the same.
    let others = is_phone(viewer) && stream.phone_requests.len() > 1;
    if !others {
        s.m.streams.forget_app(viewer);
    }
    let body = |request_id| status_body(stream, viewer, status, message, request_id);
    let content = String::from_utf8_lossy(&body(None)).into_owned();
    let (id, body) = (stream.id.clone(), body(request_id));
    if requests::tell(s, viewer, &body, cx) && !others {
        s.m.streams.is_news(&id, viewer, &content);
    }
}

fn status_body(
    stream: &Managed,
    viewer: &str,
    status: &str,
    message: Option<&str>,
    request_id: Option<&str>,
) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    let mut object = ObjectWriter::begin(&mut body);
    object
        .str("type", kind_for(viewer))
        .str("status", status)
        .str("streamId", &stream.id);
    write_playback(
        &mut object,
        stream.input.as_ref().map(|input| &input.playback),
    );
    if let Some(message) = message {
        object.str("message", message);
    }
    if !stream.outputs.is_empty() {
        let listed: Vec<Value> = stream.outputs.iter().map(outputs::in_status).collect();
        object.value("outputs", &listed);
    }
    if let Some(request_id) = request_id {
        object.str("requestId", request_id);
    }
    object.end();
    body
}

/// A v3 viewer came back (never told to v2, which would take it for a stream of its own).
pub(crate) fn app_attached(s: &Session, package: &str, cx: &mut Cx<'_>) {
    let is_v3 = s.m.apps.get(package).is_some_and(|app| app.sdk == Sdk::V3);
    let Some(stream) = s.m.managed_streams.current.as_ref().filter(|stream| {
        is_v3 && stream.input.is_some() && stream.viewers.iter().any(|viewer| &**viewer == package)
    }) else {
        return;
    };
    let now = cx.now.iso();
    let _ = s.send_app(package, cx, Class::Control, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "managed_stream_status")
            .str("status", "active")
            .str("streamId", &stream.id);
        write_playback(
            &mut object,
            stream.input.as_ref().map(|input| &input.playback),
        );
        object
            .num("activeViewers", stream.viewers.len() as u64)
            .bool("resumed", true)
            .str("timestamp", now.as_str());
        object.end();
    });
}

/// The phone is back. What its mini-apps missed of the stream would not come again: the provider says only once that it is live.
pub(crate) fn phone_returned(s: &mut Session, cx: &mut Cx<'_>) {
    let phone = Package::new(Package::PHONE);
    let Some(stream) = s.m.managed_streams.current.as_ref() else {
        return;
    };
    if !stream.viewers.contains(&phone) || s.m.streams.was_told(&stream.id, &phone) {
        return;
    }
    match stream.stage {
        Stage::Creating { .. } | Stage::IngestWait => {}
        Stage::Polling { .. } if !stream.flows => {
            tell(s, &phone, "initializing", Some(WAITING), cx);
        }
        Stage::Polling { .. } | Stage::Live => tell(s, &phone, "active", None, cx),
    }
}

/// A status without a stream.
pub(crate) fn tell_alone(
    s: &Session,
    viewer: &str,
    status: &str,
    message: &str,
    request_id: Option<&str>,
    cx: &mut Cx<'_>,
) {
    let mut body = Vec::with_capacity(128);
    let mut object = ObjectWriter::begin(&mut body);
    object
        .str("type", kind_for(viewer))
        .str("status", status)
        .str("message", message);
    if let Some(request_id) = request_id {
        object.str("requestId", request_id);
    }
    object.end();
    requests::tell(s, viewer, &body, cx);
}

fn is_phone(viewer: &str) -> bool {
    viewer == Package::PHONE
}

fn kind_for(viewer: &str) -> &'static str {
    if is_phone(viewer) {
        "phone_managed_stream_status"
    } else {
        "managed_stream_status"
    }
}

pub(crate) fn write_playback(object: &mut ObjectWriter<'_>, playback: Option<&Playback>) {
    for (name, url) in playback.into_iter().flat_map(members) {
        object.str(name, url);
    }
}

/// The known playback addresses under their wire names.
fn members(playback: &Playback) -> impl Iterator<Item = (&'static str, &str)> {
    [
        ("hlsUrl", playback.hls.as_str()),
        ("dashUrl", &playback.dash),
        ("webrtcUrl", &playback.webrtc),
        ("previewUrl", &playback.preview),
        ("thumbnailUrl", &playback.thumbnail),
    ]
    .into_iter()
    .filter(|(_, url)| !url.is_empty())
}

/// `streamInfo` of a status check (protocol.md §9.15).
pub(crate) fn info(stream: &Managed) -> Map<String, Value> {
    let mut info = Map::new();
    info.insert("type".into(), "managed".into());
    info.insert("streamId".into(), stream.id.clone().into());
    info.insert("status".into(), "active".into());
    info.insert("createdAt".into(), stream.created.iso().as_str().into());
    let playback = stream.input.as_ref().map(|input| &input.playback);
    for (name, url) in playback.into_iter().flat_map(members) {
        info.insert(name.into(), url.into());
    }
    info.insert("activeViewers".into(), stream.viewers.len().into());
    info
}
