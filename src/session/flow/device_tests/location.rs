//! Location and calendar (protocol.md §5.7, §5.8, §18.7; invariants 41 and 42).

use super::*;
use crate::session::effects::StoreOp;
use crate::session::flow::{device, requests, sync};
use crate::wire::records::{StoredLocation, UserRecord};

const HERE: &str = r#"{"type":"location_update","lat":38.7169,"lng":-9.1399,"accuracy":12.5,"correlationId":"unknown"}"#;
const POLL: &str = r#"{"type":"location_poll_request","accuracy":"high","correlationId":"poll_1"}"#;

fn changed(kit: &mut Kit, package: &str) {
    kit.with(|s, cx| sync::subscriptions_changed(s, package, cx));
}

#[test]
fn a_fix_goes_to_subscribers_of_either_name() {
    let mut kit = Kit::new();
    kit.subscribe(SCRIBE, "location_stream");
    kit.subscribe(OTHER, "location_update");
    kit.phone(HERE).expect("taken");
    let sent = kit.sent();
    for (texts, id) in [(sent.scribe(), SCRIBE), (sent.other(), OTHER)] {
        assert_eq!(
            texts,
            [format!(
                r#"{{"type":"data_stream","sessionId":"nadia@lumen.io-{id}","streamType":"location_update","data":{{"type":"location_update","lat":38.7169,"lng":-9.1399,"accuracy":12.5,"timestamp":"2026-03-14T09:26:53.589Z"}},"timestamp":"2026-03-14T09:26:53.589Z"}}"#
            )]
        );
    }
}

#[test]
fn a_poll_is_answered_by_the_phone_once_and_to_the_asker_only() {
    let mut kit = Kit::new();
    kit.subscribe(SCRIBE, "location_update");
    kit.app(OTHER, POLL).expect("taken");
    assert_eq!(
        kit.sent().phone(),
        [
            r#"{"type":"request_single_location","accuracy":"high","correlationId":"poll_1","timestamp":"2026-03-14T09:26:53.589Z"}"#
        ]
    );
    let body = r#"{"coords":{"latitude":1,"longitude":2}}"#;
    let (status, answer) = kit.rest(Call::LocationPoll {
        correlation_id: "poll_1".into(),
        body: body.into(),
    });
    assert_eq!(
        (status, answer.as_str()),
        (
            200,
            r#"{"success":true,"resolved":true,"timestamp":"2026-03-14T09:26:53.589Z"}"#
        )
    );
    let sent = kit.sent();
    assert!(sent.scribe().is_empty());
    assert_eq!(value(sent.other()[0])["data"]["correlationId"], "poll_1");
    assert!(!kit.waits() && kit.s.m.location.polls().is_empty());
    // It became the last known location.
    kit.app(OTHER, POLL).expect("taken");
    let sent = kit.sent();
    assert_eq!((sent.phone().len(), sent.other().len()), (0, 1));
}

