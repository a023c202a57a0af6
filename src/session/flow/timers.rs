//! Layer 2, flow: one due timer to its owner's flow.

use crate::session::timers::Timer;
use crate::session::{Cx, Session};

/// Acts on one due timer. H4's and H5's rows go through [`super::media_timers`] and [`super::device_timers`].
pub(crate) fn due(s: &mut Session, timer: Timer, cx: &mut Cx<'_>) {
    let _ = (s, timer, cx);
}
