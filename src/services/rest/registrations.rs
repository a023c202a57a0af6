//! Outside thread, REST: app servers register, send heartbeats, and say that they restarted (behaviour.md §2.14, protocol.md §18.18).
//! Registrations are durable; which sessions belong to one is known from the shards' reports of their sockets.

mod recovery;
pub(crate) mod sockets;
pub(super) mod sweep;
#[cfg(test)]
mod tests;

use super::{Handled, auth, body, denied, member, reply, uuid};
use crate::base::ids::UserId;
use crate::services::context::Services;
use crate::services::lines::{Line, may};
use crate::services::lock::lock;
use crate::services::store::changes::Registration;
use crate::services::store::{Change, Space};
use crate::shard::mailbox::{OutsideRequest, RESTART_MS};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Registrations known at a time.
const REGISTRATIONS_MAX: usize = 10_000;
/// Of one package; a new one takes the place of the one that was silent for longest, so that no app keeps others from theirs.
const OF_PACKAGE_MAX: usize = 64;
const URL_BYTES_MAX: usize = 2048;

/// Users whose session of the package is attached or lost.
pub(super) fn users_of(cx: &Services, package: &str) -> Vec<UserId> {
    lock(&cx.memory.links).users_of(package)
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
    let missing = || denied(404, "Registration not found");
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
    let fields = body(r);
    let (Some(package), Some(key), Some(webhook_url)) = (
        member(&fields, "packageName"),
        member(&fields, "apiKey"),
        member(&fields, "webhookUrl"),
    ) else {
        return Err(denied(
            400,
            "packageName, apiKey and webhookUrl are required",
        ));
    };
    let known = super::auth::key_matches(cx, package, key)?;
    let record = cx.registry().get(package).filter(|_| known).cloned();
    let record = record.ok_or_else(|| denied(401, "Invalid API key"))?;
    if webhook_url.len() > URL_BYTES_MAX
        || !(webhook_url.starts_with("http://") || webhook_url.starts_with("https://"))
    {
        return Err(denied(400, "webhookUrl must be an http or https URL"));
    }
    let known = all(cx).await?;
    let same = known
        .iter()
        .find(|known| known.package == package && known.webhook_url == webhook_url);
    if same.is_none() {
        make_room(cx, package, &known).await?;
    }
    let now_ms = cx.unix_ms();
    let registration = Registration {
        // A server that restarts keeps its registration.
        id: same.map_or_else(uuid, |known| known.id.clone()),
        package: package.to_owned(),
        key_sha256: record.key_sha256.clone(),
        webhook_url: webhook_url.to_owned(),
        server_urls: urls(&fields),
        source_ips: vec![r.peer.to_string()],
        registered_ms: now_ms,
        last_seen_ms: now_ms,
        implicit: false,
        active: true,
    };
    let id = registration.id.clone();
    cx.writes
        .apply(Change::PutRegistration(registration))
        .await?;
    if let Some(more) = may(Line::Registered) {
        tracing::info!(package, registration = id, peer = %r.peer, more, "app-server-registered");
    }
    Ok(reply(
        201,
        &json!({ "success": true, "registrationId": id }),
    ))
}

/// For one more registration of a package.
async fn make_room(cx: &Services, package: &str, known: &[Registration]) -> Handled<()> {
    let own: Vec<_> = known
        .iter()
        .filter(|known| known.package == package)
        .collect();
    if own.len() >= OF_PACKAGE_MAX {
        let oldest = own.iter().min_by_key(|own| (own.active, own.last_seen_ms));
        let id = oldest.map(|oldest| oldest.id.clone()).unwrap_or_default();
        cx.writes.apply(Change::RemoveRegistration(id)).await?;
    } else if known.len() >= REGISTRATIONS_MAX {
        return Err(denied(503, "Too many registrations"));
    }
    Ok(())
}

/// `POST /api/tpa-server/heartbeat`.
pub(super) async fn heartbeat(cx: &Services, r: &OutsideRequest) -> Handled {
    let mut registration = find(cx, &body(r)).await?;
    registration.last_seen_ms = cx.unix_ms();
    registration.active = true;
    cx.writes
        .apply(Change::PutRegistration(registration))
        .await?;
    Ok(reply(200, &json!({ "success": true })))
}

/// `POST /api/tpa-server/restart`. An administrator may name a `packageName` instead: all its servers are recovered.
pub(super) async fn restart(cx: &Arc<Services>, r: &OutsideRequest) -> Handled {
    let fields = body(r);
    let mut restarted = match member(&fields, "packageName") {
        Some(package) if member(&fields, "registrationId").is_none() => {
            auth::admin(cx, r)?;
            let mut known = all(cx).await?;
            known.retain(|known| known.package == package && known.active);
            // The implicit one serves only while the server has made none itself.
            if known.iter().any(|known| !known.implicit) {
                known.retain(|known| !known.implicit);
            }
            known
        }
        _ => vec![find(cx, &fields).await?],
    };
    for registration in &mut restarted {
        registration.last_seen_ms = cx.unix_ms();
        registration.active = true;
        cx.writes
            .apply(Change::PutRegistration(registration.clone()))
            .await?;
    }
    let recovered = recovery::recover_all(cx, restarted, Duration::from_millis(RESTART_MS)).await;
    Ok(reply(
        200,
        &json!({ "success": true, "recoveredSessions": recovered }),
    ))
}

/// All registrations with their active sessions, for administrators.
pub(super) async fn summary(cx: &Services) -> Handled<Vec<Value>> {
    let known = all(cx).await?;
    let links = lock(&cx.memory.links);
    let row = |known: &Registration| {
        let sessions = links.sessions_of(&known.package, &known.key_sha256).len();
        json!({
            "registrationId": known.id,
            "packageName": known.package,
            "webhookUrl": known.webhook_url,
            "implicit": known.implicit,
            "active": known.active,
            "activeSessions": if known.active { sessions } else { 0 },
            "sourceIps": known.source_ips,
            "lastSeenMs": known.last_seen_ms,
        })
    };
    Ok(known.iter().map(row).collect())
}
