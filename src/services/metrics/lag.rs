//! Outside thread: samples of scheduling delay (behaviour.md §10.4). One every `lag_sample_ms`, the worst turn of any shard
//! within it, so that a stall between two looks is not missed; the last `lag_window` of them make the figures of `/health`.

use crate::services::context::Services;
use crate::services::lock::lock;
use crate::shard::shared::Beat;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The kept samples (µs), oldest first.
#[derive(Default, Debug)]
pub(crate) struct Lags {
    samples: VecDeque<u64>,
}

impl Lags {
    /// Takes a sample; only the last `window` are kept.
    pub(super) fn take(&mut self, lag_us: u64, window: usize) {
        self.samples.push_back(lag_us);
        let excess = self.samples.len().saturating_sub(window);
        self.samples.drain(..excess);
    }

    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    pub(super) fn mean_ms(&self) -> f64 {
        let sum: u64 = self.samples.iter().sum();
        sum as f64 / self.len().max(1) as f64 / 1000.0
    }

    pub(super) fn p99_ms(&self) -> f64 {
        let mut sorted: Vec<u64> = self.samples.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        sorted
            .get(rank)
            .map_or(0.0, |lag_us| *lag_us as f64 / 1000.0)
    }
}

/// Samples until the runtime ends.
pub(crate) async fn sample(cx: Arc<Services>) {
    loop {
        let pause_ms = cx.settings().observability.lag_sample_ms;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        take_sample(&cx);
    }
}

/// One sample now.
pub(super) fn take_sample(cx: &Services) {
    let worst_us = cx.shared.beats.iter().map(Beat::take_worst_lag_us).max();
    let window = cx.settings().observability.lag_window as usize;
    lock(&cx.aggregate).lags.take(worst_us.unwrap_or(0), window);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_window_counts() {
        let mut lags = Lags::default();
        assert_eq!((lags.mean_ms(), lags.p99_ms()), (0.0, 0.0));
        lags.take(900_000, 100);
        (1..=100_u64).for_each(|ms| lags.take(ms * 1000, 100));
        assert_eq!(
            (lags.len(), lags.mean_ms(), lags.p99_ms()),
            (100, 50.5, 99.0)
        );
    }
}
