//! Outside thread, REST: recovery after the restart of an app server (behaviour.md §2.14): each of its sessions is asked to start the app
//! again.

use crate::services::context::Services;
use crate::services::lines::{Line, may};
use crate::services::lock::lock;
use crate::services::store::changes::Registration;
use crate::session::rest::Call;
use futures_util::StreamExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::timeout;

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
pub(super) async fn recover_all(
    cx: &Arc<Services>,
    restarted: Vec<Registration>,
    limit: Duration,
) -> usize {
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
