//! Init: one test per check of protocol.md §3.2; parked, replaced and lingering sockets.

use crate::base::metrics::Counter;
use crate::session::effects::{Effect, HttpKind, LinkChange};
use crate::session::event::{AppHello, HelloKind, Sdk};
use crate::session::managers::apps::AppState;
use crate::session::testkit::{KEY, Kit, MAPS, SCRIBE, USER, hello, record, user_running};
use crate::wire::records::{AppType, Registry, UserRecord};
use serde_json::json;

pub(super) fn refused(kit: &mut Kit, hello: AppHello, answer: &str, close: (u16, &'static str)) {
    let conn = kit.hello(hello);
    assert_eq!(kit.types(conn), [answer]);
    assert_eq!(kit.close_of(conn), Some(close));
    assert!(kit.s.m.apps.by_conn(conn).is_none());
}

#[test]
fn deprecated_packages_are_refused_first() {
    let (mut kit, _) = Kit::connected();
    let old = hello(HelloKind::Init, "system.augmentos.dashboard", Sdk::V2);
    let answer = "tpa_connection_error APP_DEPRECATED";
    refused(&mut kit, old, answer, (1008, "App deprecated"));
}

#[test]
fn a_wrong_key_is_refused_and_ends_a_pending_start() {
    let (mut kit, _) = Kit::connected();
    let start = kit.start(SCRIBE);
    let mut wrong = hello(HelloKind::Init, SCRIBE, Sdk::V2);
    wrong.api_key = Some("other".into());
    let answer = "tpa_connection_error INVALID_API_KEY";
    refused(&mut kit, wrong.clone(), answer, (1008, "Invalid API key"));
    let (status, body) = kit.answer(start).unwrap();
    assert_eq!(status, 200);
    assert_eq!(body["data"]["isRunning"], false);
    assert_eq!(body["data"]["error"]["stage"], "AUTHENTICATION");
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);

    // It changes nothing else: a running app does not notice.
    let conn = kit.running(MAPS, Sdk::V2);
    wrong.package = crate::base::ids::Package::new(MAPS);
    refused(&mut kit, wrong, answer, (1008, "Invalid API key"));
    assert_eq!(kit.s.m.apps.open_conn(MAPS), Some(conn));
    assert!(kit.is_quiet(), "{}", kit.leftovers());
}

#[test]
fn an_unknown_package_has_no_valid_key() {
    let (mut kit, _) = Kit::connected();
    let unknown = hello(HelloKind::Init, "com.nobody", Sdk::V2);
    let answer = "tpa_connection_error INVALID_API_KEY";
    refused(&mut kit, unknown, answer, (1008, "Invalid API key"));
}

#[test]
fn an_unread_store_is_our_failure_and_lets_the_app_retry() {
    let (mut kit, _) = Kit::connected();
    kit.apps = Registry::default();
    let unknown = hello(HelloKind::Init, SCRIBE, Sdk::V2);
    let answer = "tpa_connection_error INTERNAL_ERROR";
    refused(&mut kit, unknown, answer, (1011, "Internal server error"));
}

#[test]
fn an_address_list_admits_only_its_addresses() {
    let (mut kit, _) = Kit::connected();
    let mut app = record(SCRIBE, AppType::Background);
    app.allowed_ips = vec!["10.1.0.0/16".into()];
    kit.apps = Registry::new([app], 2);
    let start = kit.start(SCRIBE);
    let mut init = hello(HelloKind::Init, SCRIBE, Sdk::V2);
    let answer = "tpa_connection_error PERMISSION_DENIED";
    for address in [None, Some("203.0.113.9")] {
        init.address = address.map(|text| text.parse().unwrap());
        refused(
            &mut kit,
            init.clone(),
            answer,
            (1008, "Address not allowed"),
        );
    }
    assert_eq!(kit.metrics.get(Counter::AppAddressRefused), 2);
    // Nobody waits for the time limit of a start that cannot succeed.
    let (_, body) = kit.answer(start).unwrap();
    let error = json!({"stage": "PERMISSION", "message": "Address not allowed"});
    assert_eq!(body["data"]["error"], error);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    kit.start(SCRIBE);
    init.address = Some("10.1.7.7".parse().unwrap());
    let conn = kit.hello(init.clone());
    assert_eq!(kit.s.m.apps.open_conn(SCRIBE), Some(conn));
    kit.cfg.apps.app_ip_validation_enabled = false;
    init.address = None;
    let conn = kit.hello(init.clone());
    assert_eq!(kit.s.m.apps.open_conn(SCRIBE), Some(conn));

    // A running app does not notice the refusal of another.
    kit.cfg.apps.app_ip_validation_enabled = true;
    refused(&mut kit, init, answer, (1008, "Address not allowed"));
    assert_eq!(kit.state(SCRIBE), AppState::Running);
}

