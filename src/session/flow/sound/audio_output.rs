//! Layer 2, flow: an app's audio output streams (behaviour.md §7.9, protocol.md §10.3): buffering, claiming, our own play
//! requests, and every way in which a stream ends.

use crate::base::ids::{Package, ReplyTo};
use crate::session::effects::{Class, Effect, RestAnswer};
use crate::session::flow::public_url;
use crate::session::managers::audio_output::is_stream_id;
use crate::session::timers::{AudioOutTimer, Timer};
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use bytes::Bytes;

fn timer(id: &str, what: AudioOutTimer) -> Timer {
    Timer::AudioOut(id.to_owned(), what)
}

/// Creates a stream and tells the app its URL. `false`: it cannot be created.
pub(crate) fn start(
    s: &mut Session,
    package: &Package,
    id: &str,
    content_type: &str,
    cx: &mut Cx<'_>,
) -> bool {
    let max = cx.cfg.audio.audio_out_streams_max;
    if let Some(spent) = s.m.audio_output.spent(package, id, max) {
        remove(s, &spent, cx);
    }
    if !s
        .m
        .audio_output
        .create(id, package, content_type, cx.now.mono_ms, max)
    {
        return false;
    }
    let due_ms = cx.now.mono_ms + cx.cfg.audio.audio_out_claim_timeout_ms;
    s.timers.set(timer(id, AudioOutTimer::Claim), due_ms);
    let url = public_url::audio_stream(cx.cfg, &s.user, id);
    let now = cx.now.iso();
    let _ = s.send_app(package, cx, Class::Control, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "audio_stream_ready")
            .str("streamId", id)
            .str("streamUrl", &url)
            .str("timestamp", now.as_str());
        object.end();
    });
    true
}

/// A binary frame: 36 bytes stream id, then audio. Anything else is dropped silently.
pub(crate) fn frame(s: &mut Session, package: &str, data: &Bytes, cx: &mut Cx<'_>) {
    if data.len() <= 36 || !is_stream_id(&data[..36]) {
        return;
    }
    let Ok(id) = std::str::from_utf8(&data[..36]) else {
        return;
    };
    let max = cx.cfg.audio.audio_out_pending_bytes;
    let Some(stream) =
        s.m.audio_output
            .get_mut(id)
            .filter(|stream| &*stream.package == package && !stream.ended)
    else {
        return;
    };
    stream.written_ms = cx.now.mono_ms;
    let audio = data.slice(36..);
    match stream.reader {
        Some(reply) => cx.fx.push(Effect::ReplyChunk { reply, data: audio }),
        None => {
            stream.keep(audio, max);
            attempt(s, id, cx);
        }
    }
}

/// The app says that no more comes: the answer ends, or waits for one who still fetches what is buffered.
pub(crate) fn end(s: &mut Session, package: &str, id: &str, cx: &mut Cx<'_>) {
    let Some(stream) =
        s.m.audio_output
            .get_mut(id)
            .filter(|stream| &*stream.package == package && !stream.ended)
    else {
        return;
    };
    stream.ended = true;
    if let Some(reply) = stream.reader.take() {
        cx.fx.push(Effect::ReplyEnd { reply });
        over(s, id, cx);
    } else if stream.has_waiting() {
        attempt(s, id, cx);
    } else {
        remove(s, id, cx);
    }
}

const NO_STREAM: &str = r#"{"error":"Stream not found or already ended"}"#;

/// `HEAD` of the same: the head that a reader would get. The stream keeps its reader and everything that waits.
pub(crate) fn peek(s: &mut Session, reply: ReplyTo, id: &str, cx: &mut Cx<'_>) {
    let stream =
        s.m.audio_output
            .get_mut(id)
            .filter(|stream| !stream.is_over());
    let Some(stream) = stream else {
        return cx.fx.reply(reply, RestAnswer::json(404, NO_STREAM));
    };
    cx.fx.push(Effect::ReplyStream {
        reply,
        content_type: stream.content_type.clone(),
    });
    cx.fx.push(Effect::ReplyEnd { reply });
}

/// `GET /api/audio/stream/:userId/:streamId`: the newest reader gets what waits and then everything live.
pub(crate) fn fetch(s: &mut Session, reply: ReplyTo, id: &str, cx: &mut Cx<'_>) {
    let Some(stream) =
        s.m.audio_output
            .get_mut(id)
            .filter(|stream| !stream.is_over())
    else {
        cx.fx.reply(reply, RestAnswer::json(404, NO_STREAM));
        return;
    };
    stream.attempting = false;
    if let Some(reply) = stream.reader.replace(reply) {
        cx.fx.push(Effect::ReplyEnd { reply });
    }
    cx.fx.push(Effect::ReplyStream {
        reply,
        content_type: stream.content_type.clone(),
    });
    for data in stream.take_waiting() {
        cx.fx.push(Effect::ReplyChunk { reply, data });
    }
    let ended = stream.ended;
    let abandon_ms = stream.written_ms.max(cx.now.mono_ms) + cx.cfg.audio.audio_out_abandon_ms;
    for what in [
        AudioOutTimer::Claim,
        AudioOutTimer::Reclaim,
        AudioOutTimer::Autoplay,
    ] {
        s.timers.cancel(&timer(id, what));
    }
    if ended {
        if let Some(stream) = s.m.audio_output.get_mut(id) {
            stream.reader = None;
        }
        cx.fx.push(Effect::ReplyEnd { reply });
        over(s, id, cx);
    } else if s.timers.at(&timer(id, AudioOutTimer::Abandon)).is_none() {
        s.timers.set(timer(id, AudioOutTimer::Abandon), abandon_ms);
    }
}

