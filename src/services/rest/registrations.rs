//! Outside thread, REST: app-server registrations and restart recovery (behaviour.md §2.14, protocol.md §18.18). Registrations
//! are durable; which sessions belong to one is known from the shards' attach and end reports.

use super::{Handled, auth, body, denied, member, reply, uuid};
use crate::base::ids::UserId;
use crate::services::context::Services;
use crate::services::lines::{Line, may};
use crate::services::lock::lock;
use crate::services::store::changes::Registration;
use crate::services::store::{Change, Space};
use crate::session::rest::Call;
use crate::shard::mailbox::{AppLink, LinkChange, OutsideRequest, RESTART_MS, ToShard};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Registrations known at a time.
const REGISTRATIONS_MAX: usize = 10_000;
/// Of one package; a new one takes the place of the one that was silent for longest, so that no app keeps others from theirs.
const OF_PACKAGE_MAX: usize = 64;
const URL_BYTES_MAX: usize = 2048;

/// An inactive registration is kept this many times `registration_stale_ms`, so that a server that comes back finds it.
const KEPT_STALE_TIMES: u64 = 48;

/// Notes a shard's report of an app socket.
pub(crate) fn link(cx: &Arc<Services>, link: &AppLink) {
    let now = cx.clock.now();
    let (package, user) = (link.package.as_str(), &link.user);
    lock(&cx.memory.app_stats).note(package, user, link.change, now.mono_ms);
    let spread = {
        let mut links = lock(&cx.memory.links);
        match link.change {
            LinkChange::Attached => {
                links.attached(package, user.clone(), &link.key_sha256, now.unix_ms);
                drop(links);
                return note_server(cx, package, &link.key_sha256);
            }
            LinkChange::Lost | LinkChange::LostSilent => {
                links.lost(package, user, now.mono_ms, &cx.settings())
            }
            LinkChange::Ended => return links.ended(package, user),
        }
    };
    if spread.begins {
        tracing::warn!(package, sockets = spread.users.len(), "mass-disconnect");
    }
    let jitter_max_ms = cx.settings().apps.mass_disconnect_jitter_ms;
    for user in spread.users {
        let message = ToShard::MassDisconnect {
            user: user.clone(),
            package: link.package.clone(),
            jitter_ms: fastrand::u64(0..=jitter_max_ms),
        };
        // Refused: that one restarts without delay.
        let _ = cx.shards.send_home(&user, message);
    }
}

/// A server that never registers gets a registration of its own when its first socket attaches, so that recovery reaches it.
fn note_server(cx: &Arc<Services>, package: &str, key_sha256: &str) {
    let registry = cx.registry();
    let base = registry
        .get(package)
        .map(|record| record.public_url.trim_end_matches('/'));
    let Some(base) = base.filter(|base| !base.is_empty()) else {
        return;
    };
    let server = (package.to_owned(), format!("{base}/webhook"));
    {
        let mut noted = lock(&cx.memory.noted_servers);
        if noted.len() >= REGISTRATIONS_MAX {
            noted.clear();
        }
        if !cx.settings().apps.app_server_registration_enabled || !noted.insert(server.clone()) {
            return;
        }
    }
    let (cx, key_sha256) = (Arc::clone(cx), key_sha256.to_owned());
    tokio::spawn(async move {
        let implicit = register_implicitly(&cx, &server, key_sha256);
        // The store fails, by an error or a panic: the next socket of the server tries again.
        let outcome = AssertUnwindSafe(implicit).catch_unwind().await;
        if !matches!(outcome, Ok(Ok(()))) {
            lock(&cx.memory.noted_servers).remove(&server);
        }
    });
}

