//! A user record that could not be read at first (behaviour.md §1.4): the session works, and makes up for it later.

use crate::base::ids::ConnId;
use crate::session::State;
use crate::session::effects::{Effect, HttpKind, StoreOp};
use crate::session::event::{Event, Sdk};
use crate::session::managers::apps::AppState;
use crate::session::rest::Call;
use crate::session::testkit::{CHESS, Kit, MAPS, SCRIBE, user_running};
use crate::session::timers::Timer;
use serde_json::{Value, json};

/// A phone is connected, its user's record could not be read.
fn unread() -> (Kit, ConnId) {
    let mut kit = Kit::new();
    let phone = kit.phone();
    kit.event(Event::UserLoaded { record: None });
    assert_eq!(kit.types(phone)[0], "connection_ack");
    kit.forget();
    (kit, phone)
}

fn asked(kit: &mut Kit) -> usize {
    kit.effects(|effect| matches!(effect, Effect::LoadUser))
        .len()
}

fn values(pairs: Value) -> Vec<Value> {
    pairs.as_array().cloned().unwrap()
}

#[test]
fn the_store_is_asked_again_until_it_answers() {
    let (mut kit, phone) = unread();
    for pause_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        // Up to a quarter sooner.
        kit.advance(pause_ms - pause_ms / 4 - 1);
        assert_eq!(asked(&mut kit), 0);
        kit.advance(pause_ms / 4 + 1);
        assert_eq!(asked(&mut kit), 1, "after {pause_ms} ms");
        kit.event(Event::UserLoaded { record: None });
        kit.phone_text(phone, r#"{"type":"ping"}"#);
    }
    // An answer that got lost counts as a failure.
    kit.advance(30_000 + 6_000 + 30_000);
    assert_eq!(asked(&mut kit), 2);
    kit.load(user_running(&[]));
    kit.advance(50_000);
    assert_eq!(asked(&mut kit), 0);
    assert_eq!(kit.s.state, State::Connected);
}

#[test]
fn a_record_later_than_its_limit_is_taken_all_the_same() {
    let mut kit = Kit::new();
    kit.phone();
    kit.advance(6_000);
    assert_eq!(kit.s.state, State::Connected);
    kit.load(user_running(&[SCRIBE]));
    assert_eq!(kit.webhooks(HttpKind::SessionRequest).len(), 1);
}

#[test]
fn apps_of_the_list_start_when_it_could_be_read() {
    let (mut kit, phone) = unread();
    let chess = kit.running(CHESS, Sdk::V2);
    kit.stop(CHESS);
    kit.advance(4_000);
    assert!(kit.close_of(chess).is_some());
    let maps = kit.running(MAPS, Sdk::V2);
    kit.load(user_running(&[SCRIBE, MAPS, CHESS]));
    let webhook = kit.webhook(HttpKind::SessionRequest);
    assert!(webhook.url.contains(SCRIBE), "{}", webhook.url);
    assert_eq!(kit.state(CHESS), AppState::Stopped, "the user's later word");
    assert_eq!(kit.s.m.apps.open_conn(MAPS), Some(maps), "runs on");
    kit.advance(200);
    assert!(kit.types(phone).contains(&"app_state_change".to_owned()));

    // Once is enough.
    kit.load(user_running(&[CHESS]));
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}

