//! What a shard does in user space for one message, without sockets: nanoseconds, and instructions under callgrind
//! (`scripts/instructions`). Each case ends with the bytes that every app's socket would be sent.
//!
//! `cargo bench --bench hot_path` prints nanoseconds; `-- --run CASE COUNT` runs one case so many times and prints nothing.

#[path = "../tests/support/relay.rs"]
mod relay;

use bytes::{Bytes, BytesMut};
use crypto_secretbox::aead::AeadInPlace;
use crypto_secretbox::{KeyInit, XSalsa20Poly1305};
use prism::base::clock::Clock;
use prism::base::ids::UserId;
use prism::session::event::{PhoneFlags, UdpSecret};
use prism::wire::frame::{Decoder, Lent, Message};
use prism::wire::{lc3, udp};
use relay::{USER, World};
use std::hint::black_box;

const SPEECH: &[u8] = include_bytes!("../tests/golden/lc3/60.lc3");
const KEY: [u8; 32] = [9; 32];
/// Runs before anything counts: buffers grow, latency records fill.
const WARM_UP: usize = 64;
const ROUNDS: usize = 15;
const RUNS: usize = 20_000;

/// One run of a case.
type Run = Box<dyn FnMut()>;

/// Name, what it is, and how it is set up.
type Case = (&'static str, &'static str, fn() -> Run);

const CASES: &[Case] = &[
    ("frame", "a masked 100 B frame is decoded", || frame(100)),
    ("audio-100-f1", "a 100 B audio frame to 1 app", || {
        audio(1, 100)
    }),
    ("audio-100-f3", "a 100 B audio frame to 3 apps", || {
        audio(3, 100)
    }),
    ("audio-3200-f1", "a 3,200 B audio frame to 1 app", || {
        audio(1, 3200)
    }),
    ("event-f1", "a 200 B event to 1 app", || event(1)),
    ("event-f3", "a 200 B event to 3 apps", || event(3)),
    ("ping", "a phone's ping is answered", ping),
    ("udp-open", "a sealed 640 B packet is opened", udp_open),
    (
        "lc3-30ms",
        "30 ms of LC3 (3 frames of 60 B) are decoded",
        lc3_decode,
    ),
    ("udp-pcm-f1", "a 640 B PCM datagram to 1 app", || {
        datagram(1, Payload::Pcm)
    }),
    ("udp-sealed-f1", "the same, sealed", || {
        datagram(1, Payload::Sealed)
    }),
    ("udp-swapped-f1", "two of them, the second first", swapped),
    ("udp-lc3-f1", "a datagram of 30 ms LC3 to 1 app", || {
        datagram(1, Payload::Lc3)
    }),
    ("udp-lc3-f3", "a datagram of 30 ms LC3 to 3 apps", || {
        datagram(3, Payload::Lc3)
    }),
    ("udp-lc3-sealed-f3", "the same, sealed", || {
        datagram(3, Payload::SealedLc3)
    }),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[1..] {
        [flag, case, count, ..] if flag == "--run" => {
            let (_, _, set_up) = CASES
                .iter()
                .find(|known| known.0 == case)
                .expect("a known case");
            let mut run = set_up();
            (0..count.parse().expect("a number")).for_each(|_| run());
        }
        [flag, ..] if flag == "--list" => CASES.iter().for_each(|case| println!("{}", case.0)),
        _ => measure(),
    }
}

fn measure() {
    println!("{:<18} {:>9} {:>9}  what", "case", "ns median", "best");
    for (name, what, set_up) in CASES {
        let mut run = set_up();
        let clock = Clock::start();
        let mut rounds: Vec<u64> = (0..ROUNDS)
            .map(|_| {
                let begun = clock.mono_ns();
                (0..RUNS).for_each(|_| run());
                (clock.mono_ns() - begun) / RUNS as u64
            })
            .collect();
        rounds.sort_unstable();
        println!(
            "{name:<18} {:>9} {:>9}  {what}",
            rounds[ROUNDS / 2],
            rounds[0]
        );
    }
}

fn warm(mut run: impl FnMut() + 'static) -> Run {
    (0..WARM_UP).for_each(|_| run());
    Box::new(run)
}

/// Larger than any message here.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

fn frame(bytes: usize) -> Run {
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
    let mut wire = vec![0x82, 0x80 | bytes as u8, 1, 2, 3, 4];
    wire.resize(6 + bytes, 7);
    let mut buffer = wire.clone();
    warm(move || {
        buffer.copy_from_slice(&wire);
        let used = decoder.next_lent(&mut buffer, usize::MAX, |lent| {
            black_box(&lent);
        });
        assert!(used.is_ok_and(|used| used == buffer.len()));
    })
}

