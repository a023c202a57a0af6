//! Layer 2, flow: an authenticated socket becomes the app's socket: replacement, ack first, then everything else
//! (behaviour.md §2.6, 2.13); and parked sockets (§2.7.1).

use crate::base::close::CloseReason;
use crate::base::ids::{ConnId, Package};
use crate::base::metrics::Timing;
use crate::session::effects::{Class, Effect, LinkChange};
use crate::session::event::{AppHello, HelloKind, Sdk};
use crate::session::flow::{answers, device, lost, notices, requests, restart, start, stop, sync};
use crate::session::lines::Line;
use crate::session::managers::apps::intent::Wanted;
use crate::session::managers::apps::sockets::{BESIDE_MAX, Parked, Replaced};
use crate::session::managers::apps::start::StartOrigin;
use crate::session::managers::apps::{AppState, StopWhy};
use crate::session::managers::health::{EndReason, Peer};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::hello::BOOT_TIMEOUT;
use crate::wire::json::ObjectWriter;

/// Attaches a socket whose checks have passed.
pub(crate) fn attach(s: &mut Session, conn: ConnId, hello: AppHello, cx: &mut Cx<'_>) {
    let package = cx.apps.name(&hello.package);
    let (kind, sdk) = (hello.kind, hello.sdk);
    forget_unattached(s, conn);
    let origin =
        s.m.apps
            .get(&package)
            .and_then(|app| Some(app.start.as_ref()?.origin));
    let unasked = origin.is_none();
    replace_old(s, &package, conn, unasked && sdk == Sdk::V2, cx);
    stop::drop_restart_stop(s, &package, cx);
    lost::end_grace(s, &package);
    s.timers.cancel(&Timer::AppStuck(package.clone()));
    let now_ms = cx.now.mono_ms;
    let app = s.m.apps.ensure(&package);
    if let Some(lost_ms) = app.lost_ms.take()
        && app.state.awaits_return()
    {
        let downtime_ns = now_ms.saturating_sub(lost_ms) * 1_000_000;
        cx.metrics.time(Timing::AppDowntime, downtime_ns);
    }
    app.state = AppState::Running;
    app.conn = Some(conn);
    app.sdk = sdk;
    app.restarted = origin.is_some_and(|origin| origin != StartOrigin::User);
    app.attached_ms = now_ms;
    app.wanted_since_ms.get_or_insert(now_ms);
    app.released = false;
    app.restart_jitter_ms = 0;
    app.bad_json = 0;
    app.named_another = false;
    app.told_full_ms = None;
    app.failures.clear();
    app.hello = Some(Box::new(hello));
    s.m.health
        .register(conn, Peer::App(package.clone()), now_ms);
    if let Some(more) = s.m.apps.may_tell(cx.now.mono_ms) {
        tracing::info!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, conn = %conn.tag(), v3 = (sdk == Sdk::V3), kind = ?kind, more, "app attached");
    }
    send_ack(s, &package, conn, kind, cx);
    device::send_snapshot(s, &package, conn, cx);
    requests::app_attached(s, &package, cx);
    link_attached(&package, cx);
    sync::sockets_changed(s, cx);
    store_running(s, &package, cx);
    start::succeeded(s, &package, cx);
    // The app may have come back before its queued restart began.
    restart::restart_ended(s, &package, cx);
    notices::app_state_changed(s, cx);
}

/// An attach writes the stored list only when the app was not on it (behaviour.md §12.4). Where somebody waits for the start,
/// or a user asked for it, the write belongs to the answer.
fn store_running(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let start = s.m.apps.get(package).and_then(|app| app.start.as_ref());
    let answered =
        start.is_some_and(|start| start.origin == StartOrigin::User || !start.waiters.is_empty());
    let listed = s.m.apps.intent.is_running(package);
    if !answered && !listed && !start::is_dashboard_app(cx.cfg, package) {
        answers::store_intent(s, package, Wanted::Yes, Vec::new(), cx);
    }
}