#[test]
fn an_app_that_nobody_started_is_refused() {
    let (mut kit, _) = Kit::connected();
    let init = hello(HelloKind::Init, SCRIBE, Sdk::V2);
    let answer = "tpa_connection_error APP_NOT_STARTED";
    let close = (1008, "App not started for this session");
    refused(&mut kit, init, answer, close);
}

#[test]
fn the_ack_comes_first_and_carries_everything() {
    let (mut kit, _) = Kit::connected();
    kit.start(SCRIBE);
    let conn = kit.init(SCRIBE, Sdk::V3);
    let texts = kit.texts(conn);
    assert_eq!(
        texts[0],
        json!({"type": "tpa_connection_ack", "sessionId": format!("{USER}-{SCRIBE}"), "settings": [],
            "mentraosSettings": texts[0]["mentraosSettings"], "capabilities": null,
            "subscriptions": [], "userId": USER, "timestamp": "2026-03-14T09:26:53.589Z"})
    );
    let link = kit.effects(|e| matches!(e, Effect::AppLink { .. }));
    assert!(matches!(
        &link[..],
        [Effect::AppLink { change: LinkChange::Attached, key_sha256, .. }]
            if *key_sha256 == crate::wire::auth::sha256_hex(KEY)
    ));
}

#[test]
fn a_repeated_init_is_acked_again_and_another_identity_is_a_breach() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V2);
    let init = format!(
        r#"{{"type":"tpa_connection_init","packageName":"{SCRIBE}","apiKey":"{KEY}","sessionId":"{USER}-{SCRIBE}"}}"#
    );
    kit.app_text(conn, &init);
    assert_eq!(kit.types(conn), ["tpa_connection_ack"]);
    assert!(kit.is_quiet(), "{}", kit.leftovers());

    kit.app_text(conn, &init.replace(KEY, "other"));
    assert_eq!(kit.types(conn), ["tpa_connection_error INVALID_API_KEY"]);
    assert_eq!(kit.state(SCRIBE), AppState::Running);

    kit.app_text(conn, &init.replace(SCRIBE, MAPS));
    assert_eq!(kit.close_of(conn), Some((1008, "Identity mismatch")));
    assert_eq!(kit.state(SCRIBE), AppState::GracePeriod);
}

