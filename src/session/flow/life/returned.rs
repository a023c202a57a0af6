//! Layer 2, flow: what a phone that (re)connected is told again.

use crate::session::flow::{audio_output, location, requests, screen};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};

/// After `connection_ack` of a returning phone (behaviour.md §1.6 steps 6 and 8): microphone re-sync soon, repaint, location
/// tier unless `reduced`, fresh stream ack windows, what ended meanwhile, waiting audio.
pub(crate) fn phone_returned(s: &mut Session, cx: &mut Cx<'_>) {
    let delay_ms = cx.cfg.connections.mic_resync_after_reconnect_ms;
    s.timers.set(Timer::PhoneResync, cx.now.mono_ms + delay_ms);
    screen::repaint(s, cx);
    location::phone_returned(s, cx);
    requests::phone_returned(s, cx);
    audio_output::phone_returned(s, cx);
}
