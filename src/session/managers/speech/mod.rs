//! Layer 2, manager: the recognisers of a session (behaviour.md §8): which the subscriptions ask for, which run, whether the user
//! speaks. It decides what to tell them; `flow::recognisers` passes it on. Without a provider it only knows what is wanted.

mod attempts;
mod deadlines;
mod desired;
mod recogniser;
mod reports;
#[cfg(test)]
mod tests;

pub use attempts::Aftermath;
pub use desired::Desired;
pub use reports::Heard;

use super::subscriptions::Subscriber;
use crate::base::footprint::{flat, owns};
use crate::base::settings;
use crate::wire::speech::{SpeechId, SpeechOpen, SpeechOrder};
use crate::wire::streams::{LangOrAuto, Sub};
use attempts::{Attempts, Hold};
use bytes::Bytes;
use recogniser::{Phase, Recogniser};
use smallvec::SmallVec;

flat!(Sub);
owns! {
    Speech: desired, running, attempts, open_ids;
}

/// Recognisers of one session, those that only owe their last report included.
const RUNNING_MAX: usize = 256;
/// While audio comes, missing recognisers are looked for this often (ms).
const AUDIO_ASKS_MS: u64 = 1000;

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

/// Why recognisers are started now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// Audio came while one is missing.
    Audio,
    /// A pause before another attempt is over.
    Retry,
    /// The desired set changed, but no app sent a list: a socket, a permission or the settings did it.
    Change,
    /// An app sent its list of subscriptions.
    Subscription,
    /// The user began to speak.
    Speech,
    /// The health pass, while audio flows.
    Health,
}

impl Trigger {
    /// Whether it also starts recognisers that were given up.
    fn asks(self) -> bool {
        matches!(self, Self::Subscription | Self::Speech | Self::Health)
    }
}

/// The input of one step of the manager, and where its orders go.
pub struct Step<'a> {
    /// Instant (`mono_ms`).
    pub now_ms: u64,
    /// Settings in force.
    pub cfg: &'a settings::Speech,
    /// When audio last came; 0 = never.
    pub audio_ms: u64,
    /// To be passed on in this order.
    pub orders: &'a mut Vec<SpeechOrder>,
}

impl Step<'_> {
    /// Whether audio comes at the moment.
    fn audio_flows(&self) -> bool {
        self.audio_ms > 0 && self.now_ms - self.audio_ms < self.cfg.stt_pause_after_ms
    }
}

/// Speech state.
#[derive(Default)]
pub struct Speech {
    desired: Vec<Desired>,
    running: Vec<Recogniser>,
    attempts: Vec<Attempts>,
    voice: Voice,
    last_id: u32,
    /// When missing recognisers were last looked for because audio came (`mono_ms`).
    asked_ms: u64,
    /// Recognisers that take audio now: a copy of what `running` says, for the audio path.
    open_ids: SmallVec<[SpeechId; 4]>,
    /// The first audio from this time on (`mono_ms`) calls for [`Speech::audio_came`]; `u64::MAX` = none does.
    audio_due_ms: u64,
    /// Bytes of PCM given to recognisers so far.
    fed: u64,
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

    /// How many recognisers run: for transcription, and for translation.
    #[must_use]
    pub fn live_streams(&self) -> [u64; 2] {
        let mut live = [0; 2];
        for one in self.running.iter().filter(|one| one.phase == Phase::Ready) {
            live[usize::from(matches!(one.stream, Sub::Translation { .. }))] += 1;
        }
        live
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
        let mut running = self.running.iter();
        running.any(|one| one.stream == auto && self.hears(one))
    }

    fn hears(&self, one: &Recogniser) -> bool {
        match one.phase {
            Phase::Starting { .. } => !self.has_failed(one.stream),
            Phase::Ready => true,
            Phase::Closing { .. } => one.ready_ms.is_some(),
        }
    }

    /// Open recognisers that hear what is said now.
    fn hearing(&self) -> Vec<Sub> {
        let hear = |one: &&Recogniser| one.is_open() && self.hears(one);
        self.running
            .iter()
            .filter(hear)
            .map(|one| one.stream)
            .collect()
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
                let late = None;
                self.start(wanted, why == Trigger::Speech, late, step);
            }
        }
    }

    /// Settings are others: a key that was missing or refused, or a language that was not taken, may be no trouble now.
    pub fn settings_changed(&mut self, step: &mut Step<'_>) {
        self.attempts.clear();
        self.reconcile(Trigger::Change, step);
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

    /// `late`: the one in whose place it comes, and what was fed before that.
    fn start(
        &mut self,
        wanted: Desired,
        by_speech: bool,
        late: Option<(SpeechId, u64)>,
        step: &mut Step<'_>,
    ) {
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
            instead_of: late.map(|(id, _)| id),
        })));
        let (now_ms, fed) = (step.now_ms, late.map_or(self.fed, |(_, fed)| fed));
        self.running
            .push(Recogniser::new(id, wanted, phase, now_ms, fed));
    }

    /// Tells open recognisers to end; what they still report counts.
    fn end_where(&mut self, step: &mut Step<'_>, which: impl Fn(&Recogniser) -> bool) {
        if !self.running.iter().any(|one| one.is_open() && which(one)) {
            return;
        }
        let (auto_beside, beside) = (self.auto_is_live(), self.hearing());
        for one in self.running.iter_mut().filter(|one| one.is_open()) {
            if which(one) {
                one.phase = Phase::Closing { passes: 0 };
                one.auto_beside = auto_beside;
                one.beside.clone_from(&beside);
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

    /// An app asks for sound. It is served though the phone last heard silence: a phone whose audio is wanted whole detects no
    /// voice, so that word may have been its last.
    pub fn asked(&mut self) {
        if self.voice == Voice::Silent {
            self.voice = Voice::Unknown;
        }
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

    /// Brings what the audio path reads up to date, and returns its [`super::audio::Audio::speech_ms`].
    pub fn listen(&mut self, cfg: &settings::Speech) -> u64 {
        let open = self.running.iter().filter(|one| one.is_open());
        self.open_ids = open.map(|one| one.id).collect();
        self.audio_due_ms = self.next_audio_due_ms(cfg);
        if self.open_ids.is_empty() {
            self.audio_due_ms
        } else {
            0
        }
    }

    /// Whether audio that comes now calls for [`Speech::audio_came`].
    #[must_use]
    pub fn is_audio_due(&self, now_ms: u64) -> bool {
        now_ms >= self.audio_due_ms
    }

    /// Whether anybody takes audio.
    #[must_use]
    pub fn listens(&self) -> bool {
        !self.open_ids.is_empty()
    }

    /// A chunk of whole samples for all that are open.
    pub fn feed(&mut self, pcm: Bytes) -> SpeechOrder {
        self.fed += pcm.len() as u64;
        let ids = self.open_ids.clone();
        SpeechOrder::Audio { ids, pcm }
    }

    fn next_audio_due_ms(&self, cfg: &settings::Speech) -> u64 {
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

    /// The session ends; says whether anybody must be told.
    pub fn abandon(&mut self) -> bool {
        let any = self.holds_any();
        self.running.clear();
        self.attempts.clear();
        self.open_ids.clear();
        any
    }
}

fn desired_of(desired: &[Desired], stream: Sub) -> Option<&Desired> {
    desired.iter().find(|one| one.stream == stream)
}
