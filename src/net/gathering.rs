//! Layer 4: whether a shard with little to do lets messages gather before it wakes. At some thousand messages a second each would
//! wake it alone, and a wake-up costs more than a message. At fewer nothing gathers, and the timer of the wait is lost; a busier shard
//! finds several each time by itself.

use crate::base::settings::Connections;
use crate::io::Gather;
use std::time::Duration;

/// Of the older measure and of the last tick's, so much of the former stays (in eighths).
const OLD_EIGHTHS: u64 = 7;

/// Measures how busy a shard is, and says how it is to wait.
#[derive(Default)]
pub(super) struct Gathering {
    /// Results since the last tick.
    taken: u64,
    /// Results per second, smoothed.
    per_s: u64,
    /// Time on a CPU in thousandths of all time, smoothed.
    busy_permille: u64,
    /// The thread's time on a CPU at the last tick (ns).
    cpu_ns: u64,
    /// As the settings have it; `None`: never.
    asked: Option<Gather>,
    sockets_min: usize,
    per_s_min: u64,
    busy_permille_max: u64,
}

impl Gathering {
    /// Follows the settings in force.
    pub(super) fn follow(&mut self, cfg: &Connections) {
        self.asked = (cfg.gather_us > 0).then(|| Gather {
            results: cfg.gather_results as u32,
            time: Duration::from_micros(cfg.gather_us),
        });
        self.sockets_min = cfg.gather_sockets_min as usize;
        self.per_s_min = cfg.gather_rate_min;
        self.busy_permille_max = cfg.gather_busy_max * 10;
    }

    /// A result was taken.
    #[inline]
    pub(super) fn took(&mut self) {
        self.taken += 1;
    }

    /// `ns` passed since the last tick; `cpu_ns`: what the thread has had of a CPU since it began.
    pub(super) fn tick(&mut self, ns: u64, cpu_ns: u64) {
        let per_s = std::mem::take(&mut self.taken).saturating_mul(1_000_000_000) / ns.max(1);
        let ran_ns = cpu_ns.saturating_sub(self.cpu_ns);
        self.cpu_ns = cpu_ns;
        self.per_s = smooth(self.per_s, per_s);
        self.busy_permille = smooth(self.busy_permille, ran_ns.saturating_mul(1000) / ns.max(1));
    }

    /// How a shard with so many sockets is to wait.
    #[inline]
    pub(super) fn plan(&self, sockets: usize) -> Option<Gather> {
        let pays = sockets >= self.sockets_min
            && self.per_s >= self.per_s_min
            && self.busy_permille <= self.busy_permille_max;
        self.asked.filter(|_| pays)
    }
}

fn smooth(old: u64, new: u64) -> u64 {
    (old * OLD_EIGHTHS + new * (8 - OLD_EIGHTHS)) / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK_NS: u64 = 10_000_000;
    const MANY: usize = 10_000;

    fn gathering(cfg: Connections) -> Gathering {
        let mut gathering = Gathering::default();
        gathering.follow(&cfg);
        gathering
    }

    /// A second in which so many results came, and the thread ran for so much of it.
    fn second(gathering: &mut Gathering, per_s: u64, percent: u64) {
        for _ in 0..100 {
            for _ in 0..per_s / 100 {
                gathering.took();
            }
            gathering.tick(TICK_NS, gathering.cpu_ns + TICK_NS * percent / 100);
        }
    }

    #[test]
    fn a_busy_shard_does_not_keep_anybody_waiting() {
        let cfg = Connections::default();
        let limit = cfg.gather_busy_max;
        let mut gathering = gathering(cfg);
        second(&mut gathering, 10_000, limit - 5);
        assert!(gathering.plan(MANY).is_some());
        second(&mut gathering, 10_000, limit + 5);
        assert_eq!(gathering.plan(MANY), None);
        second(&mut gathering, 10_000, limit - 5);
        assert!(gathering.plan(MANY).is_some(), "and quiet again");
    }

    #[test]
    fn nobody_waits_for_messages_that_do_not_come() {
        let cfg = Connections::default();
        let limit = cfg.gather_rate_min;
        let mut gathering = gathering(cfg);
        assert_eq!(gathering.plan(MANY), None, "as after the start");
        second(&mut gathering, limit / 2, 5);
        assert_eq!(gathering.plan(MANY), None);
        second(&mut gathering, limit * 2, 5);
        assert!(gathering.plan(MANY).is_some());
    }

    #[test]
    fn a_few_sockets_never_wait_for_one_another() {
        let cfg = Connections::default();
        let few = cfg.gather_sockets_min as usize - 1;
        let mut gathering = gathering(cfg);
        second(&mut gathering, 10_000, 5);
        assert_eq!(gathering.plan(few), None);
        assert!(gathering.plan(few + 1).is_some());
    }

    #[test]
    fn nobody_waits_where_it_is_switched_off() {
        let mut gathering = gathering(Connections {
            gather_us: 0,
            ..Connections::default()
        });
        second(&mut gathering, 10_000, 5);
        assert_eq!(gathering.plan(MANY), None);
    }
}
