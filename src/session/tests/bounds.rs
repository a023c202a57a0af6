//! What one peer can make a session keep, or others pay for, is bounded.

use crate::base::metrics::Counter;
use crate::session::event::{Chunk, Sdk};
use crate::session::managers::phone::HELD_BYTES_MAX;
use crate::session::rest::Call;
use crate::session::testkit::{Kit, SCRIBE};
use crate::wire::records::UserRecord;
use serde_json::json;

/// Texts of `tpa_connection_error` that an app got, and how many other messages.
fn refusals(kit: &mut Kit, conn: crate::base::ids::ConnId) -> (Vec<String>, usize) {
    let (errors, others): (Vec<_>, Vec<_>) = kit
        .texts(conn)
        .into_iter()
        .partition(|text| text["type"] == "tpa_connection_error");
    let text = |error: &serde_json::Value| format!("{} {}", error["code"], error["message"]);
    (errors.iter().map(text).collect(), others.len())
}

#[test]
fn a_message_longer_than_what_is_kept_of_it_is_refused_and_the_socket_kept() {
    let (mut kit, phone) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    kit.texts(phone);
    let long = "x".repeat(4 * 1024 * 1024);
    for (kind, max) in [
        ("photo_request", 65_536),
        ("location_poll_request", 65_536),
        ("dashboard_content_update", 1_048_576),
        ("managed_stream_request", 16_384),
        ("app_room_join", 8192),
    ] {
        let text = json!({"type": kind, "requestId": long, "roomId": "r", "targetUserId": "b@x.io", "messageId": long});
        let text = text.to_string();
        kit.app_text(conn, &text);
        let wanted = format!(
            "\"MALFORMED_MESSAGE\" \"Message too long: {} bytes of at most {max}\"",
            text.len()
        );
        assert_eq!(refusals(&mut kit, conn), (vec![wanted], 0), "{kind}");
    }
    let text =
        json!({"type": "audio_play_request", "requestId": "x".repeat(5000), "audioUrl": "u"});
    kit.app_text(conn, &text.to_string());
    let wanted = "\"MALFORMED_MESSAGE\" \"requestId is too long\"";
    assert_eq!(refusals(&mut kit, conn), (vec![wanted.to_owned()], 0));
    assert_eq!(kit.texts(phone), [json!(null); 0]);
    // A sign of life is one however long it is.
    let text = json!({"type": "ping", "padding": long});
    kit.app_text(conn, &text.to_string());
    assert_eq!(kit.types(conn), ["pong"]);
    // Content is as long as it is: a sound within its URL, a message to another user.
    let text = json!({"type": "audio_play_request", "requestId": "r", "audioUrl": "data:".to_owned() + &long});
    kit.app_text(conn, &text.to_string());
    assert_eq!(kit.types(phone), ["audio_play_request"]);
    let text = json!({"type": "app_broadcast_message", "messageId": "m", "payload": long});
    kit.app_text(conn, &text.to_string());
    assert_eq!(refusals(&mut kit, conn).0, [""; 0]);
    assert_eq!(kit.close_of(conn), None);
}

#[test]
fn what_a_phone_only_passes_on_may_be_long_and_what_is_kept_may_not() {
    let (mut kit, phone) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    let wants = r#"{"type":"subscription_update","subscriptions":["core_status_update"]}"#;
    kit.app_text(conn, wants);
    kit.texts(conn);
    let long = "x".repeat(100_000);
    let status = json!({"type": "core_status_update", "status": long}).to_string();
    kit.phone_text(phone, &status);
    assert_eq!(kit.texts(conn).len(), 1);
    let start = json!({"type": "stream_request", "streamUrl": long, "requestId": "r"}).to_string();
    kit.phone_text(phone, &start);
    assert_eq!(kit.metrics.get(Counter::PhoneHandlerFailed), 1);
    assert!(kit.s.m.streams.current.is_none());
}

#[test]
fn early_frames_are_bounded_in_bytes_too() {
    let mut kit = Kit::new();
    let phone = kit.phone();
    let audio = bytes::Bytes::from(vec![0; HELD_BYTES_MAX / 4]);
    for _ in 0..5 {
        let chunk = Chunk::Own(audio.clone());
        kit.run(|s, cx| s.on_audio(phone, chunk, cx));
    }
    assert_eq!(
        kit.metrics.get(Counter::DroppedPending),
        1,
        "the oldest audio"
    );
    let say = |kit: &mut Kit, bytes: usize| {
        let text = json!({"type": "x", "y": "z".repeat(bytes)}).to_string();
        kit.phone_text(phone, &text);
    };
    say(&mut kit, HELD_BYTES_MAX + 1);
    assert_eq!(kit.s.m.phone.held.len(), 4, "too long by itself");
    say(&mut kit, HELD_BYTES_MAX - 100);
    assert_eq!(kit.s.m.phone.held.len(), 1, "audio goes first");
    say(&mut kit, 100);
    assert_eq!(kit.s.m.phone.held.len(), 1, "then the newest message");
    kit.load(UserRecord::default());
    assert_eq!(kit.types(phone), ["connection_ack"]);
}

