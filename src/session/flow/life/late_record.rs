//! Layer 2, flow: a user record that could not be read when the session began (behaviour.md §1.4): the session goes on with
//! defaults, asks again until the store answers, and then makes up for it. So it does while the store's apps are unknown.

use crate::base::ids::Package;
use crate::session::effects::Effect;
use crate::session::flow::{lifecycle, notices, user_settings};
use crate::session::lines::Line;
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::records::UserRecord;
use serde_json::Value;

/// Longest pause between two attempts (ms), as for writes.
const PAUSE_MAX_MS: u64 = 30_000;

/// One more attempt failed: the next follows after `db_retry_ms`, doubled each time; up to a quarter sooner, so that the users of
/// an outage do not come back to the store all at once.
pub(crate) fn missed(s: &mut Session, cx: &Cx<'_>) {
    let unread = &mut s.m.apps.intent.unread;
    let failed_before = unread.map_or(0, |tries| tries.saturating_add(1));
    *unread = Some(failed_before);
    let first_ms = cx.cfg.store.db_retry_ms;
    let pause_ms = first_ms.saturating_mul(1 << failed_before.min(16));
    let pause_ms = pause_ms.min(PAUSE_MAX_MS.max(first_ms));
    let pause_ms = pause_ms - s.rng().u64(0..=pause_ms / 4);
    s.timers.set(Timer::UserRetry, cx.now.mono_ms + pause_ms);
}

/// The store took something of this user's: it answers again, so the pause is over.
pub(crate) fn store_answers(s: &mut Session, cx: &mut Cx<'_>) {
    if s.timers.cancel(&Timer::UserRetry) {
        ask(s, cx);
    }
}

/// The pause is over.
pub(crate) fn ask(s: &mut Session, cx: &mut Cx<'_>) {
    cx.fx.push(Effect::LoadUser);
    let limit_ms = cx.cfg.store.db_timeout_ms + lifecycle::LOAD_SLACK_MS;
    s.timers.set(Timer::UserLoad, cx.now.mono_ms + limit_ms);
}

/// The store answered a session that goes on with defaults already, or did not (`None`).
pub(crate) fn answered(s: &mut Session, record: Option<Box<UserRecord>>, cx: &mut Cx<'_>) {
    if s.m.apps.intent.unread.is_none() {
        return;
    }
    s.timers.cancel(&Timer::UserLoad);
    s.timers.cancel(&Timer::UserRetry);
    let Some(record) = record.filter(|_| cx.apps.loaded) else {
        missed(s, cx);
        return;
    };
    if let Some(more) = cx.lines.may(Line::RecordLate, cx.now.mono_ms) {
        tracing::info!(user = %s.user, correlation_id = %s.correlation(cx.now), more, "user record read at last");
    }
    s.m.apps.intent.unread = None;
    let stale = told_defaults(s, &record);
    lifecycle::take_record(s, record, cx);
    user_settings::tell_apps(s, cx);
    for (package, stored) in stale {
        user_settings::app_changed(s, &package, stored, cx);
    }
    lifecycle::start_listed(s, cx);
    notices::app_state_changed(s, cx);
}

/// Running apps whose stored settings were not known when they were given theirs.
fn told_defaults(s: &Session, record: &UserRecord) -> Vec<(Package, Vec<Value>)> {
    let told = |(package, stored): (&String, &Vec<Value>)| {
        let is_stale = s.m.apps.is_running(package) && !s.m.settings.knows_app(package);
        is_stale.then(|| (Package::new(package), stored.clone()))
    };
    record.app_settings.iter().filter_map(told).collect()
}
