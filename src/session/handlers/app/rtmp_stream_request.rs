//! `rtmp_stream_request`: an app streams video to a URL (2.x). Needs `CAMERA`, phone, glasses and, where they have it, Wi-Fi.
//! Replaces whatever streams; the owner hears of it as `rtmp_stream_status`. protocol.md §8.9, behaviour.md §7.6.2.
//!
//! `{"type":"rtmp_stream_request","rtmpUrl":"rtmp://ingest.acme.dev/live/k1","video":{"width":854,"height":480}}`

use crate::session::flow::streams;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::managers::streams::StatusName;
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::RtmpStreamRequest,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    streams::request(s, m.package, StatusName::Rtmp, &members, cx)
}
