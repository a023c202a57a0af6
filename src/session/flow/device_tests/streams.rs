//! Unmanaged video streams (protocol.md §8.9, §8.10, §9.13, §9.15, §7.10; invariants 44 and 45).

mod away;
mod revoked;

use super::*;
use crate::session::flow::requests;

const ASK: &str =
    r#"{"type":"stream_request","streamUrl":"rtmp://x/k","video":{"width":854},"sound":false}"#;
const ASK_RTMP: &str = r#"{"type":"rtmp_stream_request","rtmpUrl":"rtmp://x/k"}"#;

fn stream_id(kit: &Kit) -> String {
    kit.s
        .m
        .streams
        .current
        .as_ref()
        .expect("streams")
        .id
        .clone()
}

fn status(kit: &mut Kit, id: &str, word: &str) {
    kit.phone(&format!(
        r#"{{"type":"stream_status","streamId":"{id}","status":"{word}"}}"#
    ))
    .expect("taken");
}

/// A running, active stream of `OTHER` (v3).
fn active() -> (Kit, String) {
    let mut kit = Kit::with_glasses();
    kit.app(OTHER, ASK).expect("taken");
    let id = stream_id(&kit);
    status(&mut kit, &id, "streaming");
    kit.sent();
    (kit, id)
}

fn ack_id(texts: &[&str]) -> String {
    let keep_alive = texts
        .iter()
        .find(|text| text.contains("keep_stream_alive"))
        .expect("a keep-alive");
    value(keep_alive)["ackId"]
        .as_str()
        .expect("text")
        .to_owned()
}

#[test]
fn a_request_starts_the_glasses_and_tells_the_owner() {
    let mut kit = Kit::with_glasses();
    kit.app(OTHER, ASK).expect("taken");
    let id = stream_id(&kit);
    assert!(id.len() == 11 && id.starts_with('s'));
    let sent = kit.sent();
    assert_eq!(
        sent.phone(),
        [format!(
            r#"{{"type":"start_stream","sessionId":"nadia@lumen.io","streamUrl":"rtmp://x/k","appId":"com.acme.other","streamId":"{id}","video":{{"width":854}},"audio":{{}},"stream":{{}},"flash":true,"sound":false,"timestamp":"2026-03-14T09:26:53.589Z"}}"#
        )]
    );
    assert_eq!(
        sent.other(),
        [format!(
            r#"{{"type":"stream_status","sessionId":"nadia@lumen.io-com.acme.other","streamId":"{id}","status":"initializing","appId":"com.acme.other","timestamp":"2026-03-14T09:26:53.589Z"}}"#
        )]
    );
}

#[test]
fn the_owner_hears_the_name_of_its_request_and_subscribers_theirs() {
    let mut kit = Kit::with_glasses();
    kit.subscribe(OTHER, "stream_status");
    kit.app(SCRIBE, ASK_RTMP).expect("taken");
    let sent = kit.sent();
    assert_eq!(types(&sent.scribe()), ["rtmp_stream_status"]);
    let envelope = value(sent.other()[0]);
    assert_eq!(
        (
            envelope["streamType"].as_str(),
            envelope["data"]["type"].as_str()
        ),
        (Some("stream_status"), Some("stream_status"))
    );
    assert_eq!(envelope["data"]["appId"], SCRIBE);
}

#[test]
fn every_word_of_the_glasses_is_mapped() {
    for (word, wanted) in [
        ("streaming", "active"),
        ("reconnected", "active"),
        ("stopping", "stopping"),
        ("stopped", "stopped"),
        ("disconnected", "stopped"),
        ("error", "stopped"),
        ("reconnect_failed", "stopped"),
        ("whatever", "stopped"),
        ("timeout", "timeout"),
    ] {
        let mut kit = Kit::with_glasses();
        kit.app(OTHER, ASK).expect("taken");
        let id = stream_id(&kit);
        kit.sent();
        let text = format!(
            r#"{{"type":"stream_status","streamId":"{id}","status":"{word}","errorDetails":"e","stats":{{"fps":15}}}}"#
        );
        kit.phone(&text).expect("taken");
        let heard = value(kit.sent().other()[0]);
        assert_eq!(heard["status"], wanted, "{word}");
        assert_eq!(
            (
                heard["errorDetails"].as_str(),
                heard["stats"]["fps"].as_u64()
            ),
            (Some("e"), Some(15))
        );
        let ends = matches!(wanted, "stopped" | "timeout");
        assert_eq!(kit.s.m.streams.current.is_none(), ends);
        assert_eq!(!kit.waits(), ends, "{word}");
    }
}

