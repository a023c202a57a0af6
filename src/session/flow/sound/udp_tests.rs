//! Layer 2, tests of audio datagrams: what is heard of them, in which order, and what the phone is told. Opens no socket.

use crate::base::metrics::Counter;
use crate::session::effects::Effect;
use crate::session::event::{PhoneFlags, Sdk, UdpSecret};
use crate::session::testkit::media::{Kit, PHONE_CONN};
use crate::wire::udp::seal;
use serde_json::json;

const KEY: [u8; 32] = [7; 32];

/// A phone that registered, and an app that listens.
fn kit() -> Kit {
    let mut kit = Kit::new();
    kit.app("main", Sdk::V3);
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(2000);
    kit.phone(&json!({"type": "udp_register", "userIdHash": 3_718_288_755_u32}));
    kit.forget();
    kit
}

fn sealed_kit() -> Kit {
    let mut kit = kit();
    kit.s.m.phone.udp_key = Some(UdpSecret(KEY));
    kit.s.m.phone.flags = PhoneFlags {
        udp_encryption: true,
        livekit: false,
        secret: UdpSecret([9; 32]),
    };
    kit
}

fn packet(kit: &mut Kit, sequence: u16, payload: &[u8]) {
    let mut payload = payload.to_vec();
    kit.run(|s, cx| s.on_udp_audio(sequence, &mut payload, cx));
}

fn heard(kit: &mut Kit) -> Vec<Vec<u8>> {
    let frames = kit.binary();
    frames.into_iter().map(|(_, data)| data.to_vec()).collect()
}

#[test]
fn packets_are_heard_in_their_order() {
    let mut kit = kit();
    for sequence in [1, 3, 2] {
        packet(&mut kit, sequence, &[sequence as u8; 2]);
    }
    assert_eq!(heard(&mut kit), [[1, 1], [2, 2], [3, 3]]);
    assert_eq!(kit.metrics.get(Counter::AudioBytesUdp), 6);
}

#[test]
fn an_odd_byte_continues_in_the_next_packet_and_in_no_later_one() {
    let mut kit = kit();
    packet(&mut kit, 1, &[1, 1, 1]);
    packet(&mut kit, 2, &[2, 2, 2]);
    packet(&mut kit, 3, &[3, 3, 3]);
    assert_eq!(heard(&mut kit).concat(), [1, 1, 1, 2, 2, 2, 3, 3]);
    packet(&mut kit, 5, &[5; 2]);
    packet(&mut kit, 6, &[6; 2]);
    kit.advance(21);
    assert_eq!(heard(&mut kit).concat(), [5, 5, 6, 6], "the fourth is lost");
    // Somebody's datagram that is not of this phone, before the phone begins.
    packet(&mut kit, 46_670, &[9; 23]);
    packet(&mut kit, 0, &[7; 4]);
    let frames = heard(&mut kit);
    assert_eq!(frames.last().map(Vec::as_slice), Some(&[7; 4][..]));
}

#[test]
fn a_hole_is_given_up_after_twenty_milliseconds_without_another_packet() {
    let mut kit = kit();
    packet(&mut kit, 1, &[1; 2]);
    packet(&mut kit, 3, &[3; 2]);
    kit.advance(19);
    assert_eq!(heard(&mut kit), [[1, 1]]);
    kit.advance(1);
    assert_eq!(heard(&mut kit), [[3, 3]]);
    packet(&mut kit, 2, &[2; 2]);
    packet(&mut kit, 4, &[4; 2]);
    assert_eq!(heard(&mut kit), [[4, 4]], "2 is too late");
    assert_eq!(kit.metrics.get(Counter::UdpDropped), 1);
}

#[test]
fn a_probe_is_confirmed_over_the_websocket() {
    let mut kit = kit();
    kit.run(|s, cx| s.on_udp_probe(cx));
    let told: Vec<_> = kit
        .texts(PHONE_CONN)
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    let unix_ms = kit.now.unix_ms;
    assert_eq!(
        told,
        [json!({"type": "udp_ping_ack", "timestamp": unix_ms})]
    );
    kit.s.m.phone.current = None;
    kit.run(|s, cx| s.on_udp_probe(cx));
    assert!(kit.texts(PHONE_CONN).is_empty());
}

#[test]
fn whoever_probes_in_a_phones_name_does_not_fill_its_queue() {
    let mut kit = kit();
    let answers = |kit: &mut Kit| {
        for _ in 0..1000 {
            kit.run(|s, cx| s.on_udp_probe(cx));
        }
        kit.texts(PHONE_CONN).len()
    };
    assert_eq!(answers(&mut kit), 20);
    kit.now = kit.now.plus(1000);
    assert_eq!(answers(&mut kit), 20);
}

