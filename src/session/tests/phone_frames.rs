//! Which frames of phone sockets count: behaviour.md §1.3 (held ones), §1.6 (superseded sockets), invariants 2 and 3.

use crate::base::ids::ConnId;
use crate::base::metrics::Counter;
use crate::session::State;
use crate::session::effects::{Effect, HttpKind};
use crate::session::event::{Chunk, Event, PhoneFlags, Sdk, UdpSecret};
use crate::session::managers::apps::AppState;
use crate::session::testkit::{Kit, MAPS, SCRIBE, session_end, trusted};
use crate::wire::records::{AppType, Registry, UserRecord};
use serde_json::json;

const START_SCRIBE: &str = r#"{"type":"start_app","packageName":"com.acme.scribe"}"#;
const STOP_SCRIBE: &str = r#"{"type":"stop_app","packageName":"com.acme.scribe"}"#;
const START_MAPS: &str = r#"{"type":"start_app","packageName":"com.acme.maps"}"#;
const STOP_MAPS: &str = r#"{"type":"stop_app","packageName":"com.acme.maps"}"#;
const PING: &str = r#"{"type":"ping"}"#;

fn say_sound(kit: &mut Kit, conn: ConnId) {
    let audio = bytes::Bytes::from_static(b"\0\0");
    kit.run(|s, cx| s.on_audio(conn, Chunk::Own(audio), cx));
}

#[test]
fn frames_that_come_too_early_wait_for_the_ack_and_keep_their_order() {
    let mut kit = Kit::new();
    let phone = kit.phone();
    kit.phone_text(phone, START_MAPS);
    kit.phone_text(phone, STOP_MAPS);
    kit.phone_text(phone, START_SCRIBE);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    kit.load(UserRecord::default());
    assert_eq!(kit.types(phone), ["connection_ack"]);
    let urls: Vec<String> = kit
        .webhooks(HttpKind::SessionRequest)
        .into_iter()
        .map(|call| call.url)
        .collect();
    assert_eq!(
        urls,
        [
            "http://com.acme.maps/webhook",
            "http://com.acme.scribe/webhook"
        ]
    );
    assert_eq!(kit.state(MAPS), AppState::Stopping);
}

