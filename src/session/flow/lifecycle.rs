//! Layer 2, flow: session creation, loading, phone adoption, swap, close, grace, disposal.

use crate::session::event::Event;
use crate::session::{Cx, Session};

/// A new session: asks for the user record.
pub(crate) fn created(s: &mut Session, cx: &mut Cx<'_>) {
    let _ = (s, cx);
}

/// Events that still arrive after disposal: refuse what waits for an answer, ignore the rest.
pub(crate) fn after_disposal(s: &mut Session, event: Event, cx: &mut Cx<'_>) {
    let _ = (s, event, cx);
}
