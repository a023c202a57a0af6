//! Layer 2, flow: one event to its flow or handler.

use crate::session::event::Event;
use crate::session::{Cx, Session};

/// Routes one event.
pub(crate) fn event(s: &mut Session, event: Event, cx: &mut Cx<'_>) {
    let _ = (s, event, cx);
}
