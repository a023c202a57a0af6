//! Layer 2, flow: microphone audio by UDP (behaviour.md §5.4, protocol.md §11): whose it is, what opens it, in which order it is
//! heard. Nothing is ever answered by UDP.

use crate::base::metrics::Counter;
use crate::base::rarely::CLIENT_MS;
use crate::session::effects::{Class, Effect};
use crate::session::event::Chunk;
use crate::session::flow::{audio as sound, gate};
use crate::session::handlers::Reject;
use crate::session::managers::udp::{PacketOrder, Played};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use crate::wire::members::Members;
use crate::wire::udp::{Forged, open};
use serde_json::Value;

/// Answers to probes within one second. A phone probes a few times after it registered; whoever knows a user id can probe in its
/// name, and every answer takes room in the phone's queue.
const ANSWERS_PER_S: u64 = 20;

/// The hash that a phone's message names.
///
/// # Errors
/// `MALFORMED_MESSAGE`.
pub(crate) fn announced(members: &Members) -> Result<u32, Reject> {
    members
        .get("userIdHash")
        .and_then(Value::as_u64)
        .and_then(|hash| u32::try_from(hash).ok())
        .ok_or_else(|| gate::malformed("userIdHash must be an unsigned 32-bit number"))
}

/// The phone announces the hash of its datagrams, whose numbers begin anew.
pub(crate) fn register(s: &mut Session, hash: u32, cx: &mut Cx<'_>) {
    reset(s);
    let before = s.m.phone.udp_hash.replace(hash);
    if hash != s.user.hash32() && before != Some(hash) {
        cx.metrics.inc(Counter::UdpOtherHash);
        if let Some(more) = s.m.phone.odd_hashes.may(cx.now.mono_ms, CLIENT_MS) {
            tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), hash, more, "phone announced an unexpected UDP hash");
        }
    }
    if let Some(other) = before.filter(|other| *other != hash) {
        cx.fx.push(Effect::UdpUnregister { hash: other });
    }
    cx.fx.push(Effect::UdpRegister { hash });
}

/// Datagrams of this hash are nobody's any more, and the key is forgotten.
pub(crate) fn unregister(s: &mut Session, hash: u32, cx: &mut Cx<'_>) {
    s.m.phone.udp_key = None;
    if s.m.phone.udp_hash == Some(hash) {
        s.m.phone.udp_hash = None;
        let mut rest = Vec::new();
        s.m.udp.flush(&mut rest);
        hear(s, rest, cx);
        reset(s);
    }
    cx.fx.push(Effect::UdpUnregister { hash });
}

/// The session ends.
pub(crate) fn disposing(s: &mut Session, cx: &mut Cx<'_>) {
    if let Some(hash) = s.m.phone.udp_hash.take() {
        cx.fx.push(Effect::UdpUnregister { hash });
    }
}

/// A probe arrived: the phone learns of it over its WebSocket.
pub(crate) fn probed(s: &mut Session, cx: &mut Cx<'_>) {
    cx.metrics.inc(Counter::UdpPings);
    stamp(s, cx);
    if !s.m.phone.udp_probes.may(cx.now.mono_ms, ANSWERS_PER_S) {
        return;
    }
    let unix_ms = cx.now.unix_ms;
    let _ = s.send_phone(cx, Class::Control, |out| {
        ObjectWriter::begin(out)
            .str("type", "udp_ping_ack")
            .num("timestamp", unix_ms)
            .end();
    });
}

/// One packet of audio. It is opened in its place. Phones go on sending while their WebSocket reconnects, and are heard.
pub(crate) fn packet(s: &mut Session, sequence: u16, payload: &mut [u8], cx: &mut Cx<'_>) {
    // Before the order is looked at: a forged packet must not use up a number.
    let audio = match unsealed(s, payload, cx) {
        Ok(audio) if !audio.is_empty() => audio,
        _ => {
            cx.metrics.inc(Counter::UdpDropped);
            return;
        }
    };
    stamp(s, cx);
    cx.metrics.add(Counter::AudioBytesUdp, audio.len() as u64);
    let waited = s.m.udp.due_ms(&cx.cfg.udp);
    let mut overdue = Vec::new();
    let arrival =
        s.m.udp
            .arrive(sequence, audio, cx.now.mono_ms, &cx.cfg.udp, &mut overdue);
    hear(s, overdue, cx);
    match arrival {
        PacketOrder::Next => {
            play(s, sequence, Chunk::Lent(audio), cx);
            while let Some(next) = s.m.udp.take_next() {
                play(s, next.sequence, Chunk::Own(next.audio), cx);
            }
        }
        PacketOrder::Late => cx.metrics.inc(Counter::UdpDropped),
        PacketOrder::Early => {}
    }
    arm(s, waited, cx);
}

/// The oldest early packet has waited long enough.
pub(crate) fn hole_due(s: &mut Session, cx: &mut Cx<'_>) {
    let mut overdue = Vec::new();
    s.m.udp.due(cx.now.mono_ms, &cx.cfg.udp, &mut overdue);
    hear(s, overdue, cx);
    arm(s, None, cx);
}

/// Whether packets must be sealed follows the wish of the current socket, or of the last one; the key may be older.
fn unsealed<'a>(
    s: &Session,
    payload: &'a mut [u8],
    cx: &mut Cx<'_>,
) -> Result<&'a mut [u8], Forged> {
    let flags = &s.m.phone.flags;
    if !flags.udp_encryption || !flags.secret.is_usable() {
        return Ok(payload);
    }
    let opened = match &s.m.phone.udp_key {
        Some(key) => open(&key.0, payload),
        None => Err(Forged),
    };
    cx.metrics.inc(match opened {
        Ok(_) => Counter::UdpDecrypted,
        Err(_) => Counter::UdpDecryptionFailures,
    });
    opened
}

fn hear(s: &mut Session, overdue: Vec<Played>, cx: &mut Cx<'_>) {
    for next in overdue {
        play(s, next.sequence, Chunk::Own(next.audio), cx);
    }
}

/// An odd byte belongs to the packet that follows, and to no other: with that one lost it would put every later sample out of
/// step.
fn play(s: &mut Session, sequence: u16, audio: Chunk<'_>, cx: &mut Cx<'_>) {
    s.m.audio.comes_by(None);
    if !s.m.udp.play(sequence) {
        s.m.audio.forget_odd();
    }
    sound::hear(s, audio, cx);
}

/// A datagram of the phone is a sign of life like any frame (behaviour.md §1.7).
fn stamp(s: &mut Session, cx: &Cx<'_>) {
    if let Some(conn) = s.m.phone.open() {
        s.m.health.bytes_came(conn, cx.now.mono_ms);
        s.m.phone.last_message_ms = cx.now.mono_ms;
    }
}

/// `waited`: what the deadline was before.
fn arm(s: &mut Session, waited: Option<u64>, cx: &Cx<'_>) {
    match s.m.udp.due_ms(&cx.cfg.udp) {
        due if due == waited => {}
        Some(due_ms) => s.timers.set(Timer::UdpHole, due_ms),
        None => {
            s.timers.cancel(&Timer::UdpHole);
        }
    }
}

fn reset(s: &mut Session) {
    s.m.udp.reset();
    s.timers.cancel(&Timer::UdpHole);
}

#[cfg(test)]
#[path = "udp_tests.rs"]
mod tests;
