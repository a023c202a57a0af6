//! Outside thread, REST: registrations of app servers that gave no sign of life are deactivated, and removed at last
//! (protocol.md §18.18).

use super::all;
use crate::services::context::Services;
use crate::services::lock::lock;
use crate::services::store::Change;
use std::sync::Arc;
use std::time::Duration;

/// An inactive registration is kept this many times `registration_stale_ms`, so that a server that comes back finds it.
const KEPT_STALE_TIMES: u64 = 48;

/// Deactivates registrations without a sign of life; an attached socket is one.
pub(in crate::services::rest) async fn run(cx: Arc<Services>) {
    loop {
        tokio::time::sleep(Duration::from_millis(
            cx.settings().apps.registration_sweep_ms,
        ))
        .await;
        once(&cx).await;
    }
}

pub(super) async fn once(cx: &Services) {
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
