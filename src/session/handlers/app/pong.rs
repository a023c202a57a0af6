//! `pong`: accepted and ignored (protocol.md §8.1).
//!
//! Changes: nothing beyond the socket's activity stamp. Back: nothing.
//!
//! `{"type":"pong"}`

use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::Pong,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let _ = (s, m, cx);
    Ok(())
}
