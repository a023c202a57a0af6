//! Life of the user session: behaviour.md §1.3 to §1.9, invariants 2 to 7.

use crate::base::ids::ConnId;
use crate::base::metrics::Counter;
use crate::session::State;
use crate::session::effects::{Effect, HttpKind, StoreOp};
use crate::session::event::{Event, PhoneFlags, Sdk, UdpSecret};
use crate::session::managers::apps::AppState;
use crate::session::rest::Call;
use crate::session::testkit::{Kit, MAPS, SCRIBE, USER, session_end, user_running};
use crate::wire::records::UserRecord;
use serde_json::{Value, json};

#[test]
fn a_session_acks_as_soon_as_its_user_is_loaded() {
    let mut kit = Kit::new();
    assert!(matches!(
        kit.effects(|e| matches!(e, Effect::LoadUser))[..],
        [Effect::LoadUser]
    ));
    let phone = kit.phone();
    assert_eq!(kit.s.state, State::Initializing);
    assert!(kit.texts(phone).is_empty());
    kit.load(UserRecord::default());
    assert_eq!(kit.s.state, State::Connected);
    let ack = json!({"type": "connection_ack", "sessionId": USER, "env": "development",
        "timestamp": "2026-03-14T09:26:53.589Z"});
    assert_eq!(kit.texts(phone), [ack]);
}

#[test]
fn udp_is_offered_only_with_a_host_and_a_key_to_whoever_asks() {
    let mut kit = Kit::new();
    kit.cfg.udp.udp_host = "udp.example.net".into();
    kit.load(UserRecord::default());
    let plain = kit.phone();
    let ack = kit.texts(plain).remove(0);
    assert_eq!(
        (&ack["udpHost"], &ack["udpPort"]),
        (&json!("udp.example.net"), &json!(8000))
    );
    assert!(ack.get("udpEncryption").is_none());

    let flags = |byte| PhoneFlags {
        udp_encryption: true,
        livekit: true,
        secret: UdpSecret([byte; 32]),
    };
    let first = kit.phone_with(flags(1));
    let key = kit.texts(first).remove(0)["udpEncryption"].clone();
    assert_eq!(key["algorithm"], "xsalsa20-poly1305");
    let second = kit.phone_with(flags(2));
    // The key stays for the life of the session.
    assert_eq!(kit.texts(second).remove(0)["udpEncryption"], key);
    for conn in [first, second, plain] {
        kit.phone_closes(conn);
    }
    kit.advance(30_000);
    let back = kit.phone_with(flags(3));
    assert_eq!(kit.texts(back).remove(0)["udpEncryption"], key);
    kit.cfg.udp.udp_host = String::new();
    let third = kit.phone_with(flags(3));
    let ack = kit.texts(third).remove(0);
    assert_eq!(ack["udpEncryption"], key);
    assert!(ack.get("udpHost").is_none() && ack.get("udpPort").is_none());
}

#[test]
fn a_socket_that_was_told_no_key_may_send_plain_audio_when_encryption_is_switched_on() {
    let mut kit = Kit::new();
    kit.cfg.udp.udp_encryption_enabled = false;
    kit.load(UserRecord::default());
    let phone = kit.phone_with(PhoneFlags {
        udp_encryption: true,
        livekit: false,
        secret: UdpSecret([1; 32]),
    });
    let ack = kit.texts(phone).remove(0);
    assert!(ack.get("udpEncryption").is_none(), "{ack}");
    kit.cfg.udp.udp_encryption_enabled = true;
    kit.run(|s, cx| s.on_udp_audio(1, &mut [1; 320], cx));
    assert_eq!(kit.metrics.get(Counter::UdpDecryptionFailures), 0);
}

