//! LED, FOV, Wi-Fi dialog, playback, UDP registration, telemetry (protocol.md §7.8, §7.11–7.13, §6.20, §9.11, §9.17).

use super::*;
use crate::session::flow::requests;

const PLAY: &str = r#"{"type":"audio_play_request","requestId":"a1","audioUrl":"https://x/c.mp3","volume":0.8,"stopOtherAudio":true,"trackId":2}"#;

fn not_connected() -> (String, String) {
    (
        "INTERNAL_ERROR".to_owned(),
        "Glasses not connected".to_owned(),
    )
}

#[test]
fn the_led_is_forwarded_under_the_sockets_name() {
    let mut kit = Kit::new();
    let text = r#"{"type":"rgb_led_control","packageName":"com.evil","requestId":"l1","action":"on","color":"red","ontime":1000,"offtime":0,"count":1}"#;
    kit.app(OTHER, text).expect("taken");
    assert_eq!(
        kit.sent().phone(),
        [
            r#"{"type":"rgb_led_control","sessionId":"nadia@lumen.io","requestId":"l1","packageName":"com.acme.other","action":"on","color":"red","ontime":1000,"offtime":0,"count":1,"timestamp":"2026-03-14T09:26:53.589Z"}"#
        ]
    );
    kit.phone_away();
    assert_eq!(kit.refused(OTHER, text), not_connected());
}

#[test]
fn the_field_of_view_takes_legal_values_only() {
    let illegal = r#"Invalid FOV/ROI: fov must be one of [82, 92, 102, 118], roiPosition must be one of "center", "top", "bottom""#;
    let mut kit = Kit::new();
    kit.run_app(PLAIN, 12, Sdk::V3);
    let ask = |fov: &str, position: &str| {
        format!(
            r#"{{"type":"camera_fov_set","requestId":"f","fov":{fov},"roiPosition":"{position}"}}"#
        )
    };
    for fov in ["82", "92", "102", "118"] {
        kit.app(OTHER, &ask(fov, "top")).expect("legal");
    }
    assert_eq!(
        kit.sent().phone()[2],
        r#"{"type":"camera_fov_set","sessionId":"nadia@lumen.io","requestId":"f","appId":"com.acme.other","fov":102,"roiPosition":"top","timestamp":"2026-03-14T09:26:53.589Z"}"#
    );
    let malformed = |text: &str| ("MALFORMED_MESSAGE".to_owned(), text.to_owned());
    assert_eq!(kit.refused(OTHER, &ask("90", "top")), malformed(illegal));
    assert_eq!(kit.refused(OTHER, &ask("92", "left")), malformed(illegal));
    assert_eq!(
        kit.refused(PLAIN, &ask("92", "top")),
        (
            "PERMISSION_DENIED".into(),
            "Camera permission required to set FOV".into()
        )
    );
    kit.phone_away();
    assert_eq!(kit.refused(OTHER, &ask("92", "top")), not_connected());
}

#[test]
fn the_wifi_dialog_is_forwarded_or_dropped() {
    let mut kit = Kit::new();
    let ask = r#"{"type":"request_wifi_setup","reason":"Streaming needs Wi-Fi"}"#;
    kit.app(OTHER, ask).expect("taken");
    assert_eq!(
        kit.sent().phone(),
        [
            r#"{"type":"show_wifi_setup","reason":"Streaming needs Wi-Fi","appPackageName":"com.acme.other","timestamp":"2026-03-14T09:26:53.589Z"}"#
        ]
    );
    kit.phone_away();
    kit.app(OTHER, ask).expect("dropped silently");
    assert!(kit.sent().texts.is_empty());
}

