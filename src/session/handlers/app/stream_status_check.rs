//! `stream_status_check`: an app asks whether anything streams; answered at once, `requestId` echoed. protocol.md §8.13, §9.15.
//!
//! `{"type":"stream_status_check","requestId":"stream_check_1"}`

use crate::session::effects::Class;
use crate::session::flow::managed_status;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::managers::streams::Stream;
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;
use serde_json::{Map, Value};

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::StreamStatusCheck,
    run,
};

/// `streamInfo` of an unmanaged stream; 2.x looks for `rtmpUrl`.
fn unmanaged(stream: &Stream) -> Map<String, Value> {
    [
        ("type", "unmanaged"),
        ("streamId", &stream.id),
        ("status", stream.status.as_str()),
        ("createdAt", stream.created.iso().as_str()),
        ("streamUrl", &stream.url),
        ("rtmpUrl", &stream.url),
        ("requestingAppId", &stream.owner),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), Value::from(value)))
    .collect()
}

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let managed =
        s.m.managed_streams
            .current
            .as_ref()
            .map(managed_status::info);
    let streaming = managed.or_else(|| s.m.streams.current.as_ref().map(unmanaged));
    let _ = s.send_app(m.package, cx, Class::Control, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "stream_status_check_response")
            .bool("hasActiveStream", streaming.is_some());
        if let Some(request_id) = members.get("requestId") {
            object.value("requestId", request_id);
        }
        if let Some(info) = &streaming {
            object.value("streamInfo", info);
        }
        object.end();
    });
    Ok(())
}
