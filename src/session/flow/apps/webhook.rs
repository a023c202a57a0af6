//! Layer 2, flow: session-request and stop webhooks: bodies, addresses, attempts (behaviour.md §2.4, protocol.md §13.1, 13.2).

use crate::base::ids::{CallId, Package};
use crate::session::effects::{Effect, HttpCall, HttpKind, HttpMethod, UnderWay};
use crate::session::event::{HelloKind, HttpOutcome};
use crate::session::flow::{public_url, recover, start};
use crate::session::managers::apps::AppState;
use crate::session::managers::apps::start::{
    Phase, Recovery, RefusedRequest, Start, StartError, StartStage,
};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;

/// An attempt is cut off when its start's time is up; that may be read a turn before the start's own timer is due.
const TURN_MS: u64 = 50;

/// Sends the next attempt of a start's session request, within what is left of its budget.
pub(crate) fn send_session_request(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let Some(start) = pending(s, package) else {
        return;
    };
    start.attempts += 1;
    start.refused = false;
    let left_ms = start.deadline_ms.saturating_sub(cx.now.mono_ms);
    let recovery = start.recovery.clone();
    let Some(call) = post_session_request(s, package, recovery.as_ref(), left_ms, cx) else {
        let error = StartError::new(
            StartStage::Webhook,
            format!("App {package} has no webhook URL"),
        );
        start::fail(s, package, &error, cx);
        return;
    };
    if let Some(start) = pending(s, package) {
        start.call = Some(call);
    }
}

/// `None` when the app has no address.
fn post_session_request(
    s: &mut Session,
    package: &Package,
    recovery: Option<&Recovery>,
    left_ms: u64,
    cx: &mut Cx<'_>,
) -> Option<CallId> {
    let (url, base) = match recovery {
        Some(recovery) => (recovery.webhook_url.clone(), &*recovery.ws_base),
        None => (webhook_url(package, cx)?, ""),
    };
    let kind = cx.apps.get(package).map(|record| record.app_type);
    let base = public_url::websocket(cx.cfg, package, kind.unwrap_or_default(), base);
    let body = session_request_body(s, package, &base, cx);
    forget_earlier(s, package, cx);
    let call = s.call_id();
    cx.fx.push(Effect::Http(HttpCall {
        call,
        kind: HttpKind::SessionRequest,
        method: HttpMethod::Post,
        url,
        headers: Vec::new(),
        body: body.into(),
        timeout_ms: cx.cfg.apps.webhook_timeout_ms.min(left_ms).max(1),
    }));
    Some(call)
}

/// The next attempt is due: of a start, or for an app that came to nobody.
pub(crate) fn retry_due(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    if pending(s, package).is_some() {
        send_session_request(s, package, cx);
        return;
    }
    // One that is lost may come back for nobody once more, and says so then.
    let app = s.m.apps.get_mut(package);
    let running = app.filter(|app| app.state == AppState::Running);
    let Some(refused) = running.and_then(|app| app.refused.take()) else {
        return;
    };
    if let Some(more) = s.m.apps.may_tell(cx.now.mono_ms) {
        tracing::info!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %package, more, "app asked again");
    }
    let budget_ms = cx.cfg.apps.app_start_timeout_ms;
    let call = post_session_request(s, package, refused.recovery.as_ref(), budget_ms, cx);
    if let Some(app) = s.m.apps.get_mut(package) {
        app.answering = call;
    }
}

/// An SDK whose first connection fails answers with an error and gives its session up, but that session's socket may come by a
/// timer of its own, without any of the app's code: it subscribes to nothing. Only another request helps then, so it is kept
/// for an app that came like that; a start that completed needs none otherwise (behaviour.md §2.4).
pub(crate) fn came_although_refused(
    s: &mut Session,
    package: &Package,
    start: &Start,
    retry_ms: Option<u64>,
) {
    let Some(app) = s.m.apps.get_mut(package) else {
        return;
    };
    let is_new = app
        .hello
        .as_ref()
        .is_some_and(|h| h.kind == HelloKind::Init);
    app.refused = match retry_ms {
        Some(retry_ms) if start.refused && is_new => Some(Box::new(RefusedRequest {
            retry_ms,
            recovery: start.recovery.clone(),
        })),
        _ => None,
    };
}

/// The app has sent its list of streams, which shows whether anybody is there. What is left of the pause tells, or another one
/// where it went by while the socket was lost: a list that names none may be followed by one that does.
pub(crate) fn app_subscribed(s: &mut Session, package: &Package, nothing: bool, cx: &Cx<'_>) {
    let Some(app) = s.m.apps.get_mut(package) else {
        return;
    };
    match &mut app.refused {
        Some(refused) if nothing => {
            let timer = Timer::WebhookRetry(package.clone());
            if refused.retry_ms < cx.now.mono_ms {
                refused.retry_ms = cx.now.mono_ms + cx.cfg.apps.webhook_backoff_ms;
            }
            s.timers.set(timer, refused.retry_ms);
        }
        Some(_) => forget_refusal(s, package),
        None => {}
    }
}

