//! Outside thread, REST: administration (behaviour.md §9.5): connections, subscriptions, app-to-app messages, configuration, reload,
//! ending a session. Only for core tokens of `admin_emails` and for `admin_api_key`; secrets are never shown.

use super::{Handled, auth, param, query, refuse, reply};
use crate::base::clock::IsoTime;
use crate::base::ids::UserId;
use crate::base::metrics::{Counter, Timing};
use crate::base::settings::{KeyInfo, LoadError, Settings};
use crate::services::context::Services;
use crate::services::lock::lock;
use crate::services::metrics::{Aggregate, mean, quantile};
use crate::services::registry::{self, AppsError};
use crate::session::rest::Call;
use crate::shard::app_history::{Past, Went};
use crate::shard::mailbox::OutsideRequest;
use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use std::sync::{Arc, PoisonError};

/// Most sessions that are asked for one list, and how many at a time.
const USERS_MAX: usize = 2000;
const ASKED_AT_A_TIME: usize = 64;
/// Packages of a summary, worst first.
const PACKAGES_SHOWN: usize = 50;
/// Parts of key names whose values are secrets.
const SECRET: &[&str] = &["secret", "token", "private_key", "api_key", "store_url"];

/// `GET /api/admin/connections?user=…|package=…|kind=…`.
pub(super) async fn connections(cx: &Services, r: &OutsideRequest) -> Handled {
    auth::admin(cx, r)?;
    let mut users = match (query(r, "user"), query(r, "package")) {
        (Some(user), _) => vec![UserId::new(user)],
        (None, Some(package)) => super::registrations::users_of(cx, package),
        (None, None) => cx.shared.live.all(),
    };
    users.retain(|user| cx.shared.live.contains(user));
    let total = users.len();
    let lists: Vec<Vec<Value>> = futures_util::stream::iter(users.into_iter().take(USERS_MAX))
        .map(|user| async move { ask(cx, &user, Call::Connections).await })
        .buffer_unordered(ASKED_AT_A_TIME)
        .collect()
        .await;
    let wanted = |name: &str, names: &[&str], connection: &Value| match query(r, name) {
        Some(value) => names.iter().any(|name| connection[*name] == value),
        None => true,
    };
    let mut found: Vec<_> = lists.into_iter().flatten().collect();
    found.retain(|connection| {
        wanted("kind", &["kind"], connection)
            && wanted("package", &["package", "packageName"], connection)
    });
    Ok(reply(
        200,
        &json!({ "success": true, "connections": found, "sessions": total, "truncated": total > USERS_MAX }),
    ))
}

/// `GET /api/admin/connections/summary`.
pub(super) async fn summary(cx: &Services, r: &OutsideRequest) -> Handled {
    auth::admin(cx, r)?;
    crate::services::metrics::fresh(cx).await;
    let registrations = super::registrations::summary(cx).await?;
    let all = lock(&cx.aggregate);
    let shard = |report: &crate::shard::mailbox::ShardReport| {
        json!({
            "core": report.shard.0,
            "sessions": report.sessions,
            "glasses": report.phones,
            "apps": report.apps,
            "pendingApps": report.pending_apps,
            "http": report.http,
            "appStates": report.app_states,
            "driver": cx.shared.beats.get(usize::from(report.shard.0)).map(crate::shard::shared::Beat::driver),
        })
    };
    let (opened, closed) = all.churn();
    let body = json!({
        "success": true,
        "totals": {
            "sessions": all.gauge(|shard| shard.sessions),
            "glasses": all.gauge(|shard| shard.phones),
            "apps": all.gauge(|shard| shard.apps),
            "http": all.gauge(|shard| shard.http),
            "connectionsLastMinute": opened,
            "disconnectionsLastMinute": closed,
            "timeouts": {
                "glasses": all.counter(Counter::HealthTimeoutPhone),
                "apps": all.counter(Counter::HealthTimeoutApp),
            },
            "pingMs": {
                "glasses": ping(&all, Timing::PingPhone),
                "apps": ping(&all, Timing::PingApp),
            },
        },
        "packages": lock(&cx.memory.app_stats).worst(PACKAGES_SHOWN),
        "cores": all.reports().map(shard).collect::<Vec<_>>(),
        "registrations": registrations,
        "timestamp": cx.iso(),
    });
    Ok(reply(200, &body))
}

/// `GET /api/admin/subscriptions?user=…&package=…`: who gets which streams, and the last changes.
pub(super) async fn subscriptions(cx: &Services, r: &OutsideRequest) -> Handled {
    auth::admin(cx, r)?;
    let user = query(r, "user").ok_or_else(|| refuse(400, "user is required"))?;
    let user = UserId::new(user);
    let mut found = ask(cx, &user, Call::Subscriptions).await;
    if let Some(package) = query(r, "package") {
        found.retain(|subscriber| subscriber["packageName"] == package);
    }
    Ok(reply(
        200,
        &json!({ "success": true, "userId": user.as_str(), "subscribers": found }),
    ))
}

