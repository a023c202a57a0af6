//! Layer 2, flow: session-request and stop webhooks: bodies, addresses, attempts (behaviour.md §2.4, protocol.md §13.1, 13.2).

use crate::base::ids::{CallId, Package};
use crate::base::settings::Settings;
use crate::session::effects::{Effect, HttpCall, HttpKind, HttpMethod};
use crate::session::event::HttpOutcome;
use crate::session::flow::start;
use crate::session::managers::apps::start::{Phase, Stage, StartError};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use std::net::IpAddr;

/// Sends the next attempt of a start's session request, within what is left of its budget.
pub(crate) fn send_session_request(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let recovery =
        s.m.apps
            .get(package)
            .and_then(|app| app.start.as_ref()?.recovery.clone());
    let (url, base) = match &recovery {
        Some(recovery) => (Some(recovery.webhook_url.clone()), &*recovery.ws_base),
        None => (webhook_url(package, cx), ""),
    };
    let Some(url) = url else {
        let error = StartError::new(Stage::Webhook, format!("App {package} has no webhook URL"));
        start::fail(s, package, &error, cx);
        return;
    };
    let body = session_request_body(s, package, &ws_base(cx.cfg, package, base), cx);
    let call = s.call_id();
    let Some(start) = pending(s, package) else {
        return;
    };
    start.call = Some(call);
    start.attempts += 1;
    let left_ms = start.deadline_ms.saturating_sub(cx.now.mono_ms);
    cx.fx.push(Effect::Http(HttpCall {
        call,
        kind: HttpKind::SessionRequest,
        method: HttpMethod::Post,
        url,
        headers: Vec::new(),
        body: body.into(),
        timeout_ms: cx.cfg.apps.webhook_timeout_ms.min(left_ms).max(1),
    }));
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
    if outcome.is_success() {
        start.delivered = true;
        start::recovery_answer(s, package, start::Recovered::Accepted, cx);
        return;
    }
    let exponent = start.attempts.saturating_sub(1).min(16) as u32;
    let pause_ms = cx.cfg.apps.webhook_backoff_ms << exponent;
    let retry_ms = cx.now.mono_ms + pause_ms;
    if start.attempts < cx.cfg.apps.webhook_attempts && retry_ms < start.deadline_ms {
        s.timers.set(Timer::WebhookRetry(package.clone()), retry_ms);
        return;
    }
    let text = match outcome {
        HttpOutcome::Answer { status, .. } => format!("Webhook answered {status}"),
        HttpOutcome::Failed { error } => format!("Webhook failed: {error}"),
    };
    start::fail(s, package, &StartError::new(Stage::Webhook, text), cx);
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

fn pending<'a>(
    s: &'a mut Session,
    package: &str,
) -> Option<&'a mut crate::session::managers::apps::start::Start> {
    s.m.apps
        .get_mut(package)?
        .start
        .as_mut()
        .filter(|start| start.phase == Phase::Connecting)
}

fn webhook_url(package: &str, cx: &Cx<'_>) -> Option<String> {
    let record = cx.apps.get(package)?;
    let base = record.public_url.trim_end_matches('/');
    (!base.is_empty()).then(|| format!("{base}/webhook"))
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

/// `ws://host[:port]` that an app is told to dial. System apps get the internal host where one is configured; `given` (from a
/// registration) comes next; then the public URL, the public host, the listener's own address.
fn ws_base(cfg: &Settings, package: &str, given: &str) -> String {
    let server = &cfg.server;
    let is_system = cfg
        .apps
        .system_app_packages
        .iter()
        .any(|name| name == package);
    let own = if matches!(&*server.host, "0.0.0.0" | "::" | "[::]" | "") {
        format!("127.0.0.1:{}", server.port)
    } else if server.host.contains(':') && !server.host.starts_with('[') {
        format!("[{}]:{}", server.host, server.port)
    } else {
        format!("{}:{}", server.host, server.port)
    };
    let internal = if is_system {
        &*server.internal_host
    } else {
        ""
    };
    let chosen = [internal, given, &server.public_url, &server.public_host]
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or(&own);
    websocket_base(chosen)
}

/// `http` → `ws`, `https` → `wss`; a bare host gets `ws` when it is loopback, else `wss` (protocol.md §13.1).
fn websocket_base(text: &str) -> String {
    let text = text.trim_end_matches('/');
    if let Some(rest) = text.strip_prefix("https://") {
        format!("wss://{rest}")
    } else if let Some(rest) = text.strip_prefix("http://") {
        format!("ws://{rest}")
    } else if text.starts_with("ws://") || text.starts_with("wss://") {
        text.to_owned()
    } else if is_loopback(text) {
        format!("ws://{text}")
    } else {
        format!("wss://{text}")
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    };
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_follows_the_public_address() {
        for (given, base) in [
            ("https://rt.example.net/", "wss://rt.example.net"),
            ("http://10.0.0.7:8080", "ws://10.0.0.7:8080"),
            ("localhost:8002", "ws://localhost:8002"),
            ("127.0.0.1:80", "ws://127.0.0.1:80"),
            ("[::1]:80", "ws://[::1]:80"),
            ("rt.example.net", "wss://rt.example.net"),
        ] {
            assert_eq!(websocket_base(given), base);
        }
    }

    #[test]
    fn only_system_apps_are_given_the_internal_host() {
        let mut cfg = Settings::default();
        cfg.server.public_host = "rt.example.net".into();
        cfg.server.internal_host = "http://prism.internal".into();
        cfg.apps.system_app_packages = vec!["com.acme.assistant".into()];
        assert_eq!(
            ws_base(&cfg, "com.acme.assistant", ""),
            "ws://prism.internal"
        );
        assert_eq!(ws_base(&cfg, "com.acme.scribe", ""), "wss://rt.example.net");
    }
}
