//! Layer 4: whether a shard with nothing to do lets messages gather before it wakes. At some thousand messages a second each would
//! wake it alone, and a wake-up costs more than a message; at many more they come together by themselves.

use crate::base::settings::Connections;
use crate::io::Gather;
use std::time::Duration;

/// Of the older rate and of the last tick's, so much of the former stays (in eighths).
const OLD_EIGHTHS: u64 = 7;

/// Counts what a shard takes, and says how it is to wait.
#[derive(Default)]
pub(super) struct Gathering {
    /// Results since the last tick.
    taken: u64,
    /// Results per second, smoothed.
    per_s: u64,
    /// As the settings have it; `None`: never.
    asked: Option<Gather>,
    sockets_min: usize,
    per_s_max: u64,
}

impl Gathering {
    /// Follows the settings in force.
    pub(super) fn follow(&mut self, cfg: &Connections) {
        self.asked = (cfg.gather_us > 0).then(|| Gather {
            results: cfg.gather_results as u32,
            time: Duration::from_micros(cfg.gather_us),
        });
        self.sockets_min = cfg.gather_sockets_min as usize;
        self.per_s_max = cfg.gather_rate_max;
    }

    /// A result was taken.
    #[inline]
    pub(super) fn took(&mut self) {
        self.taken += 1;
    }

    /// `ns` passed since the last tick.
    pub(super) fn tick(&mut self, ns: u64) {
        let now = std::mem::take(&mut self.taken).saturating_mul(1_000_000_000) / ns.max(1);
        self.per_s = (self.per_s * OLD_EIGHTHS + now * (8 - OLD_EIGHTHS)) / 8;
    }

    /// How a shard with so many sockets is to wait.
    #[inline]
    pub(super) fn plan(&self, sockets: usize) -> Option<Gather> {
        self.asked
            .filter(|_| sockets >= self.sockets_min && self.per_s <= self.per_s_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK_NS: u64 = 10_000_000;

    fn gathering(cfg: Connections) -> Gathering {
        let mut gathering = Gathering::default();
        gathering.follow(&cfg);
        gathering
    }

    fn second(gathering: &mut Gathering, per_s: u64) {
        for _ in 0..100 {
            for _ in 0..per_s / 100 {
                gathering.took();
            }
            gathering.tick(TICK_NS);
        }
    }

    #[test]
    fn a_busy_shard_does_not_keep_anybody_waiting() {
        let cfg = Connections::default();
        let (limit, sockets) = (cfg.gather_rate_max, 10_000);
        let mut gathering = gathering(cfg);
        second(&mut gathering, limit / 2);
        assert!(gathering.plan(sockets).is_some());
        second(&mut gathering, limit * 2);
        assert_eq!(gathering.plan(sockets), None);
        second(&mut gathering, limit / 2);
        assert!(gathering.plan(sockets).is_some(), "and quiet again");
    }

    #[test]
    fn a_few_sockets_never_wait_for_one_another() {
        let cfg = Connections::default();
        let few = cfg.gather_sockets_min as usize - 1;
        let gathering = gathering(cfg);
        assert_eq!(gathering.plan(few), None);
        assert!(gathering.plan(few + 1).is_some());
    }

    #[test]
    fn nobody_waits_where_it_is_switched_off() {
        let gathering = gathering(Connections {
            gather_us: 0,
            ..Connections::default()
        });
        assert_eq!(gathering.plan(10_000), None);
    }
}
