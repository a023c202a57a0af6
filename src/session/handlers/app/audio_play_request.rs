//! `audio_play_request`: an app plays a URL on the phone. Forwarded; the phone's answer goes back to this app. Without a phone
//! it is answered at once. protocol.md §8.16, behaviour.md §7.8.
//!
//! `{"type":"audio_play_request","requestId":"audio_req_1","audioUrl":"https://scribe.acme.dev/chime.mp3","volume":1}`

use crate::session::flow::{audio_play, gate};
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::AudioPlayRequest,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let request_id = gate::required(&members, "requestId")?;
    audio_play::request(s, m.package, request_id, &members, cx);
    Ok(())
}