#[test]
fn sealed_audio_opens_and_a_forged_packet_uses_up_no_number() {
    let mut kit = sealed_kit();
    packet(&mut kit, 1, &seal(&KEY, [1; 24], &[1; 2]));
    packet(&mut kit, 2, &seal(&[8; 32], [1; 24], &[0; 2]));
    packet(&mut kit, 2, &[0; 320]);
    packet(&mut kit, 2, &seal(&KEY, [2; 24], &[2; 2]));
    packet(&mut kit, 3, &seal(&KEY, [3; 24], &[]));
    packet(&mut kit, 3, &seal(&KEY, [3; 24], &[3; 2]));
    assert_eq!(heard(&mut kit), [[1, 1], [2, 2], [3, 3]]);
    assert_eq!(kit.metrics.get(Counter::UdpDecryptionFailures), 2);
    assert_eq!(kit.metrics.get(Counter::UdpDropped), 3);
}

#[test]
fn a_socket_that_asked_for_no_encryption_sends_plain_packets() {
    let mut kit = sealed_kit();
    kit.s.m.phone.flags.udp_encryption = false;
    packet(&mut kit, 1, &[1; 2]);
    assert_eq!(heard(&mut kit), [[1, 1]]);
}

#[test]
fn a_socket_that_was_told_the_key_goes_on_sealing_when_encryption_is_switched_off() {
    let mut kit = sealed_kit();
    kit.cfg.udp.udp_encryption_enabled = false;
    packet(&mut kit, 1, &seal(&KEY, [1; 24], &[1; 2]));
    packet(&mut kit, 2, &[9; 320]);
    assert_eq!(heard(&mut kit), [[1, 1]]);
}

#[test]
fn a_new_registration_begins_a_new_sequence() {
    let mut kit = kit();
    packet(&mut kit, 40, &[1; 2]);
    packet(&mut kit, 42, &[9; 2]);
    kit.phone(&json!({"type": "udp_register", "userIdHash": 3_718_288_755_u32}));
    packet(&mut kit, 0, &[2; 2]);
    packet(&mut kit, 1, &[3; 2]);
    kit.advance(100);
    assert_eq!(heard(&mut kit), [[1, 1], [2, 2], [3, 3]]);
}

#[test]
fn unregistering_plays_what_waits_and_forgets_the_key() {
    let mut kit = sealed_kit();
    packet(&mut kit, 1, &seal(&KEY, [1; 24], &[1; 2]));
    packet(&mut kit, 3, &seal(&KEY, [3; 24], &[3; 2]));
    kit.phone(&json!({"type": "udp_unregister", "userIdHash": 3_718_288_755_u32}));
    assert_eq!(heard(&mut kit), [[1, 1], [3, 3]]);
    assert_eq!(kit.s.m.phone.udp_key, None);
    packet(&mut kit, 4, &seal(&KEY, [4; 24], &[4; 2]));
    assert!(heard(&mut kit).is_empty(), "without a key nothing opens");
}

#[test]
fn another_hash_takes_the_place_of_the_one_before() {
    let mut kit = kit();
    kit.phone(&json!({"type": "udp_register", "userIdHash": 5}));
    kit.phone(&json!({"type": "udp_register", "userIdHash": 5}));
    let [
        Effect::UdpUnregister {
            hash: 3_718_288_755,
        },
        Effect::UdpRegister { hash: 5 },
        Effect::UdpRegister { hash: 5 },
    ] = &kit.other[..]
    else {
        panic!("{:?}", kit.other);
    };
    assert_eq!(kit.metrics.get(Counter::UdpOtherHash), 1, "once");
}

#[test]
fn unwanted_audio_switches_the_microphone_off() {
    let mut kit = kit();
    kit.subscribe("main", &[]);
    kit.advance(10_000);
    kit.forget();
    packet(&mut kit, 1, &[1; 2]);
    let told = kit.phone_got("microphone_state_change");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1["isMicrophoneEnabled"], false);
}

/// Phones keep sending while their WebSocket is down for some seconds, sealed as their last socket asked.
#[test]
fn audio_is_heard_while_the_phone_reconnects() {
    let mut kit = sealed_kit();
    packet(&mut kit, 1, &seal(&KEY, [1; 24], &[1; 2]));
    kit.s.m.phone.current = None;
    packet(&mut kit, 2, &seal(&KEY, [2; 24], &[2; 2]));
    packet(&mut kit, 4, &seal(&KEY, [4; 24], &[4; 2]));
    packet(&mut kit, 5, &[0; 320]);
    kit.advance(20);
    assert_eq!(heard(&mut kit), [[1, 1], [2, 2], [4, 4]]);
    assert_eq!(kit.metrics.get(Counter::UdpDecryptionFailures), 1);
}

#[test]
fn unwanted_audio_while_the_phone_reconnects_is_nothing_to_tell_it() {
    let mut kit = kit();
    kit.subscribe("main", &[]);
    kit.advance(10_000);
    kit.forget();
    kit.s.m.phone.current = None;
    packet(&mut kit, 1, &[1; 2]);
    assert_eq!(kit.metrics.get(Counter::UnauthorizedAudio), 0);
    assert!(kit.phone_got("microphone_state_change").is_empty());
}
