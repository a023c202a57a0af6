//! `photo_response`: a photo's result over the socket (phones post it by REST). With a pending `requestId` it goes to the asker,
//! else it is relayed to subscribers. protocol.md §6.22.
//!
//! `{"type":"photo_response","requestId":"photo_req_1","success":true,"photoUrl":"https://files.acme.dev/p/1.jpg"}`

use crate::session::flow::{photos, relay};
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use crate::wire::members::Members;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::PhotoResponse,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    if let Some(request_id) = members.filled("requestId")
        && let Some(outcome) = photos::Outcome::from_members(&members)
        && photos::answered(s, request_id, &outcome, cx)
    {
        return Ok(());
    }
    relay::phone_message(s, m.name, m.text, cx);
    Ok(())
}
