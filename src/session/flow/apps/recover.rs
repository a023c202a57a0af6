//! Layer 2, flow: recovery of an app whose server restarted (behaviour.md §2.14), also while a start of it goes on.

use crate::base::ids::{Package, ReplyTo};
use crate::session::effects::RestAnswer;
use crate::session::flow::{attach, start, webhook};
use crate::session::managers::apps::AppSession;
use crate::session::managers::apps::start::{Phase, Recovery, Start, StartOrigin};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::records::AppRecord;
use std::sync::Arc;

/// What a recovery call learns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Recovered {
    /// The webhook was accepted, or the app came back before its answer.
    Accepted,
    /// It was not.
    Failed,
}

/// Skipped where the app is not expected to run, has no record any more, or is not for these glasses, and where a recovery goes
/// on already.
pub(crate) fn recover(s: &mut Session, package: &Package, recovery: Recovery, cx: &mut Cx<'_>) {
    let wanted = s.m.apps.get(package).is_some_and(is_wanted);
    let record = cx.apps.get(package).filter(|_| wanted).cloned();
    let Some(record) = record.filter(|record| start::lacks_hardware(s, record).is_none()) else {
        if let Some(reply) = recovery.reply {
            cx.fx.reply(reply, RestAnswer::json(409, "{}"));
        }
        return;
    };
    let app = s.m.apps.get_mut(package);
    let Some(going_on) = app.and_then(|app| app.start.as_mut()) else {
        restart(s, package, recovery, &record, cx);
        return;
    };
    // The start stays, for whoever waits for it. Its request that is on its way, or still to come, is the recovery's as well:
    // no two are under way (§13.1, 11). What was tried before went to the process that is gone, and so may this one.
    going_on.recovery = Some(recovery);
    if going_on.phase != Phase::Connecting {
        return;
    }
    let deadline_ms = cx.now.mono_ms + cx.cfg.apps.app_start_timeout_ms;
    going_on.deadline_ms = deadline_ms;
    going_on.attempts = 0;
    going_on.delivered = false;
    let is_under_way = going_on.call.is_some();
    s.timers.set(Timer::AppStart(package.clone()), deadline_ms);
    if !is_under_way {
        s.timers.cancel(&Timer::WebhookRetry(package.clone()));
        webhook::send_session_request(s, package, cx);
    }
}

fn is_wanted(app: &AppSession) -> bool {
    let recovery = app.start.as_ref().and_then(|start| start.recovery.as_ref());
    let goes_on = recovery.is_some_and(|recovery| recovery.reply.is_some());
    app.state.accepts_socket() && !app.user_stopped && !goes_on
}

/// `resurrecting → connecting`, webhook to the registration's URL.
fn restart(
    s: &mut Session,
    package: &Package,
    recovery: Recovery,
    record: &Arc<AppRecord>,
    cx: &mut Cx<'_>,
) {
    attach::detach_for_restart(s, package, cx);
    let mut start = Start::reserve(StartOrigin::Restart, cx.now.mono_ms);
    start.recovery = Some(recovery);
    start::reserve(s, package, start, record, cx);
}

/// The webhook was accepted: tells the caller, once.
pub(crate) fn accepted(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let start = s.m.apps.get_mut(package).and_then(|app| app.start.as_mut());
    let recovery = start.and_then(|start| start.recovery.as_mut());
    if let Some(reply) = recovery.and_then(|recovery| recovery.reply.take()) {
        answer(reply, Recovered::Accepted, cx);
    }
}

/// The start is over: tells a caller that does not know yet.
pub(crate) fn ended(start: &Start, outcome: Recovered, cx: &mut Cx<'_>) {
    if let Some(reply) = start.recovery.as_ref().and_then(|recovery| recovery.reply) {
        answer(reply, outcome, cx);
    }
}

fn answer(reply: ReplyTo, outcome: Recovered, cx: &mut Cx<'_>) {
    let status = match outcome {
        Recovered::Accepted => 200,
        Recovered::Failed => 502,
    };
    cx.fx.reply(reply, RestAnswer::json(status, "{}"));
}