/// The reader's connection is gone; it may come back for a while.
pub(crate) fn reader_gone(s: &mut Session, reply: ReplyTo, cx: &Cx<'_>) {
    let Some(stream) = s.m.audio_output.by_reader(reply) else {
        return;
    };
    stream.reader = None;
    let id = stream.id.clone();
    let due_ms = cx.now.mono_ms + cx.cfg.audio.audio_out_reclaim_timeout_ms;
    s.timers.set(timer(&id, AudioOutTimer::Reclaim), due_ms);
}

/// A due timer of one stream.
pub(crate) fn due(s: &mut Session, id: &str, what: AudioOutTimer, cx: &mut Cx<'_>) {
    let Some(stream) = s.m.audio_output.get_mut(id) else {
        return;
    };
    match what {
        AudioOutTimer::Claim | AudioOutTimer::Cleanup => remove(s, id, cx),
        AudioOutTimer::Abandon => {
            let due_ms = stream.written_ms + cx.cfg.audio.audio_out_abandon_ms;
            if due_ms <= cx.now.mono_ms {
                // Its end was never said: what was heard so far is not the whole (protocol.md §10.3).
                if let Some(reply) = stream.reader.take() {
                    cx.fx.push(Effect::ReplyAbort { reply });
                }
                remove(s, id, cx);
            } else {
                s.timers.set(timer(id, AudioOutTimer::Abandon), due_ms);
            }
        }
        AudioOutTimer::Reclaim => {
            stream.attempting = false;
            stream.take_waiting();
            if stream.ended {
                remove(s, id, cx);
            }
        }
        AudioOutTimer::Autoplay => attempt(s, id, cx),
    }
}

/// Tells the phone to fetch what waits: never before `audio_out_autoplay_delay_ms`, never while a request for the same URL
/// is unanswered, one attempt at a time.
fn attempt(s: &mut Session, id: &str, cx: &mut Cx<'_>) {
    let Some(stream) =
        s.m.audio_output
            .get(id)
            .filter(|stream| stream.reader.is_none() && !stream.attempting && stream.has_waiting())
    else {
        return;
    };
    let audio = &cx.cfg.audio;
    let url = public_url::audio_stream(cx.cfg, &s.user, id);
    let asked_ms = s.m.audio_play.asked_ms(&url);
    let earliest_ms = asked_ms
        .map_or(0, |asked| asked + audio.audio_out_reclaim_timeout_ms)
        .max(stream.started_ms + audio.audio_out_autoplay_delay_ms);
    if cx.now.mono_ms < earliest_ms {
        s.timers
            .set(timer(id, AudioOutTimer::Autoplay), earliest_ms);
        return;
    }
    let now = cx.now.iso();
    let sent = s.send_phone(cx, Class::Control, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "audio_play_request")
            .str("sessionId", &s.user)
            .str("requestId", id)
            .str("packageName", &stream.package)
            .str("audioUrl", &url)
            .bool("stopOtherAudio", false)
            .str("timestamp", now.as_str());
        object.end();
    });
    let due_ms = cx.now.mono_ms + cx.cfg.audio.audio_out_reclaim_timeout_ms;
    if sent.is_sent()
        && let Some(stream) = s.m.audio_output.get_mut(id)
    {
        stream.attempting = true;
        s.timers.set(timer(id, AudioOutTimer::Reclaim), due_ms);
    } else if ![AudioOutTimer::Claim, AudioOutTimer::Reclaim]
        .iter()
        .any(|what| s.timers.at(&timer(id, *what)).is_some())
    {
        // No phone to tell: what waits is as old as an unanswered request would be. A stream that nobody fetched yet has its
        // own time.
        s.timers.set(timer(id, AudioOutTimer::Reclaim), due_ms);
    }
}

/// A phone is there again: what waits may be played.
pub(crate) fn phone_returned(s: &mut Session, cx: &mut Cx<'_>) {
    for id in s.m.audio_output.ids() {
        attempt(s, &id, cx);
    }
}

/// The streams of a stopped app end.
pub(crate) fn app_stopped(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    for id in s.m.audio_output.of_app(package) {
        remove(s, &id, cx);
    }
}

/// The session ends.
pub(crate) fn disposing(s: &mut Session, cx: &mut Cx<'_>) {
    for id in s.m.audio_output.ids() {
        remove(s, &id, cx);
    }
}

/// Nothing more will be sent; the id stays taken a moment longer.
fn over(s: &mut Session, id: &str, cx: &Cx<'_>) {
    cancel_timers(s, id);
    let due_ms = cx.now.mono_ms + cx.cfg.audio.audio_out_cleanup_ms;
    s.timers.set(timer(id, AudioOutTimer::Cleanup), due_ms);
}

fn remove(s: &mut Session, id: &str, cx: &mut Cx<'_>) {
    cancel_timers(s, id);
    if let Some(reply) = s.m.audio_output.remove(id).and_then(|stream| stream.reader) {
        cx.fx.push(Effect::ReplyEnd { reply });
    }
}

fn cancel_timers(s: &mut Session, id: &str) {
    s.timers
        .cancel_where(|row| matches!(row, Timer::AudioOut(of, _) if of == id));
}
