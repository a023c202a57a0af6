//! Layer 2, flow: what a phone that (re)connected is told again.

use crate::session::timers::Timer;
use crate::session::{Cx, Session};

/// After `connection_ack` of a returning phone: microphone re-sync timer, repaint.
pub(crate) fn phone_returned(s: &mut Session, cx: &mut Cx<'_>) {
    let delay_ms = cx.cfg.connections.mic_resync_after_reconnect_ms;
    s.timers.set(Timer::PhoneResync, cx.now.mono_ms + delay_ms);
    super::screen::repaint(s, cx);
    super::device_returned::phone_returned(s, cx);
}
