//! Layer 0: what a client can cause as often as it likes: log lines are said once in a while, other things done so often a second.

/// A client's mistakes are told at most this often (ms); the rest is counted.
pub const CLIENT_MS: u64 = 10_000;

/// Lets something be said once in a while.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rarely {
    next_ms: u64,
    unsaid: u64,
}

impl Rarely {
    /// Whether it may be said now, and how often it was not since the last time.
    pub fn may(&mut self, now_ms: u64, every_ms: u64) -> Option<u64> {
        if now_ms < self.next_ms {
            self.unsaid += 1;
            return None;
        }
        self.next_ms = now_ms + every_ms;
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Lets something be done so often within one second.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PerSecond {
    second: u64,
    done: u64,
}

impl PerSecond {
    /// Whether it may be done now; who may not has not done it.
    pub fn may(&mut self, now_ms: u64, max: u64) -> bool {
        let second = now_ms / 1000;
        if self.second != second {
            *self = Self { second, done: 0 };
        }
        let may = self.done < max;
        self.done += u64::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_a_second_and_not_once_a_user() {
        let mut failures = Rarely::default();
        let told = (0..2_500_u64).filter_map(|now_ms| failures.may(now_ms, 1000));
        assert_eq!(told.collect::<Vec<_>>(), [0, 999, 999]);
    }

    #[test]
    fn so_many_a_second_and_no_more() {
        let mut rate = PerSecond::default();
        let done = (5_500..7_500_u64).filter(|now_ms| rate.may(*now_ms, 3));
        assert_eq!(
            done.collect::<Vec<_>>(),
            [
                5_500, 5_501, 5_502, 6_000, 6_001, 6_002, 7_000, 7_001, 7_002
            ]
        );
    }
}
