//! What an app's absence, restart and return leave as it was, and what not: behaviour.md §2.5, §2.8 to §2.10, §2.12, §7.6, §7.10.

use crate::base::ids::ConnId;
use crate::base::settings::DashboardMode;
use crate::session::effects::{Effect, HttpKind};
use crate::session::event::{HelloKind, Sdk};
use crate::session::managers::app_messages::{Content, To};
use crate::session::managers::apps::AppState;
use crate::session::rest::Call;
use crate::session::testkit::{CHESS, Kit, MAPS, SCRIBE, hello, trusted};
use crate::wire::records::{AppType, Registry, UserRecord};
use serde_json::{Value, json};

const ASK: &str = r#"{"type":"rtmp_stream_request","rtmpUrl":"rtmp://x/k"}"#;

/// Glasses that can stream, and two background apps that may do everything.
fn equipped() -> (Kit, ConnId) {
    let mut kit = Kit::new();
    kit.apps = Registry::new(
        [
            trusted(SCRIBE, AppType::Background),
            trusted(MAPS, AppType::Background),
        ],
        1,
    );
    let phone = kit.phone();
    kit.load(UserRecord::default());
    let body = json!({"connected": true, "modelName": "Mentra Live", "wifiConnected": true});
    kit.rest(Call::DeviceState {
        body: body.to_string().into(),
    });
    kit.forget();
    (kit, phone)
}

fn stream_id(kit: &Kit) -> Option<String> {
    let stream = kit.s.m.streams.current.as_ref();
    stream.map(|stream| stream.id.clone())
}

fn stop_streams(texts: &[Value]) -> usize {
    texts
        .iter()
        .filter(|text| text["type"] == "stop_stream")
        .count()
}