async fn register_implicitly(
    cx: &Services,
    (package, webhook_url): &(String, String),
    key_sha256: String,
) -> Handled<()> {
    let known = all(cx).await?;
    let same = known
        .iter()
        .any(|known| known.package == *package && known.webhook_url == *webhook_url);
    if same || known.len() >= REGISTRATIONS_MAX {
        return Ok(());
    }
    let now_ms = cx.unix_ms();
    let registration = Registration {
        id: uuid(),
        package: package.clone(),
        key_sha256,
        webhook_url: webhook_url.clone(),
        registered_ms: now_ms,
        last_seen_ms: now_ms,
        implicit: true,
        active: true,
        ..Registration::default()
    };
    Ok(cx.writes.submit(Change::PutRegistration(registration))?)
}

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
            // Ours serves only where the server has none of its own.
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
    let recovered = recover_all(cx, restarted, Duration::from_millis(RESTART_MS)).await;
    Ok(reply(
        200,
        &json!({ "success": true, "recoveredSessions": recovered }),
    ))
}

/// WebSocket base of recovery webhooks of apps that are no system apps; empty = the usual one.
fn ws_base(cx: &Services, registration: &Registration) -> String {
    let settings = cx.settings();
    let production = matches!(settings.server.env.as_str(), "production" | "staging");
    if production {
        registration
            .server_urls
            .first()
            .cloned()
            .unwrap_or_default()
    } else {
        String::new()
    }
}

/// Recovers the sessions of all; says how many were within `limit`. The rest follows, whoever waits for the answer or not.
async fn recover_all(cx: &Arc<Services>, restarted: Vec<Registration>, limit: Duration) -> usize {
    let recovered = Arc::new(AtomicUsize::new(0));
    let work = {
        let (cx, recovered) = (Arc::clone(cx), Arc::clone(&recovered));
        async move {
            for registration in restarted {
                let sessions = recover(&cx, &registration, &recovered).await;
                if let Some(more) = may(Line::Recovered) {
                    tracing::info!(
                        package = registration.package,
                        registration = registration.id,
                        recovered = sessions,
                        more,
                        "app-server-recovered"
                    );
                }
            }
        }
    };
    let _ = timeout(limit, tokio::spawn(work)).await;
    recovered.load(Ordering::Relaxed)
}

/// Adds to `recovered` as it goes.
async fn recover(cx: &Services, registration: &Registration, recovered: &AtomicUsize) -> usize {
    let mine = lock(&cx.memory.links).sessions_of(&registration.package, &registration.key_sha256);
    let ws_base = ws_base(cx, registration);
    futures_util::stream::iter(mine)
        .map(|user| {
            let call = Call::Recover {
                package: registration.package.clone(),
                webhook_url: registration.webhook_url.clone(),
                ws_base: ws_base.clone(),
            };
            async move {
                let accepted = cx.tell_session(&user, call).await;
                recovered.fetch_add(usize::from(accepted), Ordering::Relaxed);
                accepted
            }
        })
        .buffer_unordered(cx.settings().apps.recovery_concurrency as usize)
        .filter(|accepted| std::future::ready(*accepted))
        .count()
        .await
}

/// Deactivates registrations without a sign of life; an attached socket is one.
pub(super) async fn sweep(cx: Arc<Services>) {
    loop {
        tokio::time::sleep(Duration::from_millis(
            cx.settings().apps.registration_sweep_ms,
        ))
        .await;
        sweep_once(&cx).await;
    }
}

