//! Outside thread, REST: what the sockets of an app server tell (behaviour.md §2.14): which sessions belong to it, that many were lost
//! at once, and that a server is there which never registers.

use super::{REGISTRATIONS_MAX, all};
use crate::services::context::Services;
use crate::services::lock::lock;
use crate::services::rest::{Handled, uuid};
use crate::services::store::Change;
use crate::services::store::changes::Registration;
use crate::shard::mailbox::{AppLink, LinkChange, ToShard};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Notes a shard's report of an app socket.
pub(crate) fn note(cx: &Arc<Services>, link: &AppLink) {
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
    let record = registry.get(package);
    let Some(webhook) = record.and_then(|record| record.endpoint("/webhook")) else {
        return;
    };
    let server = (package.to_owned(), webhook);
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
