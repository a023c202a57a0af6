//! `stream_stop`: an app ends its stream, by id or whatever it has. Only the owner may; the phone is told even when nothing
//! is known here. protocol.md §8.10, behaviour.md §7.6.2.
//!
//! `{"type":"stream_stop","streamId":"sk2f9ab81qz"}`

use crate::session::flow::streams;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::StreamStop,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    streams::stop(s, m.package, members.filled("streamId"), cx)
}
