//! `managed_stream_request`: an app watches the user's managed stream; the first one starts it at the media provider. Needs
//! `CAMERA`, phone, glasses, Wi-Fi. Answered by `managed_stream_status`. protocol.md §8.11, behaviour.md §7.6.3.
//!
//! `{"type":"managed_stream_request","quality":"720p","restreamDestinations":[{"url":"rtmp://a.example.net/live2/key"}]}`

use crate::session::flow::{gate, managed_streams};
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::ManagedStreamRequest,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    gate::video(
        s,
        m.package,
        "Camera permission required for managed streams",
        cx,
    )?;
    managed_streams::request(s, m.package, members, cx)
}
