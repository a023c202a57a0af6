//! Layer 2, flow: due timers of location polls, photos, streams, audio output, play map.

use super::keep_alive::{self, Verdict};
use super::{app_messages, audio_output, managed_streams, photos, streams};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};

/// Acts on a due timer of this group.
pub(crate) fn due(s: &mut Session, timer: Timer, cx: &mut Cx<'_>) {
    match timer {
        Timer::LocationPoll(call) => s.m.location.expired(call),
        Timer::Photo(request_id) => photos::timed_out(s, &request_id, cx),
        Timer::AudioPlay(request_id) => {
            s.m.audio_play.take(&request_id);
        }
        Timer::AudioOut(id, what) => audio_output::due(s, &id, what, cx),
        Timer::StreamKeepAlive(id) => keep_alive::tick(s, &id, cx),
        Timer::StreamAck(id) => ack_missing(s, &id, cx),
        Timer::StreamStart(id) => streams::timed_out(s, &id, cx),
        Timer::ManagedPoll => managed_streams::step(s, cx),
        Timer::ManagedSweep => managed_streams::sweep(s, cx),
        Timer::DirectMessage {
            package,
            target,
            message_id,
        } => app_messages::unanswered(s, &package, &target, &message_id, cx),
        _ => {}
    }
}

fn ack_missing(s: &mut Session, stream_id: &str, cx: &mut Cx<'_>) {
    if keep_alive::ack_missing(s, stream_id, cx) == Verdict::Alive {
        return;
    }
    if s.m.managed_streams.by_id(stream_id).is_some() {
        managed_streams::timed_out(s, cx);
    } else {
        streams::timed_out(s, stream_id, cx);
    }
}