#[test]
fn early_frames_are_bounded() {
    let mut kit = Kit::new();
    kit.cfg.connections.pending_frames_max = 2;
    let phone = kit.phone();
    say_sound(&mut kit, phone);
    for package in [MAPS, SCRIBE, "com.acme.chess"] {
        kit.phone_text(
            phone,
            &format!(r#"{{"type":"start_app","packageName":"{package}"}}"#),
        );
    }
    assert_eq!(kit.metrics.get(Counter::DroppedPending), 2); // the audio, then the newest message
    kit.load(UserRecord::default());
    assert_eq!(kit.webhooks(HttpKind::SessionRequest).len(), 2);
    assert_eq!(kit.state("com.acme.chess"), AppState::Stopped);
}

/// Three chunks came too early, of which two may wait; what the phone says later continues the sample all the same.
#[test]
fn early_audio_that_is_dropped_shifts_no_sample() {
    for early in [
        ["\x01", "\x02\x03", "\x04\x05"],
        ["\x01\x02", "\x03", "\x04\x05"],
    ] {
        let mut kit = Kit::new();
        kit.cfg.connections.pending_frames_max = 2;
        kit.apps = Registry::new([trusted(SCRIBE, AppType::Background)], 2);
        let phone = kit.phone();
        for chunk in early {
            kit.run(|s, cx| s.on_audio(phone, Chunk::Lent(chunk.as_bytes()), cx));
        }
        assert_eq!(kit.metrics.get(Counter::DroppedPending), 1);
        kit.load(UserRecord::default());
        let app = kit.running(SCRIBE, Sdk::V3);
        let list = r#"{"type":"subscription_update","subscriptions":["audio_chunk"]}"#;
        kit.app_text(app, list);
        kit.run(|s, cx| s.on_audio(phone, Chunk::Lent(b"\x06"), cx));
        let heard = kit.effects(|effect| matches!(effect, Effect::Binary { .. }));
        assert!(
            matches!(&heard[..], [Effect::Binary { conn, data }] if *conn == app && data[..] == [5, 6]),
            "{heard:?}"
        );
    }
}

#[test]
fn what_a_phone_said_before_it_left_counts_though_the_session_was_still_loading() {
    let mut kit = Kit::new();
    let phone = kit.phone();
    kit.phone_text(phone, START_SCRIBE);
    kit.phone_text(phone, r#"{"type":"connection_init"}"#);
    say_sound(&mut kit, phone);
    kit.phone_closes(phone);
    kit.load(UserRecord::default());
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    assert_eq!(kit.webhooks(HttpKind::SessionRequest).len(), 1);
    assert_eq!(kit.s.state, State::Disconnected, "nobody came back by that");
    assert!(kit.texts(phone).is_empty());
    kit.advance(60_000);
    assert_eq!(kit.s.state, State::Disposed);
}

#[test]
fn what_the_first_socket_said_counts_after_a_takeover_and_swaps_no_roles() {
    let mut kit = Kit::new();
    let first = kit.phone();
    kit.phone_text(first, START_SCRIBE);
    let second = kit.phone();
    kit.load(UserRecord::default());
    assert_eq!(kit.s.m.phone.open(), Some(second));
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    assert_eq!(kit.types(first), ["connection_ack"]);
    assert_eq!(kit.types(second), ["connection_ack"]);
}

#[test]
fn a_superseded_socket_of_a_loading_session_swaps_roles_under_the_same_rule() {
    let mut kit = Kit::new();
    let (first, second) = (kit.phone(), kit.phone());
    kit.phone_text(second, PING);
    kit.phone_text(first, START_SCRIBE);
    kit.phone_text(second, START_MAPS);
    kit.load(UserRecord::default());
    assert_eq!(kit.s.m.phone.open(), Some(first));
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    assert_eq!(kit.state(MAPS), AppState::Stopped, "said by the superseded");
    assert_eq!(kit.types(first), ["connection_ack"]);
    assert_eq!(kit.types(second), ["pong", "connection_ack"]);
}

#[test]
fn a_superseded_socket_takes_over_only_while_the_current_one_has_only_pinged() {
    let (mut kit, old) = Kit::connected();
    let new = kit.phone();
    kit.phone_text(new, PING);
    kit.phone_text(old, START_SCRIBE);
    assert_eq!(kit.s.m.phone.open(), Some(old));
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    // The roles are exchanged: now the other one is superseded, and does not get back in by speaking.
    kit.phone_text(new, STOP_SCRIBE);
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    assert_eq!(kit.s.m.phone.open(), Some(old));

    let (mut kit, old) = Kit::connected();
    let new = kit.phone();
    kit.phone_text(new, START_MAPS);
    kit.phone_text(old, START_SCRIBE);
    assert_eq!(kit.s.m.phone.open(), Some(new));
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
}

#[test]
fn audio_on_a_superseded_socket_counts_as_speaking() {
    let (mut kit, old) = Kit::connected();
    kit.phone();
    say_sound(&mut kit, old);
    assert_eq!(kit.s.m.phone.open(), Some(old));
}

#[test]
fn a_superseded_socket_stays_so_when_the_current_one_leaves_and_ends_with_the_session() {
    let (mut kit, old) = Kit::connected();
    let new = kit.phone();
    kit.phone_text(new, START_MAPS);
    kit.phone_closes(new);
    kit.phone_text(old, START_SCRIBE);
    say_sound(&mut kit, old);
    assert_eq!(kit.s.state, State::Disconnected);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    kit.forget();
    kit.phone_text(old, PING);
    assert_eq!(kit.types(old), ["pong"]);
    kit.advance(59_999);
    assert_eq!(kit.close_of(old), None);
    kit.advance(1);
    assert_eq!(kit.close_of(old), Some((1000, "User session ended")));
    assert_eq!(kit.s.state, State::Disposed);
}

#[test]
fn a_socket_that_only_pinged_and_left_gives_the_place_back() {
    let (mut kit, old) = Kit::connected();
    let new = kit.phone();
    kit.phone_text(new, PING);
    kit.phone_closes(new);
    kit.phone_text(old, PING);
    assert_eq!(kit.s.state, State::Disconnected);
    kit.phone_text(old, r#"{"type":"button_press"}"#);
    assert_eq!(kit.s.state, State::Connected);
    kit.advance(60_000);
    assert_eq!(kit.s.state, State::Connected);
}

#[test]
fn a_socket_that_asked_for_encryption_finds_a_key_in_every_ack() {
    let mut kit = Kit::new();
    kit.cfg.udp.udp_host = "udp.example.net".into();
    kit.load(UserRecord::default());
    let phone = kit.phone_with(PhoneFlags {
        udp_encryption: true,
        livekit: false,
        secret: UdpSecret([7; 32]),
    });
    kit.texts(phone);
    kit.phone_text(phone, r#"{"type":"udp_register","userIdHash":3718288755}"#);
    kit.phone_text(
        phone,
        r#"{"type":"udp_unregister","userIdHash":3718288755}"#,
    );
    assert_eq!(kit.s.m.phone.udp_key, None, "forgotten with the hash");
    kit.phone_text(phone, r#"{"type":"connection_init"}"#);
    let ack = kit.texts(phone).remove(0);
    assert_eq!(ack["type"], "connection_ack");
    assert_eq!(ack["udpEncryption"]["algorithm"], "xsalsa20-poly1305");
    assert_eq!(ack["udpEncryption"]["key"].as_str().map(str::len), Some(44));

    let plain = kit.phone();
    kit.texts(plain);
    kit.phone_text(plain, r#"{"type":"connection_init"}"#);
    assert!(kit.texts(plain)[0].get("udpEncryption").is_none());
}

#[test]
fn messages_of_the_phone_without_what_they_need_are_counted_and_change_nothing() {
    let (mut kit, phone) = Kit::connected();
    let bad = [
        r#"{"type":"ping",}"#,
        r#"{"type":"pong","a":}"#,
        r#"{"type":"connection_init","userId":nobody}"#,
        r#"{"type":"managed_stream_stop"]"#,
        r#"{"type":"udp_register"}"#,
        r#"{"type":"udp_register","userIdHash":4294967296}"#,
        r#"{"type":"udp_unregister","userIdHash":"1"}"#,
        r#"{"type":"keep_alive_ack","streamId":"s1"}"#,
        r#"{"type":"audio_play_response","success":true}"#,
        r#"{"type":"location_update","lat":"x","lng":1}"#,
        r#"{"type":"calendar_event","title":"t"}"#,
    ];
    for text in bad {
        kit.phone_text(phone, text);
        assert!(kit.is_quiet(), "{text}: {}", kit.leftovers());
    }
    let counted =
        kit.metrics.get(Counter::PhoneHandlerFailed) + kit.metrics.get(Counter::PhoneBadJson);
    assert_eq!(counted, bad.len() as u64);
    assert!(kit.s.m.phone.udp_hash.is_none());
    kit.phone_text(phone, r#"{"type":"ping","extra":[1]}"#);
    assert_eq!(kit.texts(phone), [json!({"type": "pong"})]);
}

#[test]
fn an_app_that_sends_no_json_is_told_so_whatever_the_type() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    for kind in [
        "ping",
        "pong",
        "managed_stream_stop",
        "app_user_discovery",
        "audio_stop_request",
    ] {
        kit.app_text(conn, &format!(r#"{{"type":"{kind}",}}"#));
        let told = kit.types(conn);
        assert_eq!(told, ["tpa_connection_error MALFORMED_MESSAGE"], "{kind}");
    }
    assert_eq!(kit.metrics.get(Counter::AppBadJson), 5);
    assert_eq!(kit.close_of(conn), None);
    for _ in 0..5 {
        kit.app_text(conn, r#"{"type":"ping",}"#);
    }
    assert_eq!(kit.close_of(conn), Some((1007, "Invalid JSON")));
}

#[test]
fn held_frames_end_with_a_session_that_is_disposed_while_it_loads() {
    let mut kit = Kit::new();
    let phone = kit.phone();
    kit.phone_text(phone, START_SCRIBE);
    kit.event(session_end());
    kit.load(UserRecord::default());
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}

/// Invariant 3: what the operator reads of a phone is what its current socket did.
#[test]
fn a_pong_of_a_superseded_socket_is_no_sign_of_the_phone() {
    let (mut kit, old) = Kit::connected();
    let new = kit.phone();
    kit.advance(10_000);
    for effect in kit.effects(|effect| matches!(effect, Effect::Ping { .. })) {
        if let Effect::Ping { conn, id } = effect
            && conn == old
        {
            let payload = bytes::Bytes::copy_from_slice(&id);
            kit.event(Event::Pong { conn, payload });
        }
    }
    assert_eq!(kit.s.m.phone.last_pong_ms, 0);
    kit.advance(1000);
    kit.phone_text(new, PING);
    assert_eq!(kit.s.m.phone.last_message_ms, kit.now.mono_ms);
}
