//! Layer 2, manager speech: whether and when a recogniser that failed is tried again (behaviour.md §8.2). One row per key that
//! has trouble; it goes when nobody wants the key any more.

use super::Trigger;
use crate::base::footprint::flat;
use crate::base::settings;
use crate::wire::speech::SpeechFailureClass as Class;
use crate::wire::streams::Sub;

/// A recogniser that ran this long has succeeded: failed attempts are counted from 0 again (ms).
const SUCCESS_MS: u64 = 60_000;

flat!(Attempts);

/// Whether something keeps a key from being started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hold {
    /// Nothing.
    Free,
    /// It is started again at this time (`mono_ms`), without being asked for.
    Until(u64),
    /// Its provider ended it on purpose: it is started when something asks for it, of which audio counts only from this time on
    /// (`mono_ms`).
    Rest(u64),
    /// It failed too often: started only when speech, a subscription or the health pass asks for it.
    GivenUp,
    /// Its failure will not pass by itself: started only when a subscription or the health pass asks for it.
    Refused,
    /// No provider knows the language.
    Skipped,
}

impl Hold {
    /// Whether the key may be started now.
    pub(super) fn lets(self, why: Trigger, now_ms: u64) -> bool {
        match self {
            Self::Free => true,
            Self::Until(at_ms) => at_ms <= now_ms,
            Self::Rest(at_ms) => at_ms <= now_ms || why.asks(),
            Self::GivenUp => why.asks(),
            Self::Refused => why.asks() && why != Trigger::Speech,
            Self::Skipped => false,
        }
    }
}

/// A key with trouble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Attempts {
    pub(super) stream: Sub,
    /// In a row.
    failed: u64,
    pub(super) hold: Hold,
    /// Classes that the log was told of: a bit each.
    told: u8,
}

/// What follows from the end of a recogniser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aftermath {
    /// Whether it is news for the log: the first of its class.
    pub is_news: bool,
    /// Whether it is not tried again by itself.
    pub gave_up: bool,
}

impl Attempts {
    pub(super) fn new(stream: Sub) -> Self {
        Self {
            stream,
            failed: 0,
            hold: Hold::Free,
            told: 0,
        }
    }

    /// Whether it failed since it last ran well.
    pub(super) fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// It is started.
    pub(super) fn started(&mut self) {
        if matches!(self.hold, Hold::GivenUp | Hold::Refused) {
            self.failed = 0;
        }
        self.hold = Hold::Free;
    }

    /// It could not be started for want of room.
    pub(super) fn no_room(&mut self) {
        self.hold = Hold::GivenUp;
    }

    fn ran(&mut self, ran_ms: u64) {
        if ran_ms >= SUCCESS_MS {
            (self.failed, self.told) = (0, 0);
        }
    }

    /// It failed after `ran_ms` of being ready.
    pub(super) fn failed(
        &mut self,
        class: Class,
        retry_after_ms: u64,
        ran_ms: u64,
        now_ms: u64,
        cfg: &settings::Speech,
    ) -> Aftermath {
        self.ran(ran_ms);
        self.failed += 1;
        self.hold = match class {
            Class::Unsupported => Hold::Skipped,
            Class::Permanent => Hold::Refused,
            Class::Resource => Hold::GivenUp,
            _ if self.failed > cfg.max_stream_retries => Hold::GivenUp,
            _ => {
                let delay_ms = delay_ms(class, self.failed, cfg).max(retry_after_ms);
                Hold::Until(now_ms.saturating_add(delay_ms))
            }
        };
        let bit = 1 << class as u8;
        let is_news = self.told & bit == 0;
        self.told |= bit;
        Aftermath {
            is_news,
            gave_up: !matches!(self.hold, Hold::Until(_)),
        }
    }

    /// Its provider closed it. `was_of_use`: it recognised something.
    pub(super) fn closed(
        &mut self,
        code: Option<u16>,
        was_of_use: bool,
        ran_ms: u64,
        now_ms: u64,
        cfg: &settings::Speech,
    ) {
        self.ran(ran_ms);
        let intended = matches!(code, None | Some(1000));
        if intended && was_of_use {
            self.failed = 0;
        } else {
            self.failed += 1;
        }
        let again_ms = now_ms + cfg.stream_reconnect_delay_ms;
        self.hold = match intended {
            _ if self.failed > cfg.max_stream_retries => Hold::GivenUp,
            true => Hold::Rest(again_ms),
            false => Hold::Until(again_ms),
        };
    }
}

/// The pause before attempt `n` ≥ 1 after a failure of this class.
fn delay_ms(class: Class, n: u64, cfg: &settings::Speech) -> u64 {
    let step = cfg.stream_retry_delay_ms;
    let delay = match class {
        // The session was over, nothing is wrong.
        Class::SessionLength if n == 1 => 0,
        Class::Capacity => step.saturating_mul(1 << (n - 1).min(62)),
        Class::Server => 2 * step * n,
        _ => step * n,
    };
    delay.min(cfg.stream_retry_cap_ms)
}
