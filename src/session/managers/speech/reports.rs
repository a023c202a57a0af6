//! Layer 2, manager speech: what recognisers report. Whoever is not known any more says nothing (behaviour.md §8.2).

use super::attempts::Aftermath;
use super::recogniser::{Phase, Recogniser};
use super::{PCM_BYTES_PER_MS, Speech, Step};
use crate::wire::speech::{SpeechFailure, SpeechId, Utterance};
use crate::wire::streams::Sub;

/// An event for apps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Stream of the recogniser.
    pub stream: Sub,
    /// Recognisers that hear the same: only one of them serves a short form (protocol.md §5.4.1).
    pub beside: Vec<Sub>,
    /// Whether `transcription:auto` gets it although it is of a language (protocol.md §5.5).
    pub to_auto: bool,
    /// From the end of what was said, as far as it was given to the recogniser, to now (ms).
    pub latency_ms: u64,
}

impl Speech {
    /// It takes audio now.
    pub fn is_ready(&mut self, id: SpeechId, now_ms: u64) {
        if let Some(one) = self.running.iter_mut().find(|one| one.id == id) {
            one.ready_ms.get_or_insert(now_ms);
            if matches!(one.phase, Phase::Starting { .. }) {
                one.phase = Phase::Ready;
            }
        }
    }

    /// It heard something; `None`: nothing that apps need to know.
    pub fn heard(&mut self, id: SpeechId, utterance: &Utterance, now_ms: u64) -> Option<Heard> {
        let auto_now = self.auto_is_live();
        let beside_now = self.hearing();
        let one = self.running.iter_mut().find(|one| one.id == id)?;
        if !one.says(utterance, now_ms) {
            return None;
        }
        let (auto_beside, beside) = if one.is_open() {
            (auto_now, beside_now)
        } else {
            (one.auto_beside, one.beside.clone())
        };
        let given_ms = (self.fed - one.fed_before) / PCM_BYTES_PER_MS;
        Some(Heard {
            stream: one.stream,
            beside,
            to_auto: !auto_beside,
            latency_ms: given_ms.saturating_sub(utterance.end_ms),
        })
    }

    /// It failed; `None`: an old one, or one that was told to end.
    pub fn failed(
        &mut self,
        id: SpeechId,
        failure: &SpeechFailure,
        step: &Step<'_>,
    ) -> Option<(Sub, Option<Aftermath>)> {
        let one = self.take(id)?;
        if !one.is_open() {
            return Some((one.stream, None));
        }
        let (class, after_ms, now_ms) = (failure.class, failure.retry_after_ms, step.now_ms);
        let ran_ms = one.ran_ms(now_ms);
        let row = self.attempts_of(one.stream);
        let aftermath = row.failed(class, after_ms, ran_ms, now_ms, step.cfg);
        Some((one.stream, Some(aftermath)))
    }

    /// It ended; says which, unless that was ours to decide.
    pub fn closed(&mut self, id: SpeechId, code: Option<u16>, step: &Step<'_>) -> Option<Sub> {
        let one = self.take(id).filter(Recogniser::is_open)?;
        let (ran_ms, of_use) = (one.ran_ms(step.now_ms), one.was_of_use());
        let row = self.attempts_of(one.stream);
        row.closed(code, of_use, ran_ms, step.now_ms, step.cfg);
        Some(one.stream)
    }

    fn take(&mut self, id: SpeechId) -> Option<Recogniser> {
        let at = self.running.iter().position(|one| one.id == id)?;
        Some(self.running.remove(at))
    }
}
