//! `connection_init`: another name of `tpa_connection_init` (protocol.md §8.2).
//!
//! `{"type":"connection_init","packageName":"com.acme.scribe","apiKey":"demo-key-1"}`

use crate::session::event::HelloKind;
use crate::session::flow::hello;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::ConnectionInit,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    hello::said_again(s, m.conn, HelloKind::Init, m.text, cx).map_err(Reject::json)
}
