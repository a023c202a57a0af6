//! `audio_play_response`: playback ended or failed. Forwarded to the app that asked, once; unknown ids are dropped.
//! protocol.md §6.18, §9.11.
//!
//! `{"type":"audio_play_response","requestId":"audio_req_1","success":true,"error":null,"duration":2310}`

use crate::session::flow::{audio_play, gate};
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use crate::wire::members::Members;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::AudioPlayResponse,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let request_id = members
        .text("requestId")
        .ok_or_else(|| gate::malformed("requestId is required"))?;
    audio_play::answered(s, request_id, &members, cx);
    Ok(())
}
