//! Layer 4: whether a shard with little to do lets messages gather before it wakes. At some thousand messages a second each would
//! wake it alone, and a wake-up costs more than a message. At fewer nothing gathers, and the timer of the wait is lost; a busier shard
//! finds several each time by itself. What it receives and sends counts alike: both cost the kernel nearly the same, so that their sum
//! says how busy the shard is whatever the fan-out, and does not depend on how it waits.

use crate::base::settings::Connections;
use crate::io::Gather;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Of the older rate and of the last tick's, so much of the former stays (in eighths).
const OLD_EIGHTHS: u64 = 7;

/// Counts what a shard receives and sends, and says how it is to wait.
pub(super) struct Gathering {
    /// Received and sent since the last tick.
    moved: u64,
    /// The same per second, smoothed.
    per_s: u64,
    /// As the settings have it; `None`: never.
    asked: Option<Gather>,
    sockets_min: usize,
    /// At which rates it pays.
    rates: RangeInclusive<u64>,
}

impl Gathering {
    /// Nothing counted yet.
    pub(super) fn new(cfg: &Connections) -> Self {
        Self {
            moved: 0,
            per_s: 0,
            asked: (cfg.gather_us > 0).then(|| Gather {
                results: cfg.gather_results as u32,
                time: Duration::from_micros(cfg.gather_us),
            }),
            sockets_min: cfg.gather_sockets_min as usize,
            rates: cfg.gather_rate_min..=cfg.gather_rate_max,
        }
    }

    /// Follows the settings in force.
    pub(super) fn follow(&mut self, cfg: &Connections) {
        let (moved, per_s) = (self.moved, self.per_s);
        *self = Self {
            moved,
            per_s,
            ..Self::new(cfg)
        };
    }

    /// So much was received or sent.
    #[inline]
    pub(super) fn moved(&mut self, count: usize) {
        self.moved += count as u64;
    }

    /// `ns` passed since the last tick.
    pub(super) fn tick(&mut self, ns: u64) {
        let now = std::mem::take(&mut self.moved).saturating_mul(1_000_000_000) / ns.max(1);
        self.per_s = (self.per_s * OLD_EIGHTHS + now * (8 - OLD_EIGHTHS)) / 8;
    }

    /// How a shard with so many sockets is to wait.
    #[inline]
    pub(super) fn plan(&self, sockets: usize) -> Option<Gather> {
        let pays = sockets >= self.sockets_min && self.rates.contains(&self.per_s);
        self.asked.filter(|_| pays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK_NS: u64 = 10_000_000;
    const MANY: usize = 10_000;

    fn second(gathering: &mut Gathering, per_s: u64) {
        for _ in 0..100 {
            gathering.moved(per_s as usize / 100);
            gathering.tick(TICK_NS);
        }
    }

    /// A rate at which it pays by default.
    fn good(cfg: &Connections) -> u64 {
        u64::midpoint(cfg.gather_rate_min, cfg.gather_rate_max)
    }

    #[test]
    fn a_busy_shard_does_not_keep_anybody_waiting() {
        let cfg = Connections::default();
        let mut gathering = Gathering::new(&cfg);
        second(&mut gathering, good(&cfg));
        assert!(gathering.plan(MANY).is_some());
        second(&mut gathering, cfg.gather_rate_max * 2);
        assert_eq!(gathering.plan(MANY), None);
        second(&mut gathering, good(&cfg));
        assert!(gathering.plan(MANY).is_some(), "and quiet again");
    }

    #[test]
    fn nobody_waits_for_messages_that_do_not_come() {
        let cfg = Connections::default();
        let mut gathering = Gathering::new(&cfg);
        assert_eq!(gathering.plan(MANY), None, "as after the start");
        second(&mut gathering, cfg.gather_rate_min / 2);
        assert_eq!(gathering.plan(MANY), None);
    }

    #[test]
    fn a_few_sockets_never_wait_for_one_another() {
        let cfg = Connections::default();
        let few = cfg.gather_sockets_min as usize - 1;
        let mut gathering = Gathering::new(&cfg);
        second(&mut gathering, good(&cfg));
        assert_eq!(gathering.plan(few), None);
        assert!(gathering.plan(few + 1).is_some());
    }

    #[test]
    fn nobody_waits_where_it_is_switched_off_and_a_reload_switches() {
        let off = Connections {
            gather_us: 0,
            ..Connections::default()
        };
        let mut gathering = Gathering::new(&off);
        second(&mut gathering, good(&off));
        assert_eq!(gathering.plan(MANY), None);
        gathering.follow(&Connections::default());
        assert!(gathering.plan(MANY).is_some(), "the rate is remembered");
    }
}
