//! Defects of sound: sealed audio from the phone, translations, audio of apps for the phone.

use super::super::net::{Down, Up};
use super::super::udp::{BY_UDP, CHUNK_BYTES};
use super::super::world::{START_MS, World};
use super::{NOTES, SCRIBE, USER, hearing, running, world, world_with};
use prism::base::settings::Settings;
use prism::session::event::Sdk;
use prism::session::rest::Call;
use serde_json::{Value, json};

/// Chunks that came by UDP and that the app heard since `from_ms`.
fn heard_by_udp(w: &World, from_ms: u64) -> usize {
    let log = w.watch.log.iter();
    let chunks = log.filter(|(at, to, frame)| {
        let Down::Binary(chunk) = frame else {
            return false;
        };
        let by_udp = chunk.len() == CHUNK_BYTES
            && u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]) & BY_UDP != 0;
        by_udp && *to == w.conn_of(SCRIBE) && *at >= START_MS + from_ms
    });
    chunks.count()
}

/// The key of each ack that the phone's socket got.
fn key_told(w: &World) -> Value {
    let acks = w.texts(w.phone_conn(0), "connection_ack", 0);
    acks.last().expect("an ack").1["udpEncryption"]["key"].clone()
}

#[test]
fn audio_sealed_with_the_first_key_is_heard_after_every_reconnect() {
    let mut w = world(7, [Sdk::V2; 4]);
    w.watch.logging = true;
    w.add_phone(USER, 0);
    w.seals_with_its_first_key(0);
    w.run(1500);
    w.start(USER, SCRIBE);
    w.run(10_000);
    let key = key_told(&w);
    assert!(key.is_string());
    assert!(heard_by_udp(&w, 4000) > 10, "{}", heard_by_udp(&w, 4000));
    for round in 1..4 {
        let conn = w.phone_conn(0);
        w.hang_up(conn);
        w.phone_lost(0, conn);
        w.run(500);
        // Its microphone is on while it has no socket.
        let t = w.t();
        for _ in 0..10 {
            w.udp_speaks(0);
            w.run(200);
        }
        let away = heard_by_udp(&w, t);
        assert!(away > 10, "{away} chunks heard while it was away ({round})");
        w.run(4000);
        let t = w.t();
        w.run(10_000);
        w.sound();
        let heard = heard_by_udp(&w, t);
        assert!(heard > 10, "{heard} chunks heard after reconnect {round}");
        assert_eq!(key_told(&w), key, "the ack tells the same key");
    }
}

/// Whoever knows a user id can send datagrams in its phone's name.
#[test]
fn a_stray_datagram_is_heard_only_where_audio_is_not_sealed() {
    for sealed in [true, false] {
        let mut cfg = Settings::default();
        cfg.udp.udp_encryption_enabled = sealed;
        let mut w = world_with(7, [Sdk::V2; 4], cfg);
        w.watch.logging = true;
        w.add_phone(USER, 0);
        w.seals_with_its_first_key(0);
        w.run(1500);
        w.runs(SCRIBE);
        let t = w.t();
        w.stray_for(0, &[1, 2, 3, 4, 5, 6, 7]);
        w.run(3000);
        w.sound();
        let log = w.watch.log.iter();
        let heard = log.filter(|(_, _, frame)| match frame {
            Down::Binary(chunk) => chunk[..] == [1, 2, 3, 4, 5, 6],
            _ => false,
        });
        assert_eq!(heard.count(), usize::from(!sealed));
        assert!(heard_by_udp(&w, t) > 5, "and the phone's goes on, in step");
    }
}

/// The languages into which an app got translations, each once.
fn targets(w: &World, app: usize) -> Vec<String> {
    let heard = w.texts(w.conn_of(app), "data_stream", 0);
    let targets = heard
        .iter()
        .filter(|row| row.1["data"]["type"] == "translation");
    let mut list: Vec<String> = targets
        .filter_map(|row| row.1["data"]["translateLanguage"].as_str())
        .map(str::to_owned)
        .collect();
    list.sort();
    list.dedup();
    list
}

#[test]
fn an_app_gets_translations_into_its_own_language_alone() {
    let mut w = hearing(Sdk::V3, &[SCRIBE, NOTES], Settings::default(), |w| {
        w.recognisers.tame = true;
    });
    w.subscribe(SCRIBE, USER, vec![json!("translation:es-ES-to-en-US")]);
    w.subscribe(NOTES, USER, vec![json!("translation:es-ES-to-fr-FR")]);
    let phone = w.phone_conn(0);
    w.say(phone, &json!({"type": "VAD", "status": true}));
    w.run(8000);
    w.sound();
    assert_eq!(targets(&w, SCRIBE), ["en-US"]);
    assert_eq!(targets(&w, NOTES), ["fr-FR"]);
}

const STREAM: &str = "0d6c0f5e-8a0b-4f0a-9b51-3f3b6c1d2e4f";

/// An app writes pieces of its speech, ten a second.
fn write(w: &mut World, pieces: std::ops::Range<u32>) {
    for piece in pieces {
        let frame = format!("{STREAM}[{piece}]");
        let conn = w.conn_of(SCRIBE);
        w.send(conn, Up::Binary(frame.into()));
        w.run(100);
    }
}

/// Play requests that the phone got, on whichever socket.
fn asked_to_play(w: &World) -> usize {
    let log = w.watch.log.iter();
    log.filter(|row| row.2.kind() == "audio_play_request")
        .count()
}

/// The phone is back on a new socket at once.
fn phone_returns(w: &mut World) {
    let conn = w.phone_conn(0);
    w.hang_up(conn);
    w.phone_lost(0, conn);
    w.phone_connects_in(0, 200);
    w.run(500);
    assert_ne!(w.phone_conn(0), conn);
}

#[test]
fn what_an_app_says_is_played_once() {
    // Some apps ask the phone themselves.
    for asks_itself in [false, true] {
        let mut w = running(Sdk::V3, SCRIBE);
        w.phones[0].helpful = false;
        let start = json!({"type": "audio_stream_start", "streamId": STREAM});
        w.app_says(SCRIBE, USER, &start);
        w.run(200);
        let ready = w.texts(w.conn_of(SCRIBE), "audio_stream_ready", 0);
        let url = ready[0].1["streamUrl"].clone();
        if asks_itself {
            let ask = json!({"type": "audio_play_request", "requestId": "mine", "audioUrl": url});
            w.app_says(SCRIBE, USER, &ask);
        }
        write(&mut w, 0..30);
        assert_eq!(asked_to_play(&w), 1, "it was told to play");
        phone_returns(&mut w);
        write(&mut w, 30..50);
        assert_eq!(asked_to_play(&w), 1, "it has not fetched it yet");
        let fetch = Call::AudioStream {
            stream_id: STREAM.to_owned(),
            peek: false,
        };
        let played = w.rest(USER, fetch);
        write(&mut w, 50..70);
        phone_returns(&mut w);
        write(&mut w, 70..90);
        let end = json!({"type": "audio_stream_end", "streamId": STREAM});
        w.app_says(SCRIBE, USER, &end);
        w.run(30_000);
        w.sound();
        assert_eq!(asked_to_play(&w), 1, "nothing is played again");
        let all: String = (0..90).map(|piece| format!("[{piece}]")).collect();
        assert_eq!(String::from_utf8_lossy(&w.http[&played]), all);
    }
}