/// It is started anew or stopped: what its server said before counts no more.
pub(crate) fn forget_refusal(s: &mut Session, package: &Package) {
    let app = s.m.apps.get_mut(package);
    if app.is_some_and(|app| app.refused.take().is_some()) {
        s.timers.cancel(&Timer::WebhookRetry(package.clone()));
    }
}

/// The request of an earlier start may still be unanswered: no two are under way (behaviour.md §13.1, 11).
pub(crate) fn forget_earlier(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    let app = s.m.apps.get_mut(package);
    if let Some(call) = app.and_then(|app| app.answering.take()) {
        let under_way = UnderWay::Cut;
        cx.fx.push(Effect::CancelHttp { call, under_way });
    }
}

/// An attempt ended. Success only marks the request as delivered: the app's own connection decides (§2.3 step 10).
pub(crate) fn session_request_result(
    s: &mut Session,
    package: &Package,
    outcome: &HttpOutcome,
    cx: &mut Cx<'_>,
) {
    let Some(start) = pending(s, package) else {
        return;
    };
    start.call = None;
    start.refused = !outcome.is_success() && matches!(outcome, HttpOutcome::Answer { .. });
    if outcome.is_success() {
        start.delivered = true;
        recover::accepted(s, package, cx);
        return;
    }
    let cut_off = matches!(outcome, HttpOutcome::Failed { .. })
        && cx.now.mono_ms + TURN_MS >= start.deadline_ms;
    if cut_off {
        // Nobody refused the request: the start has timed out, and its timer says so (§2.3 step 9).
        return;
    }
    let exponent = start.attempts.saturating_sub(1).min(16) as u32;
    let pause_ms = cx.cfg.apps.webhook_backoff_ms << exponent;
    let retry_ms = cx.now.mono_ms + pause_ms;
    if start.attempts < cx.cfg.apps.webhook_attempts && retry_ms < start.deadline_ms {
        s.timers.set(Timer::WebhookRetry(package.clone()), retry_ms);
        return;
    }
    let cause = match outcome {
        HttpOutcome::Answer { status, .. } => format!("Request failed with status code {status}"),
        HttpOutcome::Failed { error } => error.clone(),
    };
    let attempts = start.attempts;
    let text = format!("Webhook failed: Webhook failed after {attempts} attempts: {cause}");
    start::fail(s, package, &StartError::new(StartStage::Webhook, text), cx);
}

/// Sends the stop webhook; `None` when the app has no address.
pub(crate) fn send_stop_request(
    s: &mut Session,
    package: &Package,
    cx: &mut Cx<'_>,
) -> Option<CallId> {
    let url = webhook_url(package, cx)?;
    let call = s.call_id();
    let now = cx.now.iso();
    let mut body = Vec::with_capacity(256);
    let mut object = ObjectWriter::begin(&mut body);
    object
        .str("type", "stop_request")
        .str("sessionId", &s.app_session_id(package))
        .str("userId", &s.user)
        .str("reason", "user_disabled")
        .str("timestamp", now.as_str());
    object.end();
    let timeout_ms = cx.cfg.apps.stop_webhook_timeout_ms;
    cx.fx.push(Effect::Http(HttpCall {
        call,
        kind: HttpKind::StopRequest,
        method: HttpMethod::Post,
        url,
        headers: Vec::new(),
        body: body.into(),
        timeout_ms,
    }));
    s.timers.set(
        Timer::StopWait(package.clone()),
        cx.now.mono_ms + timeout_ms,
    );
    Some(call)
}

fn pending<'a>(s: &'a mut Session, package: &str) -> Option<&'a mut Start> {
    s.m.apps
        .get_mut(package)?
        .start
        .as_mut()
        .filter(|start| start.phase == Phase::Connecting)
}

fn webhook_url(package: &str, cx: &Cx<'_>) -> Option<String> {
    cx.apps.get(package)?.endpoint("/webhook")
}

fn session_request_body(s: &Session, package: &str, base: &str, cx: &Cx<'_>) -> Vec<u8> {
    let now = cx.now.iso();
    let app_ws = format!("{base}/app-ws");
    let mut body = Vec::with_capacity(512);
    let mut object = ObjectWriter::begin(&mut body);
    object
        .str("type", "session_request")
        .str("sessionId", &s.app_session_id(package))
        .str("userId", &s.user)
        .str("timestamp", now.as_str())
        .str("websocketUrl", &format!("{base}/ws/miniapp"))
        .str("mentraOSWebsocketUrl", &app_ws)
        .str("augmentOSWebsocketUrl", &app_ws);
    object.end();
    body
}
