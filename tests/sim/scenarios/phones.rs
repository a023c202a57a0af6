//! Defects of phone connections and of the session's life.

use super::super::store::Mood;
use super::{SCRIBE, USER, quiet, running};
use prism::session::State;
use prism::session::event::Sdk;
use prism::session::managers::apps::AppState;
use prism::session::rest::Call;
use serde_json::json;

#[test]
fn the_close_of_a_superseded_phone_socket_starts_no_grace() {
    let mut w = running(Sdk::V2, SCRIBE);
    let old = w.phone_conn(0);
    w.phones[0].conn = None;
    w.phone_connects_in(0, 0);
    w.run(1000);
    assert_ne!(w.phone_conn(0), old);
    assert!(
        w.closes(old).is_empty(),
        "a phone answers any close with a new socket"
    );
    w.hang_up(old);
    w.run(90_000);
    w.sound();
    assert_eq!(w.session(USER).map(|s| s.state), Some(State::Connected));
    assert_eq!(w.state(SCRIBE), AppState::Running);
}

#[test]
fn two_phones_of_one_user_do_not_throw_each_other_out() {
    let mut w = quiet(Sdk::V2);
    w.add_phone(USER, 0);
    w.run(60_000);
    w.sound();
    for phone in 0..2 {
        let conn = w.phone_conn(phone);
        assert_eq!(w.texts(conn, "connection_ack", 0).len(), 1, "phone {phone}");
        assert!(w.closes(conn).is_empty());
    }
    assert_eq!(w.net.socks.len(), 2, "nobody reconnected");
}

#[test]
fn a_superseded_phone_does_not_take_over_when_the_current_one_leaves() {
    let mut w = running(Sdk::V2, SCRIBE);
    let old = w.phone_conn(0);
    w.add_phone(USER, 0);
    w.run(1000);
    let new = w.phone_conn(1);
    w.say(new, &json!({"type": "button_press", "buttonId": "main"}));
    w.run(100);
    w.phone_off(1);
    w.say(old, &json!({"type": "button_press", "buttonId": "main"}));
    w.run(59_000);
    w.sound();
    assert_eq!(w.session(USER).map(|s| s.state), Some(State::Disconnected));
    assert!(w.texts(old, "pong", 0).len() > 10, "its pings are answered");
    w.run(2000);
    w.sound();
    assert_eq!(w.closes(old), [(1000, "User session ended".into())]);
}

#[test]
fn phones_behind_intermediaries_that_swallow_pongs_stay() {
    let mut w = quiet(Sdk::V2);
    let conn = w.phone_conn(0);
    // Its own pings come.
    w.net.get_mut(conn).expect("a socket").pongs_lost = true;
    w.run(300_000);
    w.sound();
    assert!(w.closes(conn).is_empty());
    assert_eq!(
        w.texts(conn, "connection_ack", 0).len(),
        1,
        "no ack is sent again"
    );
}

#[test]
fn a_reconnect_reads_nothing_and_is_acked_at_once() {
    let mut w = running(Sdk::V2, SCRIBE);
    let old = w.phone_conn(0);
    let (stored, asked) = (w.watch.stored.len(), w.watch.webhooks.len());
    w.store.mood = Mood::Mute;
    w.hang_up(old);
    w.phone_lost(0, old);
    w.run(5000);
    let t = w.t();
    w.run(500);
    w.sound();
    let acks = w.texts(w.phone_conn(0), "connection_ack", 0);
    assert!(acks.len() == 1 && acks[0].0 <= t + 100);
    assert_eq!(w.watch.stored.len(), stored);
    assert_eq!(w.watch.webhooks.len(), asked);
    assert!(w.texts(w.phone_conn(0), "app_state_change", 0).len() <= 1);
}

#[test]
fn a_store_that_is_away_does_not_lock_phones_out() {
    let mut w = super::world(9, [Sdk::V2; 4]);
    w.watch.logging = true;
    w.store.mood = Mood::Mute;
    w.add_phone(USER, 0);
    w.run(8000);
    w.sound();
    let conn = w.phone_conn(0);
    assert_eq!(w.texts(conn, "connection_ack", 0).len(), 1);
    assert!(
        w.texts(conn, "pong", 0).len() >= 2,
        "pings were answered meanwhile"
    );
}

#[test]
fn connects_during_the_load_share_one_session() {
    let mut w = super::world(9, [Sdk::V2; 4]);
    w.watch.logging = true;
    w.store.mood = Mood::Slow;
    w.add_phone(USER, 0);
    w.add_phone(USER, 100);
    w.run(6000);
    w.sound();
    for phone in 0..2 {
        assert_eq!(w.texts(w.phone_conn(phone), "connection_ack", 0).len(), 1);
    }
}

#[test]
fn a_session_ends_once() {
    let mut w = running(Sdk::V2, SCRIBE);
    w.phones[0].on = false;
    let (first, second) = (w.rest(USER, Call::Dispose), w.rest(USER, Call::Dispose));
    w.run(1000);
    w.sound();
    assert_eq!(w.watch.answer(first).map(|one| one.0), Some(200));
    assert_eq!(w.watch.answer(second).map(|one| one.0), Some(503));
}

#[test]
fn a_goodbye_spares_a_session_whose_phone_is_back() {
    let mut w = running(Sdk::V2, SCRIBE);
    w.rest(USER, Call::Goodbye);
    w.run(1000);
    w.sound();
    assert!(w.session(USER).is_some());
    w.phone_off(0);
    w.run(500);
    w.rest(USER, Call::Goodbye);
    w.sound();
    assert!(w.session(USER).is_none());
}

#[test]
fn a_storm_of_device_states_is_silent() {
    let mut w = running(Sdk::V3, SCRIBE);
    w.rest(USER, state());
    w.run(1000);
    let sent = w.watch.log.len();
    for _ in 0..100 {
        w.rest(USER, state());
    }
    w.sound();
    assert_eq!(w.watch.log.len(), sent);
}

fn state() -> Call {
    let body = json!({"connected": true, "modelName": "Even Realities G1", "batteryLevel": 70});
    Call::DeviceState {
        body: body.to_string().into(),
    }
}
