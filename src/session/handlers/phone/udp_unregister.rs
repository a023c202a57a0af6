//! `udp_unregister`: datagrams with this hash are nobody's any more, and the session's key is forgotten. Never answered.
//! protocol.md §6.20, §11.3, §11.6.
//!
//! `{"type":"udp_unregister","userIdHash":3718288755}`

use crate::session::flow::udp;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use crate::wire::members::Members;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::UdpUnregister,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let hash = udp::announced(&members)?;
    udp::unregister(s, hash, cx);
    Ok(())
}
