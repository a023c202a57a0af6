//! `udp_unregister`: datagrams with this hash are nobody's any more, and the session's key is forgotten. Never answered.
//! protocol.md §6.20, §11.3, §11.6.
//!
//! `{"type":"udp_unregister","userIdHash":3718288755}`

use crate::session::flow::{gate, udp};
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use crate::wire::members::Members;
use serde_json::Value;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::UdpUnregister,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let hash = members
        .get("userIdHash")
        .and_then(Value::as_u64)
        .and_then(|hash| u32::try_from(hash).ok())
        .ok_or_else(|| gate::malformed("userIdHash must be an unsigned 32-bit number"))?;
    udp::unregister(s, hash, cx);
    Ok(())
}
