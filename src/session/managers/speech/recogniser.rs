//! Layer 2, manager speech: one recogniser, from its start to its last report.

use super::Desired;
use crate::base::footprint::{flat, owns};
use crate::wire::speech::{SpeechId, Utterance};
use crate::wire::streams::{LanguageOptions, Sub};

flat!(SpeechId);
owns! {
    Said: utterance_id, text;
    Recogniser: options, beside, said;
}

/// Where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Started, not ready; audio goes to it already.
    Starting {
        /// When it is late.
        until_ms: u64,
        /// Whether speech started it: then it is tried once more the ordinary way.
        by_speech: bool,
    },
    /// It takes audio.
    Ready,
    /// Told to end; it may still report what it heard.
    Closing {
        /// Health passes that found it so.
        passes: u8,
    },
}

/// What it said last.
#[derive(Debug)]
pub(super) struct Said {
    utterance_id: String,
    text: String,
    is_final: bool,
}

/// One recogniser that runs, or owes its last report.
#[derive(Debug)]
pub(super) struct Recogniser {
    pub(super) id: SpeechId,
    pub(super) stream: Sub,
    pub(super) options: LanguageOptions,
    pub(super) phase: Phase,
    pub(super) opened_ms: u64,
    pub(super) ready_ms: Option<u64>,
    /// When it last reported something; 0 = never.
    pub(super) heard_ms: u64,
    /// Told that no audio comes.
    pub(super) paused: bool,
    /// Bytes of PCM that the session had passed to recognisers before this one started: the origin of its time stamps.
    pub(super) fed_before: u64,
    /// Whether an auto recogniser ran beside it when it was told to end.
    pub(super) auto_beside: bool,
    /// Which recognisers heard the same then.
    pub(super) beside: Vec<Sub>,
    said: Option<Said>,
}

impl Recogniser {
    /// One that is started now.
    pub(super) fn new(id: SpeechId, wanted: Desired, phase: Phase, now_ms: u64, fed: u64) -> Self {
        Self {
            id,
            stream: wanted.stream,
            options: wanted.options,
            phase,
            opened_ms: now_ms,
            ready_ms: None,
            heard_ms: 0,
            paused: false,
            fed_before: fed,
            auto_beside: false,
            beside: Vec::new(),
            said: None,
        }
    }

    /// Whether audio goes to it.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Closing { .. })
    }

    /// How long it has been ready.
    pub(super) fn ran_ms(&self, now_ms: u64) -> u64 {
        self.ready_ms
            .map_or(0, |since_ms| now_ms.saturating_sub(since_ms))
    }

    /// Whether some other option asks for a restart: only more hints do (behaviour.md §8.1).
    pub(super) fn lacks_hint_of(&self, wanted: &LanguageOptions) -> bool {
        wanted
            .hints
            .iter()
            .any(|hint| !self.options.hints.contains(hint))
    }

    /// Takes over what it heard; says whether that is news: not what the interim before said, nor anything of an utterance
    /// that is over.
    pub(super) fn says(&mut self, heard: &Utterance, now_ms: u64) -> bool {
        self.heard_ms = now_ms;
        if let Some(last) = &self.said
            && last.utterance_id == heard.utterance_id
            && (last.is_final || (!heard.is_final && last.text == heard.text))
        {
            return false;
        }
        self.said = Some(Said {
            utterance_id: heard.utterance_id.clone(),
            text: heard.text.clone(),
            is_final: heard.is_final,
        });
        true
    }

    /// Whether it ever recognised anything.
    pub(super) fn was_of_use(&self) -> bool {
        self.said.is_some()
    }
}
