//! Layer 2, manager: whether the phone's microphone should be on, and what the phone was last told (behaviour.md §4).
//! Decides and keeps its timers; the flow sends.

use crate::base::clock::Now;
use crate::base::settings::{Microphone as Config, Settings};
use crate::session::timers::{Timer, Timers};
use crate::wire::streams::Need;

/// An unchanged state is not repeated by a leading send within this time (ms, behaviour.md §4.3).
const REPEAT_AFTER_MS: u64 = 10_000;

/// The hold-down restarts with each evaluation, but ends after so many times its length: lists that apps without need change all
/// the time must not keep the microphone on for ever.
const HOLDS_MAX: u64 = 4;

/// One state as `microphone_state_change` carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MicState {
    /// `isMicrophoneEnabled`; `requiredData` is `["pcm"]` when on and `[]` when off.
    pub enabled: bool,
    /// `bypassVad`.
    pub bypass_vad: bool,
}

/// Microphone state.
#[derive(Default)]
pub struct Microphone {
    enabled: bool,
    need: Need,
    /// As decided last: while off is held back it stays as it was.
    bypass_vad: bool,
    /// Last state that an open phone socket took, and when (`mono_ms`).
    sent: Option<(MicState, u64)>,
    /// A change came and is not evaluated yet, or off is held back: audio is still allowed.
    grace: Grace,
    ignore_until_ms: u64,
}

/// Why unwanted audio is no evidence yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Grace {
    /// It is evidence.
    #[default]
    None,
    /// Subscriptions changed a moment ago.
    Settling,
    /// Off is held back since (`mono_ms`).
    HoldDown(u64),
}

/// What a due keep-alive comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeepAlive {
    /// The phone is told this state again.
    Repeat(MicState),
    /// The microphone is believed off though it is needed.
    Resync,
    /// Nobody needs it.
    Nothing,
}

/// What received audio says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// As it should be.
    Fine,
    /// Wanted, but believed off.
    Resync,
    /// Nobody wants it.
    Unauthorized,
}

