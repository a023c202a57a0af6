//! `udp_register`: the phone announces the hash that its audio datagrams carry. Never answered. protocol.md §6.20, §11.3.
//!
//! `{"type":"udp_register","userIdHash":3718288755}`

use crate::session::flow::udp;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use crate::wire::members::Members;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::UdpRegister,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let hash = udp::announced(&members)?;
    udp::register(s, hash, cx);
    Ok(())
}