fn audio(apps: usize, bytes: usize) -> Run {
    let mut world = World::new(apps, PhoneFlags::default());
    let phone = world.phone;
    let pcm = vec![1_u8; bytes];
    let lent = world.shard.lends(phone) > Some(bytes);
    warm(move || {
        if lent {
            world.turn(phone, |shard| shard.lent(phone, Lent::Binary(&pcm)));
        } else {
            world.frame(phone, Message::Binary(Bytes::copy_from_slice(&pcm)));
        }
        assert!(world.drain() > bytes, "every app gets the frame");
    })
}

fn event(apps: usize) -> Run {
    let mut world = World::new(apps, PhoneFlags::default());
    let phone = world.phone;
    let head = r#"{"type":"button_press","buttonId":"main","pressType":"short","timestamp":1773480413589,"pad":""#;
    let text = format!("{head}{}\"}}", "x".repeat(198 - head.len()));
    warm(move || {
        world.turn(phone, |shard| shard.lent(phone, Lent::Text(&text)));
        assert!(world.drain() > text.len(), "every app gets the event");
    })
}

fn ping() -> Run {
    let mut world = World::new(1, PhoneFlags::default());
    let phone = world.phone;
    warm(move || {
        world.turn(phone, |shard| {
            shard.lent(phone, Lent::Text(r#"{"type":"ping"}"#))
        });
        black_box(world.drain());
    })
}

fn seal(audio: &[u8]) -> Vec<u8> {
    let mut sealed = audio.to_vec();
    let nonce = [3; 24];
    let tag = XSalsa20Poly1305::new(&KEY.into())
        .encrypt_in_place_detached(&nonce.into(), &[], &mut sealed)
        .expect("short enough");
    [&nonce[..], &tag[..], &sealed].concat()
}

fn udp_open() -> Run {
    let sealed = seal(&[1; 640]);
    let mut buffer = sealed.clone();
    warm(move || {
        buffer.copy_from_slice(&sealed);
        assert!(udp::open(&KEY, &mut buffer).is_ok());
    })
}

fn speech() -> &'static [u8] {
    &SPEECH[60 * 10..60 * 13]
}

fn lc3_decode() -> Run {
    let mut decoder = lc3::Decoder::new(60).expect("a size phones use");
    let mut pcm = BytesMut::with_capacity(4 * lc3::PCM_BYTES);
    warm(move || {
        pcm.clear();
        assert!(
            decoder
                .decode(speech(), &mut pcm)
                .is_ok_and(|decoded| decoded.frames == 3)
        );
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Payload {
    Pcm,
    Sealed,
    Lc3,
    SealedLc3,
}

/// A user whose phone sends by UDP.
fn by_udp(apps: usize, payload: Payload) -> (World, Vec<u8>) {
    let sealed = matches!(payload, Payload::Sealed | Payload::SealedLc3);
    let flags = PhoneFlags {
        udp_encryption: sealed,
        secret: UdpSecret(KEY),
        ..PhoneFlags::default()
    };
    let mut world = World::new(apps, flags);
    let phone = world.phone;
    let hash = UserId::new(USER).hash32();
    world.text(
        phone,
        &format!(r#"{{"type":"udp_register","userIdHash":{hash}}}"#),
    );
    let audio = match payload {
        Payload::Pcm | Payload::Sealed => vec![1; 640],
        Payload::Lc3 | Payload::SealedLc3 => {
            world.configure_audio(r#"{"format":"lc3","lc3Config":{"sampleRate":16000,"frameDurationMs":10,"frameSizeBytes":60}}"#);
            speech().to_vec()
        }
    };
    let mut packet = hash.to_be_bytes().to_vec();
    packet.extend([0, 0]);
    packet.extend(if sealed { seal(&audio) } else { audio });
    (world, packet)
}

fn datagram(apps: usize, payload: Payload) -> Run {
    let (mut world, packet) = by_udp(apps, payload);
    let mut buffer = packet.clone();
    let mut sequence = 0_u16;
    warm(move || {
        buffer.copy_from_slice(&packet);
        buffer[4..6].copy_from_slice(&sequence.to_be_bytes());
        sequence = sequence.wrapping_add(1);
        world.shard.datagram(&mut buffer);
        assert!(world.drain() > 640, "every app gets the audio");
    })
}

fn swapped() -> Run {
    let (mut world, packet) = by_udp(1, Payload::Pcm);
    let mut buffer = packet.clone();
    world.shard.datagram(&mut buffer);
    let mut sequence = 1_u16;
    world.drain();
    warm(move || {
        for later in [1, 0] {
            buffer.copy_from_slice(&packet);
            buffer[4..6].copy_from_slice(&sequence.wrapping_add(later).to_be_bytes());
            world.shard.datagram(&mut buffer);
        }
        sequence = sequence.wrapping_add(2);
        assert!(world.drain() > 2 * 640, "both arrive");
    })
}
