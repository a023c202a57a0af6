//! `ping`: the phone checks its connection every 5 s, on any of its sockets and in every session state (protocol.md §6.2, 7.2).
//!
//! Changes: the socket counts as one whose peer is alive. Back: `{"type":"pong"}` on the same socket, at once; a phone that
//! misses it for 5 s drops the connection.
//!
//! `{"type":"ping"}`

use crate::session::effects::Class;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::Ping,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    s.m.health.prove(m.conn);
    cx.fx.text(m.conn, Class::Control, |out| {
        out.extend_from_slice(br#"{"type":"pong"}"#);
    });
    Ok(())
}
