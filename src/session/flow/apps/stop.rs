//! Layer 2, flow: stopping an app in the order of behaviour.md §2.8. Callers are answered when the stop is done and durable.

use crate::base::close::CloseReason;
use crate::base::ids::Package;
use crate::session::effects::{Effect, UnderWay};
use crate::session::flow::{
    answers, attach, lost, notices, requests, restart, screen, start, sync, webhook,
};
use crate::session::managers::apps::intent::Wanted;
use crate::session::managers::apps::start::{StartError, StartStage};
use crate::session::managers::apps::{AppState, Stop, StopWhy, Waiter};
use crate::session::managers::health::EndReason;
use crate::session::timers::Timer;
use crate::session::{Cx, Session};

/// Whether a deliberate stop of the app is still going on.
pub(crate) fn in_progress(s: &Session, package: &str) -> bool {
    s.m.apps
        .get(package)
        .and_then(|app| app.stop.as_ref())
        .is_some_and(|stop| stop.why.is_some())
}

/// Stops an app in whatever state it is. The waiter is answered exactly once.
pub(crate) fn stop(
    s: &mut Session,
    package: &str,
    why: StopWhy,
    waiter: Option<Waiter>,
    cx: &mut Cx<'_>,
) {
    let waiters: Vec<Waiter> = waiter.into_iter().collect();
    let protected = matches!(
        why,
        StopWhy::User | StopWhy::Foreground | StopWhy::Uninstall
    ) && start::is_dashboard_app(cx.cfg, package);
    let Some(app) = s.m.apps.get_mut(package).filter(|_| !protected) else {
        answer_idle(s, &Package::new(package), why, waiters, cx);
        return;
    };
    let package = app.package.clone();
    if why != StopWhy::Incompatible && app.is_active() {
        app.user_stopped = true;
    }
    let record = cx
        .apps
        .last_known(&package)
        .filter(|_| why == StopWhy::Incompatible);
    let stopped = record
        .and_then(|record| start::lacks_hardware(s, record))
        .unwrap_or_else(|| StartError::new(StartStage::Connection, "stopped"));
    if in_progress(s, &package) {
        start::abandon(s, &package, &stopped, cx);
        join(s, &package, why, waiters);
        return;
    }
    if !s.m.apps.get(&package).is_some_and(|app| app.is_active()) {
        answer_idle(s, &package, why, waiters, cx);
        return;
    }
    start::abandon(s, &package, &stopped, cx);
    restart::restart_ended(s, &package, cx);
    if s.m.apps.state(&package) == AppState::Stopped {
        // Only reserved: no webhook went out that a stop webhook would have to take back.
        finish(s, &package, why, waiters, cx);
        return;
    }
    begin(s, &package, why, waiters, cx);
}

/// Stops an app that runs or starts and lacks hardware on the new glasses, without forgetting that the user wants it.
pub(crate) fn incompatible(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    stop(s, package, StopWhy::Incompatible, None, cx);
}

fn join(s: &mut Session, package: &str, why: StopWhy, waiters: Vec<Waiter>) {
    if let Some(stop) = s.m.apps.get_mut(package).and_then(|app| app.stop.as_mut()) {
        stop.waiters.extend(waiters);
        if stop.why == Some(StopWhy::Incompatible) {
            stop.why = Some(why);
        }
    }
}

/// Nothing to stop. An uninstall still takes the package off the stored list, and so does any stop while nobody knows that list:
/// the app would start as soon as it is read.
fn answer_idle(
    s: &mut Session,
    package: &Package,
    why: StopWhy,
    waiters: Vec<Waiter>,
    cx: &mut Cx<'_>,
) {
    let intent = &s.m.apps.intent;
    let listed = intent.is_running(package);
    let may_be_listed = intent.unread.is_some() && cx.apps.get(package).is_some();
    if listed && why != StopWhy::Uninstall {
        // The intent outlived a failed start; a stop of a stopped app does nothing (§2.8).
        answers::succeed(s, Wanted::No, package, &waiters, cx);
    } else if waiters.is_empty() {
        if listed || may_be_listed {
            answers::store_intent(s, package, Wanted::No, waiters, cx);
        }
    } else {
        answers::when_durable(s, package, Wanted::No, waiters, cx);
    }
}

