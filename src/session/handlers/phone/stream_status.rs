//! `stream_status`: how a video stream does on the glasses. Drives the managed stream if it is that one, else the unmanaged one;
//! owner and subscribers hear the mapped status. Never relayed verbatim. protocol.md §6.16, §9.13.
//!
//! `{"type":"stream_status","streamId":"sk2f9ab81qz","status":"streaming","stats":{"bitrate":980000,"fps":15}}`

use crate::session::flow::streams;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use crate::wire::members::Members;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::StreamStatus,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    streams::glasses_status(s, &members, cx);
    Ok(())
}