#[test]
fn playback_is_forwarded_and_answered_to_the_asker_once() {
    let mut kit = Kit::new();
    kit.app(OTHER, PLAY).expect("taken");
    assert_eq!(
        kit.sent().phone(),
        [
            r#"{"type":"audio_play_request","sessionId":"nadia@lumen.io","requestId":"a1","packageName":"com.acme.other","audioUrl":"https://x/c.mp3","volume":0.8,"stopOtherAudio":true,"timestamp":"2026-03-14T09:26:53.589Z"}"#
        ]
    );
    let answer = r#"{"type":"audio_play_response","requestId":"a1","success":true,"error":null,"duration":2310}"#;
    kit.phone(answer).expect("taken");
    assert_eq!(
        kit.sent().other(),
        [
            r#"{"type":"audio_play_response","sessionId":"nadia@lumen.io-com.acme.other","requestId":"a1","success":true,"error":null,"duration":2310,"timestamp":"2026-03-14T09:26:53.589Z"}"#
        ]
    );
    kit.phone(answer).expect("dropped");
    assert!(kit.sent().texts.is_empty() && !kit.waits());
}

#[test]
fn a_relative_url_gets_the_public_origin() {
    for (given, sent) in [
        ("/api/tts?text=hi", "https://rt.example.net/api/tts?text=hi"),
        ("chime.mp3", "https://rt.example.net/chime.mp3"),
        ("HTTPS://acme.dev/a:b", "HTTPS://acme.dev/a:b"),
        ("//acme.dev/a.mp3", "//acme.dev/a.mp3"),
        ("", ""),
    ] {
        let mut kit = Kit::new();
        let request =
            json!({"type": "audio_play_request", "requestId": "a1", "audioUrl": given}).to_string();
        kit.app(OTHER, &request).expect("taken");
        assert_eq!(value(kit.sent().phone()[0])["audioUrl"], sent);
    }
}