pub(super) async fn sweep_once(cx: &Services) {
    let Ok(known) = all(cx).await else { return };
    let (now_ms, stale_ms) = (cx.unix_ms(), cx.settings().apps.registration_stale_ms);
    for mut registration in known {
        let (package, key) = (&registration.package, &registration.key_sha256);
        let seen_ms = lock(&cx.memory.links).seen_ms(package, key, now_ms);
        let silent_ms = now_ms.saturating_sub(registration.last_seen_ms.max(seen_ms));
        if silent_ms <= stale_ms {
            continue;
        }
        // Sessions and a registration of the same server are noted again when a socket of it attaches.
        lock(&cx.memory.links).forget(package, key);
        lock(&cx.memory.noted_servers).remove(&(package.clone(), registration.webhook_url.clone()));
        if !registration.active || registration.implicit {
            let kept = !registration.implicit && silent_ms <= KEPT_STALE_TIMES * stale_ms;
            if !kept {
                let _ = cx
                    .writes
                    .submit(Change::RemoveRegistration(registration.id));
            }
            continue;
        }
        tracing::info!(
            package,
            registration = registration.id,
            silent_ms,
            "app-server-stale"
        );
        registration.active = false;
        let _ = cx.writes.submit(Change::PutRegistration(registration));
    }
    lock(&cx.memory.links).forget_seen_before(now_ms.saturating_sub(stale_ms));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Package;
    use crate::base::settings::Settings;
    use crate::services::rest::testkit::{APP, KEY, Kit, SILENCE};
    use crate::session::effects::RestAnswer;
    use crate::shard::mailbox::{Answer, OutsideRoute as Route};
    use crate::wire::auth::sha256_hex;
    use crate::wire::records::AppRecord;

    fn report(change: LinkChange) -> AppLink {
        AppLink {
            user: Kit::user(),
            package: Package::new(APP),
            key_sha256: sha256_hex(KEY),
            change,
        }
    }

    /// The app has a public URL from now on.
    async fn publish(kit: &Kit) {
        let record = AppRecord {
            package_name: APP.into(),
            key_sha256: sha256_hex(KEY),
            public_url: "http://127.0.0.1:7010/".into(),
            ..AppRecord::default()
        };
        kit.cx.apps.set_file(vec![record]);
        crate::services::registry::refresh(&kit.cx).await;
    }

    #[test]
    fn a_server_that_never_registered_is_recovered_by_an_administrator() {
        Kit::run(|kit| async move {
            publish(&kit).await;
            kit.session(|_| Some(RestAnswer::json(200, "{}")));
            for _ in 0..2 {
                link(&kit.cx, &report(LinkChange::Attached));
            }
            link(&kit.cx, &report(LinkChange::Lost));
            while all(&kit.cx).await.expect("reads").is_empty() {
                tokio::task::yield_now().await;
            }
            let body = json!({ "packageName": APP });
            let token = kit.token("root@lumen.io");
            let restart = kit.bearer(&token, Route::ServerRestart, "POST", &[], body.clone());
            assert_eq!(
                restart.await,
                (200, json!({ "success": true, "recoveredSessions": 1 }))
            );
            let calls = lock(&kit.calls).clone();
            assert!(matches!(
                calls.as_slice(),
                [Call::Recover { webhook_url, .. }] if webhook_url == "http://127.0.0.1:7010/webhook"
            ));
            let stranger = kit.client(Route::ServerRestart, "POST", &[], body);
            assert_eq!(stranger.await.0, 403);
            let summary = kit.bearer(&token, Route::AdminSummary, "GET", &[], Value::Null);
            let row = summary.await.1["registrations"].clone();
            assert_eq!(
                (
                    row.as_array().map(Vec::len),
                    &row[0]["implicit"],
                    &row[0]["activeSessions"]
                ),
                (Some(1), &true.into(), &1.into())
            );
        });
    }

    #[test]
    fn a_server_that_came_while_the_store_failed_is_noted_when_it_comes_again() {
        Kit::run(|kit| async move {
            publish(&kit).await;
            let comes = async || {
                link(&kit.cx, &report(LinkChange::Attached));
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            };
            kit.store.set_failing(true);
            comes().await;
            kit.store.set_failing(false);
            kit.store.set_panicking(true);
            comes().await;
            kit.store.set_panicking(false);
            comes().await;
            let noted = async {
                while all(&kit.cx).await.expect("reads").is_empty() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(Duration::from_secs(10), noted)
                .await
                .expect("noted");
        });
    }

    #[test]
    fn a_restart_of_many_sessions_is_answered_in_time_and_goes_on() {
        let one_at_a_time = |settings: &mut Settings| settings.apps.recovery_concurrency = 1;
        Kit::run_with(one_at_a_time, |kit| async move {
            publish(&kit).await;
            kit.session(|_| Some(SILENCE));
            for user in ["nadia@lumen.io", "omar@lumen.io"] {
                let attached = AppLink {
                    user: UserId::new(user),
                    ..report(LinkChange::Attached)
                };
                link(&kit.cx, &attached);
            }
            while all(&kit.cx).await.expect("reads").is_empty() {
                tokio::task::yield_now().await;
            }
            let known = all(&kit.cx).await.expect("reads");
            let limit = Duration::from_millis(1);
            assert_eq!(recover_all(&kit.cx, known, limit).await, 0);
            while lock(&kit.calls).len() < 2 {
                let waiting: Vec<u64> = lock(&kit.cx.calls).keys().copied().collect();
                for id in waiting {
                    let accepted = RestAnswer::json(200, "{}");
                    kit.cx.resolve(id, Answer::Whole(accepted));
                }
                tokio::task::yield_now().await;
            }
        });
    }

    #[test]
    fn no_app_takes_the_registrations_of_others() {
        Kit::run(|kit| async move {
            let register = async |number: usize| {
                let body = json!({
                    "packageName": APP, "apiKey": KEY, "webhookUrl": format!("http://10.0.0.1:{number}/webhook"),
                });
                let request = Kit::request(Route::ServerRegister, "POST", &[], &body);
                kit.send(&request).await
            };
            for number in 0..OF_PACKAGE_MAX + 20 {
                assert_eq!(register(number).await.0, 201);
            }
            let known = all(&kit.cx).await.expect("reads");
            assert_eq!(known.len(), OF_PACKAGE_MAX);
            let newest = format!("http://10.0.0.1:{}/webhook", OF_PACKAGE_MAX + 19);
            assert!(known.iter().any(|known| known.webhook_url == newest));
            let (_, again) = register(OF_PACKAGE_MAX + 19).await;
            assert!(
                known
                    .iter()
                    .any(|known| again["registrationId"] == known.id)
            );
        });
    }

    #[test]
    fn a_body_of_a_stranger_is_only_read_up_to_a_bound() {
        Kit::run(|kit| async move {
            let answer = |padding: usize| {
                let fields = json!({"packageName": APP, "apiKey": "wrong", "webhookUrl": "http://x/webhook", "y": "x".repeat(padding)});
                Kit::request(Route::ServerRegister, "POST", &[], &fields)
            };
            assert_eq!(kit.send(&answer(1000)).await.0, 401);
            assert_eq!(kit.send(&answer(300_000)).await.0, 400);
        });
    }

    #[test]
    fn a_silent_registration_is_deactivated_and_a_heartbeat_revives_it() {
        Kit::run(|kit| async move {
            let fields = json!({"packageName": APP, "apiKey": KEY, "webhookUrl": "http://127.0.0.1:7010/webhook"});
            let register = Kit::request(Route::ServerRegister, "POST", &[], &fields);
            let id = json!({ "registrationId": kit.send(&register).await.1["registrationId"] });
            let old = kit.cx.unix_ms() - 2 * kit.cx.settings().apps.registration_stale_ms;
            let mut known = all(&kit.cx).await.expect("reads").remove(0);
            known.last_seen_ms = old;
            let aged = Change::PutRegistration(known);
            kit.cx.writes.apply(aged.clone()).await.expect("written");
            let active = async || {
                sweep_once(&kit.cx).await;
                // Reads what was submitted before.
                find(&kit.cx, &id).await.expect("kept").active
            };
            link(&kit.cx, &report(LinkChange::Attached));
            assert!(active().await, "an attached socket is a sign of life");
            link(&kit.cx, &report(LinkChange::Ended));
            lock(&kit.cx.memory.links).forget_seen_before(u64::MAX);
            assert!(!active().await);
            let heartbeat = Kit::request(Route::ServerHeartbeat, "POST", &[], &id);
            assert_eq!(kit.send(&heartbeat).await.0, 200);
            assert!(active().await);
        });
    }
}
