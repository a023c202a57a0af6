//! Loss and return of app sockets: behaviour.md §2.2 (rows of running, grace, dormant, resurrecting), §2.9 to §2.14,
//! invariants 13, 16, 17, 24.

use crate::base::ids::{ConnId, Package};
use crate::base::metrics::{Counter, Timing};
use crate::session::effects::{Effect, HttpKind, LinkChange, StoreOp};
use crate::session::event::{Event, Sdk};
use crate::session::flow::sync::need;
use crate::session::managers::apps::AppState;
use crate::session::rest::Call;
use crate::session::testkit::{Kit, MAPS, SCRIBE, record, trusted, user_running};
use crate::wire::records::{AppType, Registry};
use serde_json::json;

/// Where the server of a recovery is.
const BACK: &str = "http://blue.acme.dev/hook";

const SUBSCRIBE: &str = r#"{"type":"subscription_update","subscriptions":["audio_chunk"]}"#;

/// A connected phone and Scribe, whose socket was just lost.
fn lost(sdk: Sdk) -> (Kit, ConnId) {
    let (mut kit, phone) = Kit::connected();
    let conn = kit.running(SCRIBE, sdk);
    kit.app_closes(conn);
    (kit, phone)
}

/// Scribe may hear audio and does; the phone left, and then Scribe's socket was lost.
fn lost_without_a_phone(sdk: Sdk) -> Kit {
    let (mut kit, phone) = Kit::connected();
    kit.apps = Registry::new([trusted(SCRIBE, AppType::Background)], 2);
    let conn = kit.running(SCRIBE, sdk);
    kit.app_text(conn, SUBSCRIBE);
    kit.phone_closes(phone);
    kit.app_closes(conn);
    kit
}

/// A server at [`BACK`] restarted.
fn recovery(package: &str) -> Call {
    Call::Recover {
        package: package.into(),
        webhook_url: BACK.into(),
        ws_base: String::new(),
    }
}

#[test]
fn a_lost_socket_may_come_back_within_the_grace_unnoticed() {
    for (sdk, down) in [
        (Sdk::V2, AppState::GracePeriod),
        (Sdk::V3, AppState::TransportDown),
    ] {
        let (mut kit, phone) = Kit::connected();
        let conn = kit.running(SCRIBE, sdk);
        kit.advance(1_000);
        kit.forget();
        kit.app_closes(conn);
        assert_eq!(kit.state(SCRIBE), down);
        let link = kit.effects(|e| matches!(e, Effect::AppLink { .. }));
        assert!(matches!(
            &link[..],
            [Effect::AppLink {
                change: LinkChange::Lost,
                ..
            }]
        ));
        kit.advance(4_999);
        assert_eq!(kit.state(SCRIBE), down);
        let back = kit.init(SCRIBE, sdk);
        assert_eq!(kit.types(back)[0], "tpa_connection_ack");
        let away = kit.metrics.timing(Timing::AppDowntime).histogram();
        let away_ms = away.map(|away| away.max() / 1_000_000);
        assert!(
            away_ms.is_some_and(|ms| (4_950..5_100).contains(&ms)),
            "{away_ms:?}"
        );
        kit.advance(1_000);
        assert_eq!(kit.state(SCRIBE), AppState::Running);
        assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
        assert!(kit.webhooks(HttpKind::StopRequest).is_empty());
        assert!(kit.writes().is_empty());
        assert!(!kit.types(phone).contains(&"app_stopped".to_owned()));
    }
}

#[test]
fn a_lost_v3_app_is_asked_again_after_the_grace() {
    let (mut kit, _) = lost(Sdk::V3);
    kit.advance(5_000);
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    kit.webhook(HttpKind::SessionRequest);
    assert!(kit.webhooks(HttpKind::StopRequest).is_empty());
    let back = kit.reconnect(SCRIBE);
    assert_eq!(kit.types(back)[0], "reconnect_ack");
    kit.advance(10_000);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    assert_eq!(kit.metrics.get(Counter::ResurrectionsOk), 1);
    assert!(kit.writes().is_empty());
}

#[test]
fn a_lost_v2_app_is_told_to_stop_before_it_is_asked_again() {
    let (mut kit, _) = lost(Sdk::V2);
    kit.advance(5_000);
    assert_eq!(kit.state(SCRIBE), AppState::Resurrecting);
    let stop = kit.webhook(HttpKind::StopRequest);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    kit.answer_webhook(stop.call, 200);
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    kit.webhook(HttpKind::SessionRequest);
    kit.init(SCRIBE, Sdk::V2);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    assert!(kit.writes().is_empty());
}

#[test]
fn an_unanswered_stop_webhook_holds_a_restart_three_seconds() {
    let (mut kit, _) = lost(Sdk::V2);
    kit.advance(5_000 + 2_999);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    kit.advance(1);
    kit.webhook(HttpKind::SessionRequest);
}

