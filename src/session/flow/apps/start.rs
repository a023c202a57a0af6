//! Layer 2, flow: starting an app: one reservation shared by all callers, the foreground rule, the start timer and every way
//! in which a start can end (behaviour.md §2.3).

use crate::base::ids::Package;
use crate::base::metrics::{Counter, Timing};
use crate::base::rarely::CLIENT_MS;
use crate::base::settings::{DashboardMode, Settings};
use crate::session::effects::{Effect, UnderWay};
use crate::session::flow::recover::{self, Recovered};
use crate::session::flow::{
    answers, attach, device, lost, notices, requests, restart, screen, stop, sync, webhook,
};
use crate::session::managers::apps::intent::Wanted;
use crate::session::managers::apps::start::{Phase, Start, StartError, StartOrigin, StartStage};
use crate::session::managers::apps::{AppSession, AppState, StopWhy, Waiter};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::records::{AppRecord, AppType};
use std::sync::Arc;

/// As much of what a client made up as a log line shows.
const SHOWN_CHARS: usize = 128;

/// The system dashboard app of `dashboard_mode: app` (behaviour.md §2.15).
pub(crate) fn is_dashboard_app(cfg: &Settings, package: &str) -> bool {
    cfg.dashboard.dashboard_mode == DashboardMode::App
        && cfg.dashboard.dashboard_package_name == package
}

/// Whether the package is refused everywhere.
pub(crate) fn is_deprecated(cfg: &Settings, package: &str) -> bool {
    !is_dashboard_app(cfg, package)
        && cfg
            .apps
            .deprecated_packages
            .iter()
            .any(|name| name == package)
}

/// Starts an app, or joins the start that is in progress. The waiter is answered exactly once.
pub(crate) fn request(
    s: &mut Session,
    package: &str,
    origin: StartOrigin,
    waiter: Option<Waiter>,
    cx: &mut Cx<'_>,
) {
    let package = cx.apps.name(package);
    let waiters: Vec<Waiter> = waiter.into_iter().collect();
    if s.m.apps.is_running(&package) {
        already_running(s, &package, waiters, cx);
        return;
    }
    if let Some(start) = s.m.apps.get_mut(&package).and_then(|a| a.start.as_mut()) {
        start.waiters.extend(waiters);
        return;
    }
    // The look-ups need no await here, so that check and reservation are one step.
    let record = match check(s, &package, cx) {
        Ok(record) => record,
        Err(error) => {
            count_failed(origin, error.stage, 0, cx);
            tell_refused(s, &package, &error, cx);
            answers::start_failed(s, &package, &error, &waiters, cx);
            refused(s, &package, origin, cx);
            return;
        }
    };
    let mut start = Start::reserve(origin, cx.now.mono_ms);
    start.waiters = waiters;
    reserve(s, &package, start, &record, cx);
}

/// A client can ask for what is refused as often as it likes; all are counted.
fn tell_refused(s: &mut Session, package: &str, error: &StartError, cx: &Cx<'_>) {
    let refused = &mut s.m.apps.refused_starts;
    if let Some(more) = refused.may(cx.now.mono_ms, CLIENT_MS) {
        let shown = |text: &str| text.chars().take(SHOWN_CHARS).collect::<String>();
        let (package, error) = (shown(package), shown(&error.to_string()));
        tracing::info!(user = %s.user, correlation_id = %s.correlation(cx.now), package, outcome = "refused", %error, more, "app-start");
    }
}

/// [`request`] by the phone, which is told of the end; of one that runs already or was refused, which has none, at once.
pub(crate) fn request_of_phone(
    s: &mut Session,
    package: &str,
    waiter: Option<Waiter>,
    cx: &mut Cx<'_>,
) {
    request(s, package, StartOrigin::User, waiter, cx);
    let app = s.m.apps.get(package);
    let will_be_told = app.is_some_and(|app| app.start.is_some());
    if !will_be_told {
        notices::app_state_changed(s, cx);
    }
}

