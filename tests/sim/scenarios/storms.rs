//! App servers that do not read, a wall clock that jumps, limits that a reload makes smaller.

use super::super::app::Manners;
use super::super::net::Down;
use super::super::storms::Storm;
use super::super::world::World;
use super::{MAPS, SCRIBE, USER, quiet, running, world_with};
use prism::base::ids::ConnId;
use prism::base::settings::Settings;
use prism::session::State;
use prism::session::event::Sdk;
use prism::session::managers::apps::AppState;

/// An app that hears audio and presses, and for whom so many bytes may wait.
fn bounded(sdk: Sdk, bytes: u64) -> World {
    let mut cfg = Settings::default();
    cfg.connections.ws_send_queue_bytes_app = bytes;
    let mut w = world_with(7, [sdk; 4], cfg);
    w.watch.logging = true;
    w.add_phone(USER, 0);
    w.run(1500);
    w.runs(SCRIBE);
    w.run(6000);
    w.sound();
    w
}

/// Button presses that an app was told of on a socket.
fn presses(w: &World, conn: ConnId, from_ms: u64) -> usize {
    let told = w.texts(conn, "data_stream", from_ms);
    let told = told
        .iter()
        .filter(|(_, event)| event["streamType"] == "button_press");
    told.count()
}

fn chunks(w: &World, conn: ConnId) -> usize {
    let log = w.watch.log.iter();
    log.filter(|(_, to, frame)| *to == conn && matches!(frame, Down::Binary(_)))
        .count()
}

#[test]
fn an_app_that_does_not_read_for_a_while_loses_old_audio_and_no_event() {
    for sdk in [Sdk::V2, Sdk::V3] {
        let mut w = bounded(sdk, 4000);
        let (t, conn) = (w.t(), w.conn_of(SCRIBE));
        let before = chunks(&w, conn);
        w.app_stops_reading(SCRIBE, USER, 3000);
        for _ in 0..4 {
            w.storm(USER, Storm::Talks(60));
            w.storm(USER, Storm::Presses(2));
            w.run(500);
        }
        assert_eq!(presses(&w, conn, t), 0, "{sdk:?}: nothing is read");
        w.run(2000);
        w.sound();
        assert_eq!(presses(&w, conn, t), 8, "{sdk:?}");
        let seen = w.watch.storms.seen;
        assert!(seen.late > 10 && seen.shed > 10, "{seen:?}");
        assert!(chunks(&w, conn) > before);
        assert_eq!(w.closes(conn), []);
        assert_eq!(w.state(SCRIBE), AppState::Running);
    }
}

#[test]
fn an_app_that_is_closed_because_it_does_not_read_comes_back_with_its_subscriptions() {
    for sdk in [Sdk::V2, Sdk::V3] {
        let mut w = bounded(sdk, 2500);
        let (old, set) = (w.conn_of(SCRIBE), w.set_of(SCRIBE));
        w.app_stops_reading(SCRIBE, USER, 2000);
        w.storm(USER, Storm::Presses(40));
        w.run(2500);
        assert_eq!(w.closes(old), [(1013, "Overloaded".to_owned())], "{sdk:?}");
        w.run(6000);
        w.sound();
        assert_eq!(w.state(SCRIBE), AppState::Running, "{sdk:?}");
        assert_eq!(w.set_of(SCRIBE), set, "{sdk:?}");
        let (t, new) = (w.t(), w.conn_of(SCRIBE));
        assert_ne!(new, old);
        w.storm(USER, Storm::Presses(3));
        w.run(1000);
        w.sound();
        assert_eq!(presses(&w, new, t), 3, "{sdk:?}");
    }
}

#[test]
fn a_clock_that_jumps_ends_no_session_and_lets_none_live_longer() {
    for by_ms in [
        86_400_000,
        -86_400_000,
        2_000_000_000_000,
        -2_000_000_000_000,
    ] {
        let mut w = running(Sdk::V3, SCRIBE);
        w.phone_off(0);
        w.run(1000);
        w.clock_jumps(by_ms);
        w.run(57_000);
        w.sound();
        let state = w.session(USER).map(|session| session.state);
        assert_eq!(state, Some(State::Disconnected), "{by_ms}");
        w.run(5000);
        w.sound();
        assert!(w.session(USER).is_none(), "{by_ms}");
    }
}

/// What waits is answered; what is asked for next finds the new bound.
#[test]
fn a_smaller_limit_takes_nothing_back() {
    let mut w = running(Sdk::V3, MAPS);
    w.phones[0].helpful = false;
    let (t, conn) = (w.t(), w.conn_of(MAPS));
    // Twenty of these.
    w.storm(USER, Storm::Flood(MAPS, 19 << 2));
    w.run(500);
    let mut cfg = Settings::clone(&w.cfg);
    cfg.device.photo_requests_max = 16;
    w.settings_become(cfg);
    assert_eq!(w.texts(conn, "photo_response", t).len(), 0);
    w.storm(USER, Storm::Flood(MAPS, 0));
    w.run(500);
    let refused = w.texts(conn, "tpa_connection_error", t);
    assert_eq!(refused.len(), 1, "{refused:?}");
    w.run(31_000);
    w.sound();
    assert_eq!(w.texts(conn, "photo_response", t).len(), 20, "all time out");
    w.storm(USER, Storm::Flood(MAPS, 9 << 2));
    w.run(500);
    w.sound();
    // Half of sixteen.
    let refused = w.texts(conn, "tpa_connection_error", t);
    assert_eq!(refused.len(), 3, "{refused:?}");
}

/// What was decided stands: the attempt that is due is made, and is the last.
#[test]
fn a_reload_that_allows_fewer_attempts_takes_none_back_that_is_due() {
    let mut w = quiet(Sdk::V2);
    w.manners(SCRIBE, Manners::Refuse);
    w.start(USER, SCRIBE);
    w.run(500);
    let mut cfg = Settings::clone(&w.cfg);
    cfg.apps.webhook_attempts = 1;
    w.settings_become(cfg);
    w.run(7000);
    w.sound();
    assert_eq!(w.state(SCRIBE), AppState::Stopped);
    let requests = |w: &World| {
        let all = w.watch.webhooks.iter();
        all.filter(|row| row.3 == "session_request").count()
    };
    assert_eq!(requests(&w), 2);
    w.start(USER, SCRIBE);
    w.run(7000);
    w.sound();
    assert_eq!(requests(&w), 3, "from now on there is one");
}

/// So does a session whose phone has left: for as long as was said when it did.
#[test]
fn a_reload_does_not_shorten_the_time_that_a_phone_has_to_return() {
    let mut w = running(Sdk::V2, SCRIBE);
    w.phone_off(0);
    w.run(1000);
    let mut cfg = Settings::clone(&w.cfg);
    cfg.connections.reconnect_grace_ms = 5000;
    w.settings_become(cfg);
    w.run(57_000);
    w.sound();
    assert!(w.session(USER).is_some());
    w.run(5000);
    w.sound();
    assert!(w.session(USER).is_none());
}
