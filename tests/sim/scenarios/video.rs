//! Defects of video streams.

use super::super::world::World;
use super::{MAPS, USER, running};
use prism::base::ids::ConnId;
use prism::session::event::Sdk;
use serde_json::{Value, json};

/// Kinds of messages that say how a stream does.
const STATUSES: [&str; 3] = [
    "managed_stream_status",
    "stream_status",
    "rtmp_stream_status",
];

/// Glasses with a camera, a provider that works, and an app that may film.
fn filming(sdk: Sdk) -> World {
    let mut w = running(sdk, MAPS);
    w.phones[0].helpful = true;
    w.provider_is_tame = true;
    w.glasses_change(USER, 1, true);
    w.run(500);
    w.sound();
    w
}

/// What an app was told of streams on a socket since `from_ms`: kind, status, the whole.
fn told(w: &World, conn: ConnId, from_ms: u64) -> Vec<(String, String, Value)> {
    let of_kind = |kind: &&str| w.texts(conn, kind, from_ms);
    let mut rows: Vec<(u64, Value)> = STATUSES.iter().flat_map(of_kind).collect();
    rows.sort_by_key(|row| row.0);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    rows.into_iter()
        .map(|(_, status)| (text(&status["type"]), text(&status["status"]), status))
        .collect()
}

/// The words of the same.
fn words(w: &World, conn: ConnId, from_ms: u64) -> Vec<String> {
    let told = told(w, conn, from_ms);
    told.into_iter().map(|row| row.1).collect()
}

fn app_drops(w: &mut World) {
    let conn = w.conn_of(MAPS);
    w.hang_up(conn);
    w.server_lost(MAPS, conn, 1006, "");
}

fn managed(w: &mut World) {
    w.app_says(MAPS, USER, &json!({"type": "managed_stream_request"}));
}

/// The glasses say how the stream of this world does.
fn report(w: &mut World, status: &str) {
    let id = w.phones[0].stream.clone().expect("they stream");
    let phone = w.phone_conn(0);
    w.glasses_report(0, phone, &id, status);
    w.run(200);
}

#[test]
fn a_2x_app_that_returned_hears_of_no_stream_before_it_asks_and_starts_one() {
    let mut w = filming(Sdk::V2);
    managed(&mut w);
    w.run(15_000);
    let first = w.conn_of(MAPS);
    assert_eq!(
        words(&w, first, 0).last().map(String::as_str),
        Some("active")
    );
    app_drops(&mut w);
    w.run(3000);
    let back = w.conn_of(MAPS);
    assert_ne!(first, back);
    let unasked = told(&w, back, 0);
    assert!(
        unasked.is_empty(),
        "the SDK takes it for its own: {unasked:?}"
    );
    managed(&mut w);
    w.run(500);
    let answer = told(&w, back, 0);
    let [(kind, status, whole)] = &answer[..] else {
        panic!("{answer:?}");
    };
    assert_eq!((&**kind, &**status), ("managed_stream_status", "active"));
    assert!(whole["hlsUrl"].is_string(), "{whole}");
    w.sound();
}

#[test]
fn a_2x_app_whose_own_stream_runs_on_hears_nothing_on_its_return_and_may_start_another() {
    let mut w = filming(Sdk::V2);
    let ask = json!({"type": "rtmp_stream_request", "rtmpUrl": "rtmp://ingest.example.net/k"});
    w.app_says(MAPS, USER, &ask);
    w.run(3000);
    app_drops(&mut w);
    w.run(3000);
    let back = w.conn_of(MAPS);
    let unasked = told(&w, back, 0);
    assert!(
        unasked.is_empty(),
        "the SDK takes it for its own: {unasked:?}"
    );
    w.app_says(MAPS, USER, &json!({"type": "rtmp_stream_stop"}));
    w.run(500);
    let t = w.t();
    managed(&mut w);
    w.run(15_000);
    w.sound();
    assert_eq!(
        words(&w, back, t).last().map(String::as_str),
        Some("active")
    );
}

#[test]
fn an_app_that_returned_hears_again_that_its_stream_is_active() {
    for (sdk, ask) in [
        (Sdk::V2, "rtmp_stream_request"),
        (Sdk::V3, "stream_request"),
    ] {
        let mut w = filming(sdk);
        let url = "rtmp://ingest.example.net/k";
        w.app_says(
            MAPS,
            USER,
            &json!({"type": ask, "streamUrl": url, "rtmpUrl": url}),
        );
        w.run(3000);
        let first = w.conn_of(MAPS);
        assert_eq!(words(&w, first, 0), ["initializing", "active"], "{sdk:?}");
        app_drops(&mut w);
        w.run(3000);
        let back = w.conn_of(MAPS);
        assert_ne!(first, back);
        let stopped = w.texts(w.phone_conn(0), "stop_stream", 0);
        assert!(
            stopped.is_empty(),
            "the stream is the user's, not the socket's"
        );
        if sdk == Sdk::V3 {
            let resumed = told(&w, back, 0);
            assert_eq!(words(&w, back, 0), ["active"], "on its return");
            assert_eq!(resumed[0].2["resumed"], true);
        }
        let t = w.t();
        report(&mut w, "streaming");
        report(&mut w, "streaming");
        assert_eq!(words(&w, back, t), ["active"], "{sdk:?}: told once more");
        w.sound();
    }
}

#[test]
fn a_3x_viewer_that_returned_hears_where_the_managed_stream_is() {
    let mut w = filming(Sdk::V3);
    managed(&mut w);
    w.run(15_000);
    app_drops(&mut w);
    w.run(3000);
    w.sound();
    let back = told(&w, w.conn_of(MAPS), 0);
    let [(kind, status, whole)] = &back[..] else {
        panic!("{back:?}");
    };
    assert_eq!((&**kind, &**status), ("managed_stream_status", "active"));
    assert!(whole["hlsUrl"].is_string() && whole["resumed"] == true);
}
