//! Who joins a managed stream before it is live (behaviour.md §7.6.3, protocol.md §8.11).

use super::*;

#[test]
fn who_joins_before_the_video_flows_gets_the_urls_at_once() {
    let mut kit = waiting();
    kit.sent();
    kit.app(SCRIBE, ASK).expect("joins");
    let id = id(&kit);
    let joined = |message: &str| {
        format!(
            r#"{{"type":"managed_stream_status","status":"active","streamId":"{id}",{URLS}{message}}}"#
        )
    };
    assert_eq!(kit.sent().scribe(), [joined("")]);
    kit.with(|s, cx| requests::app_attached(s, OTHER, cx));
    let resumed = value(kit.sent().other()[0]);
    assert_eq!(
        (resumed["status"].as_str(), resumed["resumed"].as_bool()),
        (Some("active"), Some(true))
    );
    kit.pass(2_000);
    answer(&mut kit, 200, LIVE);
    assert_eq!(
        kit.sent().scribe(),
        [joined(r#","message":"Stream is now live""#)]
    );
}

/// behaviour.md §7.6.3: `initializing` is for who asked and waits.
#[test]
fn who_was_told_active_before_the_glasses_hears_of_no_step_back() {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    answer(&mut kit, 200, MADE);
    kit.app(SCRIBE, ASK).expect("joins");
    assert_eq!(value(kit.sent().scribe()[0])["status"], "active");
    kit.pass(3_000);
    let begun = kit.sent();
    assert_eq!(value(begun.other()[0])["status"], "initializing");
    assert!(begun.scribe().is_empty());
    kit.pass(2_000);
    answer(&mut kit, 200, LIVE);
    let live = value(kit.sent().scribe()[0]);
    assert_eq!(live["message"], "Stream is now live");
}

#[test]
fn who_asks_without_end_before_the_glasses_is_remembered_once() {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    answer(&mut kit, 200, MADE);
    for _ in 0..100 {
        kit.app(SCRIBE, ASK).expect("joins");
    }
    let stream = kit.s.m.managed_streams.current.as_ref().expect("a stream");
    assert_eq!(stream.early.len(), 1);
}

#[test]
fn who_joins_before_there_are_urls_waits_for_them() {
    let mut kit = kit();
    kit.app(OTHER, ASK).expect("taken");
    kit.app(SCRIBE, ASK).expect("joins");
    let status = value(kit.sent().scribe()[0]);
    assert_eq!(status["status"], "initializing");
    assert!(status.get("hlsUrl").is_none());
}

/// protocol.md §8.10: only its owner stops a stream, and the phone stops whatever runs.
#[test]
fn a_stop_of_an_unmanaged_stream_that_names_the_managed_one_ends_it_for_its_asker_alone() {
    let mut kit = live();
    let stop = format!(r#"{{"type":"stream_stop","streamId":"{}"}}"#, id(&kit));
    let text = format!(
        "App {SCRIBE} cannot stop stream {} owned by MANAGED_STREAM",
        id(&kit)
    );
    assert_eq!(kit.refused(SCRIBE, &stop), ("INTERNAL_ERROR".into(), text));
    kit.app(SCRIBE, ASK).expect("joins");
    kit.sent();
    kit.app(SCRIBE, &stop).expect("leaves");
    let sent = kit.sent();
    assert_eq!(value(sent.scribe()[0])["status"], "stopped");
    assert!(sent.phone().is_empty() && sent.other().is_empty());
    kit.phone(&stop).expect("taken");
    let sent = kit.sent();
    assert_eq!(value(sent.other()[0])["status"], "stopped");
    assert_eq!(types(&sent.phone()), ["stop_stream"]);
    assert!(kit.s.m.managed_streams.current.is_none());
}
