//! Device state, capabilities, settings (protocol.md §17, §18.4, §18.5; invariant 43).

use super::*;
use crate::session::effects::StoreOp;
use crate::session::flow::device;
use crate::wire::records::UserRecord;
use serde_json::json;

#[test]
fn a_connected_model_is_announced_remembered_and_answered() {
    let mut kit = Kit::new();
    let (status, body) = kit.device_state(r#"{"connected":true,"modelName":"Vuzix Z100"}"#);
    let answer = value(&body);
    assert_eq!(status, 200);
    assert_eq!(answer["appliedState"]["isGlassesConnected"], true);
    assert_eq!(answer["appliedState"]["isPhoneConnected"], true);
    assert_eq!(
        answer["appliedState"]["capabilities"]["display"]["maxTextLines"],
        7
    );
    let sent = kit.sent();
    assert_eq!(
        types(&sent.scribe()),
        ["capabilities_update", "device_state_update"]
    );
    assert!(sent.scribe()[0].ends_with(r#""hasWifi":false},"modelName":"Vuzix Z100"}"#));
    assert_eq!(
        sent.scribe()[1],
        r#"{"type":"device_state_update","state":{"connected":true,"modelName":"Vuzix Z100"},"fullSnapshot":false,"timestamp":"2026-03-14T09:26:53.589Z"}"#
    );
    // Glasses that appear make the server say again what it wants of the microphone; nothing is announced to the phone.
    assert_eq!(types(&sent.phone()), ["microphone_state_change"]);
    let remembered = |fx: &Effects| {
        let is_it = |effect: &&Effect| matches!(effect, Effect::Store { op: StoreOp::AddGlassesModel(model), .. } if model == "Vuzix Z100");
        fx.list().iter().filter(is_it).count()
    };
    assert_eq!(remembered(&sent.fx), 1);
    kit.device_state(r#"{"connected":false}"#);
    kit.device_state(r#"{"connected":true}"#);
    assert_eq!(remembered(&kit.fx), 0);
}

#[test]
fn the_same_state_again_says_nothing() {
    let mut kit = Kit::new();
    kit.device_state(r#"{"connected":true,"batteryLevel":71,"timestamp":1}"#);
    kit.sent();
    let (status, _) = kit.device_state(r#"{"connected":true,"batteryLevel":71,"timestamp":2}"#);
    assert_eq!(status, 200);
    assert!(kit.sent().texts.is_empty());
}

#[test]
fn a_level_counted_in_doubles_is_the_same_level() {
    let mut kit = Kit::new();
    kit.device_state(r#"{"batteryLevel":71.0}"#);
    assert!(kit.sent().scribe()[0].contains(r#""state":{"batteryLevel":71}"#));
    kit.device_state(r#"{"batteryLevel":7.1e1}"#);
    kit.device_state(r#"{"batteryLevel":71}"#);
    assert!(kit.sent().texts.is_empty());
}

#[test]
fn a_state_posted_while_the_session_loads_is_taken() {
    let mut kit = Kit::new();
    kit.s.state = State::Initializing;
    assert_eq!(
        kit.device_state(r#"{"connected":true,"modelName":"Mentra Live"}"#)
            .0,
        200
    );
    let mut record = UserRecord::default();
    record
        .user_settings
        .insert("default_wearable".into(), json!("Vuzix Z100"));
    kit.with(|s, cx| device::user_loaded(s, &record, cx));
    assert_eq!(kit.s.m.device.model(), Some("Mentra Live"));
    // Written only now: before, it would have created the user without the apps that new users get.
    let written = |fx: &Effects| {
        let is_it = |effect: &&Effect| matches!(effect, Effect::Store { op: StoreOp::AddGlassesModel(model), .. } if model == "Mentra Live");
        fx.list().iter().filter(is_it).count()
    };
    assert_eq!(written(&kit.sent().fx), 0);
    kit.s.state = State::Connected;
    kit.with(device::acked);
    assert_eq!(written(&kit.sent().fx), 1);
}

#[test]
fn only_privileged_apps_see_the_hotspot_password() {
    let mut kit = Kit::new();
    kit.device_state(r#"{"hotspotSsid":"g","hotspotPassword":"pw"}"#);
    let sent = kit.sent();
    assert!(sent.scribe()[0].contains("hotspotPassword"));
    assert!(sent.other()[0].contains(r#""state":{"hotspotSsid":"g"}"#));
    kit.device_state(r#"{"hotspotPassword":"new"}"#);
    let sent = kit.sent();
    assert_eq!((sent.scribe().len(), sent.other().len()), (1, 0));
    kit.with(|s, cx| device::send_snapshot(s, OTHER, ConnId(11), cx));
    kit.with(|s, cx| device::send_snapshot(s, SCRIBE, ConnId(10), cx));
    let sent = kit.sent();
    assert!(!sent.other()[0].contains("hotspotPassword"));
    assert!(sent.other()[0].contains(r#""fullSnapshot":true"#));
    assert!(sent.scribe()[0].contains(r#""hotspotPassword":"new""#));
}

#[test]
fn the_eleventh_post_in_a_second_is_refused() {
    let mut kit = Kit::new();
    for level in 0..10 {
        assert_eq!(
            kit.device_state(&format!(r#"{{"batteryLevel":{level}}}"#))
                .0,
            200
        );
    }
    let reply = kit.call(Call::DeviceState {
        body: Default::default(),
    });
    let answer = kit.answer(reply).expect("answered").clone();
    assert_eq!((answer.status, answer.retry_after_s), (429, Some(1)));
    assert_eq!(answer.body, r#"{"error":"Too Many Requests"}"#.as_bytes());
    kit.pass(1000);
    assert_eq!(kit.device_state("{}").0, 200);
}

#[test]
fn the_socket_message_drives_the_same_procedure_and_is_relayed() {
    let mut kit = Kit::new();
    kit.subscribe(OTHER, "glasses_connection_state");
    let text = r#"{"type":"glasses_connection_state","modelName":"Mentra Live","status":"RECONNECTED","wifi":{"connected":true,"ssid":"Attic"}}"#;
    kit.phone(text).expect("taken");
    let sent = kit.sent();
    assert_eq!(
        types(&sent.other()),
        ["capabilities_update", "device_state_update", "data_stream"]
    );
    assert!(sent.other()[2].contains(text));
    let away = r#"{"type":"glasses_connection_state","modelName":"Mentra Live","status":"DISCONNECTED","wifi":{"connected":null,"ssid":null}}"#;
    kit.phone(away).expect("taken");
    let sent = kit.sent();
    assert_eq!(
        value(sent.scribe()[0])["state"],
        json!({"connected": false, "modelName": null})
    );
    assert_eq!(kit.s.m.device.state()["wifiSsid"], "Attic");
}

#[test]
fn the_microphone_is_said_again_when_glasses_return_and_not_when_they_go() {
    let mut kit = Kit::new();
    let mut told = |status: &str| {
        let text = format!(
            r#"{{"type":"glasses_connection_state","modelName":"Mentra Live","status":"{status}"}}"#
        );
        kit.phone(&text).expect("taken");
        types(&kit.sent().phone()).len()
    };
    for (status, messages) in [
        ("CONNECTED", 1),
        ("CONNECTED", 0),
        ("RECONNECTED", 1),
        ("DISCONNECTED", 0),
        ("RECONNECTED", 1),
    ] {
        assert_eq!(told(status), messages, "{status}");
    }
    kit.device_state(r#"{"modelName":"Vuzix Z100"}"#);
    assert!(kit.sent().phone().is_empty(), "they were connected already");
}

#[test]
fn a_return_with_news_says_the_microphone_once_and_before_the_ack_not_at_all() {
    let mut kit = Kit::with_glasses();
    let back = r#"{"type":"glasses_connection_state","modelName":"Mentra Live","status":"RECONNECTED","wifi":{"connected":true,"ssid":"Attic"}}"#;
    kit.phone(back).expect("taken");
    let sent = kit.sent();
    assert_eq!(types(&sent.phone()), ["microphone_state_change"]);
    assert_eq!(types(&sent.scribe()), ["device_state_update"]);
    kit.s.state = State::Initializing;
    kit.phone(back).expect("taken");
    assert!(kit.sent().phone().is_empty());
}

#[test]
fn glasses_that_go_announce_no_model_and_paint_nothing_again() {
    let mut kit = Kit::with_glasses();
    kit.device_state(r#"{"modelName":"Simulated Glasses"}"#);
    let shown =
        r#"{"type":"display_event","view":"main","layout":{"layoutType":"text_wall","text":"x"}}"#;
    kit.app(SCRIBE, shown).expect("taken");
    assert_eq!(
        types(&kit.sent().phone()).last().expect("one"),
        "display_event"
    );
    kit.device_state(r#"{"connected":false}"#);
    let sent = kit.sent();
    assert!(sent.phone().is_empty());
    assert_eq!(types(&sent.scribe()), ["device_state_update"]);
    kit.device_state(r#"{"connected":true}"#);
    let painted = |sent: &Sent| types(&sent.phone()).contains(&"display_event".to_owned());
    assert!(painted(&kit.sent()));
    kit.device_state(r#"{"connected":false,"modelName":"Vuzix Z100"}"#);
    assert_eq!(types(&kit.sent().scribe()), ["device_state_update"]);
    kit.device_state(r#"{"connected":true}"#);
    assert_eq!(
        types(&kit.sent().scribe()),
        ["capabilities_update", "device_state_update"]
    );
}

#[test]
fn missing_hardware_is_named_and_unknown_models_lack_nothing() {
    let mut kit = Kit::new();
    let record = kit.apps.get("com.acme.display").expect("known").clone();
    assert!(device::missing_hardware(&kit.s, &record).is_empty());
    kit.device_state(r#"{"connected":true,"modelName":"Mentra Live"}"#);
    assert_eq!(device::missing_hardware(&kit.s, &record), ["DISPLAY"]);
    assert!(device::glasses_connected(&kit.s));
    kit.device_state(r#"{"modelName":"Acme X"}"#);
    assert!(device::missing_hardware(&kit.s, &record).is_empty());
    assert_eq!(device::capabilities_json(&kit.s), b"null");
}

#[test]
fn a_default_wearable_sets_the_model_without_connecting() {
    let mut kit = Kit::new();
    kit.subscribe(OTHER, "augmentos:brightness");
    let changes = json!({"default_wearable": "Vuzix Z100", "brightness": 70});
    let changes = changes.as_object().cloned().expect("an object");
    assert_eq!(
        kit.rest(Call::UserSettings { changes }),
        (200, "{}".to_owned())
    );
    let sent = kit.sent();
    assert_eq!(
        types(&sent.scribe()),
        ["capabilities_update", "device_state_update"]
    );
    assert_eq!(
        types(&sent.other()),
        [
            "capabilities_update",
            "device_state_update",
            "augmentos_settings_update"
        ]
    );
    let update = value(sent.other()[2]);
    assert_eq!(update["sessionId"], "nadia@lumen.io-com.acme.other");
    assert_eq!(update["settings"]["brightness"], 70);
    assert_eq!(update["settings"]["headUpAngle"], 45);
    assert!(!kit.s.m.device.is_connected());
}

#[test]
fn a_default_wearable_is_told_though_it_is_the_model_in_use() {
    let mut kit = Kit::with_glasses();
    let prefer = |kit: &mut Kit, model: &str| {
        let changes = json!({"default_wearable": model});
        let changes = changes.as_object().cloned().expect("an object");
        kit.rest(Call::UserSettings { changes });
        kit.sent()
    };
    let told = prefer(&mut kit, " Mentra Live ");
    assert_eq!(types(&told.scribe()), ["capabilities_update"]);
    assert_eq!(value(told.scribe()[0])["modelName"], "Mentra Live");
    assert!(prefer(&mut kit, " ").scribe().is_empty());
    assert_eq!(kit.s.m.device.model(), Some("Mentra Live"));
}

#[test]
fn app_settings_go_to_the_socket_the_webhook_and_the_next_ack() {
    let mut kit = Kit::new();
    let settings = vec![json!({"key": "lang", "value": "pt"})];
    let package = SCRIBE.to_owned();
    assert_eq!(
        kit.rest(Call::AppSettings { package, settings }),
        (200, "{}".to_owned())
    );
    let sent = kit.sent();
    assert_eq!(
        sent.scribe(),
        [
            r#"{"type":"settings_update","packageName":"com.acme.scribe","sessionId":"nadia@lumen.io-com.acme.scribe","settings":[{"key":"lang","value":"pt"}],"timestamp":"2026-03-14T09:26:53.589Z"}"#
        ]
    );
    let http = sent.http();
    assert_eq!(
        (http[0].url.as_str(), http[0].timeout_ms),
        ("https://scribe.dev/settings", 5000)
    );
    assert_eq!(
        http[0].body,
        r#"{"userIdForSettings":"nadia@lumen.io","settings":[{"key":"lang","value":"pt"}]}"#
            .as_bytes()
    );
    let record = kit.apps.get(SCRIBE).expect("known").clone();
    assert_eq!(
        device::app_settings_json(&kit.s, &record),
        br#"[{"key":"lang","value":"pt"}]"#
    );
    let failed = crate::session::event::HttpOutcome::Failed {
        error: "gone".into(),
    };
    let call = http[0].call;
    assert!(kit.with(|s, cx| super::super::requests::http_result(s, call, &failed, cx)));
    assert!(!kit.with(|s, cx| super::super::requests::http_result(s, call, &failed, cx)));
}

#[test]
fn a_changed_setting_comes_with_all_others_because_old_sdks_replace_their_set() {
    let mut kit = Kit::new();
    let mut record = crate::wire::records::AppRecord::clone(kit.apps.get(SCRIBE).expect("known"));
    record.settings = vec![
        json!({"type": "group", "title": "Look"}),
        json!({"type": "toggle", "key": "loud", "label": "Loud", "defaultValue": false}),
        json!({"type": "select", "key": "lang", "defaultValue": "en", "options": []}),
    ];
    kit.apps = Registry::new([record], 2);
    let settings = vec![
        json!({"key": "lang", "value": "pt"}),
        json!({"key": "old", "value": 1}),
    ];
    let package = SCRIBE.to_owned();
    kit.rest(Call::AppSettings { package, settings });
    let full = json!([
        {"key": "loud", "value": false}, {"key": "lang", "value": "pt"}, {"key": "old", "value": 1}
    ]);
    let sent = kit.sent();
    assert_eq!(value(sent.scribe()[0])["settings"], full);
    let webhook: serde_json::Value = serde_json::from_slice(&sent.http()[0].body).expect("JSON");
    assert_eq!(webhook["settings"], full);
}

#[test]
fn a_hardware_request_to_a_silent_phone_is_sent_and_logged() {
    use crate::base::log_capture::lines_of;
    use crate::session::managers::health::Peer;
    let mut kit = Kit::with_glasses();
    let (heard_ms, conn) = (kit.now.mono_ms, PHONE_CONN);
    kit.s.m.health.register(conn, Peer::Phone, heard_ms);
    let ask = |kit: &mut Kit, id: &str| {
        let text = format!(r#"{{"type":"photo_request","requestId":"{id}"}}"#);
        let lines = lines_of(|| kit.app(OTHER, &text).expect("taken"));
        assert_eq!(types(&kit.sent().phone()), ["photo_request"]);
        lines
    };
    kit.pass(60_000);
    assert_eq!(ask(&mut kit, "p1"), [""; 0]);
    kit.pass(1);
    let lines = ask(&mut kit, "p2");
    assert!(
        lines.len() == 1
            && lines[0].starts_with("WARN hardware request to a silent phone")
            && lines[0].contains("silent_ms=60001"),
        "{lines:?}"
    );
    let now_ms = kit.now.mono_ms;
    kit.s.m.health.seen(conn, now_ms, 1);
    assert_eq!(ask(&mut kit, "p3"), [""; 0]);
}

#[test]
fn glasses_that_the_operator_describes_are_announced_and_judged_at_once() {
    use crate::wire::capabilities::Profiles;
    let mut kit = Kit::new();
    kit.device_state(r#"{"connected":true,"modelName":"Acme X"}"#);
    kit.run_app("com.acme.display", 12, Sdk::V3);
    kit.sent();
    let profile = r#"{"modelName":"Acme X","hasCamera":true,"hasDisplay":false,"hasMicrophone":false,"hasSpeaker":false,"hasIMU":false,"hasButton":false,"hasLight":false,"hasWifi":true,"power":{"hasExternalBattery":false}}"#;
    kit.apps.profiles = Profiles::parse(profile).expect("a good file");
    kit.with(device::profiles_changed);
    let sent = kit.sent();
    let told = value(sent.scribe()[0]);
    assert_eq!(told["type"], "capabilities_update");
    assert_eq!(told["capabilities"]["hasCamera"], true);
    assert_ne!(
        kit.s.m.apps.state("com.acme.display"),
        AppState::Running,
        "it needs a display that these glasses lack"
    );
    kit.with(device::profiles_changed);
    assert!(kit.sent().scribe().is_empty(), "the same again is no news");
}
