//! Defects of connections behind intermediaries.

use super::super::app::KEY;
use super::super::net::{Down, Party};
use super::super::runs::world_with;
use super::super::world::{START_MS, World};
use super::{MAPS, NOTES, SCRIBE, USER, package};
use prism::base::ids::ConnId;
use prism::base::settings::Settings;
use prism::session::event::Sdk;
use prism::session::managers::apps::AppState;
use prism::wire::upgrade::AppHeaders;
use serde_json::json;

/// Somebody whose phone is not there.
const ABSENT: &str = "ops@lumen.io";
/// An intermediary ends a connection that carried nothing in one direction for this long (ms).
const IDLE_MS: u64 = 60_000;

/// Lets time pass behind intermediaries; the sockets that they ended, and when. Those of phones answer or swallow protocol pings
/// themselves: only messages count there.
fn pass_behind_proxies(w: &mut World, ms: u64) -> Vec<(u64, ConnId)> {
    let mut ended = Vec::new();
    for _ in 0..ms / 1000 {
        w.run(1000);
        let now_ms = START_MS + w.t();
        let idle = w.net.socks.iter().filter(|(conn, sock)| {
            let by_phone = matches!(sock.party, Party::Phone(_));
            let counts = |frame: &Down| !by_phone || matches!(frame, Down::Text(_));
            let log = w.watch.log.iter().rev();
            let down = log.clone().find(|row| row.1 == **conn && counts(&row.2));
            let down_ms = down.map_or(sock.opened_ms, |row| row.0);
            !sock.peer_left && now_ms - down_ms.min(sock.last_rx_ms) > IDLE_MS
        });
        for (conn, party) in idle
            .map(|(conn, sock)| (*conn, sock.party))
            .collect::<Vec<_>>()
        {
            ended.push((w.t(), conn));
            w.hang_up(conn);
            match party {
                Party::Phone(phone) => w.phone_lost(phone, conn),
                Party::App(app) => w.server_lost(app, conn, 1006, ""),
                Party::Stray => {}
            }
        }
    }
    ended
}

/// An app socket that says nothing, and one that asked to come back and waits for its user's phone.
fn waiting(w: &mut World) -> [ConnId; 2] {
    let fresh = w.open_app(Party::Stray, USER, "none", AppHeaders::default());
    let headers = AppHeaders {
        user: Some(ABSENT.to_owned()),
        session_id: Some(format!("{ABSENT}-{}", package(NOTES))),
        package: Some(package(NOTES).to_owned()),
        api_key: Some(KEY.to_owned()),
        ..AppHeaders::default()
    };
    let parked = w.open_app(Party::Stray, ABSENT, package(NOTES), headers);
    let (fresh, parked) = (fresh.expect("room"), parked.expect("room"));
    let id = format!("{ABSENT}-{}", package(NOTES));
    w.say(
        parked,
        &json!({"type": "reconnect", "sessionId": id, "sdkVersion": "3.0.0"}),
    );
    w.run(500);
    assert_eq!(
        w.texts(parked, "reconnect_deferred", 0).len(),
        1,
        "it waits"
    );
    [fresh, parked]
}

#[test]
fn ten_quiet_minutes_behind_intermediaries_end_no_connection() {
    let mut cfg = Settings::default();
    // As long as the script, so that only the intermediaries can end what waits.
    cfg.connections.app_init_timeout_ms = 900_000;
    cfg.apps.deferred_timeout_ms = 900_000;
    let mut w = world_with(7, [Sdk::V2, Sdk::V3, Sdk::V2, Sdk::V3], cfg);
    w.watch.logging = true;
    w.add_phone(USER, 0);
    w.run(1500);
    w.start(USER, SCRIBE);
    w.run(3000);
    w.start(USER, MAPS);
    w.run(3000);
    for app in [SCRIBE, MAPS] {
        w.subscribe(app, USER, vec![json!("button_press")]);
    }
    w.add_phone(USER, 0);
    w.run(1500);
    let [fresh, parked] = waiting(&mut w);
    let held = [
        (w.phone_conn(0), "a superseded phone"),
        (w.phone_conn(1), "the phone"),
        (w.conn_of(SCRIBE), "a 2.x app"),
        (w.conn_of(MAPS), "a 3.x app"),
        (fresh, "an app that has not said who it is"),
        (parked, "an app that waits for the phone"),
    ];
    for (conn, who) in &held[..2] {
        let sock = w.net.get_mut(*conn).unwrap_or_else(|| panic!("{who}"));
        sock.pongs_lost = true;
    }
    let ended = pass_behind_proxies(&mut w, 600_000);
    w.sound();
    let name = |conn: ConnId| held.iter().find(|row| row.0 == conn).map(|row| row.1);
    let ended: Vec<_> = ended.iter().map(|row| (row.0, name(row.1))).collect();
    assert_eq!(ended, [], "ended by an intermediary");
    for (conn, who) in held {
        assert_eq!(w.closes(conn), [], "{who}");
    }
    for app in [SCRIBE, MAPS] {
        assert_eq!(w.state(app), AppState::Running);
        assert_eq!(w.asked(app, "session_request", 0), 1, "it never restarted");
    }
}

#[test]
fn the_ping_of_every_kind_of_socket_is_answered() {
    let mut w = world_with(7, [Sdk::V2; 4], Settings::default());
    w.watch.logging = true;
    w.add_phone(USER, 0);
    w.run(1500);
    w.start(USER, SCRIBE);
    w.run(3000);
    w.add_phone(USER, 0);
    w.run(1500);
    let [fresh, parked] = waiting(&mut w);
    let (old, new, app) = (w.phone_conn(0), w.phone_conn(1), w.conn_of(SCRIBE));
    for conn in [old, new, app, fresh, parked] {
        let before = w.texts(conn, "pong", 0).len();
        w.say(conn, &json!({"type": "ping"}));
        w.run(200);
        w.sound(); // Invariant 7.
        assert!(w.texts(conn, "pong", 0).len() > before, "{conn:?}");
    }
}