/// Takes the app's place for a start, which begins when those are gone that it has to wait for.
pub(crate) fn reserve(
    s: &mut Session,
    package: &Package,
    start: Start,
    record: &Arc<AppRecord>,
    cx: &mut Cx<'_>,
) {
    webhook::forget_refusal(s, package);
    let app = s.m.apps.ensure(package);
    // A stop of its own, or the stop webhook of its restart: an app must hear that before it is asked to come.
    let own_stop = app.stop.is_some();
    app.start = Some(start);
    let stuck_ms = cx.now.mono_ms + cx.cfg.apps.app_stuck_ms;
    s.timers.set(Timer::AppStuck(package.clone()), stuck_ms);
    let mut blockers = Vec::new();
    if own_stop {
        blockers.push(package.clone());
    }
    if record.app_type == AppType::Standard {
        blockers.extend(other_standard_apps(s, package, cx));
    }
    for blocker in blockers.iter().filter(|blocker| *blocker != package) {
        stop::stop(s, blocker, StopWhy::Foreground, None, cx);
    }
    blockers.retain(|blocker| blocker == package || stop::in_progress(s, blocker));
    let Some(start) = s.m.apps.get_mut(package).and_then(|a| a.start.as_mut()) else {
        return;
    };
    if blockers.is_empty() {
        begin(s, package, cx);
    } else {
        start.phase = Phase::Blocked(blockers);
    }
}

fn other_standard_apps(s: &Session, package: &Package, cx: &Cx<'_>) -> Vec<Package> {
    let others = s.m.apps.iter().filter(|app| app.package != *package);
    others
        .filter(|app| app.is_active() && cx.apps.is_standard(&app.package))
        .map(|app| app.package.clone())
        .collect()
}

fn already_running(s: &mut Session, package: &Package, waiters: Vec<Waiter>, cx: &mut Cx<'_>) {
    if is_dashboard_app(cx.cfg, package) {
        answers::succeed(s, Wanted::Yes, package, &waiters, cx);
    } else {
        answers::when_durable(s, package, Wanted::Yes, waiters, cx);
    }
}

fn check(s: &mut Session, package: &Package, cx: &Cx<'_>) -> Result<Arc<AppRecord>, StartError> {
    if is_deprecated(cx.cfg, package) {
        let text = format!("App {package} is deprecated and can no longer be started");
        return Err(StartError::new(StartStage::Webhook, text));
    }
    let record = cx
        .apps
        .get(package)
        .ok_or_else(|| StartError::new(StartStage::Webhook, format!("App {package} not found")))?;
    if let Some(error) = lacks_hardware(s, record) {
        return Err(error);
    }
    if is_full(s, package, record, cx) {
        return Err(StartError::new(
            StartStage::Connection,
            "Too many apps are running",
        ));
    }
    let optional = device::missing_optional(s, record).join(", ");
    if !optional.is_empty()
        && let Some(more) = s.m.apps.may_tell(cx.now.mono_ms)
    {
        tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, missing = optional, more, "app starts without optional hardware");
    }
    Ok(Arc::clone(record))
}

/// Whether the user's apps leave no room for one more. What is being stopped, or gives way to this start, takes none; an app that
/// has its place, and is only restarted, keeps it.
fn is_full(s: &Session, package: &Package, record: &AppRecord, cx: &Cx<'_>) -> bool {
    let takes_room = |app: &AppSession| app.start.is_some() || app.state.accepts_socket();
    if s.m.apps.get(package).is_some_and(takes_room) {
        return false;
    }
    let gives_way = match record.app_type {
        AppType::Standard => other_standard_apps(s, package, cx),
        _ => Vec::new(),
    };
    let stays = |app: &&AppSession| takes_room(app) && !gives_way.contains(&app.package);
    s.m.apps.iter().filter(stays).count() as u64 >= cx.cfg.apps.apps_per_user_max
}

/// Why an app cannot run on the glasses of now, if it cannot.
pub(crate) fn lacks_hardware(s: &Session, record: &AppRecord) -> Option<StartError> {
    let missing = device::missing_hardware(s, record);
    let listed = missing.join(", ").to_lowercase();
    let text = match missing.len() {
        0 => return None,
        1 => {
            format!("This app requires a {listed} which is not available on your connected glasses")
        }
        _ => format!(
            "This app requires the following hardware which is not available on your connected glasses: {listed}"
        ),
    };
    Some(StartError::new(StartStage::HardwareCheck, text))
}

/// A start that was refused before its reservation: an automatic restart leaves its state all the same.
fn refused(s: &mut Session, package: &Package, origin: StartOrigin, cx: &mut Cx<'_>) {
    let was_restarting = s.m.apps.state(package) == AppState::Resurrecting
        || (origin == StartOrigin::Restart && s.m.apps.state(package) != AppState::Stopped);
    if was_restarting {
        fall(s, package, cx);
    }
    if origin == StartOrigin::Restart {
        notices::tell_phone_stopped(s, package, cx);
        notices::app_state_changed(s, cx);
    }
    restart::restart_ended(s, package, cx);
    schedule_dashboard_retry(s, package, cx);
}

