//! `ping`: an app on SDK 3.x checks its connection every 15 s (protocol.md §8.1, 9.18).
//!
//! Changes: the socket counts as one whose peer shows signs of life. Back: `pong` with the time in milliseconds. Sockets
//! that are parked, replaced or not yet initialised are answered by `flow::app_in`.
//!
//! `{"type":"ping"}`

use crate::session::flow::notices;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::Ping,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    s.m.health.prove(m.conn);
    notices::app_pong(m.conn, cx);
    Ok(())
}