#[test]
fn the_same_status_twice_is_told_once_until_the_owner_reconnects() {
    let (mut kit, id) = active();
    status(&mut kit, &id, "active");
    assert!(kit.sent().texts.is_empty());
    kit.with(|s, cx| requests::app_attached(s, OTHER, cx));
    assert_eq!(
        kit.sent().other(),
        [format!(
            r#"{{"type":"stream_status","status":"active","streamId":"{id}","streamUrl":"rtmp://x/k","resumed":true,"timestamp":"2026-03-14T09:26:53.589Z"}}"#
        )]
    );
    status(&mut kit, &id, "active");
    assert_eq!(types(&kit.sent().other()), ["stream_status"]);
}

#[test]
fn a_v2_owner_is_told_nothing_on_attach() {
    let mut kit = Kit::with_glasses();
    kit.app(SCRIBE, ASK_RTMP).expect("taken");
    kit.sent();
    kit.with(|s, cx| requests::app_attached(s, SCRIBE, cx));
    assert!(kit.sent().texts.is_empty());
}

#[test]
fn refusals_have_their_codes_and_texts() {
    let mut kit = Kit::new();
    kit.run_app(PLAIN, 12, Sdk::V2);
    let internal = |text: &str| ("INTERNAL_ERROR".to_owned(), text.to_owned());
    assert_eq!(
        kit.refused(PLAIN, ASK),
        (
            "PERMISSION_DENIED".into(),
            "Camera permission required to start video streams".into()
        )
    );
    assert_eq!(
        kit.refused(OTHER, ASK),
        internal("Cannot process stream request - smart glasses are not connected")
    );
    kit.device_state(r#"{"connected":true,"modelName":"Mentra Live"}"#);
    let no_wifi =
        "Cannot process request - smart glasses must be connected to WiFi for this operation";
    assert_eq!(
        kit.refused(OTHER, ASK),
        ("WIFI_NOT_CONNECTED".into(), no_wifi.into())
    );
    kit.device_state(r#"{"wifiConnected":true}"#);
    assert_eq!(
        kit.refused(OTHER, r#"{"type":"stream_request"}"#),
        internal("Invalid stream URL: streamUrl is required")
    );
    kit.s.m.apps.ensure(&Package::new(OTHER)).conn = None;
    assert_eq!(
        kit.refused(OTHER, ASK),
        internal("App com.acme.other is not running")
    );
    kit.run_app(OTHER, 11, Sdk::V3);
    kit.s.m.phone.current = None;
    assert_eq!(
        kit.refused(OTHER, ASK),
        internal("Cannot process stream request - phone is not connected (no WebSocket)")
    );
    kit.cfg.device.validation_enabled = false;
    assert_eq!(
        kit.refused(OTHER, ASK),
        internal("Glasses WebSocket not connected")
    );
}

#[test]
fn a_new_stream_replaces_the_old_one_without_a_stop() {
    let (mut kit, _) = active();
    kit.app(SCRIBE, ASK_RTMP).expect("taken");
    let sent = kit.sent();
    assert_eq!(types(&sent.phone()), ["start_stream"]);
    assert_eq!(value(sent.other()[0])["status"], "stopped");
    assert_eq!(kit.s.m.streams.watched().len(), 0);
}

#[test]
fn only_the_owner_stops_a_stream() {
    let (mut kit, id) = active();
    let by_id = format!(r#"{{"type":"stream_stop","streamId":"{id}"}}"#);
    let refused = kit.refused(SCRIBE, &by_id);
    assert_eq!(
        refused,
        (
            "INTERNAL_ERROR".into(),
            format!("App com.acme.scribe cannot stop stream {id} owned by com.acme.other")
        )
    );
    assert!(kit.sent().texts.is_empty());
    kit.app(OTHER, &by_id).expect("taken");
    let sent = kit.sent();
    assert_eq!(
        sent.phone(),
        [format!(
            r#"{{"type":"stop_stream","sessionId":"nadia@lumen.io","appId":"com.acme.other","streamId":"{id}","timestamp":"2026-03-14T09:26:53.589Z"}}"#
        )]
    );
    assert_eq!(value(sent.other()[0])["status"], "stopped");
    assert!(!kit.waits());
}

#[test]
fn a_stop_without_any_stream_still_reaches_the_phone() {
    let mut kit = Kit::with_glasses();
    kit.app(SCRIBE, r#"{"type":"rtmp_stream_stop"}"#)
        .expect("taken");
    assert_eq!(value(kit.sent().phone()[0])["streamId"], "");
}

/// protocol.md §8.10: whatever is no error reaches the phone, and only the asker's own stream ends here.
#[test]
fn a_stop_that_names_nothing_of_the_asker_reaches_the_phone_all_the_same() {
    let (mut kit, _) = active();
    for (ask, named) in [
        (r#"{"type":"stream_stop"}"#, ""),
        (
            r#"{"type":"stream_stop","streamId":"sunknown000"}"#,
            "sunknown000",
        ),
    ] {
        kit.app(SCRIBE, ask).expect("taken");
        let sent = kit.sent();
        assert_eq!(types(&sent.phone()), ["stop_stream"]);
        let stop = value(sent.phone()[0]);
        assert_eq!(
            (stop["appId"].as_str(), stop["streamId"].as_str()),
            (Some(SCRIBE), Some(named))
        );
        assert!(sent.other().is_empty());
        assert!(kit.s.m.streams.current.is_some());
    }
}

#[test]
fn glasses_that_reconnect_are_asked_nothing_until_they_stream_again() {
    let (mut kit, id) = active();
    kit.pass(15_000);
    assert_eq!(types(&kit.sent().phone()), ["keep_stream_alive"]);
    status(&mut kit, &id, "reconnecting");
    assert_eq!(value(kit.sent().other()[0])["status"], "initializing");
    kit.pass(59_000);
    assert!(
        kit.sent().texts.is_empty(),
        "no keep-alive and no missed ack"
    );
    status(&mut kit, &id, "reconnected");
    assert_eq!(value(kit.sent().other()[0])["status"], "active");
    kit.pass(15_000);
    assert_eq!(types(&kit.sent().phone()), ["keep_stream_alive"]);
}

#[test]
fn glasses_that_reconnect_for_ever_time_out_after_a_minute() {
    let (mut kit, id) = active();
    kit.pass(20_000);
    status(&mut kit, &id, "reconnecting");
    kit.pass(30_000);
    status(&mut kit, &id, "connecting");
    kit.sent();
    kit.pass(29_999);
    assert!(kit.sent().texts.is_empty());
    kit.pass(1);
    let sent = kit.sent();
    assert_eq!(value(sent.other()[0])["status"], "timeout");
    assert_eq!(types(&sent.phone()), ["stop_stream"]);
    assert!(!kit.waits());
}

#[test]
fn three_missed_acks_time_the_stream_out_within_fifty_five_seconds() {
    let (mut kit, id) = active();
    kit.pass(54_999);
    let sent = kit.sent();
    assert_eq!(types(&sent.phone()), ["keep_stream_alive"; 3]);
    let first = value(sent.phone()[0]);
    assert_eq!(first["streamId"], id.as_str());
    let ack = first["ackId"].as_str().expect("text");
    assert!(ack.len() == 6 && ack.starts_with('a') && first.get("timestamp").is_none());
    kit.pass(1);
    let sent = kit.sent();
    assert_eq!(value(sent.other()[0])["status"], "timeout");
    assert_eq!(types(&sent.phone()), ["stop_stream"]);
    assert!(!kit.waits());
}

#[test]
fn acks_and_statuses_keep_a_stream_alive() {
    let (mut kit, id) = active();
    for _ in 0..4 {
        kit.pass(15_000);
        let ack = ack_id(&kit.sent().phone());
        kit.phone(&format!(
            r#"{{"type":"keep_alive_ack","streamId":"{id}","ackId":"{ack}"}}"#
        ))
        .expect("taken");
    }
    kit.pass(40_000);
    status(&mut kit, &id, "active");
    kit.pass(20_000);
    assert!(kit.s.m.streams.current.is_some());
    kit.phone(&format!(
        r#"{{"type":"keep_alive_ack","streamId":"{id}","ackId":"axxxxx"}}"#
    ))
    .expect("ignored");
}

#[test]
fn an_absent_phone_misses_nothing_and_gets_nothing() {
    let (mut kit, _) = active();
    kit.pass(15_000);
    kit.phone_away();
    kit.sent();
    kit.pass(300_000);
    assert!(kit.sent().phone().is_empty());
    kit.phone_back();
    kit.pass(50_000);
    assert!(
        kit.s.m.streams.current.is_some(),
        "a fresh window of three acks"
    );
    kit.pass(10_000);
    assert!(kit.s.m.streams.current.is_none());
}

#[test]
fn a_stream_that_never_starts_times_out_after_a_minute() {
    let mut kit = Kit::with_glasses();
    kit.app(OTHER, ASK).expect("taken");
    kit.sent();
    kit.pass(59_999);
    assert!(kit.sent().texts.is_empty());
    kit.pass(1);
    let sent = kit.sent();
    assert_eq!(value(sent.other()[0])["status"], "timeout");
    assert_eq!(types(&sent.phone()), ["stop_stream"]);
}

#[test]
fn a_stopped_owner_stops_its_stream() {
    let (mut kit, _) = active();
    kit.with(|s, cx| requests::app_stopped(s, OTHER, cx));
    assert_eq!(types(&kit.sent().phone()), ["stop_stream"]);
    assert!(kit.s.m.streams.current.is_none() && !kit.waits());
}

#[test]
fn the_phone_streams_for_itself_and_stops_anybody() {
    let mut kit = Kit::with_glasses();
    kit.phone(r#"{"type":"stream_request","streamUrl":"rtmp://x/k9"}"#)
        .expect("taken");
    let id = stream_id(&kit);
    let sent = kit.sent();
    assert_eq!(
        types(&sent.phone()),
        ["start_stream", "phone_stream_status"]
    );
    assert_eq!(
        value(sent.phone()[1])["sessionId"],
        "nadia@lumen.io-__phone__"
    );
    assert!(sent.phone()[0].contains(r#""appId":"__phone__""#) && sent.phone()[1].contains(&id));
    kit.app(OTHER, ASK).expect("taken");
    kit.sent();
    kit.phone(&format!(
        r#"{{"type":"stream_stop","streamId":"{}"}}"#,
        stream_id(&kit)
    ))
    .expect("taken");
    let sent = kit.sent();
    assert_eq!(value(sent.other()[0])["status"], "stopped");
    assert_eq!(types(&sent.phone()), ["stop_stream"]);
}

/// The phone keeps several mini-apps apart by the ids of their requests; apps hear none.
#[test]
fn the_phone_hears_its_own_request_in_every_status() {
    let mut kit = Kit::with_glasses();
    kit.subscribe(SCRIBE, "stream_status");
    kit.phone(r#"{"type":"stream_request","requestId":"r1","streamUrl":"rtmp://x/k9","video":true,"audio":true}"#)
        .expect("taken");
    let sent = kit.sent();
    let start = value(sent.phone()[0]);
    assert_eq!(
        (&start["video"], &start["requestId"]),
        (&json!({}), &Value::Null)
    );
    assert_eq!(value(sent.phone()[1])["requestId"], "r1");
    assert!(!sent.scribe()[0].contains("requestId"), "it only watches");
    kit.phone(r#"{"type":"stream_request","requestId":"r2","streamUrl":"rtmp://x/k8"}"#)
        .expect("taken");
    let told: Vec<_> = kit.sent().phone().iter().map(|text| value(text)).collect();
    let ids: Vec<_> = told
        .iter()
        .filter(|m| m["type"] == "phone_stream_status")
        .map(|m| (m["status"].clone(), m["requestId"].clone()))
        .collect();
    assert_eq!(
        ids,
        [
            ("stopped".into(), "r1".into()),
            ("initializing".into(), "r2".into())
        ]
    );
    kit.app(OTHER, &ASK.replace('{', r#"{"requestId":"mine","#))
        .expect("taken");
    assert!(
        kit.sent()
            .other()
            .iter()
            .all(|text| !text.contains("requestId"))
    );
}

#[test]
fn a_stop_of_the_phone_that_names_no_stream_ends_its_own_alone() {
    let (mut kit, _) = active();
    kit.phone(r#"{"type":"stream_stop"}"#).expect("taken");
    let sent = kit.sent();
    assert_eq!(types(&sent.phone()), ["stop_stream"]);
    let stop = value(sent.phone()[0]);
    assert_eq!(
        (&stop["appId"], &stop["streamId"]),
        (&"__phone__".into(), &"".into())
    );
    assert!(sent.other().is_empty() && kit.s.m.streams.current.is_some());
    kit.phone(r#"{"type":"stream_request","streamUrl":"rtmp://x/k9"}"#)
        .expect("taken");
    kit.sent();
    kit.phone(r#"{"type":"stream_stop"}"#).expect("taken");
    let sent = kit.sent();
    assert_eq!(types(&sent.phone()), ["phone_stream_status", "stop_stream"]);
    assert!(kit.s.m.streams.current.is_none());
}

#[test]
fn a_status_check_tells_what_streams() {
    let mut kit = Kit::with_glasses();
    let check = r#"{"type":"stream_status_check","requestId":"c1"}"#;
    kit.app(OTHER, check).expect("taken");
    assert_eq!(
        kit.sent().other(),
        [r#"{"type":"stream_status_check_response","hasActiveStream":false,"requestId":"c1"}"#]
    );
    kit.app(OTHER, ASK).expect("taken");
    let id = stream_id(&kit);
    kit.sent();
    kit.app(SCRIBE, r#"{"type":"stream_status_check"}"#)
        .expect("taken");
    let answer = value(kit.sent().scribe()[0]);
    assert_eq!(
        answer["streamInfo"],
        serde_json::json!({"type": "unmanaged", "streamId": id, "status": "initializing", "createdAt": "2026-03-14T09:26:53.589Z",
            "streamUrl": "rtmp://x/k", "rtmpUrl": "rtmp://x/k", "requestingAppId": OTHER})
    );
}
