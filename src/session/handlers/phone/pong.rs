//! `pong`: a sign of life that nobody asked for; phones may send it (protocol.md §6.2).
//!
//! Changes: remembered as the last application-level pong. Back: nothing.
//!
//! `{"type":"pong"}`

use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::Pong,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    if s.m.phone.current == Some(m.conn) {
        s.m.phone.last_pong_ms = cx.now.mono_ms;
    }
    Ok(())
}
