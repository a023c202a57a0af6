//! Layer 2, flow: what a phone that (re)connected is told again.

use crate::session::{Cx, Session};

/// After `connection_ack` of a returning phone (H3 calls it): microphone re-sync timer, location tier, repaint, stream ack windows.
pub(crate) fn phone_returned(s: &mut Session, cx: &mut Cx<'_>) {
    let _ = (s, cx);
}
