//! A defect in the handler of a message costs that message (behaviour.md §1.10, 2.20).

use crate::base::metrics::Counter;
use crate::session::event::Sdk;
use crate::session::managers::apps::AppState;
use crate::session::testkit::{Kit, SCRIBE};

#[test]
fn an_app_whose_message_met_a_defect_hears_of_it_and_goes_on() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V2);
    kit.s.m.audio.is_defective = true;
    let lines = crate::base::log_capture::lines_of(|| {
        for _ in 0..4 {
            kit.app_text(conn, r#"{"type":"display_event","layout":{}}"#);
        }
    });
    kit.s.m.audio.is_defective = false;
    let told = kit.texts(conn);
    assert_eq!(told.len(), 4);
    assert_eq!(told[0]["type"], "tpa_connection_error");
    assert_eq!(told[0]["code"], "INTERNAL_ERROR");
    assert_eq!(told[0]["message"], "Internal server error");
    assert_eq!(kit.close_of(conn), None);
    assert_eq!(kit.metrics.get(Counter::HandlerPanics), 4);
    assert!(lines[0].starts_with("ERROR"), "{}", lines[0]);
    assert!(lines[0].contains("kind=\"display_event\""), "{}", lines[0]);
    assert!(lines[0].contains("panic=\"a defect\""), "{}", lines[0]);

    kit.app_text(conn, r#"{"type":"ping"}"#);
    assert_eq!(kit.texts(conn)[0]["type"], "pong");
    assert_eq!(kit.state(SCRIBE), AppState::Running);
}

#[test]
fn the_fifth_defect_within_a_minute_closes_the_apps_socket() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V2);
    kit.s.m.audio.is_defective = true;
    for _ in 0..5 {
        assert_eq!(kit.close_of(conn), None);
        kit.app_text(conn, r#"{"type":"display_event","layout":{}}"#);
    }
    assert_eq!(kit.close_of(conn), Some((1011, "Internal server error")));
    assert_eq!(kit.state(SCRIBE), AppState::GracePeriod);
}

#[test]
fn a_phone_whose_messages_meet_a_defect_keeps_its_socket() {
    let (mut kit, phone) = Kit::connected();
    kit.s.m.audio.is_defective = true;
    for text in [
        r#"{"type":"head_position","position":"up"}"#,
        r#"{"type":"never_heard_of"}"#,
    ] {
        for _ in 0..5 {
            kit.phone_text(phone, text);
        }
    }
    kit.s.m.audio.is_defective = false;
    assert_eq!(kit.metrics.get(Counter::HandlerPanics), 10);
    assert_eq!(kit.close_of(phone), None);
    assert!(kit.texts(phone).is_empty(), "phones are never answered");
    kit.phone_text(phone, r#"{"type":"ping"}"#);
    assert_eq!(kit.texts(phone)[0]["type"], "pong");
}
