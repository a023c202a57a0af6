//! Defects of recognisers as seen from the provider: how many there are, and what becomes of one that failed.

use super::words::{EN, listening};
use super::{NOTES, SCRIBE, USER};
use crate::sim::logs::lines_of;
use crate::sim::world::World;
use prism::base::metrics::Counter;
use serde_json::{Value, json};

fn sentence(text: &str) -> Value {
    json!({"tokens": [{"text": text, "is_final": true}, {"text": "<end>", "is_final": true}]})
}

impl World {
    /// The user says a sentence; the app's page must have it within a second.
    #[track_caller]
    fn hears(&mut self, app: usize, text: &str) {
        let t = self.t();
        assert!(
            self.provider_says(USER, EN, &sentence(text)),
            "nobody listens to {text:?}"
        );
        self.run(1000);
        self.sound();
        let page = self.page(app, t);
        let heard = page.iter().any(|one| one.text == text && one.is_final);
        assert!(heard, "{text:?} is not among {page:?}");
    }

    fn vad(&mut self, status: bool) {
        let phone = self.phone_conn(0);
        self.say(phone, &json!({"type": "VAD", "status": status}));
        self.run(200);
    }

    fn subscribe_again(&mut self) {
        self.subscribe(SCRIBE, USER, vec![json!("audio_chunk"), json!(EN)]);
        self.run(200);
    }

    /// The provider refuses for so many minutes, with these answers in turn; the user speaks now and then.
    fn refused_for(&mut self, minutes: usize, codes: &[u16]) {
        for minute in 0..minutes {
            let code = codes[minute % codes.len()];
            let refusal = json!({"tokens": [], "error_code": code, "error_message": "no"});
            self.provider_says(USER, EN, &refusal);
            self.provider.refuses = Some(refusal);
            for speaks in [true, false] {
                self.vad(speaks);
                self.run(29_000);
            }
        }
        self.sound();
    }
}

#[test]
fn apps_with_other_options_share_one_recogniser() {
    let mut w = listening(&[SCRIBE, NOTES]);
    let french = "transcription:en-US?hints=fr";
    let lists = [
        vec![
            json!("transcription:en-US?hints=es&no-language-identification=true"),
            json!("transcription:en-US"),
        ],
        vec![json!(french)],
    ];
    for (app, list) in [SCRIBE, NOTES].into_iter().zip(lists) {
        w.subscribe(app, USER, list);
        w.run(200);
        w.sound(); // Invariant 30.
        assert_eq!(w.provider_hears(USER, EN).len(), 1);
    }
    w.hears(SCRIBE, "One");
    // A hint was gained: another takes its place once nothing was said for two seconds, never beside it.
    for _ in 0..100 {
        w.run(100);
        w.sound();
        assert!(w.provider_hears(USER, EN).len() <= 1);
    }
    // Audio starts it anew, a health pass looks for what is old: a minute.
    w.run(60_000);
    w.sound();
    assert_eq!(w.provider_hears(USER, EN).len(), 1);
    let hints = w.provider.hints.last().expect("one was opened");
    assert_eq!(hints.len(), 2, "the hints of all: {hints:?}");
    let t = w.t();
    w.hears(SCRIBE, "Two");
    let notes = w.texts(w.conn_of(NOTES), "data_stream", t);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0].1["streamType"], french, "under its own name");
    assert_eq!(w.page(SCRIBE, t).len(), 1, "once, though it asked twice");
}

#[test]
fn speech_goes_on_when_the_provider_ends_a_session_that_became_too_long() {
    let lines = lines_of(|| {
        let mut w = listening(&[SCRIBE]);
        w.turn_ms = 1000;
        w.watch.logging = false;
        // An hour and five minutes of speech without a pause in which it could be renewed.
        for minute in 0..65 {
            for second in 0..60 {
                let text = format!(" {minute}:{second}");
                let word = json!({"tokens": [{"text": text, "is_final": true}]});
                assert!(w.provider_says(USER, EN, &word));
                w.run(1000);
            }
        }
        w.sound();
        w.watch.logging = true;
        w.turn_ms = 50;
        let over = json!({"tokens": [], "error_code": 400, "error_message": "Audio is too long."});
        let t = w.t();
        assert!(w.provider_says(USER, EN, &over));
        w.run(500);
        let page = w.page(SCRIBE, t);
        let last = page.first().expect("what was said last");
        assert!(last.is_final && last.text.ends_with("64:59"), "{last:?}");
        w.hears(SCRIBE, "And this.");
    });
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("WARN")).collect();
    assert!(told.is_empty(), "nothing is wrong: {told:?}");
}

/// What asks for a recogniser that was given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ask {
    Speech,
    Subscription,
    HealthPass,
}

#[test]
fn a_recogniser_that_was_given_up_comes_back() {
    for ask in [Ask::Speech, Ask::Subscription, Ask::HealthPass] {
        let mut w = listening(&[SCRIBE]);
        let down = json!({"tokens": [], "error_code": 503, "error_message": "down"});
        w.provider.refuses = Some(down.clone());
        assert!(w.provider_says(USER, EN, &down));
        // Three more attempts after 10, 20 and 30 s: then it waits to be asked for.
        w.run(61_000);
        w.sound();
        let attempts = w.watch.speech.opened;
        w.provider.refuses = None;
        match ask {
            Ask::Speech => w.vad(true),
            Ask::Subscription => w.subscribe_again(),
            Ask::HealthPass => w.run(60_000),
        }
        w.run(300);
        assert!(attempts >= 4, "{ask:?}: {attempts} attempts");
        assert_eq!(w.provider_hears(USER, EN).len(), 1, "{ask:?}");
        w.hears(SCRIBE, "Here again.");
    }
}

#[test]
fn a_provider_that_refuses_for_an_hour_is_one_line_in_the_log() {
    let cases: [(&[u16], usize, usize); 3] = [(&[429], 1, 0), (&[408], 0, 1), (&[429, 408], 1, 1)];
    for (codes, warnings, notes) in cases {
        let mut failures = 0;
        let lines = lines_of(|| {
            let mut w = listening(&[SCRIBE]);
            w.turn_ms = 1000;
            w.refused_for(60, codes);
            failures = w.shard.metrics().get(Counter::SttErrorsSonioxTranscription);
        });
        let about: Vec<&String> = lines
            .iter()
            .filter(|line| line.contains("recogniser"))
            .collect();
        let of = |level: &str| about.iter().filter(|line| line.starts_with(level)).count();
        assert!(failures > 100, "{codes:?}: {failures} failures");
        let told = (of("ERROR"), of("WARN"), of("INFO"));
        assert_eq!(told, (0, warnings, notes), "{codes:?}: {about:#?}");
    }
}
