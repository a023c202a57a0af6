//! A managed stream whose phone is away when it shall start (behaviour.md §7.6: streams are the session's).

use super::*;

#[test]
fn a_phone_that_was_lost_before_the_start_is_waited_for() {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    answer(&mut kit, 200, MADE);
    kit.phone_away();
    kit.pass(5_000);
    assert!(kit.sent().texts.is_empty());
    kit.phone_back();
    kit.sent();
    kit.pass(2_000);
    let sent = kit.sent();
    assert_eq!(types(&sent.phone()), ["start_stream"]);
    assert_eq!(value(sent.other()[0])["status"], "initializing");
}

#[test]
fn a_phone_that_stays_away_ends_the_start_after_a_minute() {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    answer(&mut kit, 200, MADE);
    kit.phone_away();
    kit.pass(59_999);
    assert!(kit.sent().texts.is_empty());
    kit.pass(1);
    let sent = kit.sent();
    let status = value(sent.other()[0]);
    assert_eq!(
        (status["status"].as_str(), status["message"].as_str()),
        (Some("error"), Some("Glasses WebSocket not connected"))
    );
    assert_eq!(sent.http().len(), 1, "the live input goes");
    assert!(kit.s.m.managed_streams.current.is_none());
}
