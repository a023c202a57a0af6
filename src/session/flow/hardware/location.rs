//! Layer 2, flow: fixes, polls and the accuracy tier meet phone and apps (behaviour.md §7.1).

use crate::base::clock::Now;
use crate::base::ids::Package;
use crate::session::effects::Class;
use crate::session::flow::{dashboard, relay, sync};
use crate::session::managers::location::{Fix, Poll, WEAKEST, effective_tier};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use crate::wire::streams::LOCATION_UPDATE;

/// An app that changes its mind without end must not fill the phone's queue with tiers; the last one is told a second later.
const TIERS_PER_S: u64 = 20;

/// A fix arrived that was taken at `taken`. With the id of a pending poll it goes to those who asked, else to every subscriber;
/// it is the last known location either way.
pub(crate) fn fix_arrived(
    s: &mut Session,
    fix: Fix,
    taken: Now,
    correlation_id: Option<&str>,
    cx: &mut Cx<'_>,
) {
    s.m.location.set(fix, taken);
    match correlation_id {
        Some(id) if s.m.location.is_pending(id) => {
            let data = fix.event(cx.now, Some(id));
            for poll in s.m.location.answered(id) {
                s.timers.cancel(&Timer::LocationPoll(poll.call));
                relay::to_app(s, &poll.package, LOCATION_UPDATE, &data, cx);
            }
        }
        _ => {
            let data = fix.event(cx.now, None);
            relay::server_event(s, LOCATION_UPDATE, &data, cx);
        }
    }
    if let Some((lat, lng)) = s.m.location.last().map(|fix| (fix.lat, fix.lng)) {
        dashboard::position_changed(s, lat, lng, cx);
    }
}

/// An app wants one fix: from the cache, or from the phone.
pub(crate) fn poll(
    s: &mut Session,
    package: &Package,
    accuracy: &str,
    correlation_id: &str,
    cx: &mut Cx<'_>,
) {
    if let Some(fix) =
        s.m.location
            .fresh(accuracy, &cx.cfg.device.location_tier_ages_s, cx.now)
    {
        let data = fix.event(cx.now, Some(correlation_id));
        relay::to_app(s, package, LOCATION_UPDATE, &data, cx);
        return;
    }
    let poll = Poll {
        call: s.call_id(),
        package: package.clone(),
        accuracy: accuracy.to_owned(),
        correlation_id: correlation_id.to_owned(),
    };
    ask_phone(s, &poll, cx);
    let due_ms = cx.now.mono_ms + cx.cfg.device.location_poll_timeout_ms;
    s.timers.set(Timer::LocationPoll(poll.call), due_ms);
    if let Some(forgotten) =
        s.m.location
            .add_poll(poll, cx.cfg.device.location_polls_max)
    {
        s.timers.cancel(&Timer::LocationPoll(forgotten.call));
    }
}

fn ask_phone(s: &Session, poll: &Poll, cx: &mut Cx<'_>) {
    let now = cx.now.iso();
    let _ = s.ask_phone(&poll.package, cx, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "request_single_location")
            .str("accuracy", &poll.accuracy)
            .str("correlationId", &poll.correlation_id)
            .str("timestamp", now.as_str());
        object.end();
    });
}

/// Tells the phone the effective tier unless its current socket already knows it (invariant 41).
pub(crate) fn sync_tier(s: &mut Session, cx: &mut Cx<'_>) {
    // Stored sets count whether or not their app has a socket now, but for apps that will not come back by themselves.
    let apps = &s.m.apps;
    let rates = s.m.subscriptions.location_rates();
    let tier = effective_tier(
        rates
            .filter(|(package, _)| sync::counts(apps, package))
            .map(|(_, rate)| rate),
        &cx.cfg.device.location_default_tier,
    );
    if tier == s.m.location.told() {
        return;
    }
    let now_ms = cx.now.mono_ms;
    if s.m.phone.open().is_some() && !s.m.location.tiers.may(now_ms, TIERS_PER_S) {
        s.timers.set(Timer::LocationTier, now_ms + 1000);
        return;
    }
    let now = cx.now.iso();
    let sent = s.send_phone(cx, Class::Control, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "set_location_tier")
            .str("tier", tier)
            .str("timestamp", now.as_str());
        object.end();
    });
    if sent.is_sent() {
        s.m.location.set_told(tier);
    }
}

/// After every `connection_ack` the phone is told the tier again, but for the weakest, which it has anyway unless an earlier
/// socket told it another: phones keep their tier when they lose a socket (behaviour.md §7.1).
pub(crate) fn phone_returned(s: &mut Session, cx: &mut Cx<'_>) {
    s.m.location.phone_returned();
    sync_tier(s, cx);
}

/// Another socket speaks for the phone: pending polls were perhaps never heard. Not after a `connection_init`, whose socket has
/// them: a second answer would be a location for everybody.
pub(crate) fn ask_again(s: &mut Session, cx: &mut Cx<'_>) {
    for poll in s.m.location.polls().to_vec() {
        ask_phone(s, &poll, cx);
    }
}

/// A superseded socket became the current one again. It may have been told a tier in its earlier time, so that silence no
/// longer means the weakest one (invariant 41).
pub(crate) fn socket_promoted(s: &mut Session, cx: &mut Cx<'_>) {
    if matches!(s.m.location.told(), "" | WEAKEST) {
        s.m.location.set_told("");
        sync_tier(s, cx);
    }
}

/// An app that newly listens gets the last known location, once.
pub(crate) fn replay(s: &Session, package: &str, cx: &mut Cx<'_>) {
    if let Some(fix) = s.m.location.last() {
        let data = fix.event(cx.now, None);
        relay::to_app(s, package, LOCATION_UPDATE, &data, cx);
    }
}

/// The polls of a stopped app are forgotten.
pub(crate) fn app_stopped(s: &mut Session, package: &str) {
    for poll in s.m.location.app_stopped(package) {
        s.timers.cancel(&Timer::LocationPoll(poll.call));
    }
}