/// behaviour.md §2.10: the user may be on another instance by then, from which the restart would take the app.
#[test]
fn a_restart_whose_phone_leaves_while_the_app_is_told_to_stop_waits_for_it() {
    let (mut kit, phone) = lost(Sdk::V2);
    kit.advance(5_000);
    let stop = kit.webhook(HttpKind::StopRequest);
    kit.phone_closes(phone);
    kit.answer_webhook(stop.call, 200);
    assert_eq!(kit.state(SCRIBE), AppState::Dormant);
    kit.advance(40_000);
    assert_eq!(kit.state(SCRIBE), AppState::Dormant);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    kit.phone();
    let stop = kit.webhook(HttpKind::StopRequest);
    kit.answer_webhook(stop.call, 200);
    kit.webhook(HttpKind::SessionRequest);
    kit.init(SCRIBE, Sdk::V2);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
}

#[test]
fn an_app_that_returns_during_its_restart_is_running() {
    let (mut kit, _) = lost(Sdk::V2);
    kit.advance(5_000);
    assert_eq!(kit.state(SCRIBE), AppState::Resurrecting);
    let stop = kit.webhook(HttpKind::StopRequest);
    kit.init(SCRIBE, Sdk::V2);
    kit.answer_webhook(stop.call, 200);
    kit.advance(60_000);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}

#[test]
fn a_failed_restart_tells_the_phone_and_keeps_the_intent() {
    let (mut kit, phone) = lost(Sdk::V3);
    kit.advance(5_000 + 6_000);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    let told = kit.texts(phone);
    let stopped = told.iter().find(|text| text["type"] == "app_stopped");
    assert_eq!(stopped.unwrap()["packageName"], SCRIBE);
    assert!(kit.writes().is_empty());
    assert!(kit.s.m.apps.intent.is_running(SCRIBE));
    assert_eq!(kit.metrics.get(Counter::ResurrectionsFailed), 1);
    kit.forget();
    kit.advance(50_000);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}

#[test]
fn without_a_phone_a_lost_app_goes_dormant_and_returns_with_the_phone() {
    let mut kit = lost_without_a_phone(Sdk::V3);
    kit.advance(5_000);
    assert_eq!(kit.state(SCRIBE), AppState::Dormant);
    kit.advance(20_000);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    let phone = kit.phone();
    assert_eq!(kit.types(phone), ["connection_ack"]);
    kit.webhook(HttpKind::SessionRequest);
    kit.advance(1_000);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}

#[test]
fn a_dormant_app_may_come_back_by_itself() {
    let mut kit = lost_without_a_phone(Sdk::V2);
    kit.advance(6_000);
    kit.init(SCRIBE, Sdk::V2);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    kit.phone();
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}

#[test]
fn a_dormant_app_keeps_its_subscriptions_but_they_count_for_nothing() {
    for sdk in [Sdk::V2, Sdk::V3] {
        let mut kit = lost_without_a_phone(sdk);
        kit.advance(4_999);
        assert!(need(&kit.s).pcm);
        kit.advance(1);
        assert_eq!(kit.state(SCRIBE), AppState::Dormant);
        assert!(!need(&kit.s).pcm);
        let conn = kit.init(SCRIBE, sdk);
        assert_eq!(kit.texts(conn)[0]["subscriptions"], json!(["audio_chunk"]));
        assert!(need(&kit.s).pcm);
    }
}

#[test]
fn a_v3_app_restarted_from_dormancy_has_its_subscriptions_and_a_v2_app_begins_anew() {
    for (sdk, kept) in [(Sdk::V2, 0), (Sdk::V3, 1)] {
        let mut kit = lost_without_a_phone(sdk);
        kit.advance(5_000);
        kit.phone();
        if sdk == Sdk::V2 {
            let stop = kit.webhook(HttpKind::StopRequest);
            kit.answer_webhook(stop.call, 200);
        }
        kit.webhook(HttpKind::SessionRequest);
        let conn = kit.init(SCRIBE, sdk);
        let ack = &kit.texts(conn)[0];
        assert_eq!(ack["subscriptions"].as_array().unwrap().len(), kept);
    }
}

#[test]
fn dormant_apps_are_restarted_four_at_a_time() {
    let names: Vec<String> = (0..6).map(|index| format!("com.many.app{index}")).collect();
    let mut kit = Kit::new();
    kit.apps = Registry::new(
        names.iter().map(|name| record(name, AppType::Background)),
        2,
    );
    let phone = kit.phone();
    kit.phone_closes(phone);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    kit.load(user_running(&names));
    kit.phone();
    let first = kit.webhooks(HttpKind::SessionRequest);
    assert_eq!(first.len(), 4);
    kit.init("com.many.app0", Sdk::V2);
    assert_eq!(kit.webhooks(HttpKind::SessionRequest).len(), 1);
    // One that fails makes room, too.
    kit.answer_webhook(first[1].call, 500);
    kit.advance(1_000);
    let again = kit.webhook(HttpKind::SessionRequest);
    kit.answer_webhook(again.call, 500);
    kit.webhook(HttpKind::SessionRequest);
    assert_eq!(kit.state("com.many.app5"), AppState::Connecting);
}

