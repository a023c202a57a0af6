//! An app that comes back: rows of protocol.md §3.4, and a rejected socket until it closes.

use super::hello::refused;
use crate::base::metrics::Counter;
use crate::session::effects::HttpKind;
use crate::session::event::{AppHello, HelloKind, Sdk};
use crate::session::managers::apps::AppState;
use crate::session::testkit::{CHESS, KEY, Kit, MAPS, SCRIBE, USER, hello, user_running};

fn rejected_later(kit: &mut Kit, hello: AppHello, answer: &str, reason: &'static str) {
    let conn = kit.hello(hello);
    assert_eq!(kit.types(conn), [answer]);
    kit.advance(999);
    assert_eq!(kit.close_of(conn), None);
    kit.advance(1);
    assert_eq!(kit.close_of(conn), Some((1008, reason)));
}

#[test]
fn row_1_reconnect_is_for_v3_only() {
    let (mut kit, _) = Kit::connected();
    let old = hello(HelloKind::Reconnect, SCRIBE, Sdk::V2);
    let answer = "reconnect_rejected SESSION_NOT_FOUND";
    rejected_later(&mut kit, old, answer, "Reconnect unsupported");
}

#[test]
fn row_3_reconnect_needs_a_key() {
    let (mut kit, _) = Kit::connected();
    kit.running(SCRIBE, Sdk::V3);
    let mut keyless = hello(HelloKind::Reconnect, SCRIBE, Sdk::V3);
    keyless.api_key = None;
    let answer = "reconnect_rejected SESSION_NOT_FOUND";
    rejected_later(&mut kit, keyless, answer, "Reconnect unauthenticated");
}

#[test]
fn row_4_reconnect_checks_the_key_of_a_live_session_too() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    let mut wrong = hello(HelloKind::Reconnect, SCRIBE, Sdk::V3);
    wrong.api_key = Some("other".into());
    let answer = "tpa_connection_error INVALID_API_KEY";
    refused(&mut kit, wrong, answer, (1008, "Invalid API key"));
    assert_eq!(kit.s.m.apps.open_conn(SCRIBE), Some(conn));
}