impl Microphone {
    /// What the server believes.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.enabled
    }

    /// The need at the last refresh.
    #[must_use]
    pub fn need(&self) -> Need {
        self.need
    }

    /// Last state that an open phone socket took.
    #[must_use]
    pub fn last_sent(&self) -> Option<MicState> {
        self.sent.map(|(state, _)| state)
    }

    /// Subscriptions changed: evaluate once they are quiet.
    pub fn subscriptions_changed(
        &mut self,
        need: Need,
        timers: &mut Timers,
        now: Now,
        cfg: &Config,
    ) {
        self.need = need;
        if self.grace == Grace::None {
            self.grace = Grace::Settling;
        }
        let at = now.mono_ms + cfg.mic_subscription_debounce_ms;
        timers.set(Timer::MicSubscriptions, at);
    }

    /// Subscriptions are quiet. A state to send now, if any.
    pub fn evaluate(&mut self, timers: &mut Timers, now: Now, cfg: &Config) -> Option<MicState> {
        if self.need.media() {
            timers.cancel(&Timer::MicHold);
            self.grace = Grace::None;
            return self.update(true, timers, now, cfg);
        }
        let since_ms = match self.grace {
            Grace::HoldDown(since_ms) => since_ms,
            Grace::None | Grace::Settling => now.mono_ms,
        };
        self.grace = Grace::HoldDown(since_ms);
        let at = now.mono_ms + cfg.mic_off_holddown_ms;
        let last = since_ms + HOLDS_MAX * cfg.mic_off_holddown_ms;
        timers.set(Timer::MicHold, at.min(last));
        None
    }

    /// The hold-down is over.
    pub fn hold_ended(&mut self, timers: &mut Timers, now: Now, cfg: &Config) -> Option<MicState> {
        self.grace = Grace::None;
        self.update(self.need.media(), timers, now, cfg)
    }

    /// Leading and trailing debounce (behaviour.md §4.3).
    fn update(
        &mut self,
        enabled: bool,
        timers: &mut Timers,
        now: Now,
        cfg: &Config,
    ) -> Option<MicState> {
        self.enabled = enabled;
        self.bypass_vad = self.need.pcm;
        let window = Timer::MicSend;
        if timers.at(&window).is_some() {
            timers.set(window, now.mono_ms + cfg.mic_debounce_ms);
            self.keep_alive(timers, now, cfg);
            return None;
        }
        let state = self.state();
        let repeats = self
            .sent
            .is_some_and(|(sent, at_ms)| sent == state && now.mono_ms < at_ms + REPEAT_AFTER_MS);
        if repeats {
            self.keep_alive(timers, now, cfg);
            return None;
        }
        timers.set(window, now.mono_ms + cfg.mic_debounce_ms);
        Some(state)
    }

    /// The window is over: the final state, if it differs from what was sent.
    #[must_use]
    pub fn window_ended(&self) -> Option<MicState> {
        let state = self.state();
        (self.last_sent() != Some(state)).then_some(state)
    }

    /// Forced re-sync: bypasses every delay (behaviour.md §4.3).
    pub fn resync(&mut self, need: Need, timers: &mut Timers) -> MicState {
        self.need = need;
        self.enabled = need.media();
        self.bypass_vad = need.pcm;
        self.grace = Grace::None;
        for timer in [Timer::MicHold, Timer::MicSend, Timer::MicSubscriptions] {
            timers.cancel(&timer);
        }
        self.state()
    }

    /// Keep-alive is due.
    pub fn keep_alive_due(&mut self, need: Need) -> KeepAlive {
        self.need = need;
        match (need.media(), self.enabled) {
            (true, true) => {
                self.bypass_vad = need.pcm;
                KeepAlive::Repeat(self.state())
            }
            (true, false) => KeepAlive::Resync,
            (false, _) => KeepAlive::Nothing,
        }
    }

    /// A chunk of audio came. O(1).
    #[must_use]
    pub fn audio_arrived(&self, now: Now) -> Evidence {
        if now.mono_ms < self.ignore_until_ms {
            return Evidence::Fine;
        }
        match (self.need.media(), self.enabled) {
            (true, true) => Evidence::Fine,
            (true, false) => Evidence::Resync,
            (false, _) if self.grace == Grace::None => Evidence::Unauthorized,
            (false, _) => Evidence::Fine,
        }
    }

    /// Unwanted audio: off at once, and no more evidence for a while.
    pub fn switch_off(&mut self, timers: &mut Timers, now: Now, cfg: &Config) -> MicState {
        self.enabled = false;
        self.bypass_vad = false;
        self.ignore_until_ms = now.mono_ms + cfg.unauthorized_audio_ignore_ms;
        timers.cancel(&Timer::MicKeepAlive);
        timers.cancel(&Timer::MicSend);
        self.state()
    }

    /// A state was handed to the phone, or there was no phone to take it: then it stays due until the re-sync.
    pub fn was_sent(
        &mut self,
        state: MicState,
        outcome: crate::session::SendOutcome,
        timers: &mut Timers,
        now: Now,
        cfg: &Settings,
    ) {
        if outcome.is_sent() {
            self.sent = Some((state, now.mono_ms));
        }
        if state.enabled {
            timers.set(
                Timer::MicKeepAlive,
                now.mono_ms + cfg.microphone.mic_keepalive_ms,
            );
            if cfg.audio.audio_gap_resync_enabled && timers.at(&Timer::AudioGap).is_none() {
                timers.set(Timer::AudioGap, now.mono_ms + cfg.audio.audio_gap_resync_ms);
            }
        } else {
            timers.cancel(&Timer::MicKeepAlive);
            timers.cancel(&Timer::AudioGap);
        }
    }

    fn keep_alive(&self, timers: &mut Timers, now: Now, cfg: &Config) {
        if self.enabled && timers.at(&Timer::MicKeepAlive).is_none() {
            timers.set(Timer::MicKeepAlive, now.mono_ms + cfg.mic_keepalive_ms);
        }
    }

    fn state(&self) -> MicState {
        MicState {
            enabled: self.enabled,
            bypass_vad: self.bypass_vad,
        }
    }
}