/// `tpa_connection_ack` or `reconnect_ack` (protocol.md §9.1, 9.2).
pub(crate) fn send_ack(
    s: &Session,
    package: &Package,
    conn: ConnId,
    kind: HelloKind,
    cx: &mut Cx<'_>,
) {
    let name = match kind {
        HelloKind::Init => "tpa_connection_ack",
        HelloKind::Reconnect => "reconnect_ack",
    };
    let settings = match cx.apps.get(package) {
        Some(record) => device::app_settings_json(s, record),
        None => b"[]".to_vec(),
    };
    let system = device::mentraos_settings_json(s);
    let capabilities = device::capabilities_json(s);
    let subscriptions = sync::subscriptions_json(s, package);
    let session_id = s.app_session_id(package);
    let now = cx.now.iso();
    cx.fx.text(conn, Class::Control, |out| {
        let mut message = ObjectWriter::begin(out);
        message
            .str("type", name)
            .str("sessionId", &session_id)
            .raw("settings", &settings)
            .raw("mentraosSettings", &system)
            .raw("capabilities", &capabilities)
            .raw("subscriptions", &subscriptions)
            .str("userId", &s.user)
            .str("timestamp", now.as_str());
        message.end();
    });
}

/// The attached socket, if another one, is detached at once and closed later (behaviour.md §2.13).
fn replace_old(s: &mut Session, package: &Package, conn: ConnId, is_retry: bool, cx: &Cx<'_>) {
    let Some(old) = s.m.apps.open_conn(package).filter(|old| *old != conn) else {
        return;
    };
    let stays = is_retry && may_stay(s, package);
    detach(s, package, old, stays, cx);
}

/// Whether the attached socket is of an SDK before 2.1.29 that got a second session of its user when the server restarted the app,
/// and whose first one has now come back by itself. Such an SDK forgets the user, for its web views and tools too, when either
/// socket closes, whatever the code, and goes on with the second session when it is asked for the user.
fn may_stay(s: &Session, package: &Package) -> bool {
    let mut beside = s.m.apps.sockets.beside(package);
    let app = s.m.apps.get(package);
    app.is_some_and(|app| app.sdk == Sdk::V2 && (app.restarted || beside.next().is_some()))
        && s.m.apps.sockets.beside(package).count() < BESIDE_MAX
}

fn detach(s: &mut Session, package: &Package, old: ConnId, stays: bool, cx: &Cx<'_>) {
    if let Some(app) = s.m.apps.get_mut(package) {
        app.conn = None;
    }
    if !stays {
        s.m.health
            .unregister(old, EndReason::Superseded, cx.now.mono_ms);
    }
    s.m.apps.sockets.replaced.push(Replaced {
        conn: old,
        package: package.clone(),
        stays,
    });
    let at_ms = cx.now.mono_ms + cx.cfg.connections.replaced_linger_ms;
    s.timers.set(Timer::Replaced(old), at_ms);
}

/// The app has ended: so do the sockets that stayed beside its attached one.
pub(crate) fn end_beside(
    s: &mut Session,
    package: &Package,
    why: Option<StopWhy>,
    cx: &mut Cx<'_>,
) {
    let conns: Vec<ConnId> = s.m.apps.sockets.beside(package).collect();
    for conn in conns {
        s.m.health
            .unregister(conn, EndReason::ExplicitStop, cx.now.mono_ms);
        s.m.apps.sockets.forget(conn);
        s.timers.cancel(&Timer::Replaced(conn));
        notices::stop_app_socket(conn, why, CloseReason::AppStopped, cx);
    }
}

/// A recovery restarts a running app: its socket, if one is still there, is treated as replaced.
pub(crate) fn detach_for_restart(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    if let Some(old) = s.m.apps.open_conn(package) {
        detach(s, package, old, false, cx);
        requests::app_lost(s, package, cx);
    }
    if let Some(app) = s.m.apps.get_mut(package) {
        app.state = AppState::Resurrecting;
    }
    stop::drop_restart_stop(s, package, cx);
    lost::end_grace(s, package);
    sync::sockets_changed(s, cx);
}

