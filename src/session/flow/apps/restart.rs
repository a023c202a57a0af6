//! Layer 2, flow: restarting an app that was lost (behaviour.md §2.10): v3 keeps its subscriptions, v2 gets the stop webhook
//! first; dormant apps come back a few at a time when the phone returns.

use crate::base::ids::Package;
use crate::session::event::Sdk;
use crate::session::flow::{lost, screen, start, stop, sync, webhook};
use crate::session::managers::apps::start::StartOrigin;
use crate::session::managers::apps::{AppState, Stop};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};

/// Restarts one lost or dormant app.
pub(crate) fn restart(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let Some(app) = s.m.apps.get_mut(package) else {
        return;
    };
    app.state = AppState::Resurrecting;
    let was_attached = app.attached_ms > 0;
    let sdk = app.sdk;
    if let Some(more) = s.m.apps.may_tell(cx.now.mono_ms) {
        tracing::info!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, v3 = (sdk == Sdk::V3), more, "resurrection");
    }
    let stuck_ms = cx.now.mono_ms + cx.cfg.apps.app_stuck_ms;
    s.timers.set(Timer::AppStuck(package.clone()), stuck_ms);
    // On glasses that it cannot run on the start ends at once: there is nothing to prepare it for.
    let record = cx.apps.get(package);
    let is_hopeless = record.is_some_and(|record| start::lacks_hardware(s, record).is_some());
    if sdk == Sdk::V3 || !was_attached || is_hopeless {
        screen::app_gone(s, package, cx);
        // The set of one that was dormant counts again.
        sync::sockets_changed(s, cx);
        start::request(s, package, StartOrigin::Restart, None, cx);
        return;
    }
    stop::remove_traces(s, package, cx);
    match webhook::send_stop_request(s, package, cx) {
        Some(call) => {
            if let Some(app) = s.m.apps.get_mut(package) {
                app.stop = Some(Stop {
                    why: None,
                    call: Some(call),
                    conn: None,
                    waiters: Vec::new(),
                });
            }
        }
        None => stop_webhook_done(s, package, cx),
    }
}

/// The stop webhook of a v2 restart is done: now the start, the user's own if there is one.
pub(crate) fn stop_webhook_done(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    if s.m.apps.get(package).is_some_and(|app| app.start.is_some()) {
        start::unblock(s, package, cx);
    } else if s.m.apps.state(package) != AppState::Resurrecting {
        // Whatever became of it meanwhile is later than this restart.
    } else if s.m.phone.open().is_some() {
        start::request(s, package, StartOrigin::Restart, None, cx);
    } else {
        lost::fall_asleep(s, package, cx);
        restart_ended(s, package, cx);
    }
}

/// The phone returned: every dormant app is restarted, `resurrect_concurrency` at a time.
pub(crate) fn restart_dormant(s: &mut Session, cx: &mut Cx<'_>) {
    let dormant: Vec<Package> =
        s.m.apps
            .iter()
            .filter(|app| app.state == AppState::Dormant)
            .map(|app| app.package.clone())
            .collect();
    for package in dormant {
        if !s.m.apps.restart_queue.contains(&package) {
            s.m.apps.restart_queue.push_back(package);
        }
    }
    next(s, cx);
}

/// A restart of the queue ended, however it did.
pub(crate) fn restart_ended(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let before = s.m.apps.restarting.len();
    s.m.apps.restarting.retain(|running| running != package);
    if s.m.apps.restarting.len() < before {
        next(s, cx);
    }
}

fn next(s: &mut Session, cx: &mut Cx<'_>) {
    let limit = cx.cfg.apps.resurrect_concurrency as usize;
    while s.m.apps.restarting.len() < limit {
        let Some(package) = s.m.apps.restart_queue.pop_front() else {
            return;
        };
        let still_dormant = s.m.apps.state(&package) == AppState::Dormant;
        let idle = s.m.apps.get(&package).is_some_and(|a| a.start.is_none());
        if still_dormant && idle && s.m.phone.open().is_some() {
            s.m.apps.restarting.push(package.clone());
            restart(s, &package, cx);
        }
    }
}