#[test]
fn a_restart_after_a_mass_disconnect_is_delayed() {
    let (mut kit, _) = lost(Sdk::V3);
    kit.event(Event::MassDisconnect {
        package: Package::new(SCRIBE),
        jitter_ms: 1_200,
    });
    kit.advance(6_199);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    assert_eq!(kit.state(SCRIBE), AppState::TransportDown);
    kit.advance(1);
    kit.webhook(HttpKind::SessionRequest);
}

#[test]
fn a_recovery_asks_the_registered_server_with_the_same_session() {
    let (mut kit, _) = Kit::connected();
    let old = kit.running(SCRIBE, Sdk::V2);
    let recover = Call::Recover {
        package: SCRIBE.into(),
        webhook_url: "http://blue.acme.dev/hook".into(),
        ws_base: "ws://blue".into(),
    };
    let call = kit.rest(recover.clone());
    let webhook = kit.webhook(HttpKind::SessionRequest);
    assert_eq!(webhook.url, "http://blue.acme.dev/hook");
    let body: serde_json::Value = serde_json::from_slice(&webhook.body).unwrap();
    assert_eq!(body["augmentOSWebsocketUrl"], "ws://blue/app-ws");
    // One request at a time.
    let second = kit.rest(recover.clone());
    assert_eq!(kit.answer(second).map(|answer| answer.0), Some(409));
    assert_eq!(kit.answer(call), None);
    kit.answer_webhook(webhook.call, 200);
    assert_eq!(kit.answer(call).map(|answer| answer.0), Some(200));
    kit.app_closes(old);
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    kit.init(SCRIBE, Sdk::V2);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    assert!(kit.webhooks(HttpKind::StopRequest).is_empty());

    let call = kit.rest(recover);
    kit.advance(6_000);
    assert_eq!(kit.answer(call).map(|answer| answer.0), Some(502));
    let call = kit.rest(Call::Recover {
        package: MAPS.into(),
        webhook_url: "http://x/webhook".into(),
        ws_base: String::new(),
    });
    assert_eq!(kit.answer(call).map(|answer| answer.0), Some(409));
}

/// Where a start of the app goes on, its request may have reached the process that is gone.
#[test]
fn a_recovery_during_a_start_asks_the_server_that_is_back() {
    let recover = recovery(SCRIBE);
    let status = |kit: &mut Kit, call| kit.answer(call).map(|answer| answer.0);
    // Delivered, and waiting for the socket; its time begins anew.
    let (mut kit, _) = Kit::connected();
    let start = kit.start(SCRIBE);
    let request = kit.webhook(HttpKind::SessionRequest).call;
    kit.answer_webhook(request, 200);
    kit.advance(5_000);
    let call = kit.rest(recover.clone());
    let request = kit.webhook(HttpKind::SessionRequest);
    assert_eq!(request.url, BACK);
    kit.advance(5_000);
    assert_eq!(kit.answer(start), None);
    kit.answer_webhook(request.call, 200);
    assert_eq!(status(&mut kit, call), Some(200));
    kit.init(SCRIBE, Sdk::V2);
    kit.stored_all();
    assert_eq!(kit.answer(start).unwrap().1["data"]["isRunning"], true);
    // Refused, and between two attempts.
    let (mut kit, _) = Kit::connected();
    kit.start(SCRIBE);
    let request = kit.webhook(HttpKind::SessionRequest).call;
    kit.answer_webhook(request, 500);
    kit.rest(recover.clone());
    assert_eq!(kit.webhook(HttpKind::SessionRequest).url, BACK);
    kit.advance(5_000);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    // On its way: no second one; what follows goes to the server that is back.
    for (outcome, answer) in [(200, Some(200)), (500, None)] {
        let (mut kit, _) = Kit::connected();
        kit.start(SCRIBE);
        let request = kit.webhook(HttpKind::SessionRequest).call;
        let call = kit.rest(recover.clone());
        assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
        kit.answer_webhook(request, outcome);
        assert_eq!(status(&mut kit, call), answer);
        kit.advance(1_000);
        let again = kit.webhooks(HttpKind::SessionRequest);
        let urls: Vec<&str> = again.iter().map(|call| &*call.url).collect();
        assert_eq!(urls, if answer.is_some() { vec![] } else { vec![BACK] });
    }
}

