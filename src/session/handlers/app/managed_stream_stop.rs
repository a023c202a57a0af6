//! `managed_stream_stop`: an app no longer watches; it hears `stopped`, and with the last viewer the stream ends.
//! protocol.md §8.12.
//!
//! `{"type":"managed_stream_stop"}`

use crate::session::flow::managed_streams;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::ManagedStreamStop,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    managed_streams::stop(s, m.package, cx);
    Ok(())
}