/// Steps 1 to 5: stopping, everything of the app removed, stop webhook out.
fn begin(s: &mut Session, package: &Package, why: StopWhy, waiters: Vec<Waiter>, cx: &mut Cx<'_>) {
    let Some(app) = s.m.apps.get_mut(package) else {
        return;
    };
    app.state = AppState::Stopping;
    let conn = app.conn.take();
    // A v2 restart may have its stop webhook out already: it is not sent twice.
    let earlier = app.stop.take().and_then(|stop| stop.call);
    app.stop = Some(Stop {
        why: Some(why),
        call: earlier,
        conn,
        waiters,
    });
    lost::end_grace(s, package);
    webhook::forget_refusal(s, package);
    let stuck_ms = cx.now.mono_ms + cx.cfg.apps.app_stuck_ms;
    s.timers.set(Timer::AppStuck(package.clone()), stuck_ms);
    if let Some(conn) = conn {
        s.m.health
            .unregister(conn, EndReason::ExplicitStop, cx.now.mono_ms);
    }
    remove_traces(s, package, cx);
    requests::app_stopped(s, package, cx);
    notices::app_state_changed(s, cx);
    if earlier.is_some() {
        return;
    }
    match webhook::send_stop_request(s, package, cx) {
        Some(call) => {
            if let Some(stop) = s.m.apps.get_mut(package).and_then(|app| app.stop.as_mut()) {
                stop.call = Some(call);
            }
        }
        None => webhook_done(s, package, cx),
    }
}

/// Steps 2 and 4: subscriptions, display and dashboard. Streams and requests (step 3) end only with a stop: they belong to the
/// user's session and survive a restart and dormancy (behaviour.md §2.8, 2.12, 7.6).
pub(crate) fn remove_traces(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    sync::subscriptions_removed(s, package, cx);
    screen::app_gone(s, package, cx);
}

/// The stop webhook was answered, failed or timed out.
pub(crate) fn webhook_done(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    s.timers.cancel(&Timer::StopWait(package.clone()));
    let Some(stop) = s.m.apps.get_mut(package).and_then(|app| app.stop.take()) else {
        return;
    };
    let Some(why) = stop.why else {
        restart::stop_webhook_done(s, package, cx);
        return;
    };
    if let Some(conn) = stop.conn {
        notices::stop_app_socket(conn, Some(why), CloseReason::AppStopped, cx);
    }
    finish(s, package, why, stop.waiters, cx);
}

/// Steps 7 and 8: stored list, state stopped, answers.
fn finish(s: &mut Session, package: &Package, why: StopWhy, waiters: Vec<Waiter>, cx: &mut Cx<'_>) {
    let mut ran_ms = 0;
    if let Some(app) = s.m.apps.get_mut(package) {
        app.state = AppState::Stopped;
        app.released = false;
        app.hello = None;
        let since_ms = app.wanted_since_ms.take().unwrap_or(cx.now.mono_ms);
        ran_ms = cx.now.mono_ms.saturating_sub(since_ms);
    }
    if s.m.apps.get(package).is_some_and(|app| app.start.is_none()) {
        s.timers.cancel(&Timer::AppStuck(package.clone()));
    }
    if let Some(more) = s.m.apps.may_tell(cx.now.mono_ms) {
        tracing::info!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, why = ?why, ran_ms, more, "app-stop");
    }
    attach::end_beside(s, package, Some(why), cx);
    attach::link_ended(package, cx);
    if why == StopWhy::Incompatible {
        answers::succeed(s, Wanted::No, package, &waiters, cx);
        notices::tell_phone_stopped(s, package, cx);
    } else {
        notices::touched(s, package, cx);
        answers::store_intent(s, package, Wanted::No, waiters, cx);
    }
    notices::app_state_changed(s, cx);
    start::unblock(s, package, cx);
}

/// The socket of a stopping app is gone: the app is stopped, never in grace; the procedure ends by itself.
pub(crate) fn socket_closed(s: &mut Session, package: &str) {
    if let Some(app) = s.m.apps.get_mut(package) {
        app.state = AppState::Stopped;
        if let Some(stop) = &mut app.stop {
            stop.conn = None;
        }
    }
}

/// A transitional state lasted too long: forced to stopped (behaviour.md §2.10).
pub(crate) fn stuck(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, state = s.m.apps.state(package).as_str(), "app stuck");
    if in_progress(s, package) {
        // A start that waited for this has only now begun.
        webhook_done(s, package, cx);
        return;
    }
    let error = StartError::new(StartStage::Timeout, "stuck");
    if s.m.apps.get(package).is_some_and(|app| app.start.is_some()) {
        start::fail(s, package, &error, cx);
    } else if s.m.apps.state(package) == AppState::Resurrecting {
        drop_restart_stop(s, package, cx);
        start::fall(s, package, cx);
        notices::tell_phone_stopped(s, package, cx);
        notices::app_state_changed(s, cx);
        restart::restart_ended(s, package, cx);
    }
}

/// A v2 restart is overtaken (the app came back): its stop webhook no longer matters.
pub(crate) fn drop_restart_stop(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let Some(app) = s.m.apps.get_mut(package) else {
        return;
    };
    if app.stop.as_ref().is_none_or(|stop| stop.why.is_some()) {
        return;
    }
    if let Some(call) = app.stop.take().and_then(|stop| stop.call) {
        // Read late it would end the session that has just begun.
        let under_way = UnderWay::Cut;
        cx.fx.push(Effect::CancelHttp { call, under_way });
    }
    s.timers.cancel(&Timer::StopWait(package.clone()));
}