#[test]
fn a_second_socket_replaces_the_first_at_once_and_closes_it_later() {
    let (mut kit, _) = Kit::connected();
    let old = kit.running(SCRIBE, Sdk::V3);
    let new = kit.init(SCRIBE, Sdk::V3);
    assert_eq!(kit.s.m.apps.open_conn(SCRIBE), Some(new));
    kit.forget();
    kit.app_text(old, r#"{"type":"ping"}"#);
    kit.app_text(old, r#"{"type":"ownership_release"}"#);
    kit.app_text(old, "{");
    assert_eq!(kit.types(old), ["pong"]);
    kit.advance(4_999);
    assert_eq!(kit.close_of(old), None);
    kit.advance(1);
    assert_eq!(kit.types(old), ["app_stopped"]);
    assert_eq!(
        kit.close_of(old),
        Some((1000, "Replaced by new connection"))
    );
    kit.app_closes(old);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    assert!(kit.writes().is_empty());
}

#[test]
fn a_replaced_socket_that_leaves_by_itself_is_forgotten() {
    let (mut kit, _) = Kit::connected();
    let old = kit.running(SCRIBE, Sdk::V2);
    kit.init(SCRIBE, Sdk::V2);
    kit.forget();
    kit.app_closes(old);
    kit.advance(6_000);
    assert_eq!(kit.close_of(old), None);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
}

/// Rejected, with the close after the linger.
#[test]
fn what_is_no_json_is_called_so_on_a_rejected_socket() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.hello(hello(HelloKind::Reconnect, SCRIBE, Sdk::V2));
    kit.forget();
    kit.app_text(conn, "{");
    assert_eq!(kit.texts(conn)[0]["code"], "MALFORMED_MESSAGE");
}

#[test]
fn ten_unparsable_messages_in_a_row_close_a_socket_that_is_not_attached_yet() {
    let mut kit = Kit::new();
    kit.phone();
    let waiting = kit.init(MAPS, Sdk::V2);
    let parked = park(&mut kit);
    for conn in [waiting, parked] {
        ends_at_the_tenth(&mut kit, conn);
    }
    kit.load(UserRecord::default());
    let conn = kit.hello(hello(HelloKind::Reconnect, SCRIBE, Sdk::V2));
    ends_at_the_tenth(&mut kit, conn);
    assert!(kit.s.m.apps.sockets.lingering(conn).is_none());
    kit.advance(31_000);
    for conn in [waiting, parked, conn] {
        assert_eq!(kit.close_of(conn), None, "once");
    }
}

fn ends_at_the_tenth(kit: &mut Kit, conn: crate::base::ids::ConnId) {
    kit.forget();
    for _ in 0..9 {
        kit.app_text(conn, "{");
    }
    kit.app_text(conn, r#"{"type":"ping"}"#);
    for _ in 0..9 {
        kit.app_text(conn, r#"{"type":"ping",}"#);
    }
    let answers = kit.types(conn);
    let malformed = |answer: &&String| *answer == "tpa_connection_error MALFORMED_MESSAGE";
    assert_eq!(answers.iter().filter(malformed).count(), 18);
    assert_eq!((answers.len(), answers[9].as_str()), (19, "pong"));
    assert_eq!(kit.close_of(conn), None);
    kit.app_text(conn, "[]");
    assert_eq!(kit.close_of(conn), Some((1007, "Invalid JSON")));
}

#[test]
fn an_init_refused_during_the_linger_closes_at_once() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.hello(hello(HelloKind::Reconnect, SCRIBE, Sdk::V2));
    kit.app_text(conn, r#"{"type":"display_event"}"#);
    kit.app_text(conn, r#"{"type":"tpa_connection_init"}"#);
    assert_eq!(
        kit.types(conn),
        [
            "reconnect_rejected SESSION_NOT_FOUND",
            "tpa_connection_error SESSION_NOT_FOUND",
            "tpa_connection_error APP_NOT_STARTED"
        ]
    );
    assert_eq!(
        kit.close_of(conn),
        Some((1008, "App not started for this session"))
    );
    kit.advance(1_000);
    assert_eq!(kit.close_of(conn), None);
}

/// A session whose app waits behind another's stop, with a parked socket.
fn park(kit: &mut Kit) -> crate::base::ids::ConnId {
    let conn = kit.conn();
    let expires_ms = kit.now.mono_ms + 30_000;
    let hello = hello(HelloKind::Reconnect, SCRIBE, Sdk::V3);
    kit.event(crate::session::event::Event::AppParked {
        conn,
        hello,
        expires_ms,
    });
    conn
}

#[test]
fn a_parked_socket_is_superseded_by_a_newer_one_and_expires() {
    let mut kit = Kit::new();
    kit.phone();
    let older = park(&mut kit);
    let newer = park(&mut kit);
    let close = (1013, "Superseded by newer deferred connection");
    assert_eq!(kit.close_of(older), Some(close));
    kit.load(UserRecord::default());
    kit.advance(29_999);
    assert_eq!(kit.close_of(newer), None);
    kit.advance(1);
    assert_eq!(kit.types(newer), ["reconnect_rejected BOOT_TIMEOUT"]);
    assert_eq!(
        kit.close_of(newer),
        Some((1008, "Deferred reconnect timed out"))
    );
    assert!(kit.s.m.apps.sockets.parked.is_empty());
}

#[test]
fn a_parked_socket_is_attached_by_the_start_without_webhook() {
    let mut kit = Kit::new();
    kit.phone();
    let conn = park(&mut kit);
    kit.load(user_running(&[SCRIBE]));
    assert_eq!(kit.types(conn)[0], "reconnect_ack");
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    kit.advance(40_000);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
}

#[test]
fn a_rotated_key_counts_for_later_hellos_only() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    let mut rotated = record(SCRIBE, AppType::Background);
    rotated.key_sha256 = crate::wire::auth::sha256_hex("new-key");
    kit.apps = Registry::new([rotated], 2);
    kit.event(crate::session::event::Event::RegistryChanged);
    assert_eq!(kit.s.m.apps.open_conn(SCRIBE), Some(conn));
    let old_key = hello(HelloKind::Reconnect, SCRIBE, Sdk::V3);
    let answer = "tpa_connection_error INVALID_API_KEY";
    refused(&mut kit, old_key, answer, (1008, "Invalid API key"));
    // A record that is gone leaves the running app alone, too.
    kit.apps = Registry::new([], 3);
    kit.event(crate::session::event::Event::RegistryChanged);
    assert_eq!(kit.s.m.apps.open_conn(SCRIBE), Some(conn));
}
