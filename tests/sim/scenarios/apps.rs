//! Defects of app sessions: restarts that should not be, restarts that should, zombies, stale closes.

use super::super::app::{KEY, Manners};
use super::super::net::{Party, Up};
use super::super::runs::world;
use super::{CHESS, MAPS, SCRIBE, USER, package, quiet, running};
use prism::session::event::Sdk;
use prism::session::managers::apps::AppState;
use prism::session::rest::Call;
use prism::wire::upgrade::AppHeaders;
use serde_json::json;

#[test]
fn an_app_whose_server_died_is_restarted() {
    for sdk in [Sdk::V2, Sdk::V3] {
        let mut w = running(sdk, SCRIBE);
        let t = w.t();
        w.server_crashes(SCRIBE);
        w.run(9000);
        w.sound();
        assert_eq!(w.asked(SCRIBE, "session_request", t), 1, "{sdk:?}");
        assert_eq!(w.state(SCRIBE), AppState::Running, "{sdk:?}");
    }
}

#[test]
fn a_dead_socket_that_nobody_closed_is_found_and_the_app_restarted() {
    let mut w = running(Sdk::V2, SCRIBE);
    w.run(12_000); // It has answered a ping.
    let conn = w.conn_of(SCRIBE);
    let t = w.t();
    w.net.get_mut(conn).expect("a socket").silent = true;
    w.run(70_000);
    w.sound();
    assert_eq!(
        w.closes(conn),
        [(1001, "Connection timeout detected".into())]
    );
    assert_eq!(w.asked(SCRIBE, "session_request", t), 1);
    assert_eq!(w.state(SCRIBE), AppState::Running);
}

#[test]
fn every_way_to_lose_a_socket_leads_to_the_grace() {
    for code in [1000, 1001, 1005, 1006, 1011, 4000] {
        let mut w = running(Sdk::V2, SCRIBE);
        let conn = w.conn_of(SCRIBE);
        w.manners(SCRIBE, Manners::Down);
        w.servers[SCRIBE].clients.clear();
        match code {
            1006 => w.hang_up(conn),
            code => w.close(conn, code, "bye"),
        }
        w.run(200);
        w.sound();
        assert_eq!(w.state(SCRIBE), AppState::GracePeriod, "{code}");
    }
}

#[test]
fn a_late_close_does_not_restart_a_stopped_app() {
    let mut w = running(Sdk::V2, SCRIBE);
    let conn = w.conn_of(SCRIBE);
    // The peer hears nothing of the close for a while; its own end comes late.
    w.net.get_mut(conn).expect("a socket").silent = true;
    w.stop(USER, SCRIBE);
    w.run(1500);
    let t = w.t();
    let sock = w.net.get_mut(conn).expect("a socket");
    sock.silent = false;
    w.hang_up(conn);
    w.run(40_000);
    w.sound();
    assert_eq!(w.state(SCRIBE), AppState::Stopped);
    assert_eq!(w.asked(SCRIBE, "session_request", t), 0);
}

#[test]
fn a_stopped_app_does_not_come_back_by_init_reconnect_or_phone() {
    let mut w = running(Sdk::V3, SCRIBE);
    w.stop(USER, SCRIBE);
    w.run(2000);
    w.app_connects(SCRIBE, USER); // `reconnect`
    w.run(500);
    let refused = w
        .watch
        .log
        .iter()
        .any(|row| row.2.kind() == "reconnect_rejected");
    assert!(refused, "a stopped app is told NOT_RUNNING");
    let conn = w.phone_conn(0);
    w.hang_up(conn);
    w.phone_lost(0, conn);
    w.run(12_000);
    w.sound();
    assert_eq!(w.state(SCRIBE), AppState::Stopped);
    assert_eq!(w.store.running(USER), Vec::<String>::new());
}

#[test]
fn an_init_that_comes_after_its_start_failed_is_refused() {
    let mut w = quiet(Sdk::V2);
    w.manners(SCRIBE, Manners::Ghost);
    w.start(USER, SCRIBE);
    w.run(7000);
    w.app_connects(SCRIBE, USER);
    let conn = w.conn_of(SCRIBE);
    w.run(500);
    w.sound();
    assert_eq!(
        w.closes(conn),
        [(1008, "App not started for this session".into())]
    );
    assert_eq!(w.state(SCRIBE), AppState::Stopped);
}