/// Who was told that the app's user came (`true`) or went.
fn presence(kit: &mut Kit) -> Vec<bool> {
    kit.effects(|effect| matches!(effect, Effect::AppMessage(_)))
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::AppMessage(message) if message.to == To::Everybody => {
                match message.message.content {
                    Content::Joined => Some(true),
                    Content::Left => Some(false),
                    _ => None,
                }
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_stream_survives_the_restart_of_its_v2_app_and_ends_with_its_stop() {
    let (mut kit, phone) = equipped();
    let app = kit.running(SCRIBE, Sdk::V2);
    kit.app_text(app, ASK);
    let id = stream_id(&kit);
    assert!(id.is_some());
    kit.forget();
    kit.app_closes(app);
    kit.advance(5000);
    let call = kit.webhook(HttpKind::StopRequest).call;
    kit.answer_webhook(call, 200);
    kit.webhook(HttpKind::SessionRequest);
    assert_eq!(stream_id(&kit), id);
    let back = kit.init(SCRIBE, Sdk::V2);
    kit.forget();
    let streaming = json!({"type": "stream_status", "streamId": id, "status": "streaming"});
    kit.phone_text(phone, &streaming.to_string());
    let told: Vec<Value> = kit
        .texts(back)
        .into_iter()
        .filter(|text| text["type"] == "rtmp_stream_status")
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["status"], "active");
    assert_eq!(stop_streams(&kit.texts(phone)), 0);
    kit.stop(SCRIBE);
    assert_eq!(stop_streams(&kit.texts(phone)), 1);
    assert_eq!(stream_id(&kit), None);
}

#[test]
fn a_stream_survives_dormancy_and_ends_when_the_restart_fails() {
    let (mut kit, phone) = equipped();
    let app = kit.running(SCRIBE, Sdk::V3);
    kit.app_text(app, ASK);
    kit.phone_closes(phone);
    kit.app_closes(app);
    kit.advance(5000);
    assert_eq!(kit.state(SCRIBE), AppState::Dormant);
    assert!(stream_id(&kit).is_some());
    let phone = kit.phone();
    for _ in 0..2 {
        let call = kit.webhook(HttpKind::SessionRequest).call;
        kit.answer_webhook(call, 500);
        kit.advance(1000);
    }
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    assert_eq!(stop_streams(&kit.texts(phone)), 1);
    assert_eq!(stream_id(&kit), None);
}

/// behaviour.md §7.6.2: a phone whose network is gone keeps its socket for a while, and its glasses go on.
#[test]
fn a_stop_that_may_be_lost_with_the_phones_socket_is_sent_to_the_next() {
    for (pings, lost) in [(0, 1), (1, 1), (2, 0)] {
        let (mut kit, old) = equipped();
        let app = kit.running(SCRIBE, Sdk::V2);
        kit.app_text(app, ASK);
        kit.phone_text(old, r#"{"type":"ping"}"#);
        kit.app_text(app, r#"{"type":"rtmp_stream_stop"}"#);
        assert_eq!(stop_streams(&kit.texts(old)), 1);
        for _ in 0..pings {
            kit.phone_text(old, r#"{"type":"ping"}"#);
        }
        kit.phone_text(old, r#"{"type":"connection_init"}"#);
        assert_eq!(stop_streams(&kit.texts(old)), 0, "the same socket");
        let new = kit.phone();
        assert_eq!(stop_streams(&kit.texts(new)), lost, "{pings} pings");
        let newest = kit.phone();
        assert_eq!(stop_streams(&kit.texts(newest)), lost, "this one too");
        kit.app_text(app, ASK);
        let last = kit.phone();
        assert_eq!(stop_streams(&kit.texts(last)), 0, "another runs");
    }
}

#[test]
fn a_v2_viewer_started_anew_hears_nothing_of_the_stream_until_it_asks() {
    let (mut kit, phone) = equipped();
    kit.cfg.streaming.managed_account_id = "acc".into();
    let app = kit.running(SCRIBE, Sdk::V2);
    kit.app_text(app, r#"{"type":"managed_stream_request"}"#);
    let id = kit.s.m.managed_streams.current.as_ref().unwrap().id.clone();
    kit.app_closes(app);
    kit.advance(5000);
    let call = kit.webhook(HttpKind::StopRequest).call;
    kit.answer_webhook(call, 200);
    let back = kit.init(SCRIBE, Sdk::V2);
    let heard = |kit: &mut Kit| -> Vec<String> {
        let told = kit.types(back);
        let is_status = |kind: &String| kind.starts_with("managed_stream_status");
        told.into_iter().filter(is_status).collect()
    };
    let streaming = json!({"type": "stream_status", "streamId": id, "status": "streaming"});
    kit.phone_text(phone, &streaming.to_string());
    assert!(heard(&mut kit).is_empty());
    assert_eq!(
        kit.s
            .m
            .managed_streams
            .current
            .as_ref()
            .unwrap()
            .viewers
            .len(),
        1,
        "it watches all the same"
    );
    kit.app_text(back, r#"{"type":"managed_stream_request"}"#);
    assert_eq!(heard(&mut kit).len(), 1);
    kit.phone_text(phone, &streaming.to_string());
    assert_eq!(heard(&mut kit).len(), 1);
}

#[test]
fn an_app_that_comes_by_itself_frees_its_place_among_the_restarts() {
    let (mut kit, phone) = equipped();
    kit.cfg.apps.resurrect_concurrency = 1;
    let scribe = kit.running(SCRIBE, Sdk::V2);
    let maps = kit.running(MAPS, Sdk::V2);
    kit.phone_closes(phone);
    kit.app_closes(scribe);
    kit.app_closes(maps);
    kit.advance(5000);
    kit.forget();
    kit.phone();
    let waits = kit.webhook(HttpKind::StopRequest);
    assert_eq!(waits.url, "http://com.acme.scribe/webhook");
    assert_eq!(kit.state(MAPS), AppState::Dormant);
    kit.init(SCRIBE, Sdk::V2);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    assert_eq!(
        kit.webhook(HttpKind::StopRequest).url,
        "http://com.acme.maps/webhook"
    );
    assert_eq!(kit.state(MAPS), AppState::Resurrecting);
}

#[test]
fn a_users_start_during_a_v2_restart_comes_after_the_stop_webhook() {
    let (mut kit, _) = equipped();
    let app = kit.running(SCRIBE, Sdk::V2);
    kit.app_closes(app);
    kit.advance(5000);
    let call = kit.webhook(HttpKind::StopRequest).call;
    let reply = kit.start(SCRIBE);
    assert!(
        kit.webhooks(HttpKind::SessionRequest).is_empty(),
        "onStop would run after the next onSession"
    );
    kit.answer_webhook(call, 200);
    assert_eq!(kit.webhooks(HttpKind::SessionRequest).len(), 1);
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    kit.init(SCRIBE, Sdk::V2);
    kit.stored_all();
    let (status, body) = kit.answer(reply).expect("answered");
    assert_eq!((status, &body["data"]["isRunning"]), (200, &json!(true)));
}

#[test]
fn an_init_that_is_not_expected_ends_the_start_that_waits() {
    let (mut kit, _) = equipped();
    kit.running(SCRIBE, Sdk::V2);
    kit.stop(SCRIBE);
    let reply = kit.start(SCRIBE);
    assert_eq!(kit.answer(reply), None, "waits for the stop");
    let early = kit.init(SCRIBE, Sdk::V2);
    assert_eq!(
        kit.close_of(early),
        Some((1008, "App not started for this session"))
    );
    let (_, body) = kit.answer(reply).expect("answered");
    assert_eq!(body["data"]["error"]["stage"], "CONNECTION");
    let call = kit.webhook(HttpKind::StopRequest).call;
    kit.answer_webhook(call, 200);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}

#[test]
fn a_v2_app_is_an_active_user_too_and_each_coming_and_going_is_told_once() {
    let (mut kit, _) = equipped();
    kit.start(SCRIBE);
    let first = kit.init(SCRIBE, Sdk::V2);
    assert_eq!(presence(&mut kit), [true]);
    let second = kit.init(SCRIBE, Sdk::V2);
    kit.app_closes(first);
    assert!(presence(&mut kit).is_empty(), "it was there all the time");
    kit.app_closes(second);
    assert_eq!(presence(&mut kit), [false]);
    kit.advance(5000);
    kit.stop(SCRIBE);
    kit.advance(5000);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    assert!(presence(&mut kit).is_empty(), "it was gone already");
}

#[test]
fn an_app_that_releases_its_session_leaves_too() {
    let (mut kit, _) = equipped();
    let app = kit.running(SCRIBE, Sdk::V2);
    kit.app_text(
        app,
        r#"{"type":"ownership_release","reason":"switching_clouds"}"#,
    );
    kit.app_closes(app);
    assert_eq!(kit.state(SCRIBE), AppState::Dormant);
    assert_eq!(presence(&mut kit), [false]);
}

#[test]
fn a_replaced_socket_leaves_its_rooms() {
    let (mut kit, _) = equipped();
    let old = kit.running(SCRIBE, Sdk::V2);
    kit.app_text(old, r#"{"type":"app_room_join","roomId":"r1"}"#);
    kit.forget();
    kit.init(SCRIBE, Sdk::V2);
    let left = kit.effects(|effect| {
        matches!(effect, Effect::AppMessage(message) if matches!(message.to, To::Rooms(_)))
    });
    assert_eq!(left.len(), 1);
}

#[test]
fn a_v2_app_that_came_back_hears_a_status_again_that_it_heard_before() {
    let (mut kit, phone) = equipped();
    let app = kit.running(SCRIBE, Sdk::V2);
    kit.app_text(app, ASK);
    let id = stream_id(&kit);
    let streaming = json!({"type": "stream_status", "streamId": id, "status": "streaming"});
    kit.phone_text(phone, &streaming.to_string());
    let back = kit.hello(hello(HelloKind::Init, SCRIBE, Sdk::V2));
    let told = |texts: Vec<Value>| {
        texts
            .iter()
            .filter(|text| text["type"] == "rtmp_stream_status")
            .count()
    };
    assert_eq!(told(kit.texts(back)), 0, "nothing unasked to v2");
    kit.phone_text(phone, &streaming.to_string());
    assert_eq!(told(kit.texts(back)), 1);
    assert_eq!(kit.state(CHESS), AppState::Stopped);
}

#[test]
fn a_restart_that_is_refused_at_once_tells_the_phone_like_one_that_fails() {
    let (mut kit, phone) = equipped();
    let app = kit.running(SCRIBE, Sdk::V3);
    kit.apps = Registry::new([], 1);
    kit.app_closes(app);
    kit.advance(200);
    kit.forget();
    kit.advance(5000);
    assert_eq!(kit.types(phone), ["app_stopped", "app_state_change"]);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
}

/// behaviour.md §2.15: it cannot be stopped by the user, and is not on the stored list.
#[test]
fn the_system_dashboard_is_none_of_the_users_apps() {
    let package = "system.augmentos.dashboard";
    let mut kit = Kit::new();
    kit.cfg.dashboard.dashboard_mode = DashboardMode::App;
    kit.apps = Registry::new([trusted(package, AppType::SystemDashboard)], 1);
    kit.phone();
    kit.load(UserRecord::default());
    kit.advance(6000);
    assert_eq!(kit.state(package), AppState::Stopped, "nobody connected");
    kit.start(package);
    kit.init(package, Sdk::V2);
    kit.rest(Call::InstallChanged {
        package: package.to_owned(),
        installed: None,
    });
    kit.stop(package);
    assert_eq!(kit.state(package), AppState::Running);
    assert_eq!(kit.stored_all(), []);
}