/// `package` has stopped: starts that waited for it go on.
pub(crate) fn unblock(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let mut ready = Vec::new();
    for app in s.m.apps.iter_mut() {
        if let Some(start) = &mut app.start
            && let Phase::Blocked(blockers) = &mut start.phase
            && blockers.contains(package)
        {
            blockers.retain(|blocker| blocker != package);
            if blockers.is_empty() {
                ready.push(app.package.clone());
            }
        }
    }
    for package in ready {
        begin(s, &package, cx);
    }
}

/// Step 7: state connecting, start timer, parked socket or webhook.
fn begin(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let now_ms = cx.now.mono_ms;
    let deadline_ms = now_ms + cx.cfg.apps.app_start_timeout_ms;
    let Some(app) = s.m.apps.get_mut(package) else {
        return;
    };
    let Some(start) = &mut app.start else { return };
    start.phase = Phase::Connecting;
    start.deadline_ms = deadline_ms;
    if start.origin != StartOrigin::Restart {
        app.user_stopped = false;
    }
    app.state = AppState::Connecting;
    app.restart_jitter_ms = 0;
    app.wanted_since_ms.get_or_insert(now_ms);
    lost::end_grace(s, package);
    s.timers.set(Timer::AppStart(package.clone()), deadline_ms);
    let stuck_ms = now_ms + cx.cfg.apps.app_stuck_ms;
    s.timers.set(Timer::AppStuck(package.clone()), stuck_ms);
    notices::touched(s, package, cx);
    if attach::attach_parked(s, package, cx) {
        return;
    }
    requests::app_starting(s, package);
    screen::app_starting(s, package, cx);
    webhook::send_session_request(s, package, cx);
}

/// The app attached: its start, if one is pending, succeeds. The caller has already stored the intent.
pub(crate) fn succeeded(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let retry_ms = s.timers.at(&Timer::WebhookRetry(package.clone()));
    let Some(start) = take(s, package, UnderWay::GoesOn, cx) else {
        return;
    };
    webhook::came_although_refused(s, package, &start, retry_ms);
    if let Some(app) = s.m.apps.get_mut(package) {
        app.answering = start.call;
    }
    let took_ns = cx.now.mono_ms.saturating_sub(start.began_ms) * 1_000_000;
    cx.metrics.time(Timing::AppStartOk, took_ns);
    if let Some(more) = s.m.apps.may_tell(cx.now.mono_ms) {
        tracing::info!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, origin = ?start.origin, outcome = "ok", took_ms = took_ns / 1_000_000, more, "app-start");
    }
    cx.metrics.inc(match start.origin {
        StartOrigin::Restart => Counter::ResurrectionsOk,
        _ => Counter::AppStartsOk,
    });
    if start.recovery.is_some() {
        cx.metrics.inc(Counter::RecoveriesOk);
    }
    recover::ended(&start, Recovered::Accepted, cx);
    if is_dashboard_app(cx.cfg, package) {
        s.m.apps.dashboard_backoff_ms = 0;
    }
    if start.origin == StartOrigin::User && !is_dashboard_app(cx.cfg, package) {
        // Other instances share the stored list: a user's start is written even where this session saw it there.
        answers::store_intent(s, package, Wanted::Yes, start.waiters, cx);
    } else {
        already_running(s, package, start.waiters, cx);
    }
    restart::restart_ended(s, package, cx);
}

/// A pending start ends without success, and its app with it: state stopped, everything of it cleaned.
pub(crate) fn fail(s: &mut Session, package: &Package, error: &StartError, cx: &mut Cx<'_>) {
    let Some(origin) = abandon(s, package, error, cx) else {
        return;
    };
    if let Some(more) = s.m.apps.may_tell(cx.now.mono_ms) {
        tracing::info!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, origin = ?origin, outcome = "failed", %error, more, "app-start");
    }
    fall(s, package, cx);
    let is_listed = !is_dashboard_app(cx.cfg, package);
    if error.stage == StartStage::Timeout && origin == StartOrigin::User && is_listed {
        answers::store_intent(s, package, Wanted::No, Vec::new(), cx);
    }
    if origin == StartOrigin::Restart {
        notices::tell_phone_stopped(s, package, cx);
    }
    notices::app_state_changed(s, cx);
    restart::restart_ended(s, package, cx);
    schedule_dashboard_retry(s, package, cx);
}

