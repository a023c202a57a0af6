//! Layer 2, flow: an app socket is gone: grace, dormancy, ownership release (behaviour.md §2.9, 2.10, 2.12).

use crate::base::ids::{ConnId, Package};
use crate::session::effects::{Effect, LinkChange};
use crate::session::event::{CloseInfo, Sdk};
use crate::session::flow::{
    answers, attach, notices, requests, restart, screen, start, stop, sync, webhook,
};
use crate::session::managers::apps::start::{StartError, StartStage};
use crate::session::managers::apps::{AppState, Stop};
use crate::session::managers::health::EndReason;
use crate::session::timers::Timer;
use crate::session::{Cx, Session};

/// A socket closed. Sockets are matched by identity; what is not ours any more means nothing.
pub(crate) fn closed(s: &mut Session, conn: ConnId, info: &CloseInfo, cx: &mut Cx<'_>) {
    let attached = s.m.apps.by_conn(conn).map(|app| app.package.clone());
    if let Some(package) = attached {
        let since_ms = s.m.apps.get(&package).map_or(0, |app| app.attached_ms);
        let attached_ms = cx.now.mono_ms.saturating_sub(since_ms);
        if let Some(more) = s.m.apps.may_tell(cx.now.mono_ms) {
            tracing::info!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, conn = %conn.tag(), code = info.code, reason = %info.reason, attached_ms, more, "app-ws-close");
        }
        attach::forget_unattached(s, conn);
        lost(s, &package, EndReason::from_close(info), cx);
        return;
    }
    let stopping = s.m.apps.stopping_by_conn(conn).map(|a| a.package.clone());
    if let Some(package) = stopping {
        stop::socket_closed(s, &package);
        return;
    }
    // Of these only those that stay beside an attached one are watched.
    s.m.health
        .unregister(conn, EndReason::from_close(info), cx.now.mono_ms);
    attach::forget_unattached(s, conn);
}

/// The attached socket of a running app is gone unexpectedly.
pub(crate) fn lost(s: &mut Session, package: &Package, reason: EndReason, cx: &mut Cx<'_>) {
    let Some(app) = s.m.apps.get_mut(package) else {
        return;
    };
    let Some(conn) = app.conn.take() else { return };
    let released = app.released;
    app.state = match (released, app.sdk) {
        (true, _) => AppState::Dormant,
        (false, Sdk::V3) => AppState::TransportDown,
        (false, Sdk::V2) => AppState::GracePeriod,
    };
    app.lost_ms = (!released).then_some(cx.now.mono_ms);
    s.m.health.unregister(conn, reason, cx.now.mono_ms);
    requests::app_lost(s, package, cx);
    if released {
        stop::remove_traces(s, package, cx);
        made_dormant(s, package, cx);
        return;
    }
    let at_ms = cx.now.mono_ms + cx.cfg.apps.app_grace_ms;
    s.timers.set(Timer::AppGrace(package.clone()), at_ms);
    cx.fx.push(Effect::AppLink {
        package: package.clone(),
        key_sha256: String::new(),
        change: match reason {
            EndReason::HealthMonitor | EndReason::Timeout => LinkChange::LostSilent,
            _ => LinkChange::Lost,
        },
    });
    sync::sockets_changed(s, cx);
}

/// A lost app is waited for no longer: it is back, is being started or stopped, or has fallen.
pub(crate) fn end_grace(s: &mut Session, package: &Package) {
    for timer in [Timer::AppGrace, Timer::AppRestart] {
        s.timers.cancel(&timer(package.clone()));
    }
}

/// The grace (or the jitter after it) ended without a new socket.
pub(crate) fn grace_ended(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let state = s.m.apps.state(package);
    if !matches!(state, AppState::GracePeriod | AppState::TransportDown) {
        return;
    }
    if s.m.phone.open().is_none() {
        fall_asleep(s, package, cx);
        return;
    }
    let Some(app) = s.m.apps.get_mut(package) else {
        return;
    };
    let jitter_ms = std::mem::take(&mut app.restart_jitter_ms);
    if jitter_ms > 0 {
        let at_ms = cx.now.mono_ms + jitter_ms;
        s.timers.set(Timer::AppRestart(package.clone()), at_ms);
        return;
    }
    restart::restart(s, package, cx);
}

/// A lost app is not restarted while the phone is away: the user may be on another instance, from which that would take the app.
pub(crate) fn fall_asleep(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    if let Some(app) = s.m.apps.get_mut(package) {
        app.state = AppState::Dormant;
    }
    s.timers.cancel(&Timer::AppStuck(package.clone()));
    // Its set stays for the return, but counts for nothing until then.
    screen::app_gone(s, package, cx);
    sync::sockets_changed(s, cx);
    made_dormant(s, package, cx);
}

fn made_dormant(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    attach::link_ended(package, cx);
    notices::app_state_changed(s, cx);
}

/// Many sockets of the app were lost at once: its restart is spread.
pub(crate) fn mass_disconnect(s: &mut Session, package: &str, jitter_ms: u64) {
    if let Some(app) = s.m.apps.get_mut(package)
        && matches!(app.state, AppState::GracePeriod | AppState::TransportDown)
    {
        app.restart_jitter_ms = jitter_ms;
    }
}

/// The session has no phone at its start: apps that should run wait for it, but may come by themselves.
pub(crate) fn expect_later(s: &mut Session, package: &Package) {
    let app = s.m.apps.ensure(package);
    if app.state == AppState::Stopped && app.start.is_none() {
        app.state = AppState::Dormant;
    }
}

/// Ends an app session at disposal of its user session; returns its sockets and whoever waited for its stop.
pub(crate) fn end_with_session(
    s: &mut Session,
    package: &Package,
    cx: &mut Cx<'_>,
) -> (Vec<ConnId>, Option<Stop>) {
    let error = StartError::new(StartStage::Disposed, answers::SESSION_ENDED);
    start::abandon(s, package, &error, cx);
    webhook::forget_earlier(s, package, cx);
    let Some(app) = s.m.apps.get_mut(package) else {
        return (Vec::new(), None);
    };
    // One whose socket closed during its stop counts as stopped already, but is not out of its server's sessions yet.
    let counted = app.is_active();
    let stop = app.stop.take();
    let held = stop.as_ref().and_then(|stop| stop.conn);
    let conns = app.conn.take().into_iter().chain(held).collect();
    if counted {
        attach::link_ended(package, cx);
    }
    app.state = AppState::Stopped;
    (conns, stop)
}
