//! Layer 2, manager speech: what its deadlines lead to: gaps in the audio, starts that are late, attempts that are due, the health pass
//! (behaviour.md §8.2, 8.5).

use super::attempts::{Aftermath, Hold};
use super::recogniser::{Phase, Recogniser};
use super::{Desired, Speech, Step, Trigger, Voice, desired_of};
use crate::base::settings;
use crate::wire::speech::{SpeechFailureClass, SpeechOrder};
use crate::wire::streams::Sub;

/// Health passes after which one that was told to end, twice, is forgotten.
const CLOSING_PASSES_MAX: u8 = 3;

impl Speech {
    /// Looks for gaps in the audio and for those that should be started anew.
    pub fn check_gaps(&mut self, step: &mut Step<'_>) {
        self.reconcile(Trigger::Retry, step);
        let (now_ms, after_ms) = (step.now_ms, step.cfg.stt_pause_after_ms);
        for one in self.running.iter_mut().filter(|one| one.is_open()) {
            let silent_ms = now_ms - step.audio_ms.max(one.opened_ms);
            if silent_ms >= after_ms && !std::mem::replace(&mut one.paused, true) {
                step.orders.push(SpeechOrder::Pause(one.id));
            }
        }
    }

    /// Whether gaps must be looked for.
    #[must_use]
    pub fn watches_gaps(&self) -> bool {
        self.running.iter().any(|one| one.is_open() && !one.paused)
    }

    /// The earliest start that will be late.
    #[must_use]
    pub fn start_due_ms(&self) -> Option<u64> {
        let until = |one: &Recogniser| match one.phase {
            Phase::Starting { until_ms, .. } => Some(until_ms),
            _ => None,
        };
        self.running.iter().filter_map(until).min()
    }

    /// Takes the next one whose start is late; it is told to end. `Some(None)`: it is tried once more the ordinary way.
    pub fn take_late(&mut self, step: &mut Step<'_>) -> Option<(Sub, Option<Aftermath>)> {
        let (id, stream, fell_back, fed) = self.running.iter().find_map(|one| match one.phase {
            Phase::Starting {
                until_ms,
                by_speech,
            } if until_ms <= step.now_ms => Some((one.id, one.stream, by_speech, one.fed_before)),
            _ => None,
        })?;
        self.end_where(step, |one| one.id == id);
        if fell_back {
            let wanted = desired_of(&self.desired, stream).cloned();
            if let Some(wanted) = wanted.filter(|_| self.voice != Voice::Silent) {
                // What was said since goes with it (behaviour.md §8.3).
                self.start(wanted, false, Some((id, fed)), step);
            }
            return Some((stream, None));
        }
        let class = SpeechFailureClass::Timeout;
        let (now_ms, cfg) = (step.now_ms, step.cfg);
        let aftermath = self.attempts_of(stream).failed(class, 0, 0, now_ms, cfg);
        Some((stream, Some(aftermath)))
    }

    /// When the next one is tried again by itself.
    #[must_use]
    pub fn retry_due_ms(&self, cfg: &settings::Speech) -> Option<u64> {
        if self.voice == Voice::Silent || !cfg.has_provider() {
            return None;
        }
        let of = |one: &Desired| match self.hold_of(one.stream) {
            Hold::Until(at_ms) => Some(at_ms),
            _ => None,
        };
        self.missing().filter_map(of).min()
    }

    /// Whether there is anything that the health pass could look at.
    #[must_use]
    pub fn needs_care(&self, cfg: &settings::Speech) -> bool {
        self.holds_any() || (cfg.has_provider() && !self.desired.is_empty())
    }

    /// The health pass (behaviour.md §8.5).
    pub fn look_after(&mut self, step: &mut Step<'_>) {
        self.running.retain_mut(|one| match &mut one.phase {
            Phase::Closing { passes } => {
                *passes += 1;
                if *passes > 1 {
                    // The first order may have been lost on its way.
                    step.orders.push(SpeechOrder::Close(one.id));
                }
                *passes <= CLOSING_PASSES_MAX
            }
            _ => true,
        });
        let (now_ms, audio_ms, idle_ms) =
            (step.now_ms, step.audio_ms, step.cfg.dead_stream_idle_ms);
        self.end_where(step, |one| {
            let active_ms = one.opened_ms.max(one.heard_ms).max(audio_ms);
            now_ms - active_ms >= idle_ms
        });
        if step.audio_flows() {
            self.reconcile(Trigger::Health, step);
        }
    }
}