/// A server that restarts again before its app has come was recovered once, however often it asked.
#[test]
fn a_recovery_that_another_takes_over_is_no_failed_one() {
    let (mut kit, _) = Kit::connected();
    kit.running(SCRIBE, Sdk::V2);
    for _ in 0..2 {
        let call = kit.rest(recovery(SCRIBE));
        let request = kit.webhook(HttpKind::SessionRequest).call;
        kit.answer_webhook(request, 200);
        assert_eq!(kit.answer(call).map(|answer| answer.0), Some(200));
    }
    kit.init(SCRIBE, Sdk::V2);
    assert_eq!(kit.metrics.get(Counter::RecoveriesOk), 1);
    assert_eq!(kit.metrics.get(Counter::RecoveriesFailed), 0);
}

/// The last attempt of a start, and the last of its time, may be lost to the process that is gone.
#[test]
fn a_recovery_during_the_last_attempt_of_a_start_has_attempts_of_its_own() {
    let (mut kit, _) = Kit::connected();
    let start = kit.start(SCRIBE);
    let request = kit.webhook(HttpKind::SessionRequest).call;
    kit.answer_webhook(request, 500);
    kit.advance(1_000);
    let request = kit.webhook(HttpKind::SessionRequest).call;
    kit.advance(4_900);
    let call = kit.rest(recovery(SCRIBE));
    kit.answer_webhook(request, 500);
    assert_eq!(kit.answer(call), None);
    kit.advance(1_000);
    let request = kit.webhook(HttpKind::SessionRequest);
    assert_eq!(request.url, BACK);
    kit.answer_webhook(request.call, 200);
    assert_eq!(kit.answer(call).map(|answer| answer.0), Some(200));
    kit.init(SCRIBE, Sdk::V2);
    kit.stored_all();
    assert_eq!(kit.answer(start).unwrap().1["data"]["isRunning"], true);
}

/// Its record may have been removed while it ran.
#[test]
fn a_recovery_of_an_app_without_a_record_changes_nothing() {
    let (mut kit, _) = Kit::connected();
    kit.running(SCRIBE, Sdk::V2);
    kit.apps = Registry::new([], 2);
    let call = kit.rest(recovery(SCRIBE));
    assert_eq!(kit.answer(call).map(|answer| answer.0), Some(409));
    assert_eq!(kit.state(SCRIBE), AppState::Running);
}

#[test]
fn a_user_start_in_grace_or_dormancy_asks_at_once() {
    let (mut kit, _) = lost(Sdk::V2);
    let call = kit.start(SCRIBE);
    kit.webhook(HttpKind::SessionRequest);
    kit.init(SCRIBE, Sdk::V2);
    let writes = kit.stored_all();
    assert!(writes.iter().all(|op| matches!(op, StoreOp::AddRunning(_))));
    assert_eq!(kit.answer(call).unwrap().1["data"]["isRunning"], true);
    kit.advance(10_000);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}

#[test]
fn no_app_stays_between_states() {
    let (mut kit, _) = Kit::connected();
    // An absurd configuration, so that only the guard is left.
    kit.cfg.apps.app_start_timeout_ms = 600_000;
    kit.cfg.apps.stop_webhook_timeout_ms = 60_000;
    kit.start(SCRIBE);
    kit.advance(30_000);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    let conn = kit.running(MAPS, Sdk::V2);
    let call = kit.stop(MAPS);
    kit.advance(30_000);
    assert_eq!(kit.state(MAPS), AppState::Stopped);
    assert_eq!(kit.close_of(conn), Some((1000, "App stopped")));
    kit.stored_all();
    assert_eq!(kit.answer(call).map(|answer| answer.0), Some(200));
    let conn = kit.running(MAPS, Sdk::V2);
    kit.app_closes(conn);
    kit.advance(5_000 + 30_000);
    assert_eq!(kit.state(MAPS), AppState::Stopped);
}

/// The guard ends the stop that hangs, not the start that waited for it.
#[test]
fn a_start_that_waits_for_a_stop_that_hangs_begins_at_its_forced_end() {
    let (mut kit, _) = Kit::connected();
    kit.cfg.apps.stop_webhook_timeout_ms = 60_000;
    kit.running(SCRIBE, Sdk::V2);
    kit.stop(SCRIBE);
    let call = kit.start(SCRIBE);
    kit.advance(30_000);
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    kit.webhook(HttpKind::SessionRequest);
    kit.init(SCRIBE, Sdk::V2);
    kit.stored_all();
    assert_eq!(kit.answer(call).unwrap().1["data"]["isRunning"], true);
}

#[test]
fn an_app_that_the_user_starts_anew_was_not_away() {
    let (mut kit, _) = lost(Sdk::V2);
    kit.stop(SCRIBE);
    kit.advance(60_000);
    kit.running(SCRIBE, Sdk::V2);
    let away = kit.metrics.timing(Timing::AppDowntime).histogram();
    assert!(away.is_none());
}