#[test]
fn what_follows_an_init_at_once_finds_the_app_running() {
    let mut w = quiet(Sdk::V3);
    w.manners(SCRIBE, Manners::Hang);
    w.start(USER, SCRIBE);
    w.run(300);
    let headers = AppHeaders {
        user: Some(USER.to_owned()),
        ..AppHeaders::default()
    };
    let conn = w.open_app(Party::Stray, USER, package(SCRIBE), headers);
    let conn = conn.expect("room");
    let init = json!({"type": "tpa_connection_init", "packageName": package(SCRIBE), "apiKey": KEY, "sdkVersion": "3.0.0"});
    w.net.get_mut(conn).expect("a socket").party = Party::App(SCRIBE);
    w.say(conn, &init);
    w.say(
        conn,
        &json!({"type": "subscription_update", "subscriptions": ["button_press"]}),
    );
    w.run(200);
    w.sound();
    assert!(w.texts(conn, "tpa_connection_error", 0).is_empty());
    assert_eq!(w.set_of(SCRIBE), ["button_press"]);
}

#[test]
fn the_close_of_a_replaced_socket_leaves_the_new_one_alone() {
    for sdk in [Sdk::V2, Sdk::V3] {
        let mut w = running(sdk, SCRIBE);
        let old = w.conn_of(SCRIBE);
        w.app_doubles(SCRIBE, USER);
        w.run(500);
        let new = w.conn_of(SCRIBE);
        assert_ne!(old, new);
        w.hang_up(old);
        w.run(8000);
        w.sound();
        assert_eq!(w.state(SCRIBE), AppState::Running, "{sdk:?}");
        assert!(w.closes(new).is_empty(), "{sdk:?}");
    }
}

#[test]
fn a_replaced_socket_that_stays_is_told_to_leave_for_good() {
    let mut w = running(Sdk::V3, SCRIBE);
    let old = w.conn_of(SCRIBE);
    w.app_doubles(SCRIBE, USER);
    w.run(6000);
    w.sound();
    assert_eq!(
        w.texts(old, "app_stopped", 0).len(),
        1,
        "v3 returns after any bare close"
    );
    assert_eq!(w.closes(old), [(1000, "Replaced by new connection".into())]);
}

/// SDKs before 2.1.29: the session that the server asked for anew, and then the older one's own retry.
#[test]
fn a_2x_app_whose_older_session_returns_keeps_the_one_that_was_asked_for() {
    let mut w = world(7, [Sdk::V2; 4]);
    w.watch.logging = true;
    w.store.record(USER).running_apps = vec![package(SCRIBE).to_owned()];
    w.add_phone(USER, 0);
    w.run(4000);
    let asked = w.conn_of(SCRIBE);
    w.app_doubles(SCRIBE, USER);
    w.run(120_000);
    w.sound();
    assert_ne!(w.conn_of(SCRIBE), asked);
    assert!(w.texts(asked, "app_stopped", 0).is_empty());
    assert!(w.closes(asked).is_empty());

    let t = w.t();
    let wall = json!({"type": "display_event", "view": "main", "layout": {"layoutType": "text_wall", "text": "page"}});
    w.say(asked, &wall);
    w.run(1000);
    w.sound();
    assert_eq!(w.shown(w.phone_conn(0), t), ["page"]);

    w.stop(USER, SCRIBE);
    w.run(4000);
    w.sound();
    assert_eq!(w.closes(asked), [(1000, "App stopped".into())]);
}

#[test]
fn a_socket_refused_for_its_key_does_not_knock_the_app_over() {
    let mut w = running(Sdk::V2, SCRIBE);
    let stray = w.open_app(Party::Stray, USER, package(SCRIBE), AppHeaders::default());
    let stray = stray.expect("room");
    let id = format!("{USER}-{}", package(SCRIBE));
    w.say(stray, &json!({"type": "tpa_connection_init", "sessionId": id, "packageName": package(SCRIBE), "apiKey": "guess"}));
    w.run(3000);
    w.sound();
    assert_eq!(w.closes(stray), [(1008, "Invalid API key".into())]);
    assert_eq!(w.state(SCRIBE), AppState::Running);
}

#[test]
fn late_answers_after_the_end_bring_nothing_back() {
    let mut w = quiet(Sdk::V2);
    w.manners(SCRIBE, Manners::Late);
    w.start(USER, SCRIBE);
    w.run(500);
    w.phones[0].on = false;
    w.rest(USER, Call::Dispose);
    w.run(60_000);
    w.sound();
    assert!(w.session(USER).is_none());
}

#[test]
fn an_app_starts_afresh_after_its_stop() {
    let mut w = running(Sdk::V3, SCRIBE);
    for _ in 0..3 {
        w.stop(USER, SCRIBE);
        w.run(2000);
        assert_eq!(w.set_of(SCRIBE), Vec::<String>::new());
        w.start(USER, SCRIBE);
        w.run(3000);
        w.sound();
        assert_eq!(w.state(SCRIBE), AppState::Running);
    }
}

