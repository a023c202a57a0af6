//! Outside thread, REST: app-server registrations and restart recovery (behaviour.md §2.14, protocol.md §18.18). Registrations
//! are durable; which sessions belong to one is known from the shards' attach and end reports.

use super::{Handled, body, member, refuse, reply, uuid};
use crate::base::ids::UserId;
use crate::services::context::{Services, lock};
use crate::services::store::changes::Registration;
use crate::services::store::{Change, Space};
use crate::session::effects::RestAnswer;
use crate::session::rest::Call;
use crate::shard::mailbox::{AppLink, LinkChange, OutsideRequest};
use crate::wire::auth::api_key_matches;
use crate::wire::records::AppType;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Registrations known at a time.
const REGISTRATIONS_MAX: usize = 10_000;
const URL_BYTES_MAX: usize = 2048;

/// Which user's session of a package is attached or lost, with the hash of the key it used.
#[derive(Default)]
pub(super) struct Links {
    sessions: HashMap<String, HashMap<UserId, String>>,
    /// Times (ms) at which sockets of a package were lost, newest last.
    losses: HashMap<String, VecDeque<u64>>,
    /// Last sign of life of an app's sockets (ms since the Unix epoch), by key hash.
    seen: HashMap<String, u64>,
}

/// Notes a shard's report of an app socket.
pub(crate) fn link(cx: &Services, link: &AppLink) {
    let now = cx.clock.now();
    let mut links = lock(&cx.memory.links);
    let sessions = links.sessions.entry(link.package.to_string()).or_default();
    match link.change {
        LinkChange::Attached => {
            sessions.insert(link.user.clone(), link.key_sha256.clone());
            links.seen.insert(link.key_sha256.clone(), now.unix_ms);
        }
        // Kept for recovery.
        LinkChange::Lost => lost(cx, &mut links, &link.package, now.mono_ms),
        LinkChange::Ended => {
            sessions.remove(&link.user);
            if sessions.is_empty() {
                links.sessions.remove(&*link.package);
                links.losses.remove(&*link.package);
            }
        }
    }
}

fn lost(cx: &Services, links: &mut Links, package: &str, now_ms: u64) {
    let apps = &cx.settings().apps;
    let losses = links.losses.entry(package.to_owned()).or_default();
    losses.push_back(now_ms);
    while losses
        .front()
        .is_some_and(|first| now_ms.saturating_sub(*first) > apps.mass_disconnect_window_ms)
    {
        losses.pop_front();
    }
    if losses.len() as u64 == apps.mass_disconnect_threshold {
        tracing::warn!(package, sockets = losses.len(), "mass-disconnect");
    }
    losses.truncate(apps.mass_disconnect_threshold as usize + 1);
}

/// Users whose session of the package is attached or lost.
pub(super) fn users_of(cx: &Services, package: &str) -> Vec<UserId> {
    lock(&cx.memory.links)
        .sessions
        .get(package)
        .map(|users| users.keys().cloned().collect())
        .unwrap_or_default()
}

fn failed(status: u16, text: &str) -> RestAnswer {
    reply(status, &json!({ "success": false, "error": text }))
}

fn enabled(cx: &Services) -> Handled<()> {
    if cx.settings().apps.app_server_registration_enabled {
        Ok(())
    } else {
        Err(refuse(404, "Not found"))
    }
}

async fn all(cx: &Services) -> Handled<Vec<Registration>> {
    let documents = cx
        .writes
        .store()
        .list(Space::Registration, "", REGISTRATIONS_MAX)
        .await?;
    Ok(documents
        .iter()
        .filter_map(|document| serde_json::from_slice(&document.json).ok())
        .collect())
}

async fn find(cx: &Services, fields: &Value) -> Handled<Registration> {
    let missing = || failed(404, "Registration not found");
    let id = member(fields, "registrationId").ok_or_else(missing)?;
    cx.writes
        .read(Change::RemoveRegistration(id.to_owned()).key())
        .await?
        .ok_or_else(missing)
}

fn urls(fields: &Value) -> Vec<String> {
    let text = |text: &str| -> Vec<String> {
        text.split(',')
            .map(str::trim)
            .filter(|url| !url.is_empty() && url.len() <= URL_BYTES_MAX)
            .take(16)
            .map(str::to_owned)
            .collect()
    };
    match fields.get("serverUrls") {
        Some(Value::String(list)) => text(list),
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .flat_map(text)
            .take(16)
            .collect(),
        _ => Vec::new(),
    }
}

