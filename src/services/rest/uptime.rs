//! Outside thread, REST: health of app servers (behaviour.md §2.18): polled when `uptime_checker_enabled`, asked on demand. It
//! is shown and never blocks a start.

use super::{Handled, body, member, refuse, reply};
use crate::base::ids::{CallId, Origin, ReplyTo};
use crate::services::context::Services;
use crate::services::lock::lock;
use crate::session::effects::{HttpCall, HttpKind, HttpMethod};
use crate::session::event::HttpOutcome;
use crate::session::rest::Call;
use crate::shard::mailbox::{OutsideRequest, ToShard};
use bytes::Bytes;
use futures_util::future::{BoxFuture, Shared};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Polls at a time.
const POLLS: usize = 16;
/// Sessions told at a time, and the pause before the next ones: inboxes have room for what matters, however many apps are down.
const TOLD_AT_A_TIME: usize = 32;
const TOLD_PAUSE: Duration = Duration::from_millis(1);

/// What is known of apps' health; entries of unknown packages go at each poll.
#[derive(Default)]
pub(super) struct LastSeen {
    /// Last result by package.
    healthy: HashMap<String, bool>,
    /// When an app was last reported as down (`mono_ms`).
    reported: HashMap<String, u64>,
    /// Checks under way by package, of which anybody may ask for any number at a time.
    asked: HashMap<String, Shared<BoxFuture<'static, bool>>>,
}

impl LastSeen {
    /// Takes a poll's results; returns the results before it and the apps to be reported as down now, each at most once in
    /// `pause_ms`.
    fn polled(
        &mut self,
        results: HashMap<String, bool>,
        now_ms: u64,
        pause_ms: u64,
    ) -> (HashMap<String, bool>, Vec<String>) {
        self.reported
            .retain(|package, at_ms| results.contains_key(package) && *at_ms + pause_ms > now_ms);
        let down: Vec<String> = results
            .iter()
            .filter(|(package, healthy)| !**healthy && !self.reported.contains_key(*package))
            .map(|(package, _)| package.clone())
            .collect();
        self.reported
            .extend(down.iter().map(|package| (package.clone(), now_ms)));
        (std::mem::replace(&mut self.healthy, results), down)
    }
}

/// True when unknown.
pub(super) fn is_healthy(cx: &Services, package: &str) -> bool {
    lock(&cx.memory.health)
        .healthy
        .get(package)
        .copied()
        .unwrap_or(true)
}

/// Status and body of the app server's health page; `None`: no answer.
async fn ask(cx: &Services, public_url: &str) -> Option<(u16, Bytes)> {
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
        HttpOutcome::Answer { status, body, .. } => Some((status, body)),
        HttpOutcome::Failed { .. } => None,
    }
}

/// A check under way; forgotten however it ends.
struct Asked {
    cx: Arc<Services>,
    package: String,
}

impl Drop for Asked {
    fn drop(&mut self) {
        lock(&self.cx.memory.health).asked.remove(&self.package);
    }
}

/// What `check` says of an app. Who asks while another one waits for the answer gets the same; it goes on if nobody waits any more,
/// and a check that was lost to a defect says no.
fn once(
    cx: &Arc<Services>,
    package: &str,
    check: impl Future<Output = bool> + Send + 'static,
) -> Shared<BoxFuture<'static, bool>> {
    let mut health = lock(&cx.memory.health);
    if let Some(asked) = health.asked.get(package) {
        return asked.clone();
    }
    let asked = Asked {
        cx: Arc::clone(cx),
        package: package.to_owned(),
    };
    let task = tokio::spawn(async move {
        let there = check.await;
        // Who was away for a moment would be shown as away until somebody asks again, where nobody polls.
        if there || asked.cx.settings().apps.uptime_checker_enabled {
            let mut health = lock(&asked.cx.memory.health);
            health.healthy.insert(asked.package.clone(), there);
        }
        there
    });
    let there = async { task.await.unwrap_or(false) }.boxed().shared();
    health.asked.insert(package.to_owned(), there.clone());
    there
}

