//! Defects of recognisers.

use super::{NOTES, SCRIBE, USER, hearing};
use crate::sim::world::World;
use prism::base::settings::Settings;
use prism::session::event::Sdk;
use serde_json::json;

/// A phone, recognisers that do as they should, and this app.
fn speaking(tame: bool) -> World {
    hearing(Sdk::V2, &[SCRIBE], Settings::default(), |w| {
        w.recognisers.tame = tame;
    })
}

fn vad(w: &mut World, status: bool) {
    let phone = w.phone_conn(0);
    w.say(phone, &json!({"type": "VAD", "status": status}));
}

#[test]
fn the_last_words_before_a_silence_arrive() {
    let mut w = speaking(true);
    vad(&mut w, true);
    w.run(3000);
    let t = w.t();
    vad(&mut w, false);
    w.run(2000);
    w.sound(); // Invariant 31.
    let heard = w.texts(w.conn_of(SCRIBE), "data_stream", t);
    let finals = heard
        .iter()
        .filter(|row| row.1["data"]["isFinal"] == true)
        .count();
    assert_eq!(finals, 1, "{heard:?}");
    assert_eq!(
        heard.last().map(|row| &row.1["data"]["isFinal"]),
        Some(&json!(true))
    );
}

#[test]
fn an_app_that_changes_its_mind_never_has_two_recognisers() {
    let mut w = speaking(true);
    for round in 0..6 {
        let list = if round % 2 == 0 {
            vec![json!("button_press")]
        } else {
            vec![json!("transcription:en-US")]
        };
        w.subscribe(SCRIBE, USER, list);
        w.run(150);
    }
    w.run(4000);
    w.sound(); // Invariant 30.
    assert!(w.watch.speech.opened >= 3);
    assert_eq!(
        w.session(USER).map(|one| one.m.speech.live_streams()),
        Some([1, 0])
    );
}

#[test]
fn whatever_happened_the_wanted_recognisers_run_in_the_end() {
    for seed in 0..20 {
        let mut w = speaking(false);
        w.rng = fastrand::Rng::with_seed(seed);
        w.start(USER, NOTES);
        vad(&mut w, true);
        w.subscribe(
            SCRIBE,
            USER,
            vec![json!("transcription:en-US"), json!("transcription:auto")],
        );
        w.run(60_000);
        w.sound();
        w.recognisers.tame = true;
        // One refused as unsupported is asked for anew only by somebody who did not want it before.
        w.subscribe(
            SCRIBE,
            USER,
            vec![json!("transcription:de-DE"), json!("transcription:auto")],
        );
        w.run(70_000);
        w.sound();
        let session = w.session(USER).expect("there");
        let german =
            session.m.speech.open().any(|(_, stream)| {
                prism::wire::streams::parse("transcription:de-DE").parsed == stream
            });
        assert!(german, "seed {seed}");
    }
}
