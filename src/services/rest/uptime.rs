//! Outside thread, REST: health of app servers (behaviour.md §2.18): polled when `uptime_checker_enabled`, asked on demand. It
//! is shown and never blocks a start.

use super::{Handled, body, member, refuse, reply};
use crate::base::ids::CallId;
use crate::services::context::{Services, lock};
use crate::session::effects::{HttpCall, HttpKind, HttpMethod};
use crate::session::event::HttpOutcome;
use crate::shard::mailbox::OutsideRequest;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Polls at a time.
const POLLS: usize = 16;

/// Last result by package; entries of unknown packages go at each poll.
#[derive(Default)]
pub(super) struct LastSeen(HashMap<String, bool>);

/// True when unknown.
pub(super) fn is_healthy(cx: &Services, package: &str) -> bool {
    lock(&cx.memory.health)
        .0
        .get(package)
        .copied()
        .unwrap_or(true)
}

async fn ask(cx: &Services, public_url: &str) -> (bool, Value) {
    let call = HttpCall {
        call: CallId(0),
        kind: HttpKind::Health,
        method: HttpMethod::Get,
        url: format!("{}/health", public_url.trim_end_matches('/')),
        headers: Vec::new(),
        body: Bytes::new(),
        timeout_ms: cx.settings().apps.uptime_timeout_ms,
    };
    match cx.webhooks.call(call, None).await {
        HttpOutcome::Answer {
            status: 200..=299,
            body,
        } => {
            let status = serde_json::from_slice::<Value>(&body)
                .ok()
                .map(|body| body["status"].clone());
            (status == Some("healthy".into()), status.unwrap_or_default())
        }
        HttpOutcome::Answer { status, .. } => (false, json!(format!("status {status}"))),
        HttpOutcome::Failed { .. } => (false, json!("unreachable")),
    }
}

/// `POST /api/app-uptime/app-pkg-health-check`.
pub(super) async fn check(cx: &Services, r: &OutsideRequest) -> Handled {
    let fields = body(r);
    let package =
        member(&fields, "packageName").ok_or_else(|| refuse(400, "packageName is required"))?;
    let record = cx
        .registry()
        .get(package)
        .cloned()
        .ok_or_else(|| refuse(404, "App not found"))?;
    let (success, status) = if record.public_url.is_empty() {
        (true, json!("healthy"))
    } else {
        ask(cx, &record.public_url).await
    };
    lock(&cx.memory.health)
        .0
        .insert(package.to_owned(), success);
    Ok(reply(
        200,
        &json!({ "packageName": package, "success": success, "status": status, "timestamp": cx.iso() }),
    ))
}

/// Polls while enabled.
pub(super) async fn poll(cx: Arc<Services>) {
    loop {
        let settings = cx.settings();
        tokio::time::sleep(Duration::from_millis(settings.apps.uptime_poll_ms)).await;
        if !settings.apps.uptime_checker_enabled {
            continue;
        }
        let registry = cx.registry();
        let polled: Vec<_> = registry
            .iter()
            .filter(|(_, record)| !record.public_url.is_empty())
            .map(|(package, record)| (package.to_string(), record.public_url.clone()))
            .collect();
        let results: HashMap<String, bool> = futures_util::stream::iter(polled)
            .map(|(package, url)| {
                let cx = &cx;
                async move { (package, ask(cx, &url).await.0) }
            })
            .buffer_unordered(POLLS)
            .collect()
            .await;
        let down = results.values().filter(|up| !**up).count();
        tracing::debug!(polled = results.len(), down, "app health polled");
        lock(&cx.memory.health).0 = results;
    }
}