/// Whether the page of a known app is there.
async fn is_there(cx: &Arc<Services>, package: &str, public_url: String) -> bool {
    let asking = Arc::clone(cx);
    let check = async move { !public_url.is_empty() && answers(ask(&asking, &public_url).await) };
    once(cx, package, check).await
}

/// Enough for a phone: the page is there.
fn answers(page: Option<(u16, Bytes)>) -> bool {
    page.is_some_and(|(status, _)| status == 200)
}

/// What the poll wants to read (behaviour.md §2.18).
fn says_healthy(page: Option<(u16, Bytes)>) -> bool {
    page.is_some_and(|(status, body)| {
        (200..=299).contains(&status)
            && serde_json::from_slice::<Value>(&body).is_ok_and(|body| body["status"] == "healthy")
    })
}

/// `POST /api/app-uptime/app-pkg-health-check`: phones show an app without success as offline (protocol.md §18.17), so the
/// page's words, which are the developer's own, do not count.
pub(super) async fn check(cx: &Arc<Services>, r: &OutsideRequest) -> Handled {
    let fields = body(r);
    let package =
        member(&fields, "packageName").ok_or_else(|| refuse(400, "Missing packageName"))?;
    let record = cx.registry().get(package).cloned();
    let success = match record {
        Some(record) => is_there(cx, package, record.public_url.clone()).await,
        None => false,
    };
    let status = if success { 200 } else { 500 };
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
        poll_once(&cx).await;
    }
}

async fn poll_once(cx: &Services) {
    let registry = cx.registry();
    let polled: Vec<_> = registry
        .iter()
        .filter(|(_, record)| !record.public_url.is_empty())
        .map(|(package, record)| (package.to_string(), record.public_url.clone()))
        .collect();
    let results: HashMap<String, bool> = futures_util::stream::iter(polled)
        .map(|(package, url)| async move { (package, says_healthy(ask(cx, &url).await)) })
        .buffer_unordered(POLLS)
        .collect()
        .await;
    let down = results.values().filter(|up| !**up).count();
    tracing::debug!(polled = results.len(), down, "app health polled");
    let now_ms = cx.clock.now().mono_ms;
    let pause_ms = cx.settings().apps.uptime_notify_min_ms;
    let (before, reported) = lock(&cx.memory.health).polled(results.clone(), now_ms, pause_ms);
    // Whoever owns the app hears of it through the operator's alerts; there is no mail to send.
    for package in reported {
        tracing::warn!(package, "app-down");
    }
    // Sessions that began since the last poll take every app for healthy.
    let told = results
        .into_iter()
        .filter(|(package, healthy)| !healthy || before.get(package) == Some(&false));
    for (package, healthy) in told {
        tell_sessions(cx, &package, healthy).await;
    }
}

