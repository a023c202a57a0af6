//! A provider of recognisers whose words a script says: its messages go through the server's own code, as from a connection. It
//! makes final what may still change when it is asked to, and ends with a last word.

use super::speech::Key;
use super::world::{Act, World};
use prism::base::ids::UserId;
use prism::services::speech::Dialogue;
use prism::wire::speech::{SpeechId, SpeechOpen, SpeechOrder, SpeechReport};
use prism::wire::streams::parse;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How long it takes to answer (ms).
const ANSWER_MS: u64 = 50;

/// The provider.
#[derive(Default)]
pub(crate) struct Provider {
    /// Recognisers are its; else they are [`super::speech::Recognisers`].
    pub(crate) scripted: bool,
    /// What it says to everybody who connects, in place of listening.
    pub(crate) refuses: Option<Value>,
    talks: BTreeMap<Key, Talk>,
    /// Hints of every recogniser so far, in their order.
    pub(crate) hints: Vec<Vec<String>>,
}

/// One connection.
struct Talk {
    open: SpeechOpen,
    dialogue: Dialogue,
    /// Tokens that may still change.
    unsure: Vec<Value>,
}

impl World {
    pub(super) fn provider_ordered(&mut self, user: &UserId, epoch: u64, order: SpeechOrder) {
        let key = |id: SpeechId| (user.to_string(), epoch, id.0);
        match order {
            SpeechOrder::Open(open) => self.provider_connected(key(open.id), *open),
            SpeechOrder::Audio { .. } => {}
            SpeechOrder::Pause(id) => self.provider_finalises(&key(id)),
            SpeechOrder::Close(id) => {
                self.provider_finalises(&key(id));
                self.provider_sends(&key(id), &json!({"tokens": [], "finished": true}));
            }
            SpeechOrder::Abandon => {
                let talks = &mut self.provider.talks;
                talks.retain(|key, _| key.0 != **user || key.1 != epoch);
            }
        }
    }

    fn provider_connected(&mut self, key: Key, open: SpeechOpen) {
        let ids = format!("utt_{}_{}", key.1, key.2);
        self.provider.hints.push(open.options.hints.clone());
        match Dialogue::begin(&open, &ids, &self.cfg, self.now.mono_ms) {
            Ok(dialogue) => {
                let talk = Talk {
                    open,
                    dialogue,
                    unsure: Vec::new(),
                };
                self.provider.talks.insert(key.clone(), talk);
                self.recogniser_reports(&key, ANSWER_MS, SpeechReport::Ready);
                if let Some(refusal) = self.provider.refuses.clone() {
                    self.provider_sends(&key, &refusal);
                }
            }
            Err(report) => self.recogniser_reports(&key, ANSWER_MS, report),
        }
    }

    fn provider_finalises(&mut self, key: &Key) {
        let Some(talk) = self.provider.talks.get_mut(key) else {
            return;
        };
        let mut tokens = std::mem::take(&mut talk.unsure);
        for token in &mut tokens {
            token["is_final"] = json!(true);
        }
        tokens.push(json!({"text": "<fin>", "is_final": true}));
        self.provider_sends(key, &json!({ "tokens": tokens }));
    }

    /// A message of the provider on one connection.
    fn provider_sends(&mut self, key: &Key, message: &Value) {
        let now_ms = self.now.mono_ms;
        let Some(talk) = self.provider.talks.get_mut(key) else {
            return;
        };
        if let Some(tokens) = message["tokens"].as_array() {
            let unsure = tokens.iter().filter(|token| token["is_final"] != true);
            talk.unsure = unsure.cloned().collect();
        }
        let reports = talk.dialogue.message(&message.to_string(), now_ms);
        self.provider_reported(key, reports);
    }

    /// A conversation's own time has come.
    pub(super) fn provider_turns(&mut self, key: &Key) {
        let now_ms = self.now.mono_ms;
        if let Some(talk) = self.provider.talks.get_mut(key) {
            let reports = talk.dialogue.tick(now_ms);
            self.provider_reported(key, reports);
        }
    }

    fn provider_reported(&mut self, key: &Key, reports: Vec<SpeechReport>) {
        for report in reports {
            if !matches!(report, SpeechReport::Heard(_) | SpeechReport::Ready) {
                self.provider.talks.remove(key);
            }
            self.recogniser_reports(key, ANSWER_MS, report);
        }
        let talk = self.provider.talks.get(key);
        if let Some(due_ms) = talk.and_then(|talk| talk.dialogue.due_ms()) {
            self.at(due_ms, Act::Speech(key.clone()));
        }
    }

    /// Connections of a user for a stream.
    pub(crate) fn provider_hears(&self, user: &str, stream: &str) -> Vec<Key> {
        let stream = parse(stream).parsed;
        let talks = self.provider.talks.iter();
        talks
            .filter(|(key, talk)| key.0 == user && talk.open.stream == stream)
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// The provider says something to a user's recogniser of a stream; says whether there was one.
    pub(crate) fn provider_says(&mut self, user: &str, stream: &str, message: &Value) -> bool {
        let keys = self.provider_hears(user, stream);
        for key in &keys {
            self.provider_sends(key, message);
        }
        !keys.is_empty()
    }
}
