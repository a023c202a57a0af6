//! Layer 2, flow: recovery of an app whose server restarted (behaviour.md §2.14), also while a start of it goes on.

use crate::base::ids::Package;
use crate::base::metrics::Counter;
use crate::session::effects::RestAnswer;
use crate::session::flow::{start, webhook};
use crate::session::managers::apps::AppSession;
use crate::session::managers::apps::start::{Phase, Recovery};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};

/// Skipped where the app is not expected to run, where the glasses are not for it, and where a recovery goes on already.
pub(crate) fn recover(s: &mut Session, package: &Package, recovery: Recovery, cx: &mut Cx<'_>) {
    let wanted = s.m.apps.get(package).is_some_and(is_wanted);
    let record = cx.apps.get(package);
    let fits = record.is_none_or(|record| start::lacks_hardware(s, record).is_none());
    if !wanted || !fits {
        if let Some(reply) = recovery.reply {
            cx.fx.reply(reply, RestAnswer::json(409, "{}"));
        }
        return;
    }
    let app = s.m.apps.get_mut(package);
    let Some(going_on) = app.and_then(|app| app.start.as_mut()) else {
        start::recover(s, package, recovery, cx);
        return;
    };
    // The start stays, for whoever waits for it. Its request that is on its way, or still to come, is the recovery's as well:
    // no two are under way (§13.1, 11). One that was delivered before went to the process that is gone.
    if going_on.recovery.replace(recovery).is_some() {
        cx.metrics.inc(Counter::RecoveriesFailed);
    }
    if going_on.phase != Phase::Connecting || going_on.call.is_some() {
        return;
    }
    let deadline_ms = cx.now.mono_ms + cx.cfg.apps.app_start_timeout_ms;
    going_on.deadline_ms = deadline_ms;
    going_on.attempts = 0;
    going_on.delivered = false;
    s.timers.set(Timer::AppStart(package.clone()), deadline_ms);
    s.timers.cancel(&Timer::WebhookRetry(package.clone()));
    webhook::send_session_request(s, package, cx);
}

fn is_wanted(app: &AppSession) -> bool {
    let recovery = app.start.as_ref().and_then(|start| start.recovery.as_ref());
    let goes_on = recovery.is_some_and(|recovery| recovery.reply.is_some());
    app.state.accepts_socket() && !app.user_stopped && !goes_on
}
