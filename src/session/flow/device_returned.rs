//! Layer 2, flow: what the device side tells a phone that (re)connected (behaviour.md §1.6 step 8).

use super::{audio_output, location, streams};
use crate::session::{Cx, Session};

/// After `connection_ack`: location tier unless `reduced`, unanswered polls, fresh stream ack windows, waiting audio.
pub(crate) fn phone_returned(s: &mut Session, cx: &mut Cx<'_>) {
    location::phone_returned(s, cx);
    streams::phone_returned(s);
    audio_output::phone_returned(s, cx);
}
