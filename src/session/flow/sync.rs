//! Layer 2, flow: after a subscription set or an app's reachability changed (behaviour.md §3.4). Every step can be repeated
//! and ends in the same state whatever was skipped.

use super::{calendar, location, notices};
use crate::base::ids::Package;
use crate::session::lines::Line;
use crate::session::managers::apps::Apps;
use crate::session::managers::speech::Trigger;
use crate::session::managers::subscriptions::Newly;
use crate::session::{Cx, Session};
use crate::wire::json::ArrayWriter;
use crate::wire::streams::{AUDIO_CHUNK, Need, Permission, StreamEvent};

/// Recomputes what derives from subscriptions and sockets: audio targets, microphone need, location tier, replays.
/// Called after every applied update; `package`: the app that asked.
pub(crate) fn subscriptions_changed(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    let newly = s.m.subscriptions.take_newly(package);
    // A list that only says again what is known disturbs nothing (behaviour.md §2.6).
    if newly.sound || need(s).pcm {
        s.m.speech.asked();
    }
    follow(s, package, newly, cx);
}

fn follow(s: &mut Session, package: &str, newly: Newly, cx: &mut Cx<'_>) {
    refresh_speech(s);
    location::sync_tier(s, cx);
    if newly.location {
        location::replay(s, package, cx);
    }
    if newly.calendar {
        calendar::replay(s, package, cx);
    }
    refresh_targets(s, cx);
    // Nor does it hold the microphone's off back anew.
    if newly.different || s.m.microphone.need() != need(s) {
        super::microphone::subscriptions_changed(s, cx);
    }
    super::recognisers::reconcile(s, Trigger::Subscription, cx);
}

/// An app's socket was attached or lost, or app records changed: delivery targets, and needs of apps that count no longer.
pub(crate) fn sockets_changed(s: &mut Session, cx: &mut Cx<'_>) {
    refresh_targets(s, cx);
    location::sync_tier(s, cx);
    let speech_changed = refresh_speech(s);
    if speech_changed || s.m.microphone.need() != need(s) {
        super::microphone::subscriptions_changed(s, cx);
    }
    if speech_changed {
        super::recognisers::reconcile(s, Trigger::Change, cx);
    }
}

/// App records changed: an app's last list counts as if it had sent it again (behaviour.md §13.1, invariants 25 and 29). What it may
/// not have any more leaves its set, and what it may have (again) enters it: it would not ask for that before its next connection.
pub(crate) fn permissions_changed(s: &mut Session, cx: &mut Cx<'_>) {
    let (unix_ms, keep) = (cx.now.unix_ms, cx.cfg.apps.subscription_history as usize);
    let packages = s.m.subscriptions.iter().map(|one| one.package.clone());
    let packages: Vec<Package> = packages.collect();
    for package in packages {
        let may = |needed| granted(cx, &package, needed);
        let sets = &mut s.m.subscriptions;
        let Some(rejected) = sets.judge_anew(&s.user, &package, may, unix_ms, keep) else {
            continue;
        };
        if let Some(conn) = s.m.apps.open_conn(&package) {
            notices::rejected(s, &package, conn, &rejected, cx);
        }
        subscriptions_changed(s, &package, cx);
        notices::app_state_changed(s, cx);
    }
}

/// Removes an app's subscriptions (stop, or grace end without resumption) and syncs.
pub(crate) fn subscriptions_removed(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    let keep = cx.cfg.apps.subscription_history as usize;
    s.m.subscriptions.remove(package, cx.now.unix_ms, keep);
    let newly = s.m.subscriptions.take_newly(package);
    follow(s, package, newly, cx);
}

/// The set of subscription strings now stored for an app, as the acks carry it: a JSON array.
pub(crate) fn subscriptions_json(s: &Session, package: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut array = ArrayWriter::begin(&mut out);
    for own in
        s.m.subscriptions
            .get(package)
            .into_iter()
            .flat_map(|one| one.list())
    {
        array.str(&own.text);
    }
    array.end();
    out
}

/// Whether an app's record grants `permission`, or did when it was last there. Where there never was one everything is allowed
/// (behaviour.md §3.2 step 3); the phone's own mini-apps are the phone's business.
pub(crate) fn granted(cx: &Cx<'_>, package: &str, permission: Permission) -> bool {
    package == Package::PHONE
        || cx
            .apps
            .last_known(package)
            .is_none_or(|record| record.grants(permission))
}

/// What all counting sets need of the microphone.
pub(crate) fn need(s: &Session) -> Need {
    s.m.subscriptions.need(|package| counts(&s.m.apps, package))
}

/// Sets of apps that will not come back by themselves count for nothing (behaviour.md §2.9).
pub(crate) fn counts(apps: &Apps, package: &str) -> bool {
    package == Package::PHONE || apps.get(package).is_some_and(|app| app.state.is_expected())
}

fn refresh_speech(s: &mut Session) -> bool {
    let apps = &s.m.apps;
    s.m.speech.refresh(
        s.m.subscriptions
            .iter()
            .filter(|one| counts(apps, &one.package)),
    )
}

/// Keeps the list of raw audio receivers ready, so that the hot path only walks it; other events find theirs at the next one.
fn refresh_targets(s: &mut Session, cx: &mut Cx<'_>) {
    s.m.routes.forget();
    let event = StreamEvent::new(AUDIO_CHUNK);
    let before = s.m.audio.targets.len() as u64;
    s.m.audio.targets.clear();
    for (app, conn) in s.m.apps.open() {
        let wanted = s.m.subscriptions.get(&app.package).is_some_and(|one| {
            one.delivered_as(&event, |needed| granted(cx, &app.package, needed))
                .is_some()
        });
        if wanted {
            s.m.audio.targets.push(conn);
        }
    }
    let (receivers, many) = (
        s.m.audio.targets.len() as u64,
        cx.cfg.audio.audio_fanout_warn,
    );
    if before <= many
        && receivers > many
        && let Some(more) = cx.lines.may(Line::ManyReceivers, cx.now.mono_ms)
    {
        tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), receivers, more, "audio goes to many apps");
    }
}
