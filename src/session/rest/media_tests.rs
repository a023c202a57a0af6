//! Layer 2, tests of the REST calls about notifications and the audio format. Opens no socket.

use crate::base::ids::{Origin, ReplyTo};
use crate::session::effects::Effect;
use crate::session::event::Sdk;
use crate::session::managers::audio::Format;
use crate::session::rest::Call;
use crate::session::testkit::media::Kit;
use serde_json::{Value, json};

fn ask(kit: &mut Kit, call: Call) -> (u16, Value) {
    let reply = ReplyTo {
        origin: Origin::Outside,
        id: 1,
    };
    kit.run(|s, cx| super::call(s, reply, call, cx));
    let Some(Effect::Reply { answer, .. }) = kit.other.pop() else {
        panic!("no answer");
    };
    (
        answer.status,
        serde_json::from_slice(&answer.body).expect("JSON"),
    )
}

#[test]
fn a_notification_reaches_apps_and_dashboard() {
    let mut kit = Kit::new();
    let conn = kit.app("back", Sdk::V2);
    kit.subscribe(
        "back",
        &["phone_notification", "phone_notification_dismissed"],
    );
    kit.forget();
    let body = br#"{"notificationId":"n-5521","app":"Mail","title":"Ines","content":"Running late","timestamp":1.773480413E12,"packageName":"com.example.mail"}"#;
    let body = bytes::Bytes::from_static(body);
    let (status, answer) = ask(&mut kit, Call::Notification { body });
    assert_eq!(
        (status, &answer["message"]),
        (200, &json!("Notification relayed to subscribed apps"))
    );
    let (_, text) = kit.texts(conn).remove(0);
    assert_eq!(
        text["data"],
        json!({"type": "phone_notification", "notificationId": "n-5521", "app": "Mail",
            "title": "Ines", "content": "Running late", "priority": "normal",
            "timestamp": 1_773_480_413_000_u64, "packageName": "com.example.mail"})
    );
    assert_eq!(kit.s.m.notifications.len(), 1);
    let body =
        br#"{"notificationId":"n-5521","notificationKey":"k","packageName":"p","timestamp":5}"#;
    let body = bytes::Bytes::from_static(body);
    let (status, _) = ask(&mut kit, Call::NotificationDismissed { body });
    assert_eq!((status, kit.s.m.notifications.len()), (200, 0));
    let (_, text) = kit.texts(conn).remove(0);
    assert_eq!(text["streamType"], "phone_notification_dismissed");
    assert_eq!(
        text["data"]["timestamp"], kit.now.unix_ms,
        "of the dismissal, not of what was dismissed"
    );
}

#[test]
fn incomplete_bodies_are_refused() {
    let mut kit = Kit::new();
    for body in [
        &b"{}"[..],
        b"oops",
        br#"["n","Mail","t","c"]"#,
        br#"{"notificationId":"n","app":"","title":"t","content":"c"}"#,
    ] {
        let (status, answer) = ask(
            &mut kit,
            Call::Notification {
                body: body.to_vec().into(),
            },
        );
        let text = "Missing required fields: notificationId, app, title, content";
        let wanted = json!({"success": false, "message": text});
        assert_eq!((status, answer), (400, wanted));
    }
    let body = bytes::Bytes::new();
    let text = "Missing required fields: notificationId, notificationKey, packageName";
    let wanted = json!({"success": false, "message": text});
    let answer = ask(&mut kit, Call::NotificationDismissed { body });
    assert_eq!(answer, (400, wanted));
}

#[test]
fn the_audio_format_is_answered_with_what_is_in_force() {
    let mut kit = Kit::new();
    let body = br#"{"format":"pcm","lc3Config":null}"#.to_vec().into();
    let (status, answer) = ask(&mut kit, Call::AudioConfigure { body });
    assert_eq!(
        (
            status,
            &answer["format"],
            &answer["lc3Config"],
            &answer["message"]
        ),
        (
            200,
            &json!("pcm"),
            &Value::Null,
            &json!("Audio format configured successfully")
        )
    );
    let lc3 =
        |bytes: u64| json!({"sampleRate": 16_000, "frameDurationMs": 10, "frameSizeBytes": bytes});
    for (asked, effective) in [
        (Value::Null, 20),
        (
            json!({"sampleRate": 16_000, "frameDurationMs": 10, "frameSizeBytes": 60}),
            60,
        ),
        (
            json!({"sampleRate": 48_000, "frameDurationMs": 7.5, "frameSizeBytes": 40}),
            40,
        ),
        (json!({"frameSizeBytes": 60.0}), 60),
        (json!({"frameSizeBytes": 33}), 20),
        (json!({"frameSizeBytes": "60"}), 20),
    ] {
        let body = json!({"format": "lc3", "lc3Config": asked})
            .to_string()
            .into();
        let (status, answer) = ask(&mut kit, Call::AudioConfigure { body });
        assert_eq!(
            (
                status,
                &answer["format"],
                &answer["lc3Config"],
                &answer["message"]
            ),
            (
                200,
                &json!("lc3"),
                &lc3(effective),
                &json!("Audio format configured successfully")
            )
        );
    }
    let frame_bytes = 20;
    assert_eq!(kit.s.m.audio.format(), Format::Lc3 { frame_bytes });
    let body = br#"{"format":"opus"}"#.to_vec().into();
    let (status, answer) = ask(&mut kit, Call::AudioConfigure { body });
    assert_eq!(
        (status, &answer["message"]),
        (400, &json!("Invalid format. Must be \"pcm\" or \"lc3\""))
    );
    assert_eq!(
        kit.s.m.audio.format(),
        Format::Lc3 { frame_bytes },
        "a refusal changes nothing"
    );
}

#[test]
fn without_a_decoder_the_answer_says_that_audio_is_pcm() {
    let mut kit = Kit::new();
    kit.cfg.audio.lc3_frame_bytes = 50;
    let body = br#"{"format":"lc3","lc3Config":null}"#.to_vec().into();
    let (status, answer) = ask(&mut kit, Call::AudioConfigure { body });
    assert_eq!(
        (status, &answer["format"], &answer["lc3Config"]),
        (200, &json!("pcm"), &Value::Null)
    );
    let note = answer["message"].as_str().expect("a text");
    assert!(note.starts_with("LC3"), "{note}");
}