/// An init was refused because the app is not expected: a start that still waits for others to stop ends with it
/// (behaviour.md §2.5 row 6).
pub(crate) fn came_too_early(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let error = StartError::new(StartStage::Connection, "App not started for this session");
    if abandon(s, package, &error, cx).is_some() {
        notices::app_state_changed(s, cx);
        restart::restart_ended(s, package, cx);
    }
}

fn failed_at(stage: StartStage) -> Timing {
    match stage {
        StartStage::Webhook => Timing::AppStartWebhook,
        StartStage::Connection => Timing::AppStartConnection,
        StartStage::Authentication => Timing::AppStartAuthentication,
        StartStage::Permission => Timing::AppStartPermission,
        StartStage::Timeout => Timing::AppStartTimeout,
        StartStage::HardwareCheck => Timing::AppStartHardware,
        StartStage::Disposed => Timing::AppStartDisposed,
    }
}

fn count_failed(origin: StartOrigin, stage: StartStage, took_ms: u64, cx: &mut Cx<'_>) {
    cx.metrics.time(failed_at(stage), took_ms * 1_000_000);
    cx.metrics.inc(match (origin, stage) {
        (StartOrigin::Restart, _) => Counter::ResurrectionsFailed,
        (_, StartStage::Webhook) => Counter::AppStartsWebhook,
        (_, StartStage::Timeout) => Counter::AppStartsTimeout,
        _ => Counter::AppStartsOther,
    });
}

/// Resolves a pending start with an error; the app's state is the caller's business.
pub(crate) fn abandon(
    s: &mut Session,
    package: &Package,
    error: &StartError,
    cx: &mut Cx<'_>,
) -> Option<StartOrigin> {
    let start = take(s, package, UnderWay::Cut, cx)?;
    let took_ms = cx.now.mono_ms.saturating_sub(start.began_ms);
    count_failed(start.origin, error.stage, took_ms, cx);
    if start.recovery.is_some() {
        cx.metrics.inc(Counter::RecoveriesFailed);
    }
    recover::ended(&start, Recovered::Failed, cx);
    answers::start_failed(s, package, error, &start.waiters, cx);
    Some(start.origin)
}

/// The app ends in state stopped without a deliberate stop: nothing of it counts any more.
pub(crate) fn fall(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    if let Some(app) = s.m.apps.get_mut(package) {
        app.state = AppState::Stopped;
        app.wanted_since_ms = None;
        app.released = false;
    }
    lost::end_grace(s, package);
    s.timers.cancel(&Timer::AppStuck(package.clone()));
    sync::subscriptions_removed(s, package, cx);
    requests::app_stopped(s, package, cx);
    screen::app_gone(s, package, cx);
    attach::end_beside(s, package, None, cx);
    attach::link_ended(package, cx);
}

fn take(s: &mut Session, package: &Package, under_way: UnderWay, cx: &mut Cx<'_>) -> Option<Start> {
    let start = s.m.apps.get_mut(package)?.start.take()?;
    for timer in [Timer::AppStart, Timer::WebhookRetry, Timer::AppStuck] {
        s.timers.cancel(&timer(package.clone()));
    }
    if let Some(call) = start.call {
        cx.fx.push(Effect::CancelHttp { call, under_way });
    }
    Some(start)
}

/// The system dashboard is tried again and again: 1, 2, 4 … 60 s.
fn schedule_dashboard_retry(s: &mut Session, package: &str, cx: &Cx<'_>) {
    const FIRST_MS: u64 = 1000;
    const LAST_MS: u64 = 60_000;
    if !is_dashboard_app(cx.cfg, package) {
        return;
    }
    let backoff = &mut s.m.apps.dashboard_backoff_ms;
    *backoff = (*backoff * 2).clamp(FIRST_MS, LAST_MS);
    let at_ms = cx.now.mono_ms + *backoff;
    s.timers.set(Timer::DashboardApp, at_ms);
}

/// Starts the system dashboard when this deployment has one and it is not there.
pub(crate) fn start_dashboard(s: &mut Session, cx: &mut Cx<'_>) {
    if cx.cfg.dashboard.dashboard_mode != DashboardMode::App {
        return;
    }
    let package = cx.cfg.dashboard.dashboard_package_name.clone();
    if s.m.phone.open().is_some() && s.m.apps.state(&package) == AppState::Stopped {
        request(s, &package, StartOrigin::Dashboard, None, cx);
    }
}