/// A session's list; empty without a session.
async fn ask(cx: &Services, user: &UserId, call: Call) -> Vec<Value> {
    let answer = cx.call_session(user, call).await;
    match answer.status {
        200 => serde_json::from_slice(&answer.body).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// `GET /api/admin/app-messages?package=…`: the last app-to-app messages of an app, oldest first, without what they say.
pub(super) fn app_messages(cx: &Services, r: &OutsideRequest) -> Handled {
    auth::admin(cx, r)?;
    let package = query(r, "package").ok_or_else(|| refuse(400, "package is required"))?;
    let past = cx.shared.app_history.of(package);
    let shown = |past: &Past| {
        let (kind, to) = match &past.to {
            Went::Everybody => ("broadcast", None),
            Went::User(user) => ("direct", Some(user.as_str())),
            Went::Room(room) => ("room", Some(room.as_str())),
        };
        json!({
            "kind": kind,
            "from": past.from.as_str(),
            "to": to,
            "messageId": past.message_id,
            "bytes": past.bytes,
            "timestamp": IsoTime::from_unix_ms(past.sent_unix_ms).to_string(),
        })
    };
    Ok(reply(
        200,
        &json!({ "success": true, "packageName": package, "messages": past.iter().map(shown).collect::<Vec<_>>() }),
    ))
}

/// Mean and largest round trip of the last minute (ms).
fn ping(all: &Aggregate, of: Timing) -> Value {
    let window = all.window();
    let latency = window.timing(of);
    json!({ "mean": mean(latency) / 1e6, "max": quantile(latency, 1.0) as f64 / 1e6 })
}

/// All settings by section; secrets masked.
pub(crate) fn effective(settings: &Settings) -> Value {
    let mut sections = Map::new();
    for key in Settings::KEYS {
        let value = settings.show(key.name).unwrap_or_default();
        let secret =
            SECRET.iter().any(|part| key.name.contains(part)) && value.parse::<u64>().is_err();
        let shown = match value.as_str() {
            "\"\"" => value,
            _ if secret => "\"***\"".to_owned(),
            _ => value,
        };
        let section = sections
            .entry(key.section)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(section) = section {
            let parsed = serde_json::from_str(&shown).unwrap_or(Value::String(shown));
            section.insert(key.name.to_owned(), parsed);
        }
    }
    Value::Object(sections)
}

/// `GET /api/admin/config`.
pub(super) fn config(cx: &Services, r: &OutsideRequest) -> Handled {
    auth::admin(cx, r)?;
    Ok(reply(
        200,
        &json!({ "success": true, "config": effective(&cx.settings()) }),
    ))
}

/// `POST /api/admin/reload`.
pub(super) async fn reload_route(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::admin(cx, r)?;
    tracing::info!(user = user.log_tag(), "reload asked for");
    match reload(cx).await {
        Ok(apps) => Ok(reply(200, &json!({ "success": true, "apps": apps }))),
        Err(problem) => {
            let problem = problem.to_string();
            Err(reply(400, &json!({ "success": false, "error": problem })))
        }
    }
}

/// Why a reload changes nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    #[error(transparent)]
    Settings(#[from] LoadError),
    #[error(transparent)]
    Files(#[from] AppsError),
}

/// Reads settings and the files they name; all or none take effect. Returns the number of apps.
pub(crate) async fn reload(cx: &Services) -> Result<usize, ReloadError> {
    // Of two at once the one that read first must not have the last word.
    let _alone = cx.memory.reloads.lock().await;
    let read = (cx.reload.read)()?;
    let settings = Arc::new(read.clone().in_force(&cx.started_with));
    let apps = registry::reread_apps_file(&settings, &cx.config_dir, cx.apps.in_file())?;
    let profiles = registry::read_profiles(&settings, &cx.config_dir)?;
    (cx.reload.apply)(&settings);
    let old = {
        let mut current = cx.settings.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, Arc::clone(&settings))
    };
    registry::tell_settings(cx).await;
    cx.apps.set_file(apps);
    cx.apps.set_profiles(profiles);
    registry::refresh(cx).await;
    let apps = cx.registry().len();
    let changed = names(read.differences(&old));
    tracing::info!(apps, changed, "configuration reloaded");
    let waiting = read.differences(&cx.started_with);
    let waiting = names(waiting.filter(|key| key.needs_restart()));
    if !waiting.is_empty() {
        tracing::warn!(keys = waiting, "these settings wait for a restart");
    }
    Ok(apps)
}

fn names<'a>(keys: impl Iterator<Item = &'a KeyInfo>) -> String {
    let names: Vec<_> = keys.map(|key| key.name).collect();
    names.join(" ")
}

/// `POST /api/admin/sessions/:user/dispose`.
pub(super) async fn dispose(cx: &Services, r: &OutsideRequest) -> Handled {
    let admin = auth::admin(cx, r)?;
    let user = UserId::new(param(r, 0));
    tracing::info!(
        admin = admin.log_tag(),
        user = user.log_tag(),
        "session disposal asked for"
    );
    let answer = cx.call_session(&user, Call::Dispose).await;
    if answer.status == 200 {
        Ok(reply(200, &json!({ "success": true })))
    } else {
        Err(refuse(404, "Session not found"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shown_configuration_hides_secrets_and_keeps_the_rest() {
        let mut settings = Settings::default();
        settings.server.store_url = "postgres://u:hunter2@h/db".into();
        settings.streaming.managed_api_token = "hunter2".into();
        let shown = effective(&settings);
        assert!(!shown.to_string().contains("hunter2"));
        assert!(!shown.to_string().contains(&settings.server.auth_jwt_secret));
        assert_eq!(shown["device"]["photo_upload_token_ttl_s"], 120);
        assert_eq!(shown["server"]["supabase_jwt_secret"], "");
    }
}
