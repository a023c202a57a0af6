//! `location_update`: a fix from the phone, perhaps the answer to a poll. Rebuilt, never relayed verbatim; without finite
//! coordinates it is dropped. protocol.md §6.14, §5.7.
//!
//! `{"type":"location_update","lat":38.7169,"lng":-9.1399,"accuracy":12.5,"correlationId":"poll_1","timestamp":1773480413700}`

use crate::session::flow::{gate, location};
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::managers::location::Fix;
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use crate::wire::members::Members;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::LocationUpdate,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let fix = Fix::from_members(&members.0)
        .ok_or_else(|| gate::malformed("lat and lng must be finite numbers"))?;
    let id = members.filled("correlationId");
    location::fix_arrived(s, fix, cx.now, id, cx);
    Ok(())
}
