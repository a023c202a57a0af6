//! Defects of subscriptions and the microphone.

use super::super::world::World;
use super::{CHESS, NOTES, SCRIBE, USER, quiet, running};
use prism::session::event::Sdk;
use prism::session::managers::apps::AppState;
use serde_json::{Value, json};

#[test]
fn of_many_lists_at_once_the_last_stands() {
    let mut w = running(Sdk::V2, SCRIBE);
    let conn = w.conn_of(SCRIBE);
    for list in [
        json!(["audio_chunk"]),
        json!(["transcription"]),
        json!(["button_press", "VAD"]),
    ] {
        w.say(
            conn,
            &json!({"type": "subscription_update", "subscriptions": list}),
        );
    }
    w.run(300);
    w.sound();
    assert_eq!(w.set_of(SCRIBE), ["VAD", "button_press"]);
}

#[test]
fn the_empty_list_of_a_returning_2x_app_is_ignored() {
    let mut w = running(Sdk::V2, SCRIBE);
    let before = w.set_of(SCRIBE);
    let conn = w.conn_of(SCRIBE);
    w.hang_up(conn);
    w.server_lost(SCRIBE, conn, 1006, "");
    w.run(1300);
    w.sound();
    let back = w.conn_of(SCRIBE);
    assert_ne!(conn, back);
    let ack = &w.texts(back, "tpa_connection_ack", 0)[0].1;
    assert_eq!(
        ack["subscriptions"].as_array().map(Vec::len),
        Some(3),
        "the ack tells the set"
    );
    w.say(
        back,
        &json!({"type": "subscription_update", "subscriptions": []}),
    );
    w.run(100);
    w.sound();
    assert_eq!(w.set_of(SCRIBE), before);
}

#[test]
fn an_empty_list_of_a_3x_app_is_meant() {
    let mut w = running(Sdk::V3, SCRIBE);
    w.subscribe(SCRIBE, USER, Vec::new());
    w.run(100);
    w.sound();
    assert!(w.set_of(SCRIBE).is_empty());
}

#[test]
fn a_short_absence_of_an_app_leaves_the_microphone_on() {
    for sdk in [Sdk::V2, Sdk::V3] {
        let mut w = running(sdk, SCRIBE);
        w.run(1500);
        let (t, phone, conn) = (w.t(), w.phone_conn(0), w.conn_of(SCRIBE));
        w.hang_up(conn);
        w.server_lost(SCRIBE, conn, 1006, "");
        w.run(9000);
        w.sound();
        assert_eq!(w.state(SCRIBE), AppState::Running);
        assert_eq!(w.asked(SCRIBE, "session_request", t), 0, "{sdk:?}");
        let told = w.texts(phone, "microphone_state_change", t);
        assert!(
            told.iter().all(|row| row.1["isMicrophoneEnabled"] == true),
            "{sdk:?}"
        );
    }
}

/// What the phone was told of its microphone since `from_ms`: after how long, on or off.
fn switched(w: &World, from_ms: u64) -> Vec<(u64, bool)> {
    let told = w.texts(w.phone_conn(0), "microphone_state_change", from_ms);
    let is_on = |state: &Value| state["isMicrophoneEnabled"] == true;
    told.iter()
        .map(|(at, state)| (at - from_ms, is_on(state)))
        .collect()
}

#[test]
fn a_moment_without_a_listener_leaves_the_microphone_on_while_the_user_speaks() {
    let mut w = running(Sdk::V3, SCRIBE);
    w.run(1500);
    let speech = || vec![json!("audio_chunk")];
    w.subscribe(SCRIBE, USER, speech());
    w.run(1000);
    let t = w.t();
    for _ in 0..3 {
        let conn = w.conn_of(SCRIBE);
        w.hang_up(conn);
        w.server_lost(SCRIBE, conn, 1006, "");
        w.run(1500);
        // Its developer registers the handlers anew: none, then all.
        w.subscribe(SCRIBE, USER, Vec::new());
        w.run(2000);
        w.subscribe(SCRIBE, USER, speech());
        w.run(2000);
    }
    w.sound();
    let told = switched(&w, t);
    assert!(told.iter().all(|row| row.1), "{told:?}");
    let t = w.t();
    w.subscribe(SCRIBE, USER, Vec::new());
    w.run(10_000);
    w.sound();
    let off = switched(&w, t).into_iter().find(|row| !row.1);
    assert!(
        off.is_some_and(|(after_ms, _)| (3000..3500).contains(&after_ms)),
        "{off:?}"
    );
}

#[test]
fn lists_repeated_by_an_app_that_hears_nothing_do_not_keep_the_microphone_on() {
    let mut w = running(Sdk::V3, SCRIBE);
    w.start(USER, CHESS);
    w.run(3000);
    w.subscribe(CHESS, USER, vec![json!("button_press")]);
    w.run(1000);
    let phone = w.phone_conn(0);
    w.stop(USER, SCRIBE);
    let t = w.t();
    for _ in 0..8 {
        w.run(1000);
        w.subscribe(CHESS, USER, vec![json!("button_press")]);
    }
    w.sound();
    let told = w.texts(phone, "microphone_state_change", t);
    let off = told
        .iter()
        .find(|row| row.1["isMicrophoneEnabled"] == false);
    assert!(off.is_some_and(|row| row.0 < t + 4300), "{told:?}");
}

#[test]
fn a_developer_is_told_of_a_missing_permission_once() {
    let mut w = running(Sdk::V2, CHESS);
    w.run(1000);
    let conn = w.conn_of(CHESS);
    for _ in 0..3 {
        w.say(
            conn,
            &json!({"type": "subscription_update", "subscriptions": ["*", "audio_chunk"]}),
        );
    }
    w.run(300);
    w.sound();
    assert_eq!(w.texts(conn, "permission_error", 0).len(), 1);
    assert_eq!(w.set_of(CHESS), ["*"]);
}

#[test]
fn no_wildcard_hears_the_microphone_without_the_permission() {
    let mut w = running(Sdk::V2, CHESS);
    w.start(USER, NOTES);
    w.run(6000);
    let phone = w.phone_conn(0);
    w.say(phone, &json!({"type": "VAD", "status": true}));
    w.say(
        phone,
        &json!({"type": "local_transcription", "text": "secret", "isFinal": true}),
    );
    w.say(
        phone,
        &json!({"type": "button_press", "buttonId": "main", "pressType": "short"}),
    );
    w.run(300);
    w.sound(); // Invariant 29.
    let heard = w.texts(w.conn_of(CHESS), "data_stream", 0);
    assert!(
        heard
            .iter()
            .any(|row| row.1["streamType"] == "button_press")
    );
}

#[test]
fn a_state_computed_while_the_phone_was_away_is_sent_when_it_is_back() {
    let mut w = quiet(Sdk::V2);
    w.start(USER, SCRIBE);
    w.run(400);
    w.phone_off(0);
    w.run(6000);
    assert_eq!(w.state(SCRIBE), AppState::Running);
    w.phones[0].on = true;
    w.phone_connects_in(0, 0);
    w.run(300);
    w.sound();
    let told = w.texts(w.phone_conn(0), "microphone_state_change", 0);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1["isMicrophoneEnabled"], true);
}