/// Every live session learns how an app is, to show it.
async fn tell_sessions(cx: &Services, package: &str, healthy: bool) {
    let nobody = ReplyTo {
        origin: Origin::Outside,
        id: u64::MAX,
    };
    for users in cx.shared.live.all().chunks(TOLD_AT_A_TIME) {
        for user in users {
            let call = Call::HealthPolled {
                package: package.to_owned(),
                healthy,
            };
            let message = ToShard::Call {
                user: user.clone(),
                reply: nobody,
                call,
            };
            // A full inbox has better things to do; the next poll tells again.
            let _ = cx.shards.send_home(user, message);
        }
        tokio::time::sleep(TOLD_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::rest::testkit::{APP, Kit};
    use crate::shard::mailbox::OutsideRoute as Route;
    use crate::wire::records::AppRecord;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[test]
    fn an_app_that_stays_down_is_reported_once_a_day_and_keeps_its_day_through_a_recovery() {
        let mut seen = LastSeen::default();
        let mut poll = |healthy, hours: u64| {
            let results = HashMap::from([("a".to_owned(), healthy), ("b".to_owned(), true)]);
            seen.polled(results, 1 + hours * 3_600_000, 24 * 3_600_000)
                .1
        };
        assert_eq!(poll(false, 0), ["a"]);
        assert!(poll(false, 1).is_empty());
        assert!(poll(true, 2).is_empty());
        assert!(poll(false, 23).is_empty());
        assert_eq!(poll(false, 25), ["a"]);
    }

    #[test]
    fn a_page_in_the_developers_own_words_is_online_to_phones() {
        let page = |status: u16, body: &'static str| Some((status, Bytes::from(body)));
        let own_words = page(200, r#"{"ok":true}"#);
        assert!(answers(own_words.clone()) && !says_healthy(own_words));
        assert!(says_healthy(page(200, r#"{"status":"healthy"}"#)));
        for gone in [None, page(503, r#"{"status":"healthy"}"#)] {
            assert!(!answers(gone.clone()) && !says_healthy(gone));
        }
        Kit::run(|kit| async move {
            let asked = json!({"packageName": "com.nobody"});
            let (status, body) = kit.client(Route::AppHealthCheck, "POST", &[], asked).await;
            assert_eq!((status, &body["success"]), (200, &json!(false)));
            assert_eq!(body["status"], 500, "an unknown app is one that is offline");
        });
    }

    #[test]
    fn an_app_is_asked_once_however_many_want_to_know() {
        Kit::run(|kit| async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            let address = listener.local_addr().expect("bound");
            let mut record = AppRecord::clone(kit.cx.registry().get(APP).expect("known"));
            record.public_url = format!("http://{address}");
            kit.cx.apps.set_file(vec![record]);
            crate::services::registry::refresh(&kit.cx).await;
            let asked = json!({"packageName": APP});
            let stranger = Kit::request(Route::AppHealthCheck, "POST", &[], &asked);
            let many = futures_util::future::join_all((0..20).map(|_| kit.send(&stranger)));
            let served = async {
                let (mut socket, _) = listener.accept().await.expect("asked");
                let mut request = [0; 1024];
                assert!(socket.read(&mut request).await.expect("readable") > 0);
                let page = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                socket.write_all(page).await.expect("writable");
            };
            let (answers, ()) = tokio::join!(many, served);
            assert!(answers.iter().all(|(_, body)| body["success"] == true));
            let again = tokio::time::timeout(Duration::from_millis(0), listener.accept());
            assert!(again.await.is_err(), "once for all");
            // Later it is asked anew.
            drop(listener);
            assert_eq!(kit.send(&stranger).await.1["success"], false);
        });
    }

    #[test]
    fn a_check_that_was_lost_or_that_nobody_waits_for_does_not_stay() {
        Kit::run(|kit| async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            let address = listener.local_addr().expect("bound");
            let lost = async { panic!("told to") };
            assert!(!once(&kit.cx, APP, lost).await, "it says no");
            assert!(once(&kit.cx, APP, async { true }).await, "asked anew");

            let waiting = is_there(&kit.cx, APP, format!("http://{address}"));
            let gone = tokio::time::timeout(Duration::from_millis(0), waiting);
            assert!(gone.await.is_err());
            let (mut socket, _) = listener.accept().await.expect("asked all the same");
            let page = b"HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            socket.write_all(page).await.expect("writable");
            while !lock(&kit.cx.memory.health).asked.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(is_healthy(&kit.cx, APP), "nobody polls: it is asked anew");
            assert!(once(&kit.cx, APP, async { true }).await, "asked anew");
        });
    }

    #[test]
    fn live_sessions_are_told_of_an_app_that_is_down() {
        Kit::run(|kit| async move {
            kit.session(|_| Some(crate::session::effects::RestAnswer::json(200, "{}")));
            kit.cx.shared.live.enter(Kit::user());
            tell_sessions(&kit.cx, APP, false).await;
            while lock(&kit.calls).is_empty() {
                tokio::task::yield_now().await;
            }
            let told = Call::HealthPolled {
                package: APP.into(),
                healthy: false,
            };
            assert_eq!(*lock(&kit.calls), [told]);
        });
    }

    #[test]
    fn what_sessions_are_told_of_apps_fills_no_inbox() {
        Kit::run(|kit| async move {
            kit.session(|_| Some(crate::session::effects::RestAnswer::json(200, "{}")));
            // More than the inbox holds.
            for at in 0..200 {
                let user = crate::base::ids::UserId::new(&format!("{at}@lumen.io"));
                kit.cx.shared.live.enter(user);
            }
            tell_sessions(&kit.cx, APP, false).await;
            while lock(&kit.calls).len() < 200 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
}