#[test]
fn row_6_an_app_about_to_be_started_waits_parked() {
    let (mut kit, _) = Kit::connected();
    kit.running(CHESS, Sdk::V2);
    // The start of the second standard app waits until the first has stopped.
    let start = kit.start(MAPS);
    kit.forget();
    let conn = kit.reconnect(MAPS);
    let told = kit.texts(conn);
    assert_eq!(told[0]["type"], "reconnect_deferred");
    assert_eq!(told[0]["code"], "AWAITING_APP_RESTORE");
    assert_eq!(told[0]["message"], "Cloud is restoring app state");
    assert_eq!(told[0]["timeoutMs"], 30_000);
    kit.app_text(conn, r#"{"type":"ping"}"#);
    kit.app_text(conn, r#"{"type":"subscription_update","subscriptions":[]}"#);
    assert_eq!(kit.types(conn), ["pong"]);

    kit.advance(3_000); // the stop webhook is given up
    assert_eq!(kit.types(conn)[0], "reconnect_ack");
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    kit.stored_all();
    assert_eq!(kit.answer(start).unwrap().1["data"]["isRunning"], true);
    assert_eq!(kit.s.m.apps.get(MAPS).unwrap().sdk, Sdk::V3);
}

#[test]
fn row_6_sockets_that_came_while_the_user_loads_are_consumed_by_the_start() {
    let mut kit = Kit::new();
    let phone = kit.phone();
    let conn = kit.reconnect(SCRIBE);
    let init = kit.init(MAPS, Sdk::V2);
    kit.app_text(init, r#"{"type":"ping"}"#);
    assert_eq!(kit.types(init), ["pong"]);
    kit.load(user_running(&[SCRIBE, MAPS]));
    assert_eq!(kit.types(phone), ["connection_ack"]);
    assert_eq!(
        kit.types(conn)[..2],
        ["reconnect_deferred AWAITING_APP_RESTORE", "reconnect_ack"]
    );
    assert_eq!(kit.types(init)[0], "tpa_connection_ack");
    let urls: Vec<String> = kit
        .webhooks(HttpKind::SessionRequest)
        .into_iter()
        .map(|call| call.url)
        .collect();
    assert_eq!(urls, ["http://com.acme.maps/webhook"]);
    assert!(kit.writes().is_empty());
}

#[test]
fn row_6_whoever_came_while_the_user_loads_need_not_wait_for_a_phone_that_left() {
    let mut kit = Kit::new();
    let phone = kit.phone();
    let conn = kit.reconnect(SCRIBE);
    let init = kit.init(MAPS, Sdk::V2);
    kit.phone_closes(phone);
    kit.load(user_running(&[SCRIBE, MAPS]));
    assert_eq!(kit.types(init)[0], "tpa_connection_ack");
    assert_eq!(
        kit.types(conn)[..2],
        ["reconnect_deferred AWAITING_APP_RESTORE", "reconnect_ack"]
    );
    kit.advance(40_000);
    assert_eq!(kit.close_of(conn), None);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}

#[test]
fn row_7_another_session_id_is_expired() {
    let (mut kit, _) = Kit::connected();
    kit.running(SCRIBE, Sdk::V3);
    let answer = "reconnect_rejected SESSION_EXPIRED";
    let mut stale = hello(HelloKind::Reconnect, SCRIBE, Sdk::V3);
    for id in [None, Some("0b5c".to_owned())] {
        stale.session_id = id;
        rejected_later(&mut kit, stale.clone(), answer, "Session expired");
    }
    assert_eq!(kit.state(SCRIBE), AppState::Running);
}

#[test]
fn row_8_an_app_not_expected_to_run_is_told_so() {
    let (mut kit, _) = Kit::connected();
    let answer = "reconnect_rejected NOT_RUNNING";
    let close = (1008, "App not running");
    let again = hello(HelloKind::Reconnect, SCRIBE, Sdk::V3);
    refused(&mut kit, again.clone(), answer, close); // unknown here
    kit.running(SCRIBE, Sdk::V3);
    kit.stop(SCRIBE);
    refused(&mut kit, again.clone(), answer, close); // stopping
    kit.advance(3_000);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    refused(&mut kit, again, answer, close); // stopped by the user
}

#[test]
fn row_9_everything_else_attaches_with_a_reconnect_ack() {
    let (mut kit, phone) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    let newer = kit.reconnect(SCRIBE); // running
    assert_eq!(kit.types(newer)[0], "reconnect_ack");
    kit.app_closes(conn);
    kit.app_closes(newer);
    let conn = kit.reconnect(SCRIBE); // transport_down
    assert_eq!(kit.types(conn)[0], "reconnect_ack");
    kit.app_closes(conn);
    kit.phone_closes(phone);
    kit.advance(5_000);
    assert_eq!(kit.state(SCRIBE), AppState::Dormant);
    let conn = kit.reconnect(SCRIBE); // dormant
    assert_eq!(kit.types(conn)[0], "reconnect_ack");
    let start = kit.start(MAPS);
    let conn = kit.reconnect(MAPS); // connecting: the pending start is complete
    assert_eq!(kit.types(conn)[0], "reconnect_ack");
    kit.stored_all();
    assert_eq!(kit.answer(start).unwrap().1["data"]["isRunning"], true);
    assert_eq!(kit.metrics.get(Counter::AppStartsOk), 2);
}

#[test]
fn an_init_after_a_rejected_reconnect_keeps_the_socket() {
    let (mut kit, _) = Kit::connected();
    kit.running(SCRIBE, Sdk::V3);
    let mut stale = hello(HelloKind::Reconnect, SCRIBE, Sdk::V3);
    stale.session_id = None;
    let conn = kit.hello(stale);
    kit.forget();
    kit.app_text(
        conn,
        r#"{"type":"tpa_connection_init","packageName":"com.acme.scribe","apiKey":"demo-key-1","sdkVersion":"3.0.0-hono.8"}"#,
    );
    assert_eq!(kit.types(conn)[0], "tpa_connection_ack");
    assert_eq!(kit.s.m.apps.open_conn(SCRIBE), Some(conn));
    assert_eq!(kit.s.m.apps.get(SCRIBE).unwrap().sdk, Sdk::V3);
    kit.advance(4_000);
    assert_eq!(kit.close_of(conn), None);
}

#[test]
fn a_reconnect_on_an_attached_socket_is_judged_like_any_other() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    let right =
        format!(r#"{{"type":"reconnect","sdkVersion":"3.0.0","sessionId":"{USER}-{SCRIBE}"}}"#);
    kit.app_text(conn, &right);
    assert_eq!(kit.types(conn), ["reconnect_ack"]);
    assert!(kit.is_quiet(), "{}", kit.leftovers());
    // An init that is accepted meanwhile keeps it.
    let init = format!(
        r#"{{"type":"tpa_connection_init","packageName":"{SCRIBE}","apiKey":"{KEY}","sdkVersion":"3.0.0"}}"#
    );
    kit.app_text(conn, r#"{"type":"reconnect","sdkVersion":"3.0.0"}"#);
    assert_eq!(kit.types(conn), ["reconnect_rejected SESSION_EXPIRED"]);
    kit.advance(999);
    kit.app_text(conn, &init);
    assert_eq!(kit.types(conn), ["tpa_connection_ack"]);
    kit.advance(2_000);
    assert_eq!(kit.close_of(conn), None);
    kit.app_text(conn, &right.replace("3.0.0", "2.1.29"));
    let answer = "reconnect_rejected SESSION_NOT_FOUND";
    assert_eq!(kit.types(conn), [answer]);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    kit.advance(1_000);
    assert_eq!(kit.close_of(conn), Some((1008, "Reconnect unsupported")));
    assert_eq!(kit.state(SCRIBE), AppState::TransportDown);
    // A socket that leaves in between takes its close with it.
    let conn = kit.reconnect(SCRIBE);
    kit.app_text(conn, r#"{"type":"reconnect","sdkVersion":"3.0.0"}"#);
    kit.app_closes(conn);
    kit.forget();
    kit.advance(1_000);
    assert_eq!(kit.close_of(conn), None);
}

#[test]
fn a_rejection_said_again_does_not_put_its_close_off() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.hello(hello(HelloKind::Reconnect, SCRIBE, Sdk::V2));
    kit.advance(600);
    kit.app_text(conn, r#"{"type":"reconnect"}"#);
    let answer = "reconnect_rejected SESSION_NOT_FOUND";
    assert_eq!(kit.types(conn), [answer, answer]);
    kit.advance(400);
    assert_eq!(kit.close_of(conn), Some((1008, "Reconnect unsupported")));
}