/// A replaced socket is still open: it is told to leave for good, unless it stays.
pub(crate) fn replaced_linger_ended(s: &mut Session, conn: ConnId, cx: &mut Cx<'_>) {
    let Some(row) = s.m.apps.sockets.replaced(conn) else {
        return;
    };
    // An SDK that moves to a new socket closes its old one itself: here two instances answer for one user, or one whose
    // ended session came back.
    let (package, stays) = (row.package.clone(), row.stays);
    if let Some(more) = cx.lines.may(Line::TwoConnections, cx.now.mono_ms) {
        tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, conn = %conn.tag(), stays, more, "two connections of one app");
    }
    if !stays {
        s.m.apps.sockets.take_replaced(conn);
        notices::stop_app_socket(conn, None, CloseReason::Replaced, cx);
    }
}

/// The socket is none of those that are attached to no app any more: nothing of that kind is due for it.
pub(crate) fn forget_unattached(s: &mut Session, conn: ConnId) {
    if s.m.apps.sockets.forget(conn) {
        for timer in [Timer::Parked, Timer::RejectLinger, Timer::Replaced] {
            s.timers.cancel(&timer(conn));
        }
    }
}

/// Parks a socket; an older one of the same app gives way.
pub(crate) fn park(
    s: &mut Session,
    conn: ConnId,
    hello: AppHello,
    expires_ms: u64,
    cx: &mut Cx<'_>,
) {
    if let Some(older) = s.m.apps.sockets.take_parked(&hello.package)
        && older.conn != conn
    {
        s.timers.cancel(&Timer::Parked(older.conn));
        cx.fx.close(older.conn, CloseReason::DeferredSuperseded);
    }
    s.timers.set(Timer::Parked(conn), expires_ms);
    s.m.apps.sockets.parked.push(Parked {
        conn,
        hello,
        expires_ms,
        invalid_json: 0,
    });
}

/// A start consumes the parked socket of its app; `false` when there is none (or it has just expired).
pub(crate) fn attach_parked(s: &mut Session, package: &Package, cx: &mut Cx<'_>) -> bool {
    let Some(parked) = s.m.apps.sockets.take_parked(package) else {
        return false;
    };
    s.timers.cancel(&Timer::Parked(parked.conn));
    if parked.expires_ms <= cx.now.mono_ms {
        const TEXT: &str = "Deferred reconnect timed out while cloud was restoring state";
        boot_timeout(parked.conn, TEXT, cx);
        return false;
    }
    attach(s, parked.conn, parked.hello, cx);
    true
}

/// A parked socket's time is over.
pub(crate) fn parked_expired(s: &mut Session, conn: ConnId, cx: &mut Cx<'_>) {
    if s.m.apps.sockets.forget(conn) {
        boot_timeout(conn, BOOT_TIMEOUT, cx);
    }
}

fn boot_timeout(conn: ConnId, text: &str, cx: &mut Cx<'_>) {
    notices::reconnect_rejected(conn, "BOOT_TIMEOUT", text, cx);
    cx.fx.close(conn, CloseReason::DeferredTimeout);
}

fn link_attached(package: &Package, cx: &mut Cx<'_>) {
    let key_sha256 = cx
        .apps
        .get(package)
        .map(|record| record.key_sha256.clone())
        .unwrap_or_default();
    cx.fx.push(Effect::AppLink {
        package: package.clone(),
        key_sha256,
        change: LinkChange::Attached,
    });
}

/// The app no longer counts as a session of its server.
pub(crate) fn link_ended(package: &Package, cx: &mut Cx<'_>) {
    cx.fx.push(Effect::AppLink {
        package: package.clone(),
        key_sha256: String::new(),
        change: LinkChange::Ended,
    });
}