/// Bytes of a session's part by its name in the memory report.
fn held(kit: &Kit, part: &str) -> usize {
    let at = crate::session::memory::OWNERS
        .iter()
        .position(|name| *name == part);
    kit.s.owned_bytes()[at.expect("a part")]
}

#[test]
fn calls_that_wait_for_the_record_are_counted_and_bounded() {
    let mut kit = Kit::new();
    kit.phone();
    let picture = |bytes: usize| Call::PhotoUploaded {
        data: "A".repeat(bytes),
        mime_type: "image/png".into(),
        filename: "a.png".into(),
    };
    let before = held(&kit, "phone");
    // One that is larger by itself waits alone.
    let first = kit.rest(picture(3 * HELD_BYTES_MAX));
    assert!(held(&kit, "phone") >= before + 3 * HELD_BYTES_MAX);
    let refused = kit.rest(picture(1000));
    assert_eq!(kit.answer(first), None);
    let status = |kit: &mut Kit, call| kit.answer(call).map(|(status, _)| status);
    assert_eq!(status(&mut kit, refused), Some(503));
    kit.load(UserRecord::default());
    assert_eq!(status(&mut kit, first), Some(200));
    assert!(held(&kit, "phone") <= before + 1000, "nothing is kept");

    let mut kit = Kit::new();
    kit.phone();
    let calls = [(); 6].map(|()| kit.rest(picture(HELD_BYTES_MAX / 4 - 100)));
    assert!(held(&kit, "phone") <= before + HELD_BYTES_MAX + 4096);
    kit.load(UserRecord::default());
    let statuses = calls.map(|call| status(&mut kit, call));
    assert_eq!(statuses.map(Option::unwrap), [200, 200, 200, 200, 503, 503]);
}

/// An app chooses the ids that deadlines carry.
#[test]
fn names_in_deadlines_are_counted() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    let before = held(&kit, "session");
    let id = "i".repeat(4000);
    let ask = json!({"type": "audio_play_request", "requestId": id, "audioUrl": "u"});
    kit.app_text(conn, &ask.to_string());
    assert!(held(&kit, "session") >= before + 4000);
}

#[test]
fn of_a_calendar_as_much_is_read_as_a_phone_sends() {
    let (mut kit, _) = Kit::connected();
    kit.cfg.device.calendar_cache = 10_000;
    let event = |n: usize| json!({"id": n, "title": "é".repeat(5000), "start": n, "timeZone": "z".repeat(65)});
    let mut events: Vec<_> = (0..5000).map(event).collect();
    events.insert(0, json!({"id": "i".repeat(2000), "title": "t", "start": 5}));
    let body = json!({ "events": events }).to_string();
    kit.rest(Call::Calendar { body: body.into() });
    let known = kit.s.m.calendar.events();
    assert_eq!(known.len(), 2000);
    let last = known.iter().find(|event| event.id == "1999");
    let last = last.expect("a longer id is left out");
    assert_eq!(last.title, "é".repeat(2048));
    assert_eq!(last.timezone, "");
}

#[test]
fn of_a_notification_as_much_is_kept_as_is_shown() {
    let (mut kit, phone) = Kit::connected();
    for number in 0..20 {
        let text = json!({"type": "phone_notification", "notificationId": number.to_string(), "app": "a".repeat(100_000),
            "title": "é".repeat(100_000), "content": "c ".repeat(100_000)});
        kit.phone_text(phone, &text.to_string());
    }
    let text = json!({"type": "phone_notification", "notificationId": "n".repeat(2000), "app": "a", "title": "t", "content": "c"});
    kit.phone_text(phone, &text.to_string());
    assert_eq!(kit.s.m.notifications.len(), 20);
    use crate::base::footprint::Footprint as _;
    assert!(kit.s.m.notifications.heap_bytes() < 20 * 16 * 1024);
}

#[test]
fn names_of_streams_are_bounded_together() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    let name = |n: usize| format!("{n:04}{}", "x".repeat(4000));
    let names: Vec<_> = (0..200).map(name).chain(["button_press".into()]).collect();
    let wants = json!({"type": "subscription_update", "subscriptions": names}).to_string();
    kit.app_text(conn, &wants);
    let kept = kit
        .s
        .m
        .subscriptions
        .get(SCRIBE)
        .expect("subscribed")
        .list();
    let bytes: usize = kept.iter().map(|one| one.text.len()).sum();
    assert_eq!(kept.len(), 33, "32 long ones, and what still fits");
    assert!(bytes <= 128 * 1024);
}