#[test]
fn ping_is_answered_in_every_state_and_on_superseded_sockets() {
    let mut kit = Kit::new();
    let phone = kit.phone();
    kit.phone_text(phone, r#"{"type":"ping"}"#);
    assert_eq!(kit.texts(phone), [json!({"type": "pong"})]);
    kit.load(UserRecord::default());
    let newer = kit.phone();
    kit.forget();
    kit.phone_text(phone, r#"{"type":"ping"}"#);
    kit.phone_text(newer, r#"{"type":"ping"}"#);
    assert_eq!(kit.types(phone), ["pong"]);
    assert_eq!(kit.types(newer), ["pong"]);
}

#[test]
fn rest_calls_find_a_loading_session_and_wait() {
    let mut kit = Kit::new();
    kit.phone();
    let call = kit.rest(Call::ListApps);
    assert_eq!(kit.answer(call), None);
    kit.load(UserRecord::default());
    assert_eq!(kit.answer(call).map(|(status, _)| status), Some(200));
}

fn device_state(kit: &mut Kit, body: Value) -> Option<(u16, Value)> {
    let body = body.to_string().into();
    let call = kit.rest(Call::DeviceState { body });
    kit.answer(call)
}

fn kinds(texts: &[Value]) -> Vec<&str> {
    texts
        .iter()
        .filter_map(|text| text["type"].as_str())
        .collect()
}

#[test]
fn glasses_reported_while_the_user_loads_count_at_once_and_stand() {
    let mut kit = Kit::new();
    let phone = kit.phone();
    let body = json!({"connected": true, "modelName": "Vuzix Z100"});
    let (status, answer) = device_state(&mut kit, body).expect("answered while loading");
    assert_eq!(
        (status, &answer["appliedState"]["isGlassesConnected"]),
        (200, &json!(true))
    );
    assert!(kit.texts(phone).is_empty(), "nothing before the ack");
    let mut record = UserRecord::default();
    record
        .user_settings
        .insert("default_wearable".into(), json!("Mentra Live"));
    kit.load(record);
    let texts = kit.texts(phone);
    assert_eq!(
        kinds(&texts)[..2],
        ["connection_ack", "microphone_state_change"]
    );
    assert_eq!(kit.s.m.device.model(), Some("Vuzix Z100"));
    assert!(kit.s.m.device.is_connected());
}

#[test]
fn glasses_of_the_stored_user_paint_nothing_before_the_ack() {
    let mut kit = Kit::new();
    let phone = kit.phone();
    let mut record = UserRecord::default();
    record
        .user_settings
        .insert("default_wearable".into(), json!("Simulated Glasses"));
    kit.load(record);
    assert_eq!(kinds(&kit.texts(phone))[0], "connection_ack");
}

#[test]
fn glasses_are_reported_in_every_live_state() {
    let (mut kit, phone) = Kit::connected();
    for (state, battery) in [(State::Connected, 70), (State::Disconnected, 69)] {
        if state == State::Disconnected {
            kit.phone_closes(phone);
        }
        assert_eq!(kit.s.state, state);
        let answer = device_state(&mut kit, json!({"batteryLevel": battery}));
        assert_eq!(answer.map(|(status, _)| status), Some(200));
        assert_eq!(kit.s.m.device.state()["batteryLevel"], battery);
    }
}

#[test]
fn each_message_has_a_name_of_its_own_in_the_log() {
    let (mut kit, phone) = Kit::connected();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..100 {
        kit.phone_text(phone, r#"{"type":"ping"}"#);
        assert!(seen.insert(kit.s.correlation(kit.now).to_string()));
    }
    let one = kit.s.correlation(kit.now).to_string();
    assert_eq!(kit.s.correlation(kit.now).to_string(), one);
    assert!(!one.contains("nadia"), "no part of the address");
}

#[test]
fn a_store_that_never_answers_does_not_lock_the_phone_out() {
    let mut kit = Kit::new();
    let phone = kit.phone();
    kit.advance(6000);
    assert_eq!(kit.types(phone), ["connection_ack"]);
}

#[test]
fn every_socket_of_a_loading_session_gets_one_ack() {
    let mut kit = Kit::new();
    let (first, second) = (kit.phone(), kit.phone());
    kit.load(UserRecord::default());
    assert_eq!(kit.types(first), ["connection_ack"]);
    assert_eq!(kit.types(second), ["connection_ack"]);
    assert_eq!(kit.s.m.phone.open(), Some(second));
}

#[test]
fn the_session_lives_exactly_as_long_as_its_grace() {
    let (mut kit, phone) = Kit::connected();
    kit.phone_closes(phone);
    assert_eq!(kit.s.state, State::Disconnected);
    kit.advance(59_999);
    assert_eq!(kit.s.state, State::Disconnected);
    kit.advance(1);
    assert_eq!(kit.s.state, State::Disposed);
    assert!(kit.s.timers.is_empty());

    let (mut kit, phone) = Kit::connected();
    kit.phone_closes(phone);
    kit.advance(59_999);
    let back = kit.phone();
    assert_eq!(kit.types(back), ["connection_ack"]);
    kit.advance(1);
    assert_eq!(kit.s.state, State::Connected);
    assert_eq!(kit.metrics.get(Counter::PhoneReconnects), 1);
}

#[test]
fn a_session_without_clean_up_outlives_its_grace() {
    let (mut kit, phone) = Kit::connected();
    kit.cfg.connections.grace_period_cleanup_enabled = false;
    kit.phone_closes(phone);
    kit.advance(120_000);
    assert_eq!(kit.s.state, State::Disconnected);
}

#[test]
fn a_takeover_leaves_the_old_socket_open_and_ignores_its_close() {
    let (mut kit, old) = Kit::connected();
    let new = kit.phone();
    assert_eq!(kit.close_of(old), None);
    kit.phone_closes(old);
    assert_eq!(kit.s.state, State::Connected);
    assert_eq!(kit.s.m.phone.open(), Some(new));
    kit.advance(60_000);
    assert_eq!(kit.s.state, State::Connected);
    assert_eq!(kit.metrics.get(Counter::PhoneTakeovers), 1);
    assert_eq!(kit.metrics.get(Counter::PhoneReconnects), 0);
}

#[test]
fn the_oldest_superseded_socket_is_cut_beyond_two() {
    let (mut kit, first) = Kit::connected();
    for _ in 0..2 {
        kit.phone();
    }
    let is_cut = |e: &Effect| matches!(e, Effect::Terminate { .. });
    assert!(kit.effects(is_cut).is_empty());
    kit.phone();
    let cut: Vec<ConnId> = kit
        .effects(is_cut)
        .iter()
        .map(|effect| match effect {
            Effect::Terminate { conn } => *conn,
            _ => unreachable!("selected above"),
        })
        .collect();
    assert_eq!(cut, [first]);
}

#[test]
fn connection_init_acks_again_and_changes_nothing() {
    let (mut kit, phone) = Kit::connected();
    let app = kit.running(SCRIBE, Sdk::V2);
    kit.phone_text(phone, r#"{"type":"connection_init","userId":"x"}"#);
    assert_eq!(kit.types(phone), ["connection_ack"]);
    assert_eq!(kit.s.m.apps.open_conn(SCRIBE), Some(app));
    assert!(kit.is_quiet(), "{}", kit.leftovers());
}

#[test]
fn nothing_a_phone_sends_closes_its_socket() {
    let (mut kit, phone) = Kit::connected();
    for text in [
        "",
        "{",
        "[]",
        r#"{"type":7}"#,
        r#"{"type":"start_app"}"#,
        r#"{"type":"no_such"}"#,
    ] {
        kit.phone_text(phone, text);
    }
    assert!(kit.is_quiet(), "{}", kit.leftovers());
    assert_eq!(kit.metrics.get(Counter::PhoneBadJson), 4);
    assert_eq!(kit.metrics.get(Counter::PhoneHandlerFailed), 1);
}

#[test]
fn previously_running_apps_start_together_and_deprecated_ones_leave_the_list() {
    let mut kit = Kit::new();
    let phone = kit.phone();
    kit.load(user_running(&[SCRIBE, MAPS, "system.augmentos.dashboard"]));
    assert_eq!(kit.types(phone), ["connection_ack"]);
    assert_eq!(kit.webhooks(HttpKind::SessionRequest).len(), 2);
    assert!(matches!(
        &kit.writes()[..],
        [(StoreOp::RemoveRunning(package), None)] if &**package == "system.augmentos.dashboard"
    ));
}

#[test]
fn without_a_phone_previously_running_apps_wait_for_it() {
    let mut kit = Kit::new();
    let phone = kit.phone();
    kit.phone_closes(phone);
    kit.load(user_running(&[SCRIBE]));
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    kit.phone();
    kit.webhook(HttpKind::SessionRequest);
    // Nobody is told to stop what this session never ran.
    assert!(kit.webhooks(HttpKind::StopRequest).is_empty());
}

#[test]
fn disposal_ends_every_socket_and_keeps_the_stored_list() {
    let (mut kit, phone) = Kit::connected();
    let superseded = phone;
    let phone = kit.phone();
    let app = kit.running(SCRIBE, Sdk::V2);
    let waiting = kit.start(MAPS);
    kit.forget();
    kit.event(session_end());
    assert_eq!(kit.types(app), ["app_stopped"]);
    assert_eq!(kit.close_of(app), Some((1000, "User session ended")));
    assert_eq!(kit.close_of(phone), Some((1000, "User session ended")));
    assert_eq!(kit.close_of(superseded), Some((1000, "User session ended")));
    let (status, body) = kit.answer(waiting).unwrap();
    assert_eq!(
        (status, &body["data"]["error"]["stage"]),
        (200, &json!("DISPOSED"))
    );
    assert!(kit.writes().is_empty());
    assert_eq!(kit.effects(|e| matches!(e, Effect::Disposed)).len(), 1);
    assert!(kit.s.timers.is_empty());

    // Twice is once, and nothing that comes later has an effect.
    kit.forget();
    let again = kit.rest(Call::Dispose);
    assert_eq!(kit.answer(again).map(|(status, _)| status), Some(503));
    kit.event(Event::Tick);
    kit.app_text(app, r#"{"type":"ping"}"#);
    kit.phone_text(phone, r#"{"type":"ping"}"#);
    kit.app_closes(app);
    kit.event(Event::UserLoaded { record: None });
    assert!(kit.is_quiet(), "{}", kit.leftovers());
}

#[test]
fn the_record_of_a_disposal_names_the_apps() {
    let (mut kit, _) = Kit::connected();
    kit.running(SCRIBE, Sdk::V2);
    kit.start(MAPS);
    let lines = crate::base::log_capture::lines_of(|| kit.event(session_end()));
    let record = lines.iter().find(|line| line.contains("ws-dispose"));
    let record = record.expect("a record");
    assert!(record.contains("explicit_disposal"), "{record}");
    assert!(
        record.contains(&format!("apps=\"{SCRIBE} {MAPS}\"")),
        "{record}"
    );
}

#[test]
fn after_disposal_callers_learn_that_there_is_no_session() {
    let (mut kit, _) = Kit::connected();
    kit.event(session_end());
    let call = kit.start(SCRIBE);
    let (status, body) = kit.answer(call).unwrap();
    assert_eq!((status, &body["error"]), (503, &json!("NO_ACTIVE_SESSION")));
    let late = kit.init(SCRIBE, Sdk::V2);
    assert_eq!(kit.types(late), ["tpa_connection_error SESSION_NOT_FOUND"]);
    assert_eq!(kit.close_of(late), Some((1008, "Session ended")));
}

#[test]
fn goodbye_ends_only_a_session_without_phone() {
    let (mut kit, phone) = Kit::connected();
    let call = kit.rest(Call::Goodbye);
    assert_eq!(kit.answer(call), Some((200, json!({"success": true}))));
    assert_eq!(kit.s.state, State::Connected);
    kit.phone_closes(phone);
    let call = kit.rest(Call::Goodbye);
    assert_eq!(kit.answer(call), Some((200, json!({"success": true}))));
    assert_eq!(kit.s.state, State::Disposed);
}

#[test]
fn parked_sockets_survive_their_session() {
    let mut kit = Kit::new();
    let phone = kit.phone();
    let conn = kit.conn();
    let hello = crate::session::testkit::hello(
        crate::session::event::HelloKind::Reconnect,
        SCRIBE,
        Sdk::V3,
    );
    let expires_ms = kit.now.mono_ms + 30_000;
    kit.event(Event::AppParked {
        conn,
        hello,
        expires_ms,
    });
    kit.phone_closes(phone);
    kit.event(session_end());
    let unparked = kit.effects(|e| matches!(e, Effect::ReturnParked { .. }));
    assert!(
        matches!(&unparked[..], [Effect::ReturnParked { conn: c, expires_ms: at, .. }] if *c == conn && *at == expires_ms)
    );
}

#[test]
fn an_overloaded_socket_is_gone_at_once() {
    let (mut kit, phone) = Kit::connected();
    let app = kit.running(SCRIBE, Sdk::V2);
    kit.event(Event::Overloaded { conn: app });
    assert_eq!(kit.state(SCRIBE), AppState::GracePeriod);
    kit.event(Event::Overloaded { conn: phone });
    assert_eq!(kit.s.state, State::Disconnected);
}
