//! `reconnect`: an app on SDK 3.x returns; here, a second one on a socket that is attached already (protocol.md §3.4, 8.3). The first
//! of a socket reaches the session as a hello (`flow::hello`).
//!
//! Changes: nothing. Back: `reconnect_ack` once more.
//!
//! `{"type":"reconnect","sessionId":"nadia@lumen.io-com.acme.scribe","sdkVersion":"3.0.0-hono.8"}`

use crate::session::event::HelloKind;
use crate::session::flow::hello;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::Reconnect,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    hello::said_again(s, m.conn, HelloKind::Reconnect, m.text, cx).map_err(Reject::json)
}
