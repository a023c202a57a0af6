//! Where the parts meet: what life cycle, subscriptions, microphone, display, location and streams owe each other in one live
//! session (behaviour.md §13.1, invariants 5, 12, 15, 16, 21, 36, 41, 42, 44, 45).

use crate::base::ids::ConnId;
use crate::session::State;
use crate::session::effects::{Effect, HttpKind};
use crate::session::event::{Event, Sdk};
use crate::session::managers::apps::AppState;
use crate::session::rest::Call;
use crate::session::testkit::{CHESS, Kit, MAPS, SCRIBE, session_end, trusted};
use crate::wire::records::{AppType, Registry, UserRecord};
use bytes::Bytes;
use serde_json::{Value, json};

/// Glasses with camera and display, a phone, and apps that may do everything.
fn equipped() -> (Kit, ConnId) {
    let mut kit = Kit::new();
    kit.apps = Registry::new(
        [
            trusted(SCRIBE, AppType::Background),
            trusted(MAPS, AppType::Standard),
            trusted(CHESS, AppType::Standard),
        ],
        1,
    );
    let phone = kit.phone();
    kit.load(UserRecord::default());
    let body = json!({"connected": true, "modelName": "Mentra Live", "wifiConnected": true});
    let call = kit.rest(Call::DeviceState {
        body: body.to_string().into(),
    });
    assert_eq!(kit.answer(call).map(|answer| answer.0), Some(200));
    kit.advance(5000);
    kit.forget();
    (kit, phone)
}

fn subscribe(kit: &mut Kit, conn: ConnId, list: &Value) {
    let text = json!({"type": "subscription_update", "subscriptions": list});
    kit.app_text(conn, &text.to_string());
}

/// Texts of one kind among those taken.
fn of<'a>(texts: &'a [Value], kind: &str) -> Vec<&'a Value> {
    texts.iter().filter(|text| text["type"] == kind).collect()
}

fn microphone(texts: &[Value]) -> Vec<bool> {
    of(texts, "microphone_state_change")
        .iter()
        .filter_map(|text| text["isMicrophoneEnabled"].as_bool())
        .collect()
}

fn heard(kit: &mut Kit, phone: ConnId) -> usize {
    kit.run(|s, cx| s.on_audio(phone, crate::session::event::Chunk::Lent(&[1, 2, 3, 4]), cx));
    kit.effects(|effect| matches!(effect, Effect::Small { .. }))
        .len()
}

