//! Layer 2, flow: frames of phone sockets: `ping` first and always, then who may speak, then the handler table
//! (behaviour.md §1.6 step 5, 1.7, 1.10). Nothing a phone sends closes its socket.

use crate::base::ids::ConnId;
use crate::base::metrics::{Counter, Side};
use crate::session::event::Chunk;
use crate::session::flow::lifecycle;
use crate::session::handlers::phone::{PHONE, unknown};
use crate::session::handlers::{PhoneMessage, Reject};
use crate::session::managers::phone::{Held, HoldOutcome, Spoken};
use crate::session::{Cx, Session, State};
use crate::wire::json;
use crate::wire::kinds::PhoneKind;
use bytes::Bytes;

/// One text frame.
pub(crate) fn text(s: &mut Session, conn: ConnId, text: &Bytes, cx: &mut Cx<'_>) {
    if !s.m.phone.knows(conn) {
        return;
    }
    s.m.health.seen(conn, cx.now.mono_ms, text.len());
    let name = match json::kind(text) {
        Ok(name) => name,
        Err(error) => {
            cx.metrics.inc(Counter::PhoneBadJson);
            tracing::debug!(user = %s.user, correlation_id = %s.correlation(cx.now), %error, "phone message dropped");
            return;
        }
    };
    let kind = PhoneKind::from_wire(&name);
    if matches!(kind, Some(PhoneKind::Ping | PhoneKind::Pong)) {
        run(s, conn, kind, &name, text, cx);
    } else if s.state == State::Initializing {
        hold(s, Held::Text(conn, text.clone()), cx);
    } else if admit(s, conn, cx) {
        run(s, conn, kind, &name, text, cx);
    }
}

/// One audio frame; `true` when it is to be fanned out now.
pub(crate) fn audio(s: &mut Session, conn: ConnId, data: &Chunk<'_>, cx: &mut Cx<'_>) -> bool {
    if s.state == State::Disposed || !s.m.phone.knows(conn) {
        return false;
    }
    s.m.health.seen(conn, cx.now.mono_ms, data.len());
    if s.state == State::Initializing {
        hold(s, Held::Audio(conn, data.to_bytes()), cx);
        return false;
    }
    admit(s, conn, cx)
}

/// A frame that waited for the user record.
pub(crate) fn release(s: &mut Session, frame: Held, cx: &mut Cx<'_>) {
    s.next_message();
    match frame {
        Held::Text(conn, data) => text(s, conn, &data, cx),
        Held::Audio(conn, data) => s.on_audio(conn, Chunk::Own(data), cx),
    }
}

/// Whether a frame other than `ping` and `pong` may take effect: the current socket always; a superseded one when the current
/// is gone or has sent nothing but pings, and then the two exchange their roles.
fn admit(s: &mut Session, conn: ConnId, cx: &mut Cx<'_>) -> bool {
    let phone = &mut s.m.phone;
    if phone.current == Some(conn) {
        phone.spoken = Spoken::More;
        phone.last_message_ms = cx.now.mono_ms;
        return true;
    }
    if phone.current.is_some() && phone.spoken == Spoken::More {
        return false;
    }
    lifecycle::promote(s, conn, cx);
    true
}

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
    text: &[u8],
    cx: &mut Cx<'_>,
) {
    let index = kind.map_or(PhoneKind::COUNT, |kind| kind as usize);
    cx.metrics.message(Side::PhoneIn, index);
    let outcome: Result<(), Reject> = match PHONE.get(index) {
        Some(handler) => (handler.run)(s, &PhoneMessage { conn, name, text }, cx),
        None => unknown(s, name, text, cx),
    };
    if let Err(reject) = outcome {
        cx.metrics.inc(Counter::PhoneHandlerFailed);
        tracing::debug!(user = %s.user, correlation_id = %s.correlation(cx.now), kind = name, %reject, "phone message not handled");
    }
}
