//! `tpa_connection_init`: an app says who it is; here, a second time on a socket that said hello before (protocol.md §3.2, 8.2). The
//! first of a socket reaches the session as a hello (`flow::hello`).
//!
//! Changes: nothing; another user or package is a breach and closes 1008. Back: `tpa_connection_ack` once more.
//!
//! `{"type":"tpa_connection_init","packageName":"com.acme.scribe","apiKey":"demo-key-1","sdkVersion":"3.0.0-hono.8"}`

use crate::session::event::HelloKind;
use crate::session::flow::hello;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::TpaConnectionInit,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    hello::said_again(s, m.conn, HelloKind::Init, m.text, cx).map_err(Reject::json)
}
