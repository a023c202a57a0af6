//! Layer 2, manager: the recognisers of a session (behaviour.md §8): which the subscriptions ask for, which run, whether the user
//! speaks. It decides what to tell them; `flow::recognisers` passes it on. Without a provider it only knows what is wanted.

mod attempts;
mod desired;
mod recogniser;
#[cfg(test)]
mod tests;

pub use attempts::Verdict;
pub use desired::Desired;

use super::subscriptions::Subscriber;
use crate::base::footprint::{flat, owns};
use crate::base::settings;
use crate::wire::speech::{
    SpeechFailure, SpeechFailureClass, SpeechId, SpeechOpen, SpeechOrder, Utterance,
};
use crate::wire::streams::{LangOrAuto, Sub};
use attempts::{Attempts, Hold};
use recogniser::{Phase, Recogniser};

flat!(Sub);
owns! {
    Speech: desired, running, attempts;
}

/// Recognisers of one session, those that only owe their last report included.
const RUNNING_MAX: usize = 256;
/// Audio lets missing recognisers be looked for this often (ms).
const AUDIO_ASKS_MS: u64 = 1000;
/// Health passes after which one that was told to end, twice, is forgotten.
const CLOSING_PASSES_MAX: u8 = 3;

/// 16-bit samples at 16 kHz.
const PCM_BYTES_PER_MS: u64 = 32;

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

/// Why recognisers are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// Audio came while one is missing.
    Audio,
    /// A pause before another attempt is over.
    Retry,
    /// What is desired changed by the way.
    Change,
    /// An app said what it wants.
    Subscription,
    /// The user began to speak.
    Speech,
    /// The health pass, while audio flows.
    Health,
}

impl Trigger {
    /// Whether it starts what was given up.
    fn asks(self) -> bool {
        matches!(self, Self::Subscription | Self::Speech | Self::Health)
    }
}

/// What the manager looks at, and where its orders go.
pub struct Step<'a> {
    /// Instant (`mono_ms`).
    pub now_ms: u64,
    /// Settings in force.
    pub cfg: &'a settings::Speech,
    /// When audio last came; 0 = never.
    pub audio_ms: u64,
    /// Bytes of PCM that recognisers were given so far.
    pub fed: u64,
    /// To be passed on in this order.
    pub orders: &'a mut Vec<SpeechOrder>,
}

impl Step<'_> {
    /// Whether audio comes at the moment.
    fn audio_flows(&self) -> bool {
        self.audio_ms > 0 && self.now_ms - self.audio_ms < self.cfg.stt_pause_after_ms
    }
}

/// An event for apps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Whose.
    pub stream: Sub,
    /// Whether `transcription:auto` gets it although it is of a language (protocol.md §5.5).
    pub to_auto: bool,
    /// From the end of what was said, as far as it was given to the recogniser, to now (ms).
    pub latency_ms: u64,
}

/// Speech state.
#[derive(Default)]
pub struct Speech {
    desired: Vec<Desired>,
    running: Vec<Recogniser>,
    attempts: Vec<Attempts>,
    voice: Voice,
    last_id: u32,
    /// When audio last let missing recognisers be looked for.
    asked_ms: u64,
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

    /// How many recognisers run.
    #[must_use]
    pub fn live_streams(&self) -> usize {
        let ready = |one: &&Recogniser| one.phase == Phase::Ready;
        self.running.iter().filter(ready).count()
    }

    /// Whether anybody holds recognisers for this session, be it to end them.
    #[must_use]
    pub fn holds_any(&self) -> bool {
        !self.running.is_empty()
    }

    /// Recognisers that take audio, started ones included.
    pub fn open(&self) -> impl Iterator<Item = (SpeechId, Sub)> {
        let open = self.running.iter().filter(|one| one.is_open());
        open.map(|one| (one.id, one.stream))
    }

    /// Whether the auto recogniser hears what is said: then `transcription:auto` gets no language recogniser's events
    /// (protocol.md §5.5). One that starts counts unless it has failed before: it will report what was said meanwhile.
    #[must_use]
    pub fn auto_is_live(&self) -> bool {
        let auto = Sub::Transcription(LangOrAuto::Auto);
        self.running.iter().any(|one| {
            one.stream == auto
                && match one.phase {
                    Phase::Starting { .. } => !self.has_failed(auto),
                    Phase::Ready => true,
                    Phase::Closing { .. } => one.ready_ms.is_some(),
                }
        })
    }

    fn has_failed(&self, stream: Sub) -> bool {
        let row = self.attempts.iter().find(|row| row.stream == stream);
        row.is_some_and(Attempts::has_failed)
    }