/// `POST /api/tpa-server/register`.
pub(super) async fn register(cx: &Services, r: &OutsideRequest) -> Handled {
    enabled(cx)?;
    let fields = body(r);
    let (Some(package), Some(key), Some(webhook_url)) = (
        member(&fields, "packageName"),
        member(&fields, "apiKey"),
        member(&fields, "webhookUrl"),
    ) else {
        return Err(failed(
            400,
            "packageName, apiKey and webhookUrl are required",
        ));
    };
    let record = cx.registry().get(package).cloned();
    let record = record.filter(|record| api_key_matches(key, &record.key_sha256));
    let record = record.ok_or_else(|| failed(401, "Invalid API key"))?;
    if webhook_url.len() > URL_BYTES_MAX
        || !(webhook_url.starts_with("http://") || webhook_url.starts_with("https://"))
    {
        return Err(failed(400, "webhookUrl must be an http or https URL"));
    }
    let known = all(cx).await?;
    let same = known
        .iter()
        .find(|known| known.package == package && known.webhook_url == webhook_url);
    if same.is_none() && known.len() >= REGISTRATIONS_MAX {
        return Err(failed(503, "Too many registrations"));
    }
    let now_ms = cx.unix_ms();
    let registration = Registration {
        // A server that restarts keeps its registration.
        id: same.map_or_else(uuid, |known| known.id.clone()),
        package: package.to_owned(),
        key_sha256: record.key_sha256.clone(),
        webhook_url: webhook_url.to_owned(),
        server_urls: urls(&fields),
        registered_ms: now_ms,
        last_seen_ms: now_ms,
    };
    let id = registration.id.clone();
    cx.writes
        .apply(Change::PutRegistration(registration))
        .await?;
    tracing::info!(package, registration = id, peer = %r.peer, "app-server-registered");
    Ok(reply(
        201,
        &json!({ "success": true, "registrationId": id }),
    ))
}

/// `POST /api/tpa-server/heartbeat`.
pub(super) async fn heartbeat(cx: &Services, r: &OutsideRequest) -> Handled {
    enabled(cx)?;
    let mut registration = find(cx, &body(r)).await?;
    registration.last_seen_ms = cx.unix_ms();
    cx.writes
        .apply(Change::PutRegistration(registration))
        .await?;
    Ok(reply(200, &json!({ "success": true })))
}

/// `POST /api/tpa-server/restart`.
pub(super) async fn restart(cx: &Services, r: &OutsideRequest) -> Handled {
    enabled(cx)?;
    let mut registration = find(cx, &body(r)).await?;
    registration.last_seen_ms = cx.unix_ms();
    cx.writes
        .apply(Change::PutRegistration(registration.clone()))
        .await?;
    let recovered = recover(cx, &registration).await;
    tracing::info!(
        package = registration.package,
        registration = registration.id,
        recovered,
        "app-server-recovered"
    );
    Ok(reply(
        200,
        &json!({ "success": true, "recoveredSessions": recovered }),
    ))
}

/// WebSocket base of recovery webhooks; empty = the usual one.
fn ws_base(cx: &Services, registration: &Registration) -> String {
    let settings = cx.settings();
    let system = settings
        .apps
        .system_app_packages
        .contains(&registration.package)
        || cx
            .registry()
            .get(&registration.package)
            .is_some_and(|record| record.app_type == AppType::SystemDashboard);
    let production = matches!(settings.server.env.as_str(), "production" | "staging");
    if system && !settings.server.internal_host.is_empty() {
        format!("ws://{}", settings.server.internal_host)
    } else if production {
        registration
            .server_urls
            .first()
            .cloned()
            .unwrap_or_default()
    } else {
        String::new()
    }
}

async fn recover(cx: &Services, registration: &Registration) -> usize {
    let sessions = lock(&cx.memory.links)
        .sessions
        .get(&registration.package)
        .cloned()
        .unwrap_or_default();
    let ws_base = ws_base(cx, registration);
    let mine = sessions
        .into_iter()
        .filter(|(_, key)| *key == registration.key_sha256 || key.is_empty());
    futures_util::stream::iter(mine)
        .map(|(user, _)| {
            let call = Call::Recover {
                package: registration.package.clone(),
                webhook_url: registration.webhook_url.clone(),
                ws_base: ws_base.clone(),
            };
            async move { cx.tell_session(&user, call).await }
        })
        .buffer_unordered(cx.settings().apps.recovery_concurrency as usize)
        .filter(|accepted| std::future::ready(*accepted))
        .count()
        .await
}

/// Removes registrations without a sign of life; an attached socket is one.
pub(super) async fn sweep(cx: Arc<Services>) {
    loop {
        tokio::time::sleep(Duration::from_millis(
            cx.settings().apps.registration_sweep_ms,
        ))
        .await;
        let Ok(known) = all(&cx).await else { continue };
        let stale_ms = cx.settings().apps.registration_stale_ms;
        let attached: BTreeSet<String> = {
            let links = lock(&cx.memory.links);
            links
                .sessions
                .values()
                .flat_map(|users| users.values().cloned())
                .collect()
        };
        for registration in known {
            let seen_ms = lock(&cx.memory.links)
                .seen
                .get(&registration.key_sha256)
                .copied()
                .unwrap_or(0);
            let silent_ms = cx
                .unix_ms()
                .saturating_sub(registration.last_seen_ms.max(seen_ms));
            if silent_ms > stale_ms && !attached.contains(&registration.key_sha256) {
                tracing::info!(
                    package = registration.package,
                    registration = registration.id,
                    "app-server-stale"
                );
                let _ = cx
                    .writes
                    .submit(Change::RemoveRegistration(registration.id));
            }
        }
        let alive = cx.unix_ms().saturating_sub(stale_ms);
        lock(&cx.memory.links)
            .seen
            .retain(|_, seen_ms| *seen_ms > alive);
    }
}
