//! Layer 2, flow: keep-alives of video streams, managed or not (behaviour.md §7.6.1, protocol.md §7.10).

use crate::base::ids::BASE36;
use crate::session::effects::Class;
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;

/// What a missing ack means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Liveness {
    /// Go on.
    Alive,
    /// Too many in a row.
    TimedOut,
}

/// Short random text: ids of streams and acks cross a narrow radio link.
pub(crate) fn short_id(s: &mut Session, prefix: char, length: usize) -> String {
    let mut id = String::from(prefix);
    for _ in 0..length {
        id.push(char::from(BASE36[s.rng().usize(..BASE36.len())]));
    }
    id
}

/// Starts keep-alives of a stream unless they run.
pub(crate) fn start(s: &mut Session, stream_id: &str, cx: &Cx<'_>) {
    if s.m.streams.watch(stream_id) {
        rearm(s, stream_id, cx);
    }
}

fn rearm(s: &mut Session, stream_id: &str, cx: &Cx<'_>) {
    let due_ms = cx.now.mono_ms + cx.cfg.streaming.stream_keepalive_ms;
    s.timers
        .set(Timer::StreamKeepAlive(stream_id.to_owned()), due_ms);
}

/// The interval is over. Nothing is sent while the phone is away, and no ack is missed then.
pub(crate) fn tick(s: &mut Session, stream_id: &str, cx: &mut Cx<'_>) {
    if !s.m.streams.is_watched(stream_id) {
        return;
    }
    rearm(s, stream_id, cx);
    if s.m.phone.open().is_none() {
        fresh_window(s, stream_id);
        return;
    }
    if s.m.streams.awaits_ack(stream_id) {
        return;
    }
    let ack_id = short_id(s, 'a', 5);
    let _ = s.send_phone(cx, Class::Control, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "keep_stream_alive")
            .str("streamId", stream_id)
            .str("ackId", &ack_id);
        object.end();
    });
    s.m.streams.sent(stream_id, ack_id);
    let due_ms = cx.now.mono_ms + cx.cfg.streaming.stream_ack_timeout_ms;
    s.timers.set(Timer::StreamAck(stream_id.to_owned()), due_ms);
}

/// An ack arrived; unknown ones change nothing.
pub(crate) fn acked(s: &mut Session, stream_id: &str, ack_id: &str, cx: &Cx<'_>) -> bool {
    let known = s.m.streams.acked(stream_id, ack_id);
    if known {
        s.timers.cancel(&Timer::StreamAck(stream_id.to_owned()));
    } else {
        tracing::debug!(user = %s.user, correlation_id = %s.correlation(cx.now), stream_id, "keep-alive ack nobody waits for");
    }
    known
}

/// A status message counts as life.
pub(crate) fn active(s: &mut Session, stream_id: &str) {
    s.m.streams.active(stream_id);
    s.timers.cancel(&Timer::StreamAck(stream_id.to_owned()));
}

/// The awaited ack is missing.
pub(crate) fn ack_missing(s: &mut Session, stream_id: &str, cx: &Cx<'_>) -> Liveness {
    if s.m.phone.open().is_none() {
        s.m.streams.excuse(stream_id);
        return Liveness::Alive;
    }
    if s.m.streams.missed(stream_id) >= cx.cfg.streaming.stream_max_missed_acks {
        Liveness::TimedOut
    } else {
        Liveness::Alive
    }
}

/// Whatever was awaited was perhaps lost with the old socket.
pub(crate) fn fresh_window(s: &mut Session, stream_id: &str) {
    s.m.streams.excuse(stream_id);
    s.timers.cancel(&Timer::StreamAck(stream_id.to_owned()));
}

/// Keep-alives wait until the stream is active again.
pub(crate) fn pause(s: &mut Session, stream_id: &str) {
    s.m.streams.unwatch(stream_id);
    for timer in [Timer::StreamKeepAlive, Timer::StreamAck] {
        s.timers.cancel(&timer(stream_id.to_owned()));
    }
}

/// The stream is over.
pub(crate) fn stop(s: &mut Session, stream_id: &str) {
    s.m.streams.forget(stream_id);
    for timer in [Timer::StreamKeepAlive, Timer::StreamAck, Timer::StreamStart] {
        s.timers.cancel(&timer(stream_id.to_owned()));
    }
}
