//! Recognisers that misbehave: they answer late, twice, or never, fail by every class, close with any code, and some speak
//! after their end.

use super::world::{Act, World};
use prism::base::ids::UserId;
use prism::session::event::Event;
use prism::wire::speech::{
    SpeechFailure, SpeechFailureClass as Class, SpeechId, SpeechOrder, SpeechReport, Utterance,
};
use std::collections::BTreeMap;

/// One recogniser: whose, of which session, which.
pub(crate) type Key = (String, u64, u32);

/// What becomes of a recogniser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Good,
    /// Never ready.
    Mute,
    /// Fails after so many chunks of audio.
    Fails(u32),
    /// Closes after so many.
    Closes(u32),
    /// Does not hear the first order to close.
    Deaf,
    /// Says something after its end, and its end again.
    Ghost,
}

/// One recogniser, as its provider knows it.
#[derive(Debug)]
struct Recogniser {
    fate: Fate,
    ready: bool,
    over: bool,
    chunks: u32,
    utterance: u32,
    /// Interims of the utterance that goes on.
    pending: u32,
}

/// All of them.
#[derive(Default, Debug)]
pub(crate) struct Recognisers {
    all: BTreeMap<Key, Recogniser>,
    /// Sessions without trouble: every recogniser does what it should.
    pub(crate) tame: bool,
}

impl World {
    pub(super) fn speech_ordered(&mut self, user: &UserId, epoch: u64, order: SpeechOrder) {
        self.trace
            .add(self.t(), user, || format!("speech   {}", shown(&order)));
        self.watch.speech_ordered(user, epoch, &order);
        if self.provider.scripted {
            return self.provider_ordered(user, epoch, order);
        }
        let key = |id: SpeechId| (user.to_string(), epoch, id.0);
        match order {
            SpeechOrder::Open(open) => self.recogniser_starts(key(open.id)),
            SpeechOrder::Audio { ids, .. } => {
                for id in ids {
                    self.recogniser_hears(&key(id));
                }
            }
            SpeechOrder::Pause(id) => self.recogniser_finalises(&key(id)),
            SpeechOrder::Close(id) => self.recogniser_ends(&key(id)),
            SpeechOrder::Abandon => {
                for (key, one) in &mut self.recognisers.all {
                    one.over |= key.0 == **user && key.1 == epoch;
                }
            }
        }
    }

    fn recogniser_starts(&mut self, key: Key) {
        let fate = match self.rng.u32(0..12) {
            _ if self.recognisers.tame => Fate::Good,
            0 => Fate::Mute,
            1..3 => Fate::Fails(self.rng.u32(0..8)),
            3 => Fate::Closes(self.rng.u32(0..8)),
            4 => Fate::Deaf,
            5 => Fate::Ghost,
            _ => Fate::Good,
        };
        let one = Recogniser {
            fate,
            ready: false,
            over: false,
            chunks: 0,
            utterance: 0,
            pending: 0,
        };
        self.recognisers.all.insert(key.clone(), one);
        if fate == Fate::Fails(0) {
            let report = self.some_failure();
            self.recogniser_over(&key, report);
        } else if fate != Fate::Mute {
            let late = !self.recognisers.tame && self.rng.u32(0..10) == 0;
            let delay_ms = self.rng.u64(0..if late { 12_000 } else { 900 });
            self.recogniser_reports(&key, delay_ms, SpeechReport::Ready);
            if let Some(one) = self.recognisers.all.get_mut(&key) {
                one.ready = true;
            }
        }
    }

    fn recogniser_hears(&mut self, key: &Key) {
        let Some(one) = self.recognisers.all.get_mut(key).filter(|one| !one.over) else {
            return;
        };
        one.chunks += 1;
        let chunks = one.chunks;
        match one.fate {
            Fate::Fails(at) if chunks >= at => {
                let report = self.some_failure();
                self.recogniser_over(key, report);
            }
            Fate::Closes(at) if chunks >= at => {
                let codes = [None, Some(1000), Some(1006), Some(4000)];
                let code = codes[self.rng.usize(0..4)];
                self.recogniser_over(key, SpeechReport::Closed(code));
            }
            _ if !one.ready => {}
            _ if chunks.is_multiple_of(5) => self.recogniser_finalises(key),
            _ => self.recogniser_says(key, false),
        }
    }

    fn recogniser_finalises(&mut self, key: &Key) {
        let pending = self.recognisers.all.get(key).map_or(0, |one| one.pending);
        if pending > 0 {
            self.recogniser_says(key, true);
        }
    }

    fn recogniser_says(&mut self, key: &Key, is_final: bool) {
        let Some(one) = self.recognisers.all.get_mut(key).filter(|one| !one.over) else {
            return;
        };
        one.pending = if is_final { 0 } else { one.pending + 1 };
        let utterance_id = format!("{}-{}-{}", key.1, key.2, one.utterance);
        let text = format!(
            "{utterance_id}#{}{}",
            one.pending,
            if is_final { "!" } else { "" }
        );
        one.utterance += u32::from(is_final);
        let utterance = Utterance {
            text,
            is_final,
            utterance_id,
            provider: "soniox",
            ..Utterance::default()
        };
        self.recogniser_reports(key, 0, SpeechReport::Heard(Box::new(utterance)));
    }

    fn recogniser_ends(&mut self, key: &Key) {
        let Some(one) = self.recognisers.all.get_mut(key).filter(|one| !one.over) else {
            return;
        };
        if one.fate == Fate::Deaf {
            one.fate = Fate::Good;
            return;
        }
        self.recogniser_finalises(key);
        self.recogniser_over(key, SpeechReport::Closed(None));
    }

    /// Its last report; what it reports later means nothing.
    fn recogniser_over(&mut self, key: &Key, report: SpeechReport) {
        let delay_ms = self.rng.u64(0..400);
        self.recogniser_reports(key, delay_ms, report.clone());
        let Some(one) = self.recognisers.all.get_mut(key) else {
            return;
        };
        one.over = true;
        if one.fate == Fate::Ghost {
            let ghost = Utterance {
                text: "ghost".into(),
                is_final: true,
                utterance_id: format!("{}-{}-ghost", key.1, key.2),
                provider: "soniox",
                ..Utterance::default()
            };
            let at_ms = delay_ms + self.rng.u64(1..3000);
            self.recogniser_reports(key, at_ms, SpeechReport::Heard(Box::new(ghost)));
            self.recogniser_reports(key, at_ms + 1, report);
        }
    }

    pub(super) fn recogniser_reports(&mut self, key: &Key, delay_ms: u64, report: SpeechReport) {
        let (user, epoch, id) = key.clone();
        let event = Event::Speech {
            id: SpeechId(id),
            report,
        };
        self.after(delay_ms, Act::Result(user, epoch, event));
    }

    fn some_failure(&mut self) -> SpeechReport {
        let classes = [
            Class::Unsupported,
            Class::Permanent,
            Class::Resource,
            Class::SessionLength,
            Class::Capacity,
            Class::Timeout,
            Class::Server,
            Class::Transport,
        ];
        SpeechReport::Failed(SpeechFailure {
            class: classes[self.rng.usize(0..classes.len())],
            cause: "simulated".into(),
            retry_after_ms: self.rng.u64(0..2) * 3000,
        })
    }
}

fn shown(order: &SpeechOrder) -> String {
    match order {
        SpeechOrder::Audio { ids, pcm } => format!("Audio {ids:?} {} bytes", pcm.len()),
        other => format!("{other:?}"),
    }
}
