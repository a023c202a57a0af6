//! A managed stream while its phone, or who watches it, is away for a moment (behaviour.md §7.6: streams are the session's).

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

/// behaviour.md §7.6.3: with the last viewer the glasses stop. Nobody would stop them afterwards.
#[test]
fn glasses_whose_phone_was_away_when_the_last_viewer_left_stop_when_it_is_back() {
    let mut kit = live();
    let id = id(&kit);
    kit.phone_away();
    kit.app(OTHER, STOP).expect("leaves");
    back_and_told_to_stop(&mut kit, &id);
    kit.phone_away();
    kit.phone_back();
    assert!(kit.sent().phone().is_empty(), "once");
}

#[test]
fn glasses_that_were_never_told_to_start_are_not_told_to_stop() {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    kit.phone_away();
    kit.app(OTHER, STOP).expect("leaves");
    kit.phone_back();
    assert!(kit.sent().phone().is_empty());
}

/// The provider says only once that it is live, and a mini-app waits for just that.
#[test]
fn a_phone_that_was_away_when_the_stream_went_live_hears_of_it() {
    let mut kit = kit();
    let ask = r#"{"type":"managed_stream_request","requestId":"r1"}"#;
    kit.phone(ask).expect("taken");
    answer(&mut kit, 200, MADE);
    kit.pass(3_000);
    kit.sent();
    kit.phone_away();
    kit.pass(2_000);
    answer(&mut kit, 200, LIVE);
    for heard in [1, 0] {
        kit.phone_back();
        let sent = kit.sent();
        let told = sent.phone();
        assert_eq!(told.len(), heard, "once");
        for status in told.into_iter().map(value) {
            assert_eq!(status["type"], "phone_managed_stream_status");
            assert_eq!(
                (&status["status"], &status["requestId"]),
                (&"active".into(), &"r1".into())
            );
            assert!(status["hlsUrl"].is_string());
        }
        kit.phone_away();
    }
}

#[test]
fn a_phone_that_was_away_when_the_stream_failed_hears_of_it() {
    let mut kit = kit();
    kit.phone(ASK).expect("taken");
    kit.phone_away();
    answer(&mut kit, 403, "{}");
    kit.phone_back();
    let sent = kit.sent();
    let told = value(sent.phone()[0]);
    assert_eq!(told["message"], "Failed to create live input");
}

/// SDK 2.x starts no other stream before it heard of the end of the last.
#[test]
fn a_viewer_that_was_away_when_the_stream_ended_hears_of_it_when_it_is_back() {
    for starts_anew in [false, true] {
        let mut kit = live();
        kit.app(SCRIBE, ASK).expect("joins");
        kit.sent();
        kit.app_away(SCRIBE);
        let id = id(&kit);
        let stopped = format!(r#"{{"type":"stream_status","streamId":"{id}","status":"stopped"}}"#);
        kit.phone(&stopped).expect("taken");
        kit.sent();
        if starts_anew {
            kit.with(|s, _| requests::app_starting(s, &Package::new(SCRIBE)));
        }
        kit.run_app(SCRIBE, 10, Sdk::V2);
        kit.with(|s, cx| requests::app_attached(s, SCRIBE, cx));
        let sent = kit.sent();
        let heard: Vec<_> = sent.scribe().into_iter().map(value).collect();
        let statuses: Vec<_> = heard.iter().map(|m| m["status"].as_str()).collect();
        let wanted = [Some("stopped")];
        assert_eq!(statuses, wanted[usize::from(starts_anew)..]);
    }
}