    /// Computes the desired set anew; says whether it changed.
    pub fn refresh<'a>(&mut self, subscribers: impl Iterator<Item = &'a Subscriber>) -> bool {
        let mut desired: Vec<Desired> = Vec::new();
        for subscriber in subscribers {
            for own in subscriber.list() {
                if !desired::is_useful(own.parsed) {
                    continue;
                }
                let mut options = own.language_options();
                if matches!(own.parsed, Sub::Transcription(_)) {
                    for hint in subscriber.hints() {
                        if !options.hints.contains(hint) {
                            options.hints.push(hint.clone());
                        }
                    }
                }
                desired::merge(&mut desired, own.parsed, options);
            }
        }
        desired::fold_short_forms(&mut desired);
        let changed = desired != self.desired;
        self.desired = desired;
        changed
    }

    /// Brings what runs in line with what is desired (behaviour.md §8.1). What is not desired ends; what is missing starts, if
    /// nothing holds it and the user does not say nothing.
    pub fn reconcile(&mut self, why: Trigger, step: &mut Step<'_>) {
        let has_provider = step.cfg.has_provider();
        if why == Trigger::Audio {
            self.asked_ms = step.now_ms;
        }
        let desired = std::mem::take(&mut self.desired);
        let is_desired = |stream| desired_of(&desired, stream).is_some();
        self.attempts.retain(|row| is_desired(row.stream));
        self.end_where(step, |one| !has_provider || !is_desired(one.stream));
        self.desired = desired;
        self.renew(step);
        if !has_provider || self.voice == Voice::Silent {
            return;
        }
        let missing: Vec<Desired> = self.missing().cloned().collect();
        for wanted in missing {
            if self.hold_of(wanted.stream).lets(why, step.now_ms) {
                self.start(wanted, why == Trigger::Speech, step);
            }
        }
    }

    fn missing(&self) -> impl Iterator<Item = &Desired> {
        let runs = |stream: Sub| self.open().any(|(_, other)| other == stream);
        self.desired.iter().filter(move |one| !runs(one.stream))
    }

    fn hold_of(&self, stream: Sub) -> Hold {
        let row = self.attempts.iter().find(|row| row.stream == stream);
        row.map_or(Hold::Free, |row| row.hold)
    }

    fn attempts_of(&mut self, stream: Sub) -> &mut Attempts {
        let known = self.attempts.iter().position(|row| row.stream == stream);
        let at = known.unwrap_or_else(|| {
            self.attempts.push(Attempts::new(stream));
            self.attempts.len() - 1
        });
        &mut self.attempts[at]
    }

    fn start(&mut self, wanted: Desired, by_speech: bool, step: &mut Step<'_>) {
        if self.running.len() >= RUNNING_MAX {
            self.attempts_of(wanted.stream).no_room();
            return;
        }
        let row = self
            .attempts
            .iter_mut()
            .find(|row| row.stream == wanted.stream);
        if let Some(row) = row {
            row.started();
        }
        self.last_id += 1;
        let id = SpeechId(self.last_id);
        let limit_ms = if by_speech {
            step.cfg.vad_stream_ready_timeout_ms
        } else {
            step.cfg.stream_ready_timeout_ms
        };
        let phase = Phase::Starting {
            until_ms: step.now_ms + limit_ms,
            by_speech,
        };
        step.orders.push(SpeechOrder::Open(Box::new(SpeechOpen {
            id,
            stream: wanted.stream,
            options: wanted.options.clone(),
        })));
        let (now_ms, fed) = (step.now_ms, step.fed);
        self.running
            .push(Recogniser::new(id, wanted, phase, now_ms, fed));
    }

    /// Tells open recognisers to end; what they still report counts.
    fn end_where(&mut self, step: &mut Step<'_>, which: impl Fn(&Recogniser) -> bool) {
        let auto_beside = self.auto_is_live();
        for one in self.running.iter_mut().filter(|one| one.is_open()) {
            if which(one) {
                one.phase = Phase::Closing { passes: 0 };
                one.auto_beside = auto_beside;
                step.orders.push(SpeechOrder::Close(one.id));
            }
        }
    }

    /// Ends those that should be started anew and are not needed this moment: their hints grew, or their provider's time limit is
    /// near (behaviour.md §8.1, 8.6.1).
    fn renew(&mut self, step: &mut Step<'_>) {
        let (now_ms, cfg, flows) = (step.now_ms, step.cfg, step.audio_flows());
        let desired = std::mem::take(&mut self.desired);
        self.end_where(step, |one| {
            let idle = !flows || now_ms - one.heard_ms.max(one.opened_ms) >= cfg.stt_pause_after_ms;
            let old_ms = now_ms - one.opened_ms;
            let is_old = cfg.stt_rotate_after_ms > 0 && old_ms >= cfg.stt_rotate_after_ms;
            let wanted = desired_of(&desired, one.stream);
            let is_stale = wanted.is_some_and(|wanted| one.lacks_hint_of(&wanted.options));
            one.phase == Phase::Ready && idle && (is_old || is_stale)
        });
        self.desired = desired;
    }

    /// The phone heard speech begin. All that is desired is started, given up or not.
    pub fn speech_began(&mut self, step: &mut Step<'_>) {
        self.voice = Voice::Speaking;
        self.reconcile(Trigger::Speech, step);
    }

    /// The phone heard speech end; says whether recognisers linger. What is pending becomes final now in any case.
    pub fn speech_ended(&mut self, step: &mut Step<'_>) -> bool {
        self.voice = Voice::Silent;
        if step.cfg.vad_close_linger_ms == 0 {
            self.end_all(step);
            return false;
        }
        for one in self.running.iter_mut().filter(|one| one.is_open()) {
            if !std::mem::replace(&mut one.paused, true) {
                step.orders.push(SpeechOrder::Pause(one.id));
            }
        }
        self.open().next().is_some()
    }

    /// The linger is over, unless the user speaks again.
    pub fn linger_ended(&mut self, step: &mut Step<'_>) {
        if self.voice == Voice::Silent {
            self.end_all(step);
        }
    }

    fn end_all(&mut self, step: &mut Step<'_>) {
        self.end_where(step, |_| true);
    }

    /// From when on audio must be told to [`Speech::audio_came`] (`mono_ms`); `u64::MAX` = never.
    #[must_use]
    pub fn alarm_ms(&self, cfg: &settings::Speech) -> u64 {
        if self.running.iter().any(|one| one.is_open() && one.paused) {
            return 0;
        }
        if self.voice == Voice::Silent || !cfg.has_provider() {
            return u64::MAX;
        }
        let next_ms = self.asked_ms + AUDIO_ASKS_MS;
        let of = |one: &Desired| match self.hold_of(one.stream) {
            Hold::Free => next_ms,
            Hold::Rest(at_ms) => next_ms.max(at_ms),
            _ => u64::MAX,
        };
        self.missing().map(of).min().unwrap_or(u64::MAX)
    }

    /// Audio came, for the first time or after a while, or one is missing.
    pub fn audio_came(&mut self, step: &mut Step<'_>) {
        for one in &mut self.running {
            one.paused = false;
        }
        let is_missing = self.missing().next().is_some();
        if is_missing && step.now_ms >= self.asked_ms + AUDIO_ASKS_MS {
            self.reconcile(Trigger::Audio, step);
        }
    }

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
    pub fn take_late(&mut self, step: &mut Step<'_>) -> Option<(Sub, Option<Verdict>)> {
        let (id, stream, fell_back) = self.running.iter().find_map(|one| match one.phase {
            Phase::Starting {
                until_ms,
                by_speech,
            } if until_ms <= step.now_ms => Some((one.id, one.stream, by_speech)),
            _ => None,
        })?;
        self.end_where(step, |one| one.id == id);
        if fell_back {
            let wanted = desired_of(&self.desired, stream).cloned();
            if let Some(wanted) = wanted.filter(|_| self.voice != Voice::Silent) {
                self.start(wanted, false, step);
            }
            return Some((stream, None));
        }
        let class = SpeechFailureClass::Timeout;
        let (now_ms, cfg) = (step.now_ms, step.cfg);
        let verdict = self.attempts_of(stream).failed(class, 0, 0, now_ms, cfg);
        Some((stream, Some(verdict)))
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
    pub fn heard(
        &mut self,
        id: SpeechId,
        utterance: &Utterance,
        now_ms: u64,
        fed: u64,
    ) -> Option<Heard> {
        let auto_now = self.auto_is_live();
        let one = self.running.iter_mut().find(|one| one.id == id)?;
        if !one.says(utterance, now_ms) {
            return None;
        }
        let auto_beside = if one.is_open() {
            auto_now
        } else {
            one.auto_beside
        };
        let given_ms = (fed - one.fed_before) / PCM_BYTES_PER_MS;
        Some(Heard {
            stream: one.stream,
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
    ) -> Option<(Sub, Option<Verdict>)> {
        let one = self.take(id)?;
        if !one.is_open() {
            return Some((one.stream, None));
        }
        let (class, after_ms, now_ms) = (failure.class, failure.retry_after_ms, step.now_ms);
        let ran_ms = one.ran_ms(now_ms);
        let row = self.attempts_of(one.stream);
        let verdict = row.failed(class, after_ms, ran_ms, now_ms, step.cfg);
        Some((one.stream, Some(verdict)))
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

    /// The session ends; says whether anybody must be told.
    pub fn abandon(&mut self) -> bool {
        let any = self.holds_any();
        self.running.clear();
        self.attempts.clear();
        any
    }
}

fn desired_of(desired: &[Desired], stream: Sub) -> Option<&Desired> {
    desired.iter().find(|one| one.stream == stream)
}
