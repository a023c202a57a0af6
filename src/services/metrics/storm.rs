//! Outside thread: reconnect storms (behaviour.md §1.12). Phones that drop or return together are an incident; it is said once
//! per window, when either count reaches its threshold.

use crate::base::settings::Settings;
use std::collections::VecDeque;

/// Samples kept at most; with more reports than that in a window the oldest go and the window shortens.
const SAMPLES_MAX: usize = 4096;

/// Counters at an instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at_ms: u64,
    /// Phone sockets that ended with 1006.
    pub(super) abnormal_closes: u64,
    pub(super) reconnects: u64,
}

/// What happened within the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Storm {
    pub(super) abnormal_closes: u64,
    pub(super) reconnects: u64,
}

/// The window.
#[derive(Default, Debug)]
pub(super) struct Guard {
    samples: VecDeque<Sample>,
    quiet_until_ms: u64,
}

impl Guard {
    /// Takes the counters as they stand; says so when there is a storm that was not reported in this window.
    pub(super) fn take(&mut self, sample: Sample, settings: &Settings) -> Option<Storm> {
        let limits = &settings.connections;
        self.samples.push_back(sample);
        // The last one before the window is what the window is compared with.
        while self.samples.len() > SAMPLES_MAX
            || self
                .samples
                .get(1)
                .is_some_and(|next| next.at_ms + limits.storm_window_ms <= sample.at_ms)
        {
            self.samples.pop_front();
        }
        let first = self.samples.front()?;
        let storm = Storm {
            abnormal_closes: sample.abnormal_closes.saturating_sub(first.abnormal_closes),
            reconnects: sample.reconnects.saturating_sub(first.reconnects),
        };
        let is_storm = storm.abnormal_closes >= limits.storm_closes
            || storm.reconnects >= limits.storm_reconnects;
        if !is_storm || sample.at_ms < self.quiet_until_ms {
            return None;
        }
        self.quiet_until_ms = sample.at_ms + limits.storm_window_ms;
        Some(storm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: u64, abnormal_closes: u64, reconnects: u64) -> Sample {
        Sample {
            at_ms,
            abnormal_closes,
            reconnects,
        }
    }

    #[test]
    fn a_storm_is_reported_once_per_window() {
        let (mut guard, settings) = (Guard::default(), Settings::default());
        assert_eq!(guard.take(sample(0, 1000, 1000), &settings), None);
        assert_eq!(guard.take(sample(1000, 1049, 1000), &settings), None);
        let storm = guard.take(sample(2000, 1050, 1001), &settings);
        let expected = Storm {
            abnormal_closes: 50,
            reconnects: 1,
        };
        assert_eq!(storm, Some(expected));
        assert_eq!(guard.take(sample(3000, 1200, 1001), &settings), None);
        // The herd returns later: another window, another report.
        let returned = guard.take(sample(12_500, 1200, 1100), &settings);
        assert_eq!(returned.map(|storm| storm.reconnects), Some(99));
    }

    #[test]
    fn the_same_count_spread_over_minutes_is_no_storm() {
        let (mut guard, settings) = (Guard::default(), Settings::default());
        for minute in 0..100 {
            let slow = sample(minute * 60_000, minute * 40, minute * 20);
            assert_eq!(guard.take(slow, &settings), None);
        }
    }
}
