//! Layer 0: limits on what clients could cause without end: log lines are written once in a while, other things done so many times a
//! second.

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

/// Lets something be said so many times a minute, and counts the rest.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PerMinute {
    since_ms: u64,
    said: u64,
    unsaid: u64,
}

impl PerMinute {
    /// Whether it may be said now, and how often it was not since the last time.
    pub fn may(&mut self, now_ms: u64, max: u64) -> Option<u64> {
        if now_ms >= self.since_ms + 60_000 {
            (self.since_ms, self.said) = (now_ms, 0);
        }
        if self.said >= max {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Lets something be done so many times a second.
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
    fn so_many_a_minute_and_then_how_many_were_left_out() {
        let mut lines = PerMinute::default();
        let at = [5, 6, 7, 8, 60_004, 60_005, 60_006].map(|now_ms| lines.may(60_000 + now_ms, 2));
        let expected = [Some(0), Some(0), None, None, None, Some(3), Some(0)];
        assert_eq!(at, expected);
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
