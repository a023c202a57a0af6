//! `connection_init`: a headless client opens its conversation; the phone does not send it (protocol.md §6.3).
//!
//! Changes: nothing that was not so before; dormant apps are restarted as after a reconnection. Back: another
//! `connection_ack`. No member is read.
//!
//! `{"type":"connection_init","userId":"nadia@lumen.io"}`

use crate::session::flow::lifecycle;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::ConnectionInit,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    lifecycle::reinitialise(s, m.conn, cx);
    Ok(())
}