#[test]
fn an_app_that_the_user_stops_before_the_list_is_known_does_not_start_by_it() {
    for by_rest in [true, false] {
        let (mut kit, phone) = unread();
        let stop = by_rest.then(|| kit.stop(SCRIBE));
        kit.phone_text(phone, r#"{"type":"stop_app","packageName":"com.nobody"}"#);
        if !by_rest {
            let text = json!({"type": "stop_app", "packageName": SCRIBE});
            kit.phone_text(phone, &text.to_string());
        }
        if let Some(stop) = stop {
            assert_eq!(kit.answer(stop), None, "not durable yet");
        }
        let writes = kit.stored_all();
        assert!(
            matches!(&writes[..], [StoreOp::RemoveRunning(package)] if &**package == SCRIBE),
            "{writes:?}"
        );
        kit.load(user_running(&[SCRIBE, MAPS]));
        let webhook = kit.webhook(HttpKind::SessionRequest);
        assert!(webhook.url.contains(MAPS), "{}", webhook.url);
        assert_eq!(kit.state(SCRIBE), AppState::Stopped);
        if let Some(stop) = stop {
            assert_eq!(kit.answer(stop).map(|answer| answer.0), Some(200));
        }
    }
}

#[test]
fn the_list_of_apps_is_refused_until_it_is_known() {
    let (mut kit, _) = unread();
    let asked = kit.rest(Call::ListApps);
    let (status, body) = kit.answer(asked).expect("answered");
    assert_eq!(
        (status, &body["message"]),
        (500, &json!("Failed to fetch apps"))
    );
    kit.load(user_running(&[]));
    let asked = kit.rest(Call::ListApps);
    let (status, body) = kit.answer(asked).expect("answered");
    assert_eq!((status, &body["success"]), (200, &json!(true)));
}

#[test]
fn the_foreground_app_that_the_user_started_meanwhile_stays() {
    for phone_stays in [true, false] {
        let (mut kit, phone) = unread();
        let chess = kit.running(CHESS, Sdk::V2);
        if !phone_stays {
            kit.phone_closes(phone);
        }
        kit.load(user_running(&[MAPS, CHESS]));
        assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
        assert_eq!(kit.state(MAPS), AppState::Stopped);
        assert_eq!(kit.s.m.apps.open_conn(CHESS), Some(chess));
    }
}

#[test]
fn apps_that_only_the_store_knows_start_when_they_are_known() {
    let mut kit = Kit::new();
    kit.phone();
    let known = std::mem::take(&mut kit.apps);
    assert!(!kit.apps.loaded);
    kit.load(user_running(&[SCRIBE]));
    kit.advance(1_000);
    kit.load(user_running(&[SCRIBE]));
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    kit.apps = known;
    kit.advance(2_000);
    kit.load(user_running(&[SCRIBE]));
    assert_eq!(kit.webhooks(HttpKind::SessionRequest).len(), 1);
}

#[test]
fn without_a_phone_they_wait_for_it() {
    let (mut kit, phone) = unread();
    kit.phone_closes(phone);
    kit.load(user_running(&[SCRIBE]));
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    kit.phone();
    assert_eq!(kit.webhooks(HttpKind::SessionRequest).len(), 1);
}

#[test]
fn a_running_app_learns_the_stored_settings() {
    let (mut kit, _) = unread();
    let (scribe, maps) = (kit.running(SCRIBE, Sdk::V2), kit.running(MAPS, Sdk::V3));
    kit.run(|s, cx| {
        let newer = values(json!([{"key": "lang", "value": "fi"}]));
        crate::session::flow::user_settings::app_changed(s, MAPS, newer, cx);
    });
    kit.forget();
    let mut record = user_running(&[SCRIBE, MAPS]);
    for package in [SCRIBE, MAPS] {
        let stored = values(json!([{"key": "lang", "value": "de"}]));
        record.app_settings.insert(package.to_owned(), stored);
    }
    record.user_settings = json!({"brightness": 70}).as_object().cloned().unwrap();
    kit.load(record);
    let told = kit.texts(scribe);
    let update = told.iter().find(|text| text["type"] == "settings_update");
    let expected = json!([{"key": "lang", "value": "de"}]);
    assert_eq!(update.unwrap()["settings"], expected);
    assert_eq!(
        kit.webhook(HttpKind::Settings).url,
        format!("http://{SCRIBE}/settings")
    );
    assert!(kit.texts(maps).is_empty(), "it has what is newer");

    kit.stop(SCRIBE);
    kit.stop(MAPS);
    let ack = |kit: &mut Kit, package: &str| {
        kit.start(package);
        let conn = kit.init(package, Sdk::V2);
        kit.texts(conn).swap_remove(0)
    };
    kit.advance(4_000);
    let (scribe, maps) = (ack(&mut kit, SCRIBE), ack(&mut kit, MAPS));
    assert_eq!(scribe["settings"][0]["value"], "de");
    assert_eq!(maps["settings"][0]["value"], "fi");
    assert_eq!(maps["mentraosSettings"]["brightness"], 70);
}

#[test]
fn an_app_that_may_be_on_the_list_is_not_sent_away_for_good() {
    let (mut kit, _) = unread();
    let parked = kit.reconnect(MAPS);
    assert_eq!(
        kit.types(parked),
        ["reconnect_deferred AWAITING_APP_RESTORE"]
    );
    kit.load(user_running(&[SCRIBE, MAPS]));
    assert!(kit.types(parked).contains(&"reconnect_ack".to_owned()));
}

#[test]
fn a_store_that_took_a_write_is_asked_at_once() {
    let (mut kit, _) = unread();
    kit.start(MAPS);
    kit.init(MAPS, Sdk::V2);
    assert_eq!(asked(&mut kit), 0);
    kit.stored_all();
    assert_eq!(asked(&mut kit), 1);
    kit.stop(MAPS);
    kit.stored_all();
    assert_eq!(asked(&mut kit), 0, "one question at a time");
}

#[test]
fn the_users_of_an_outage_come_back_one_by_one() {
    let firsts: std::collections::BTreeSet<_> = (0..8)
        .map(|seed| {
            let (mut kit, _) = unread();
            kit.s.rng().seed(seed);
            kit.event(Event::UserLoaded { record: None });
            kit.s.timers.at(&Timer::UserRetry)
        })
        .collect();
    assert!(firsts.len() > 4, "{firsts:?}");
}
