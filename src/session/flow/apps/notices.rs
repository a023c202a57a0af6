//! Layer 2, flow: the small messages that several procedures send. Decides nothing.

use crate::base::close::CloseReason;
use crate::base::ids::{ConnId, Package};
use crate::session::effects::{Class, Effect, StoreOp};
use crate::session::managers::apps::StopWhy;
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use crate::wire::streams::Permission;

/// Schedules `app_state_change` to the phone, at most one per window (protocol.md §7.5).
pub(crate) fn app_state_changed(s: &mut Session, cx: &Cx<'_>) {
    if s.timers.at(&Timer::AppState).is_none() {
        let wait_ms = cx.cfg.apps.app_state_broadcast_coalesce_ms;
        s.timers.set(Timer::AppState, cx.now.mono_ms + wait_ms);
    }
}

/// The window ended: sends it. A phone that is away fetches the list when it returns.
pub(crate) fn send_app_state(s: &Session, cx: &mut Cx<'_>) {
    let Some(conn) = s.m.phone.open() else { return };
    let now = cx.now.iso();
    cx.fx.text(conn, Class::Control, |out| {
        let mut message = ObjectWriter::begin(out);
        message
            .str("type", "app_state_change")
            .str("sessionId", &s.user)
            .str("timestamp", now.as_str());
        message.end();
    });
}

/// `permission_error`: streams that the app asked for and may not have (protocol.md §9.19), unless its socket knows of them.
pub(crate) fn rejected(
    s: &mut Session,
    package: &Package,
    conn: ConnId,
    rejected: &[(String, Permission)],
    cx: &mut Cx<'_>,
) {
    let news =
        s.m.subscriptions
            .rejection_is_news(&s.user, package, conn, rejected);
    if !news || !cx.cfg.apps.send_permission_error {
        return;
    }
    let stamp = cx.now.iso();
    cx.fx.text(conn, Class::Control, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "permission_error")
            .str("message", "Some subscriptions were rejected")
            .array("details", |details| {
                for (stream, needed) in rejected {
                    details.object(|detail| {
                        detail
                            .str("stream", stream)
                            .str("requiredPermission", needed.as_str())
                            .str("message", &missing(*needed));
                    });
                }
            })
            .str("timestamp", stamp.as_str());
        object.end();
    });
}

/// `Microphone permission is missing`.
fn missing(needed: Permission) -> String {
    let mut text = needed.as_str().replace('_', " ").to_lowercase();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text + " permission is missing"
}

/// A start was accepted or a stop is done: `lastActiveAt`, in the store and in the list of this session (behaviour.md §12.4).
pub(crate) fn touched(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    s.m.apps.intent.touch(package, cx.now.unix_ms);
    cx.fx.push(Effect::Store {
        op: StoreOp::TouchApp(package.clone(), cx.now.unix_ms),
        ack: None,
    });
}

/// `app_stopped {packageName}` to the phone (protocol.md §7.17).
pub(crate) fn tell_phone_stopped(s: &Session, package: &str, cx: &mut Cx<'_>) {
    let Some(conn) = s.m.phone.open() else { return };
    let now = cx.now.iso();
    cx.fx.text(conn, Class::Control, |out| {
        let mut message = ObjectWriter::begin(out);
        message
            .str("type", "app_stopped")
            .str("packageName", package)
            .str("timestamp", now.as_str());
        message.end();
    });
}

/// `app_stopped` and then the close that it announces (protocol.md §9.6).
pub(crate) fn stop_app_socket(
    conn: ConnId,
    why: Option<StopWhy>,
    reason: CloseReason,
    cx: &mut Cx<'_>,
) {
    let word = if why == Some(StopWhy::User) {
        "user_disabled"
    } else {
        "system_stop"
    };
    let now = cx.now.iso();
    cx.fx.text(conn, Class::Control, |out| {
        let mut message = ObjectWriter::begin(out);
        message
            .str("type", "app_stopped")
            .str("reason", word)
            .str("timestamp", now.as_str());
        message.end();
    });
    cx.fx.close(conn, reason);
}

/// `tpa_connection_error` (protocol.md §9.5).
pub(crate) fn app_error(conn: ConnId, code: &str, text: &str, cx: &mut Cx<'_>) {
    coded(conn, "tpa_connection_error", code, text, cx);
}

/// `reconnect_rejected` (protocol.md §9.3).
pub(crate) fn reconnect_rejected(conn: ConnId, code: &str, text: &str, cx: &mut Cx<'_>) {
    coded(conn, "reconnect_rejected", code, text, cx);
}

/// `reconnect_deferred` (protocol.md §9.4).
pub(crate) fn reconnect_deferred(conn: ConnId, wait_ms: u64, cx: &mut Cx<'_>) {
    let now = cx.now.iso();
    cx.fx.text(conn, Class::Control, |out| {
        let mut message = ObjectWriter::begin(out);
        message
            .str("type", "reconnect_deferred")
            .str("code", "AWAITING_APP_RESTORE")
            .str("message", "Cloud is restoring app state")
            .num("timeoutMs", wait_ms)
            .str("timestamp", now.as_str());
        message.end();
    });
}

fn coded(conn: ConnId, kind: &str, code: &str, text: &str, cx: &mut Cx<'_>) {
    let now = cx.now.iso();
    cx.fx.text(conn, Class::Control, |out| {
        let mut message = ObjectWriter::begin(out);
        message
            .str("type", kind)
            .str("code", code)
            .str("message", text)
            .str("timestamp", now.as_str());
        message.end();
    });
}

/// The answer to an app's JSON `ping` (protocol.md §9.18).
pub(crate) fn app_pong(conn: ConnId, cx: &mut Cx<'_>) {
    let unix_ms = cx.now.unix_ms;
    cx.fx.text(conn, Class::Control, |out| {
        let mut message = ObjectWriter::begin(out);
        message.str("type", "pong").num("timestamp", unix_ms);
        message.end();
    });
}