#[test]
fn without_a_phone_playback_fails_at_once() {
    let mut kit = Kit::new();
    kit.phone_away();
    kit.app(OTHER, PLAY).expect("answered");
    assert_eq!(
        kit.sent().other(),
        [
            r#"{"type":"audio_play_response","sessionId":"nadia@lumen.io-com.acme.other","requestId":"a1","success":false,"error":"Glasses not connected","timestamp":"2026-03-14T09:26:53.589Z"}"#
        ]
    );
    assert_eq!(
        kit.refused(OTHER, r#"{"type":"audio_stop_request"}"#),
        not_connected()
    );
    let anonymous = r#"{"type":"audio_play_request","audioUrl":"https://x"}"#;
    assert_eq!(
        kit.refused(OTHER, anonymous),
        ("MALFORMED_MESSAGE".into(), "requestId is required".into())
    );
}

#[test]
fn stopping_playback_names_only_the_app() {
    let mut kit = Kit::new();
    kit.app(OTHER, r#"{"type":"audio_stop_request","trackId":2}"#)
        .expect("taken");
    assert_eq!(
        kit.sent().phone(),
        [
            r#"{"type":"audio_stop_request","sessionId":"nadia@lumen.io","appId":"com.acme.other","timestamp":"2026-03-14T09:26:53.589Z"}"#
        ]
    );
}

#[test]
fn a_playback_is_forgotten_after_ten_minutes_or_with_its_app() {
    let mut kit = Kit::new();
    kit.app(OTHER, PLAY).expect("taken");
    kit.pass(599_999);
    assert!(kit.waits());
    kit.pass(1);
    assert!(!kit.waits());
    kit.app(OTHER, PLAY).expect("taken");
    kit.with(|s, cx| requests::app_stopped(s, OTHER, cx));
    assert!(!kit.waits());
    kit.app(OTHER, PLAY).expect("taken");
    kit.sent();
    kit.with(requests::disposing);
    assert_eq!(value(kit.sent().other()[0])["success"], false);
}

/// `success` and error of the answers to playback requests, in order.
fn refusals(sent: &[&str]) -> Vec<(String, String)> {
    sent.iter()
        .map(|text| {
            let answer = value(text);
            assert_eq!(answer["success"], false);
            let of = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
            (of("requestId"), of("error"))
        })
        .collect()
}

fn play(id: &str) -> String {
    format!(r#"{{"type":"audio_play_request","requestId":"{id}","audioUrl":"https://x"}}"#)
}

#[test]
fn the_oldest_of_too_many_playbacks_is_told_and_forgotten() {
    let mut kit = Kit::new();
    kit.cfg.audio.audio_play_map_max = 2;
    for id in ["a", "b", "c"] {
        kit.app(OTHER, &play(id)).expect("taken");
    }
    let told = refusals(&kit.sent().other());
    assert_eq!(told, [("a".into(), "Superseded".into())]);
    for id in ["a", "b", "c"] {
        kit.phone(&format!(
            r#"{{"type":"audio_play_response","requestId":"{id}","success":true}}"#
        ))
        .expect("taken");
    }
    assert_eq!(kit.sent().other().len(), 2);
}

#[test]
fn playbacks_without_end_of_one_app_leave_those_of_others() {
    let mut kit = Kit::new();
    kit.cfg.audio.audio_play_map_max = 2;
    kit.app(SCRIBE, &play("mine")).expect("taken");
    for id in ["a", "b", "c"] {
        kit.app(OTHER, &play(id)).expect("taken");
    }
    let sent = kit.sent();
    assert!(sent.scribe().is_empty());
    let told = refusals(&sent.other());
    let given_up = |id: &str| (id.to_owned(), "Superseded".to_owned());
    assert_eq!(told, [given_up("a"), given_up("b")]);
}

#[test]
fn an_app_whose_request_id_another_app_takes_is_told() {
    let mut kit = Kit::new();
    kit.app(OTHER, &play("a")).expect("taken");
    kit.app(OTHER, &play("a")).expect("taken");
    assert!(
        kit.sent().other().is_empty(),
        "its own newer request counts"
    );
    kit.app(SCRIBE, &play("a")).expect("taken");
    let told = refusals(&kit.sent().other());
    assert_eq!(told, [("a".into(), "Superseded".into())]);
    kit.phone(r#"{"type":"audio_play_response","requestId":"a","success":true}"#)
        .expect("taken");
    let sent = kit.sent();
    assert_eq!((sent.scribe().len(), sent.other().len()), (1, 0));
}

#[test]
fn udp_hashes_are_bound_and_unbound_as_announced() {
    let mut kit = Kit::new();
    for (kind, hash) in [
        ("udp_register", "3718288755"),
        ("udp_unregister", "3718288755.0"),
    ] {
        kit.phone(&format!(r#"{{"type":"{kind}","userIdHash":{hash}}}"#))
            .expect("taken");
        kit.phone(&format!(r#"{{"type":"{kind}","userIdHash":"x"}}"#))
            .expect_err("lacks its hash");
    }
    let [
        Effect::UdpRegister { hash: bound },
        Effect::UdpUnregister { hash: unbound },
    ] = kit.fx.list()
    else {
        panic!("two effects");
    };
    assert_eq!((*bound, *unbound), (3_718_288_755, 3_718_288_755));
}

#[test]
fn telemetry_is_asked_of_every_open_app_with_its_own_token() {
    let mut kit = Kit::new();
    let tokens = vec![
        (SCRIBE.to_owned(), "t1".to_owned()),
        (PLAIN.to_owned(), "t2".to_owned()),
    ];
    let incident_id = "inc-1".to_owned();
    kit.rest(Call::RequestTelemetry {
        incident_id,
        tokens,
    });
    let sent = kit.sent();
    assert_eq!(
        sent.scribe(),
        [
            r#"{"type":"request_telemetry","incidentId":"inc-1","uploadToken":"t1","windowMs":600000,"timestamp":"2026-03-14T09:26:53.589Z"}"#
        ]
    );
    assert!(sent.other().is_empty());
    kit.app(
        SCRIBE,
        r#"{"type":"telemetry_response","incidentId":"inc-1","logs":[{"level":"info"}]}"#,
    )
    .expect("stored");
    let sent = kit.sent();
    assert!(sent.texts.is_empty());
    let stored = sent.fx.list().iter().find_map(|effect| match effect {
        Effect::IncidentLogs(logs) => Some((
            logs.incident_id.clone(),
            logs.package.to_string(),
            logs.logs.clone(),
        )),
        _ => None,
    });
    let logs = r#"[{"level":"info"}]"#;
    assert_eq!(stored, Some(("inc-1".into(), SCRIBE.into(), logs.into())));
}
