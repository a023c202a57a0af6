//! Layer 2, flow: frames of phone sockets: `ping` first and always, then who may speak, then the handler table
//! (behaviour.md §1.6 step 5, 1.7, 1.10). Nothing a phone sends closes its socket.

use crate::base::ids::ConnId;
use crate::base::metrics::{Counter, Side};
use crate::session::event::Chunk;
use crate::session::flow::{audio as sound, lifecycle};
use crate::session::handlers::phone::{PHONE, unknown};
use crate::session::handlers::{PhoneMessage, Reject, contained, phone_message_fits};
use crate::session::managers::phone::{Held, HoldOutcome, SentSoFar};
use crate::session::{Cx, Session, State};
use crate::wire::json::{self, KindError};
use crate::wire::kinds::PhoneKind;

/// One text frame.
pub(crate) fn text(s: &mut Session, conn: ConnId, text: &str, cx: &mut Cx<'_>) {
    if !s.m.phone.knows(conn) {
        return;
    }
    s.m.health.seen(conn, cx.now.mono_ms, text.len());
    let name = match json::kind(text) {
        Ok(name) => name,
        Err(error) => return dropped(s, error, cx),
    };
    let kind = PhoneKind::from_wire(&name);
    if matches!(kind, Some(PhoneKind::Ping | PhoneKind::Pong)) {
        if s.m.phone.current == Some(conn) {
            s.m.phone.last_message_ms = cx.now.mono_ms;
            let is_ping = kind == Some(PhoneKind::Ping);
            s.m.phone.pings = s.m.phone.pings.wrapping_add(u32::from(is_ping));
        }
        run(s, conn, kind, &name, text, cx);
    } else if !admit(s, conn, cx) {
        // Ignored, as everything of a superseded socket.
    } else if s.state == State::Initializing {
        hold(s, Held::Text(conn, text.into()), cx);
    } else {
        run(s, conn, kind, &name, text, cx);
    }
}

#[cold]
#[inline(never)]
fn dropped(s: &Session, error: KindError, cx: &mut Cx<'_>) {
    cx.metrics.inc(Counter::PhoneBadJson);
    tracing::debug!(user = %s.user, correlation_id = %s.correlation(cx.now), %error, "phone message dropped");
}

/// One audio frame; `true` when it is to be fanned out now.
#[inline]
pub(crate) fn audio(s: &mut Session, conn: ConnId, data: &Chunk<'_>, cx: &mut Cx<'_>) -> bool {
    if s.state == State::Disposed || !s.m.phone.knows(conn) {
        return false;
    }
    s.m.health.seen(conn, cx.now.mono_ms, data.len());
    let admitted = admit(s, conn, cx);
    if admitted && s.state == State::Initializing {
        hold(s, Held::Audio(conn, data.to_bytes()), cx);
        return false;
    }
    admitted
}

/// A frame that waited for the user record. It was admitted when it came, so it counts whatever became of its socket.
pub(crate) fn release(s: &mut Session, frame: Held, cx: &mut Cx<'_>) {
    s.next_message();
    match frame {
        Held::Text(conn, text) => {
            if let Ok(name) = json::kind(&text) {
                run(s, conn, PhoneKind::from_wire(&name), &name, &text, cx);
            }
        }
        Held::Audio(conn, data) => sound::chunk(s, conn, Chunk::Own(data), cx),
    }
}

/// Whether a frame other than `ping` and `pong` may take effect: the current socket's always; a superseded one's only while
/// the current one, or the last if none is open, has sent nothing but pings: then the two exchange their roles.
#[inline]
fn admit(s: &mut Session, conn: ConnId, cx: &mut Cx<'_>) -> bool {
    let phone = &mut s.m.phone;
    if phone.current == Some(conn) {
        phone.sent_so_far = SentSoFar::More;
        phone.last_message_ms = cx.now.mono_ms;
        return true;
    }
    superseded_speaks(s, conn, cx)
}

#[cold]
fn superseded_speaks(s: &mut Session, conn: ConnId, cx: &mut Cx<'_>) -> bool {
    let may = s.m.phone.sent_so_far != SentSoFar::More;
    if may {
        lifecycle::promote(s, conn, cx);
    }
    may
}

#[inline(never)]
fn hold(s: &mut Session, frame: Held, cx: &mut Cx<'_>) {
    let max = cx.cfg.connections.pending_frames_max as usize;
    if s.m.phone.hold(frame, max) != HoldOutcome::Held {
        cx.metrics.inc(Counter::DroppedPending);
    }
}

fn run(
    s: &mut Session,
    conn: ConnId,
    kind: Option<PhoneKind>,
    name: &str,
    text: &str,
    cx: &mut Cx<'_>,
) {
    let index = kind.map_or(PhoneKind::COUNT, |kind| kind as usize);
    cx.metrics.message(Side::Phone, index);
    let text = text.as_bytes();
    let outcome = phone_message_fits(kind, text.len()).and_then(|()| {
        contained(name, s, cx, |s, cx| match PHONE.get(index) {
            Some(handler) => (handler.run)(s, &PhoneMessage { conn, name, text }, cx),
            None => unknown(s, name, text, cx),
        })
    });
    if let Err(reject) = outcome {
        failed(s, name, &reject, cx);
    }
}

#[cold]
#[inline(never)]
fn failed(s: &Session, kind: &str, reject: &Reject, cx: &mut Cx<'_>) {
    cx.metrics.inc(Counter::PhoneHandlerFailed);
    tracing::debug!(user = %s.user, correlation_id = %s.correlation(cx.now), kind, %reject, "phone message not handled");
}
