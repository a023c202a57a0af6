//! Layer 2: deadlines as rows. A timer is data of its session: dropping the session drops its timers.

use crate::base::ids::{CallId, ConnId, Package, UserId};

/// What a deadline is for. At most one row per key.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Timer {
    /// The phone's grace ends.
    PhoneGrace,
    /// The user record is late; the session goes on with defaults.
    UserLoad,
    /// The user record, which could not be read, is asked for again.
    UserRetry,
    /// Forced microphone re-sync after a phone returned.
    PhoneResync,
    /// Protocol pings and the liveness check.
    Heartbeat,
    /// Health statistics line.
    HealthStats,
    /// Coalesced `app_state_change`.
    AppState,
    /// A start's overall limit.
    AppStart(Package),
    /// Pause before the next session-request attempt.
    WebhookRetry(Package),
    /// The stop webhook's answer is late.
    StopWait(Package),
    /// Grace of a lost app socket.
    AppGrace(Package),
    /// Jittered restart after a mass disconnect.
    AppRestart(Package),
    /// Transitional state that lasted too long.
    AppStuck(Package),
    /// A replaced app socket is still open.
    Replaced(ConnId),
    /// Close after `reconnect_rejected`.
    RejectLinger(ConnId),
    /// A parked socket's end.
    Parked(ConnId),
    /// Subscription changes settle.
    MicSubscriptions,
    /// Trailing edge of the send debounce.
    MicSend,
    /// Off is held back.
    MicHold,
    /// Keep-alive.
    MicKeepAlive,
    /// No audio though wanted.
    AudioGap,
    /// An audio datagram has waited long enough for its predecessors.
    UdpHole,
    /// Throttled display is released.
    DisplayRelease,
    /// The current display expires.
    DisplayExpiry,
    /// Boot screen of an app ends.
    DisplayBoot(Package),
    /// Background lock ends.
    DisplayLock,
    /// Onboarding card ends.
    Onboarding,
    /// Dashboard render.
    DashboardRender,
    /// Dashboard heartbeat.
    DashboardHeartbeat,
    /// The answer to a weather request is late.
    Weather(CallId),
    /// A language model's answer is late.
    Ranking(CallId),
    /// Retry of the system dashboard app.
    DashboardApp,
    /// A location poll is forgotten.
    LocationPoll(CallId),
    /// A change of the location tier has waited long enough.
    LocationTier,
    /// A photo fails.
    Photo(String),
    /// Stream keep-alive.
    StreamKeepAlive(String),
    /// The answer to a stream keep-alive is missing.
    StreamAck(String),
    /// An unmanaged stream never became active.
    StreamStart(String),
    /// Managed stream: next provider step.
    ManagedPoll,
    /// Time to look for an inactive managed stream.
    ManagedSweep,
    /// Audio output stream: claim, abandon, re-claim, clean-up.
    AudioOut(String, AudioOutTimer),
    /// A play request's mapping is forgotten.
    AudioPlay(String),
    /// The store's acknowledgement, for which a REST answer waits, is late.
    StoreAck(CallId),
    /// A direct message whose delivery nobody confirmed.
    DirectMessage {
        /// The app that sent it; ids are each app's own.
        package: Package,
        /// The user that it is for.
        target: UserId,
        /// The app's id for it.
        message_id: String,
    },
    /// A recogniser's start is late.
    SpeechStart,
    /// A recogniser that failed is tried again.
    SpeechRetry,
    /// Recognisers may end: the silence lasted.
    SpeechLinger,
    /// Time to look for gaps in the audio of recognisers.
    SpeechGap,
    /// Health pass of the recognisers.
    SpeechHealth,
}

impl Timer {
    /// Bytes of the names that are not shared with others.
    fn name_bytes(&self) -> usize {
        match self {
            Self::Photo(name)
            | Self::StreamKeepAlive(name)
            | Self::StreamAck(name)
            | Self::StreamStart(name)
            | Self::AudioOut(name, _)
            | Self::AudioPlay(name) => name.capacity(),
            Self::DirectMessage {
                target, message_id, ..
            } => target.len() + message_id.capacity(),
            _ => 0,
        }
    }
}

/// Deadlines of one audio output stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AudioOutTimer {
    /// Nobody fetched it.
    Claim,
    /// Nobody wrote to it.
    Abandon,
    /// Our play request is unanswered.
    Reclaim,
    /// The earliest play request of ours.
    Autoplay,
    /// An ended stream is forgotten.
    Cleanup,
}

/// The rows. A session has a handful, so a plain list with its minimum cached beats any heap.
#[derive(Default, Debug)]
pub struct Timers {
    rows: Vec<(u64, Timer)>,
    next_ms: u64,
}

impl Timers {
    /// No rows.
    #[must_use]
    pub fn new() -> Self {
        Self {
            rows: Vec::new(),
            next_ms: u64::MAX,
        }
    }

    /// Sets or moves the deadline of `timer` to `at_ms` (`mono_ms`).
    pub fn set(&mut self, timer: Timer, at_ms: u64) {
        match self.rows.iter_mut().find(|row| row.1 == timer) {
            Some(row) => row.0 = at_ms,
            None => self.rows.push((at_ms, timer)),
        }
        self.refresh();
    }

    /// Removes a deadline; says whether there was one.
    pub fn cancel(&mut self, timer: &Timer) -> bool {
        let Some(index) = self.rows.iter().position(|row| row.1 == *timer) else {
            return false;
        };
        self.rows.swap_remove(index);
        self.refresh();
        true
    }

    /// Removes all deadlines that `which` selects.
    pub fn cancel_where(&mut self, which: impl Fn(&Timer) -> bool) {
        self.rows.retain(|row| !which(&row.1));
        self.refresh();
    }

    /// Whether any deadline that `which` selects is set.
    #[cfg(test)]
    pub(crate) fn has(&self, which: impl Fn(&Timer) -> bool) -> bool {
        self.rows.iter().any(|row| which(&row.1))
    }

    /// When `timer` fires, if it is set.
    #[must_use]
    pub fn at(&self, timer: &Timer) -> Option<u64> {
        self.rows
            .iter()
            .find(|row| row.1 == *timer)
            .map(|row| row.0)
    }

    /// Takes the earliest row that is due at `mono_ms`.
    pub fn pop_due(&mut self, mono_ms: u64) -> Option<(u64, Timer)> {
        if self.next_ms > mono_ms {
            return None;
        }
        let index = self
            .rows
            .iter()
            .enumerate()
            .min_by_key(|(_, row)| row.0)
            .map(|(index, _)| index)?;
        let row = self.rows.remove(index);
        self.refresh();
        Some(row)
    }

    /// The earliest deadline (`mono_ms`), `u64::MAX` when there is none. The shard keeps this in its queue.
    #[must_use]
    pub fn next_ms(&self) -> u64 {
        self.next_ms
    }

    /// Whether there is none, as of a session that is disposed (invariant 48).
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of the list with the names in its rows, which apps choose.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let names: usize = self.rows.iter().map(|(_, timer)| timer.name_bytes()).sum();
        self.rows.capacity() * size_of::<(u64, Timer)>() + names
    }

    /// Drops all rows.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.next_ms = u64::MAX;
    }

    fn refresh(&mut self) {
        self.next_ms = self.rows.iter().map(|row| row.0).min().unwrap_or(u64::MAX);
    }
}
