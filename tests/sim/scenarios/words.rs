//! Defects of words: from the tokens that a provider sends to what an app shows.

use super::{NOTES, SCRIBE, USER, hearing};
use crate::sim::world::World;
use prism::base::settings::Settings;
use prism::session::event::Sdk;
use serde_json::{Value, json};

/// The stream of most scripts.
pub(super) const EN: &str = "transcription:en-US";
/// More words than the server passes tokens on.
const SAID: &str =
    "We meet at the old mill by the river at nine and walk on from there to the top of the hill";

/// A phone, these apps, and a provider that says what the script wants it to say.
pub(super) fn listening(apps: &[usize]) -> World {
    listening_with(apps, Settings::default())
}

fn listening_with(apps: &[usize], cfg: Settings) -> World {
    hearing(Sdk::V2, apps, cfg, |w| w.provider.scripted = true)
}

/// A token, without voice and language.
fn token(text: &str, is_final: bool) -> Value {
    json!({"text": text, "is_final": is_final, "confidence": 0.9, "language": "en"})
}

/// What an app shows of an utterance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shown {
    id: String,
    pub(super) text: String,
    pub(super) is_final: bool,
}

impl World {
    /// What an app shows: each utterance once, as it last was.
    pub(super) fn page(&self, app: usize, from_ms: u64) -> Vec<Shown> {
        let mut page: Vec<Shown> = Vec::new();
        for (_, message) in self.texts(self.conn_of(app), "data_stream", from_ms) {
            let data = &message["data"];
            let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
            if data["type"] != "transcription" {
                continue;
            }
            let shown = Shown {
                id: text("utteranceId"),
                text: text("text"),
                is_final: data["isFinal"] == true,
            };
            match page.iter_mut().find(|one| one.id == shown.id) {
                Some(one) => *one = shown,
                None => page.push(shown),
            }
        }
        page
    }

    /// The provider sends tokens to the recogniser of [`EN`].
    fn tokens(&mut self, tokens: &[Value]) {
        assert!(self.provider_says(USER, EN, &json!({ "tokens": tokens })));
        self.run(200);
        self.sound();
    }

    /// The provider hears these words: each is sure two words later. The app must show all that was said, and nothing twice.
    fn hear(&mut self, words: &[&str], voice: &str, before: &[&str]) {
        let mut unsure: Vec<Value> = Vec::new();
        let mut said = String::new();
        for (at, word) in words.iter().enumerate() {
            let spaced = if at == 0 {
                (*word).to_owned()
            } else {
                format!(" {word}")
            };
            said.push_str(&spaced);
            let mut new = token(&spaced, false);
            new["speaker"] = json!(voice);
            unsure.push(new);
            let mut tokens = Vec::new();
            if unsure.len() > 2 {
                let mut sure = unsure.remove(0);
                sure["is_final"] = json!(true);
                tokens.push(sure);
            }
            tokens.extend(unsure.iter().cloned());
            self.tokens(&tokens);
            let texts: Vec<String> = self
                .page(SCRIBE, 0)
                .into_iter()
                .map(|one| one.text)
                .collect();
            let wanted: Vec<&str> = before.iter().copied().chain([&*said]).collect();
            assert_eq!(texts, wanted, "after {word:?}");
        }
        for one in &mut unsure {
            one["is_final"] = json!(true);
        }
        unsure.push(token("<end>", true));
        self.tokens(&unsure);
    }
}

#[test]
fn no_word_is_lost_or_repeated_on_the_way_from_the_provider_to_an_app() {
    let mut w = listening(&[SCRIBE]);
    let words: Vec<&str> = SAID.split(' ').collect();
    w.hear(&words, "1", &[]);
    w.run(600); // An end is held back this long.
    // Another sentence, and another voice in the middle of one.
    w.hear(&["Good."], "1", &[SAID]);
    w.hear(
        &["And", "who", "brings", "the", "bread?"],
        "2",
        &[SAID, "Good."],
    );
    w.run(600);
    w.sound();
    let page = w.page(SCRIBE, 0);
    let texts: Vec<&str> = page.iter().map(|one| &*one.text).collect();
    assert_eq!(texts, [SAID, "Good.", "And who brings the bread?"]);
    assert!(page.iter().all(|one| one.is_final), "{page:?}");
}

#[test]
fn a_guess_that_the_provider_takes_back_leaves_no_trace() {
    let mut w = listening(&[SCRIBE]);
    w.tokens(&[token("I scream", false)]);
    w.tokens(&[
        token("Ice", true),
        token(" cream,", false),
        token(" please", false),
    ]);
    w.tokens(&[token(" cream", true), token(" and tea", false)]);
    assert_eq!(w.page(SCRIBE, 0)[0].text, "Ice cream and tea");
    w.tokens(&[
        token(" and", true),
        token(" tea", true),
        token("<end>", true),
    ]);
    w.run(600);
    let page = w.page(SCRIBE, 0);
    assert_eq!(page.len(), 1, "{page:?}");
    assert_eq!(
        (&*page[0].text, page[0].is_final),
        ("Ice cream and tea", true)
    );
}

#[test]
fn a_sentence_that_the_provider_split_is_one_utterance() {
    let mut w = listening(&[SCRIBE]);
    w.tokens(&[token("Turn left", true), token(" at", false)]);
    w.tokens(&[token(" at the", true), token("<end>", true)]);
    // Within the time for which an end is held back, and beginning with the end of what it continues.
    w.tokens(&[token("at the", true), token(" bridge", false)]);
    w.tokens(&[token(" bridge.", true), token("<end>", true)]);
    w.run(600);
    w.sound();
    let page = w.page(SCRIBE, 0);
    assert_eq!(page.len(), 1, "{page:?}");
    assert_eq!(
        (&*page[0].text, page[0].is_final),
        ("Turn left at the bridge.", true)
    );
}

#[test]
fn words_that_were_not_sure_yet_become_final_when_the_user_falls_silent() {
    for linger_ms in [0, 1500] {
        let mut cfg = Settings::default();
        cfg.speech.vad_close_linger_ms = linger_ms;
        let mut w = listening_with(&[SCRIBE, NOTES], cfg);
        w.tokens(&[
            token("See", true),
            token(" you", false),
            token(" soon", false),
        ]);
        let phone = w.phone_conn(0);
        w.say(phone, &json!({"type": "VAD", "status": false}));
        w.run(1000);
        w.sound(); // Invariant 31.
        for app in [SCRIBE, NOTES] {
            let page = w.page(app, 0);
            assert_eq!(page.len(), 1, "{page:?}");
            assert_eq!(page[0].text, "See you soon");
            assert!(page[0].is_final, "not final, linger {linger_ms} ms");
        }
        w.run(linger_ms);
        assert!(w.provider_hears(USER, EN).is_empty(), "{linger_ms}");
        // The next words are another utterance of another recogniser.
        w.say(phone, &json!({"type": "VAD", "status": true}));
        w.run(1000);
        w.tokens(&[token("Hello", true), token("<end>", true)]);
        w.run(600);
        let texts: Vec<String> = w.page(NOTES, 0).into_iter().map(|one| one.text).collect();
        assert_eq!(texts, ["See you soon", "Hello"]);
    }
}