#[test]
fn two_apps_with_one_id_both_get_the_answer() {
    let mut kit = Kit::new();
    kit.app(OTHER, POLL).expect("taken");
    kit.app(SCRIBE, POLL).expect("taken");
    kit.phone(r#"{"type":"location_update","lat":1,"lng":2,"correlationId":"poll_1"}"#)
        .expect("taken");
    let sent = kit.sent();
    assert_eq!((sent.scribe().len(), sent.other().len()), (1, 1));
}

#[test]
fn polls_without_end_of_one_app_leave_those_of_others() {
    let mut kit = Kit::new();
    kit.cfg.device.location_polls_max = 3;
    kit.app(SCRIBE, POLL).expect("taken");
    for id in 0..9 {
        let poll = json!({"type": "location_poll_request", "accuracy": "high", "correlationId": id.to_string()});
        kit.app(OTHER, &poll.to_string()).expect("taken");
    }
    let waiting = kit.s.m.location.polls().iter();
    let waiting: Vec<_> = waiting.map(|poll| poll.correlation_id.as_str()).collect();
    assert_eq!(waiting, ["poll_1", "7", "8"]);
}

#[test]
fn a_poll_survives_an_absent_phone_and_is_forgotten_after_thirty_seconds() {
    let mut kit = Kit::new();
    kit.phone_away();
    kit.app(OTHER, POLL).expect("taken");
    assert!(kit.sent().texts.is_empty());
    kit.phone_back();
    assert_eq!(types(&kit.sent().phone()), ["request_single_location"]);
    kit.pass(29_999);
    assert_eq!(kit.s.m.location.polls().len(), 1);
    kit.pass(1);
    assert!(kit.s.m.location.polls().is_empty());
    assert!(kit.sent().texts.is_empty());
}

#[test]
fn a_phone_that_initialises_again_is_not_asked_twice() {
    let mut kit = Kit::new();
    kit.app(OTHER, POLL).expect("taken");
    assert_eq!(types(&kit.sent().phone()), ["request_single_location"]);
    kit.phone(r#"{"type":"connection_init"}"#).expect("taken");
    let sent = types(&kit.sent().phone());
    assert!(sent.contains(&"connection_ack".to_owned()));
    assert!(!sent.contains(&"request_single_location".to_owned()));
}

#[test]
fn a_poll_needs_permission_and_an_id() {
    let mut kit = Kit::new();
    kit.run_app(PLAIN, 12, Sdk::V2);
    assert_eq!(
        kit.refused(PLAIN, POLL),
        (
            "PERMISSION_DENIED".into(),
            "Location permission required".into()
        )
    );
    let anonymous = r#"{"type":"location_poll_request","accuracy":"high"}"#;
    assert_eq!(
        kit.refused(OTHER, anonymous),
        (
            "MALFORMED_MESSAGE".into(),
            "correlationId is required".into()
        )
    );
}

#[test]
fn a_stopped_app_leaves_no_poll() {
    let mut kit = Kit::new();
    kit.app(OTHER, POLL).expect("taken");
    kit.with(|s, cx| requests::app_stopped(s, OTHER, cx));
    assert!(!kit.waits() && kit.s.m.location.polls().is_empty());
}

#[test]
fn the_phone_knows_the_effective_tier() {
    let mut kit = Kit::new();
    kit.subscribe_rate(SCRIBE, "location_stream", Some("high"));
    changed(&mut kit, SCRIBE);
    assert_eq!(
        kit.sent().phone(),
        [r#"{"type":"set_location_tier","tier":"high","timestamp":"2026-03-14T09:26:53.589Z"}"#]
    );
    changed(&mut kit, SCRIBE);
    assert!(kit.sent().texts.is_empty());
    kit.phone_away();
    kit.phone_back();
    assert_eq!(types(&kit.sent().phone()), ["set_location_tier"]);
    kit.s.m.subscriptions.remove(SCRIBE, 0, 0);
    kit.phone_away();
    changed(&mut kit, SCRIBE);
    kit.phone_back();
    assert_eq!(
        kit.sent().phone(),
        [r#"{"type":"set_location_tier","tier":"reduced","timestamp":"2026-03-14T09:26:53.589Z"}"#],
        "phones keep the tier of their earlier socket"
    );
    kit.phone_away();
    kit.phone_back();
    assert!(kit.sent().phone().is_empty(), "it knows by now");
}

#[test]
fn an_app_that_changes_its_tier_without_end_does_not_fill_the_phones_queue() {
    let mut kit = Kit::new();
    for n in 0..1001 {
        let rate = if n % 2 == 0 { "high" } else { "standard" };
        kit.subscribe_rate(SCRIBE, "location_stream", Some(rate));
        changed(&mut kit, SCRIBE);
    }
    assert_eq!(kit.sent().phone().len(), 20);
    kit.pass(1000);
    let told = kit.sent();
    assert_eq!(types(&told.phone()), ["set_location_tier"]);
    assert_eq!(value(told.phone()[0])["tier"], "high", "the last");
}

#[test]
fn new_listeners_get_what_is_known_once() {
    let mut kit = Kit::new();
    kit.subscribe(OTHER, "location_update");
    changed(&mut kit, OTHER);
    assert!(kit.sent().texts.is_empty(), "nothing is known yet");
    kit.phone(HERE).expect("taken");
    let events = r#"{"events":[{"id":"b","title":"B","start":"2026-03-15"},{"id":"a","title":"A","start":"2026-03-14T15:00:00Z"},{"title":"no id"}]}"#;
    kit.subscribe(OTHER, "calendar_event");
    kit.sent();
    assert_eq!(
        kit.rest(Call::Calendar {
            body: events.into()
        })
        .0,
        200
    );
    assert_eq!(kit.sent().other().len(), 2, "event by event");
    kit.subscribe(SCRIBE, "location_update");
    kit.subscribe(SCRIBE, "calendar_event");
    changed(&mut kit, SCRIBE);
    let sent = kit.sent();
    let streams: Vec<_> = sent
        .scribe()
        .iter()
        .map(|text| value(text)["streamType"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(
        streams,
        [
            Some("location_update".into()),
            Some("calendar_event".into()),
            Some("calendar_event".into())
        ]
    );
    assert_eq!(value(sent.scribe()[1])["data"]["eventId"], "a");
    changed(&mut kit, SCRIBE);
    assert!(kit.sent().scribe().is_empty(), "once");
}

#[test]
fn bad_bodies_are_answered_with_their_texts() {
    let mut kit = Kit::new();
    let wanted = r#"{"success":false,"message":"location object required. Expected { location: {...} } or Expo LocationObject with coords"}"#;
    assert_eq!(
        kit.rest(Call::Location {
            body: r#"{"lat":1,"lng":2}"#.into()
        }),
        (400, wanted.into())
    );
    assert_eq!(
        kit.rest(Call::Calendar { body: "{}".into() }),
        (
            400,
            r#"{"success":false,"message":"events array required"}"#.into()
        )
    );
    let (status, body) = kit.rest(Call::Location {
        body: r#"{"location":{"lat":"x","lng":2}}"#.into(),
    });
    assert_eq!(
        (status, body.as_str()),
        (
            200,
            r#"{"success":true,"timestamp":"2026-03-14T09:26:53.589Z"}"#
        )
    );
    assert_eq!(kit.s.m.location.last(), None);
}

#[test]
fn the_location_is_seeded_and_saved_when_it_changed() {
    let mut kit = Kit::new();
    let location = Some(StoredLocation {
        lat: 0.0,
        lng: 0.0,
        accuracy: None,
        unix_ms: 5,
    });
    let record = UserRecord {
        location,
        ..UserRecord::default()
    };
    kit.with(|s, cx| device::user_loaded(s, &record, cx));
    assert!(kit.s.m.location.last().is_some(), "zero is a place");
    kit.with(device::save_location);
    assert!(kit.fx.is_empty());
    kit.phone(HERE).expect("taken");
    kit.with(device::save_location);
    let saved = kit.fx.list().iter().any(|effect| matches!(effect, Effect::Store { op: StoreOp::SetLocation(at), .. } if at.lat == 38.7169));
    assert!(saved);
}

#[test]
fn a_fix_is_as_old_as_the_phone_says() {
    // 2026-03-14T09:26:53.589Z is now.
    for (location, is_fresh) in [
        (r#"{"lat":1,"lng":2,"timestamp":1773480408589}"#, true),
        (
            r#"{"lat":1,"lng":2,"timestamp":"2026-03-14T09:26:33.589Z"}"#,
            false,
        ),
        (
            r#"{"coords":{"latitude":1,"longitude":2},"timestamp":1773480300000}"#,
            false,
        ),
        (
            r#"{"coords":{"latitude":1,"longitude":2,"timestamp":1773480300000}}"#,
            false,
        ),
        (r#"{"lat":1,"lng":2,"timestamp":1773490000000}"#, true),
        (r#"{"lat":1,"lng":2,"timestamp":"soon"}"#, true),
        (r#"{"lat":1,"lng":2}"#, true),
    ] {
        let mut kit = Kit::new();
        let body = format!(r#"{{"location":{location}}}"#);
        kit.rest(Call::Location { body: body.into() });
        kit.app(OTHER, POLL).expect("taken");
        let sent = kit.sent();
        assert_eq!(sent.other().len(), usize::from(is_fresh), "{location}");
        assert_eq!(sent.phone().len(), usize::from(!is_fresh), "{location}");
    }
}
