//! Layer 2, flow: due timers of microphone, audio gap, display, dashboard, onboarding, speech.

use crate::session::timers::Timer;
use crate::session::{Cx, Session};

/// Acts on a due timer of this group.
pub(crate) fn due(s: &mut Session, timer: Timer, cx: &mut Cx<'_>) {
    let _ = (s, timer, cx);
}