#[test]
fn a_restart_that_fails_ends_in_stopped_and_the_phone_is_told() {
    for (sdk, manners) in [
        (Sdk::V2, Manners::Hang),
        (Sdk::V3, Manners::Refuse),
        (Sdk::V3, Manners::Hang),
        (Sdk::V3, Manners::Ghost),
    ] {
        let mut w = running(sdk, SCRIBE);
        w.manners(SCRIBE, manners);
        w.server_crashes(SCRIBE);
        // Grace, stop webhook, start.
        w.run(5000 + 3000 + 6000 + 500);
        w.sound();
        assert_eq!(w.state(SCRIBE), AppState::Stopped, "{sdk:?} {manners:?}");
        assert_eq!(w.texts(w.phone_conn(0), "app_stopped", 0).len(), 1);
        assert_eq!(w.store.running(USER), [package(SCRIBE)], "the intent stays");
    }
}

#[test]
fn an_app_is_not_restarted_while_the_phone_is_elsewhere() {
    let mut w = running(Sdk::V2, SCRIBE);
    let t = w.t();
    w.phone_off(0);
    w.run(1000);
    w.server_crashes(SCRIBE);
    w.run(20_000);
    w.sound();
    assert_eq!(w.state(SCRIBE), AppState::Dormant);
    assert_eq!(w.asked(SCRIBE, "session_request", t), 0);
    w.phones[0].on = true;
    w.phone_connects_in(0, 0);
    w.run(8000);
    w.sound();
    assert_eq!(w.asked(SCRIBE, "session_request", t), 1);
    assert_eq!(w.state(SCRIBE), AppState::Running);
}

#[test]
fn an_app_that_released_its_session_is_left_alone() {
    let mut w = running(Sdk::V2, SCRIBE);
    let (t, conn) = (w.t(), w.conn_of(SCRIBE));
    w.say(
        conn,
        &json!({"type": "ownership_release", "reason": "switching_clouds"}),
    );
    w.servers[SCRIBE].clients.clear();
    w.close(conn, 1000, "Client disconnect");
    w.run(20_000);
    w.sound();
    assert_eq!(w.state(SCRIBE), AppState::Dormant);
    assert_eq!(w.asked(SCRIBE, "session_request", t), 0);
    assert_eq!(
        w.store.running(USER),
        [package(SCRIBE)],
        "the new owner needs the list"
    );
}

#[test]
fn starts_at_the_same_time_are_one_start() {
    let mut w = quiet(Sdk::V2);
    let calls: Vec<u64> = (0..5)
        .map(|_| {
            let package = package(SCRIBE).to_owned();
            let shape = prism::session::rest::Shape::Phone;
            w.rest(USER, Call::StartApp { package, shape })
        })
        .collect();
    w.run(5000);
    w.sound();
    assert_eq!(w.asked(SCRIBE, "session_request", 0), 1);
    let answers: Vec<_> = calls.iter().map(|id| w.watch.answer(*id)).collect();
    assert!(
        answers
            .iter()
            .all(|one| one.is_some() && *one == answers[0])
    );
}

#[test]
fn a_new_foreground_app_ends_every_other_one_first() {
    let mut w = running(Sdk::V2, MAPS);
    w.manners(MAPS, Manners::Down);
    w.server_crashes(MAPS); // In grace, not running.
    w.run(500);
    w.start(USER, CHESS);
    w.run(8000);
    w.sound();
    assert_eq!(w.state(MAPS), AppState::Stopped);
    assert_eq!(w.state(CHESS), AppState::Running);
}

#[test]
fn a_hyphenated_address_and_package_are_told_apart() {
    let mut w = running(Sdk::V2, CHESS);
    let conn = w.conn_of(CHESS);
    let ack = &w.texts(conn, "tpa_connection_ack", 0)[0].1;
    assert_eq!(ack["userId"], USER);
    assert_eq!(ack["sessionId"], format!("{USER}-com.acme.chess-club"));
    w.send(conn, Up::Text(r#"{"type":"ping"}"#.into()));
    w.run(200);
    w.sound();
}

#[test]
fn a_shutdown_keeps_what_the_user_wants_running() {
    let mut w = running(Sdk::V2, SCRIBE);
    w.phones[0].on = false;
    w.call(super::super::invariants::Cause::Drain, |shard, _| {
        shard.receive(prism::shard::mailbox::ToShard::Drain);
    });
    w.run(5000);
    w.sound();
    assert!(w.shard.is_drained());
    assert_eq!(w.store.running(USER), [package(SCRIBE)]);
}
