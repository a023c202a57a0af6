//! What does not end a managed stream (protocol.md §8.12, behaviour.md §7.6.3).

use super::*;
use crate::session::event::Event;
use crate::session::testkit::device::record;

#[test]
fn a_stream_that_the_glasses_send_outlives_a_provider_that_does_not_say_so() {
    let mut kit = waiting();
    kit.cfg.streaming.stream_max_missed_acks = 100;
    let id = id(&kit);
    let streaming = format!(r#"{{"type":"stream_status","streamId":"{id}","status":"streaming"}}"#);
    kit.phone(&streaming).expect("taken");
    for _ in 0..29 {
        kit.pass(2_000);
        answer(&mut kit, 200, "{}");
    }
    kit.pass(60_000);
    let sent = kit.sent();
    assert!(sent.other().is_empty() && sent.http().is_empty());
    kit.app(OTHER, STOP).expect("leaves");
    assert_eq!(value(kit.sent().other()[0])["status"], "stopped");
}

/// An app whose record takes the camera from it watches no more; for others the stream goes on.
#[test]
fn a_viewer_without_the_camera_leaves() {
    let mut kit = live();
    kit.app(SCRIBE, ASK).expect("joins");
    kit.sent();
    let poor = record(OTHER, &["LOCATION"]);
    let records = [record(SCRIBE, &["ALL"]), poor.clone()];
    kit.apps = Registry::new(records, 2);
    kit.with(|s, cx| s.on_event(Event::RegistryChanged, cx));
    let sent = kit.sent();
    assert_eq!(value(sent.other()[0])["status"], "stopped");
    assert!(sent.scribe().is_empty() && sent.phone().is_empty());
    kit.apps = Registry::new([record(SCRIBE, &[]), poor], 3);
    kit.with(|s, cx| s.on_event(Event::RegistryChanged, cx));
    assert_eq!(types(&kit.sent().phone()), ["stop_stream"]);
    assert!(kit.s.m.managed_streams.current.is_none());
}

#[test]
fn who_does_not_watch_is_told_stopped_and_the_stream_goes_on() {
    let mut kit = live();
    for heard in [1, 0] {
        kit.app(SCRIBE, STOP).expect("taken");
        let sent = kit.sent();
        assert_eq!(sent.scribe().len(), heard, "once");
        assert!(sent.other().is_empty() && sent.phone().is_empty());
        for told in sent.scribe() {
            assert_eq!(value(told)["status"], "stopped");
        }
    }
    assert!(kit.s.m.managed_streams.current.is_some());
}
