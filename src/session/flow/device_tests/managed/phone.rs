//! The managed stream as a mini-app on the phone watches it (protocol.md §6.21, §7.19).

use super::*;

#[test]
fn the_phone_watches_under_its_own_name() {
    let mut kit = kit();
    kit.phone(ASK).expect("taken");
    answer(&mut kit, 200, MADE);
    kit.pass(3_000);
    assert_eq!(
        types(&kit.sent().phone()),
        ["start_stream", "phone_managed_stream_status"]
    );
    kit.phone(STOP).expect("leaves");
    assert_eq!(
        types(&kit.sent().phone()),
        ["phone_managed_stream_status", "stop_stream"]
    );
}

/// The phone keeps several mini-apps apart by the ids of their requests, and forgets none; apps that watch too hear no id.
#[test]
fn each_mini_app_of_the_phone_hears_how_the_stream_does() {
    let ask = |id: &str| format!(r#"{{"type":"managed_stream_request","requestId":"{id}"}}"#);
    let told = |kit: &mut Kit| -> Vec<(Value, Value)> {
        let sent = kit.sent();
        let phone = sent.phone();
        let all = phone.iter().map(|text| value(text));
        all.filter(|m| m["type"] == "phone_managed_stream_status")
            .map(|m| (m["status"].clone(), m["requestId"].clone()))
            .collect()
    };
    let mut kit = kit();
    kit.phone(&ask("r1")).expect("taken");
    answer(&mut kit, 200, MADE);
    kit.pass(3_000);
    assert_eq!(told(&mut kit), [("initializing".into(), "r1".into())]);
    kit.phone(&ask("r2")).expect("joins");
    assert_eq!(told(&mut kit), [("active".into(), "r2".into())]);
    kit.app(SCRIBE, &ask("mine")).expect("joins");
    assert!(!kit.sent().scribe()[0].contains("requestId"));
    let id = id(&kit);
    let streaming = format!(r#"{{"type":"stream_status","streamId":"{id}","status":"streaming"}}"#);
    let both = |status: &str| ["r1", "r2"].map(|id| (Value::from(status), Value::from(id)));
    for heard in [&both("active")[..], &[]] {
        kit.phone(&streaming).expect("taken");
        assert_eq!(told(&mut kit), heard, "no status twice");
    }
    kit.phone(STOP).expect("leaves");
    assert_eq!(told(&mut kit), both("stopped"));
    kit.phone(&ask("r3")).expect("joins");
    assert_eq!(told(&mut kit), [("active".into(), "r3".into())]);
    kit.app(SCRIBE, STOP).expect("leaves");
    kit.phone(STOP).expect("leaves");
    assert_eq!(told(&mut kit), [("stopped".into(), "r3".into())]);
}

#[test]
fn of_many_requests_of_the_phone_the_latest_are_known() {
    let mut kit = kit();
    for n in 0..20 {
        let ask = format!(r#"{{"type":"managed_stream_request","requestId":"r{n}"}}"#);
        kit.phone(&ask).expect("taken");
        kit.phone(&ask).expect("taken again");
    }
    let stream = kit.s.m.managed_streams.current.as_ref().expect("streams");
    assert_eq!(stream.phone_requests.len(), 8);
    assert_eq!(
        stream.phone_requests.last().map(String::as_str),
        Some("r19")
    );
}

#[test]
fn the_phone_hears_which_request_cannot_be_served() {
    let mut kit = Kit::with_glasses();
    kit.phone(r#"{"type":"managed_stream_request","requestId":"r1"}"#)
        .expect("taken");
    let told = value(kit.sent().phone()[0]);
    assert_eq!(
        (&told["status"], &told["requestId"]),
        (&"error".into(), &"r1".into())
    );
}