#[test]
fn from_the_first_moment_of_a_stop_the_app_hears_only_that_it_stopped() {
    let (mut kit, phone) = equipped();
    let app = kit.running(SCRIBE, Sdk::V3);
    subscribe(&mut kit, app, &json!(["audio_chunk", "touch_event"]));
    kit.advance(2000);
    assert_eq!(microphone(&kit.texts(phone)), [true]);
    assert_eq!(heard(&mut kit, phone), 1);
    kit.forget();

    kit.stop(SCRIBE);
    assert_eq!(kit.state(SCRIBE), AppState::Stopping);
    assert_eq!(heard(&mut kit, phone), 0);
    let touch =
        r#"{"type":"touch_event","device_model":"Mentra Live","gesture_name":"double_tap"}"#;
    kit.phone_text(phone, touch);
    kit.app_text(app, r#"{"type":"photo_request","requestId":"p1"}"#);
    let battery = json!({"batteryLevel": 3}).to_string();
    kit.rest(Call::DeviceState {
        body: battery.into(),
    });
    kit.advance(4500);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    let texts = kit.texts(app);
    assert_eq!(of(&texts, "app_stopped").len(), texts.len());
    assert_eq!(texts.len(), 1);
    let told = kit.texts(phone);
    assert_eq!(microphone(&told), [false]);
    assert!(of(&told, "photo_request").is_empty());
}

#[test]
fn a_short_absence_of_an_app_toggles_nothing() {
    let (mut kit, phone) = equipped();
    let app = kit.running(SCRIBE, Sdk::V3);
    let list = json!(["transcription:en-US", "touch_event"]);
    subscribe(&mut kit, app, &list);
    kit.advance(2000);
    kit.forget();
    kit.app_closes(app);
    kit.advance(3500);
    let back = kit.reconnect(SCRIBE);
    let texts = kit.texts(back);
    assert_eq!(texts[0]["type"], "reconnect_ack", "nothing before the ack");
    assert_eq!(texts[0]["subscriptions"], list);
    kit.advance(5000);
    assert!(!microphone(&kit.texts(phone)).contains(&false));
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    assert!(kit.writes().is_empty());
}

#[test]
fn an_app_that_does_not_return_is_restarted_without_a_flicker_of_the_microphone() {
    let (mut kit, phone) = equipped();
    let app = kit.running(SCRIBE, Sdk::V3);
    subscribe(&mut kit, app, &json!(["transcription:en-US"]));
    kit.advance(2000);
    kit.forget();
    kit.app_closes(app);
    kit.advance(5000);
    let webhook = kit.webhook(HttpKind::SessionRequest);
    kit.answer_webhook(webhook.call, 200);
    kit.init(SCRIBE, Sdk::V3);
    kit.advance(5000);
    assert!(!microphone(&kit.texts(phone)).contains(&false));
}

#[test]
fn a_message_counts_for_the_app_of_its_socket_whatever_package_it_names() {
    let (mut kit, _) = equipped();
    let scribe = kit.running(SCRIBE, Sdk::V2);
    kit.running(MAPS, Sdk::V2);
    let text = json!({"type": "subscription_update", "packageName": MAPS,
        "sessionId": format!("{}-{MAPS}", crate::session::testkit::USER), "subscriptions": ["vad"]});
    kit.app_text(scribe, &text.to_string());
    let count = |kit: &Kit, package: &str| {
        let set = kit.s.m.subscriptions.get(package);
        set.map_or(0, |set| set.list().len())
    };
    assert_eq!((count(&kit, SCRIBE), count(&kit, MAPS)), (1, 0));
}

#[test]
fn a_phone_that_returns_learns_the_location_tier_again() {
    let (mut kit, phone) = equipped();
    let app = kit.running(SCRIBE, Sdk::V3);
    let list = json!([{"stream": "location_stream", "rate": "high"}]);
    subscribe(&mut kit, app, &list);
    assert_eq!(
        of(&kit.texts(phone), "set_location_tier")[0]["tier"],
        "high"
    );
    kit.phone_closes(phone);
    kit.advance(3000);
    let phone = kit.phone();
    let texts = kit.texts(phone);
    assert_eq!(texts[0]["type"], "connection_ack");
    assert_eq!(of(&texts, "set_location_tier")[0]["tier"], "high");
    kit.stop(SCRIBE);
    kit.advance(100);
    let texts = kit.texts(phone);
    assert_eq!(of(&texts, "set_location_tier")[0]["tier"], "reduced");
}

#[test]
fn a_stream_ends_with_its_app_and_rests_while_the_phone_is_away() {
    let (mut kit, phone) = equipped();
    let app = kit.running(SCRIBE, Sdk::V3);
    kit.app_text(
        app,
        r#"{"type":"stream_request","streamUrl":"rtmp://media.example.net/live/key"}"#,
    );
    let texts = kit.texts(phone);
    let id = of(&texts, "start_stream")[0]["streamId"].clone();
    let active = json!({"type": "stream_status", "streamId": id, "status": "active"});
    kit.phone_text(phone, &active.to_string());
    kit.advance(15_000);
    assert_eq!(of(&kit.texts(phone), "keep_stream_alive").len(), 1);

    kit.phone_closes(phone);
    kit.forget();
    kit.advance(40_000);
    assert!(of(&kit.texts(phone), "keep_stream_alive").is_empty());
    assert!(kit.s.m.streams.current.is_some(), "no ack was due");
    let phone = kit.phone();
    kit.forget();
    kit.stop(SCRIBE);
    assert_eq!(of(&kit.texts(phone), "stop_stream")[0]["streamId"], id);
    kit.advance(60_000);
    assert!(of(&kit.texts(phone), "keep_stream_alive").is_empty());
}

#[test]
fn nothing_of_a_stopped_app_stays_on_the_screen() {
    let (mut kit, phone) = equipped();
    let body = json!({"modelName": "Even Realities G1"}).to_string();
    kit.rest(Call::DeviceState { body: body.into() });
    let app = kit.running(MAPS, Sdk::V2);
    kit.advance(3000);
    kit.forget();
    let show = json!({"type": "display_event", "packageName": MAPS, "view": "main",
        "layout": {"layoutType": "text_wall", "text": "turn left"}});
    kit.app_text(app, &show.to_string());
    let texts = kit.texts(phone);
    assert_eq!(
        of(&texts, "display_event")[0]["layout"]["text"],
        "turn left"
    );
    kit.stop(MAPS);
    kit.app_text(app, &show.to_string());
    kit.advance(10_000);
    let shown: Vec<Value> = of(&kit.texts(phone), "display_event")
        .iter()
        .filter(|text| text["view"] == "main")
        .map(|text| text["layout"].clone())
        .collect();
    assert_eq!(shown.len(), 1, "exactly one clear: {shown:?}");
    assert!(!shown[0].to_string().contains("turn left"));
}

#[test]
fn whoever_waits_when_the_session_ends_hears_it_before_the_socket_closes() {
    let (mut kit, _) = equipped();
    let app = kit.running(SCRIBE, Sdk::V3);
    kit.app_text(app, r#"{"type":"photo_request","requestId":"p1"}"#);
    kit.app_text(
        app,
        r#"{"type":"audio_play_request","requestId":"a1","audioUrl":"https://x.example.net/a.mp3"}"#,
    );
    kit.forget();
    kit.event(session_end());
    let texts = kit.texts(app);
    assert_eq!(of(&texts, "photo_response")[0]["success"], false);
    assert_eq!(of(&texts, "audio_play_response")[0]["success"], false);
    assert_eq!(
        texts.last().map(|text| &text["type"]),
        Some(&json!("app_stopped"))
    );
    assert_eq!(kit.s.state, State::Disposed);
    kit.forget();
    let again = kit.rest(Call::Dispose);
    assert_eq!(kit.answer(again).map(|(status, _)| status), Some(503));
    kit.advance(600_000);
    assert!(kit.is_quiet(), "twice is once: {}", kit.leftovers());
}

#[test]
fn a_pong_of_a_superseded_phone_says_nothing_about_the_current_one() {
    let (mut kit, old) = equipped();
    kit.advance(10_000);
    let ping = kit
        .effects(|effect| matches!(effect, Effect::Ping { conn, .. } if *conn == old))
        .pop();
    let Some(Effect::Ping { id, .. }) = ping else {
        panic!("the phone is pinged");
    };
    let new = kit.phone();
    kit.event(Event::Pong {
        conn: old,
        payload: Bytes::copy_from_slice(&id),
    });
    let row = kit.s.m.health.rows().iter().find(|row| row.conn == new);
    let row = row.expect("the new socket is watched");
    assert_eq!((row.last_pong_ms, row.latency_ms()), (0, None));
    assert_eq!(kit.s.m.phone.current, Some(new));
}
