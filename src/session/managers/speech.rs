//! Layer 2, manager: which recognisers the subscriptions ask for, and whether the user speaks (behaviour.md §8.1, 8.4).
//! Providers attach here: they reconcile [`Speech::desired`] with what they run and report it through [`Speech::set_live`].

use super::subscriptions::Subscriber;
use crate::wire::streams::Language;

/// One recogniser that should run; the key is the language stream without its options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Desired {
    /// What it recognises.
    pub stream: Language,
    /// Union of all subscribers' hints.
    pub hints: Vec<Box<str>>,
    /// Only if every subscriber switches it off.
    pub no_identification: bool,
}

/// What the phone last said about speech.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Voice {
    /// No `VAD` message yet; some phones never send one.
    #[default]
    Unknown,
    /// Speech: all desired streams should run.
    Speaking,
    /// Silence: pending text is finalised, then streams end.
    Silent,
}

/// Speech state.
#[derive(Default)]
pub struct Speech {
    desired: Vec<Desired>,
    live: Vec<Language>,
    voice: Voice,
}

impl Speech {
    /// Recognisers that should run.
    #[must_use]
    pub fn desired(&self) -> &[Desired] {
        &self.desired
    }

    /// What the phone last said.
    #[must_use]
    pub fn voice(&self) -> Voice {
        self.voice
    }

    /// Takes over a `VAD` message; says whether the state changed.
    pub fn set_voice(&mut self, voice: Voice) -> bool {
        std::mem::replace(&mut self.voice, voice) != voice
    }

    /// Recognisers that really run, as their provider reports them.
    pub fn set_live(&mut self, live: Vec<Language>) {
        self.live = live;
    }

    /// Whether the auto recogniser runs: then `transcription:auto` gets no language recogniser's events (protocol.md §5.5).
    #[must_use]
    pub fn auto_is_live(&self) -> bool {
        self.live
            .iter()
            .any(|live| matches!(live, Language::Transcription(own) if &**own == "auto"))
    }

    /// Computes the desired set anew; says whether it changed.
    pub fn refresh<'a>(&mut self, subscribers: impl Iterator<Item = &'a Subscriber>) -> bool {
        let mut desired: Vec<Desired> = Vec::new();
        for subscriber in subscribers {
            for own in subscriber.list() {
                let Some(stream) = own.language.as_ref().filter(|stream| is_useful(stream)) else {
                    continue;
                };
                let own_hints = own.hints.iter().chain(
                    matches!(stream, Language::Transcription(_))
                        .then_some(subscriber.hints())
                        .into_iter()
                        .flatten(),
                );
                merge(&mut desired, stream, own_hints, own.no_identification);
            }
        }
        fold_short_forms(&mut desired);
        let changed = desired != self.desired;
        self.desired = desired;
        changed
    }
}

/// A translation into its own source is no work (behaviour.md §8.8).
fn is_useful(stream: &Language) -> bool {
    !matches!(stream, Language::Translation(source, target) if source == target)
}

fn merge<'a>(
    desired: &mut Vec<Desired>,
    stream: &Language,
    hints: impl Iterator<Item = &'a Box<str>>,
    no_identification: bool,
) {
    let index = match desired.iter().position(|known| known.stream == *stream) {
        Some(index) => {
            desired[index].no_identification &= no_identification;
            index
        }
        None => {
            desired.push(Desired {
                stream: stream.clone(),
                hints: Vec::new(),
                no_identification,
            });
            desired.len() - 1
        }
    };
    for hint in hints {
        if !desired[index].hints.contains(hint) {
            desired[index].hints.push(hint.clone());
        }
    }
}

/// `en` beside `en-US` is served by the full form's recogniser, lowest region first (protocol.md §5.4.1).
fn fold_short_forms(desired: &mut Vec<Desired>) {
    let mut index = 0;
    while index < desired.len() {
        let home = desired
            .iter()
            .enumerate()
            .filter(|(other, full)| *other != index && covers(&full.stream, &desired[index].stream))
            .min_by_key(|(_, full)| match &full.stream {
                Language::Transcription(own) => (own.clone(), "".into()),
                Language::Translation(source, target) => (source.clone(), target.clone()),
            })
            .map(|(other, _)| other);
        match home {
            Some(home) => {
                let short = desired[index].clone();
                let full = &mut desired[home];
                full.no_identification &= short.no_identification;
                for hint in short.hints {
                    if !full.hints.contains(&hint) {
                        full.hints.push(hint);
                    }
                }
                desired.remove(index);
            }
            None => index += 1,
        }
    }
}

/// Whether `full` is `short` with regions added.
fn covers(full: &Language, short: &Language) -> bool {
    let adds = |full: &str, short: &str| {
        !short.contains('-')
            && full
                .strip_prefix(short)
                .is_some_and(|rest| rest.starts_with('-'))
    };
    match (full, short) {
        (Language::Transcription(full), Language::Transcription(short)) => adds(full, short),
        (Language::Translation(fs, ft), Language::Translation(ss, st)) => {
            (fs == ss || adds(fs, ss)) && (ft == st || adds(ft, st)) && (fs, ft) != (ss, st)
        }
        _ => false,
    }
}
