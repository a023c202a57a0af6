//! Registrations of app servers as their owners and administrators see them.

use super::recovery::recover_all;
use super::sockets::note;
use super::{OF_PACKAGE_MAX, all, find, sweep};
use crate::base::ids::{Package, UserId};
use crate::base::settings::Settings;
use crate::services::lock::lock;
use crate::services::rest::testkit::{APP, KEY, Kit, SILENCE};
use crate::services::store::Change;
use crate::session::effects::RestAnswer;
use crate::session::rest::Call;
use crate::shard::mailbox::{Answer, AppLink, LinkChange, OutsideRoute as Route};
use crate::wire::auth::sha256_hex;
use crate::wire::records::AppRecord;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

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
            note(&kit.cx, &report(LinkChange::Attached));
        }
        note(&kit.cx, &report(LinkChange::Lost));
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
            note(&kit.cx, &report(LinkChange::Attached));
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
            note(&kit.cx, &attached);
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
            sweep::once(&kit.cx).await;
            // Reads what was submitted before.
            find(&kit.cx, &id).await.expect("kept").active
        };
        note(&kit.cx, &report(LinkChange::Attached));
        assert!(active().await, "an attached socket is a sign of life");
        note(&kit.cx, &report(LinkChange::Ended));
        lock(&kit.cx.memory.links).forget_seen_before(u64::MAX);
        assert!(!active().await);
        let heartbeat = Kit::request(Route::ServerHeartbeat, "POST", &[], &id);
        assert_eq!(kit.send(&heartbeat).await.0, 200);
        assert!(active().await);
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
