//! Outside thread: the merged figures of all shards. Counters keep the last report of each shard; histograms go into a window
//! of ten-second slots for quantiles and into cumulative buckets for Prometheus.

use super::lag::Lags;
use super::storm::{Guard, Sample, Storm};
use crate::base::metrics::{Counter, Latency, Metrics, SENT_KINDS, Side, Timing};
use crate::base::settings::Settings;
use crate::shard::mailbox::ShardReport;
use crate::shard::memory::Owner;
use crate::wire::kinds::{AppKind, PhoneKind};
use std::collections::VecDeque;

/// Upper bounds in seconds: 0.1 ms … 10 s.
pub(crate) const BOUNDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// One slot of the window (ms).
const SLOT_MS: u64 = 10_000;
/// Slots kept: quantiles look back one minute.
const SLOTS: usize = 6;

/// A cumulative histogram.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Buckets {
    /// Per bound, not yet summed up; the last is above all bounds.
    pub(crate) counts: [u64; BOUNDS.len() + 1],
    /// Seconds.
    pub(crate) sum: f64,
}

impl Buckets {
    pub(crate) fn add(&mut self, latency: &Latency) {
        let Some(histogram) = latency.histogram() else {
            return;
        };
        for step in histogram.iter_recorded() {
            let seconds = step.value_iterated_to() as f64 / 1e9;
            let count = step.count_since_last_iteration();
            // Two significant digits: a value may read up to 1 % high, which must not push it past its bound.
            let slot = BOUNDS
                .iter()
                .position(|bound| seconds <= bound * 1.01)
                .unwrap_or(BOUNDS.len());
            self.counts[slot] += count;
            self.sum += seconds * count as f64;
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[derive(Clone)]
struct Slot {
    begun_ms: u64,
    metrics: Metrics,
    /// Messages in and errors when the slot began, for rates.
    opened: u64,
    closed: u64,
}

/// All figures.
pub(crate) struct Aggregate {
    shards: Vec<Option<ShardReport>>,
    window: VecDeque<Slot>,
    storms: Guard,
    pub(super) lags: Lags,
    pub(crate) timings: Vec<Buckets>,
    pub(crate) latencies: [Vec<Buckets>; 2],
}

pub(crate) fn kinds(side: Side) -> Vec<&'static str> {
    let mut names: Vec<_> = match side {
        Side::Phone => PhoneKind::ALL.iter().map(|kind| kind.wire()).collect(),
        Side::App => AppKind::ALL.iter().map(|kind| kind.wire()).collect(),
    };
    names.push("other");
    names
}

fn empty() -> Metrics {
    Metrics::new(PhoneKind::COUNT, AppKind::COUNT)
}

impl Aggregate {
    pub(crate) fn new(shards: u16) -> Self {
        Self {
            shards: vec![None; usize::from(shards)],
            window: VecDeque::new(),
            storms: Guard::default(),
            lags: Lags::default(),
            timings: vec![Buckets::default(); Timing::ALL.len()],
            latencies: [Side::Phone, Side::App]
                .map(|side| vec![Buckets::default(); kinds(side).len()]),
        }
    }

    /// Merges a report. When a slot of the window ends, returns the p99 of scheduling delay within it (ms).
    pub(crate) fn take(&mut self, report: ShardReport, now_ms: u64) -> Option<u64> {
        for (index, buckets) in self.timings.iter_mut().enumerate() {
            buckets.add(report.metrics.timing(Timing::ALL[index]));
        }
        for side in [Side::Phone, Side::App] {
            for (buckets, latency) in self.latencies[side as usize]
                .iter_mut()
                .zip(report.metrics.latencies(side))
            {
                buckets.add(latency);
            }
        }
        let ended = self.turn(now_ms);
        if let Some(slot) = self.window.back_mut() {
            slot.metrics.merge_histograms(&report.metrics);
        }
        if let Some(place) = self.shards.get_mut(usize::from(report.shard.0)) {
            *place = Some(report);
        }
        ended
    }

    fn turn(&mut self, now_ms: u64) -> Option<u64> {
        let fresh = self
            .window
            .back()
            .is_some_and(|slot| now_ms < slot.begun_ms + SLOT_MS);
        if fresh {
            return None;
        }
        let p99_ms = self
            .window
            .back()
            .map(|slot| quantile(slot.metrics.timing(Timing::TurnLag), 0.99) / 1_000_000);
        if self.window.len() == SLOTS {
            self.window.pop_front();
        }
        let (opened, closed) = (self.opened(), self.closed());
        self.window.push_back(Slot {
            begun_ms: now_ms,
            metrics: empty(),
            opened,
            closed,
        });
        p99_ms
    }

    /// A storm of phones that was not reported yet (behaviour.md §1.12).
    pub(super) fn storm(&mut self, now_ms: u64, settings: &Settings) -> Option<Storm> {
        let sample = Sample {
            at_ms: now_ms,
            abnormal_closes: self.counter(Counter::PhoneClosed1006),
            reconnects: self.counter(Counter::PhoneReconnects),
        };
        self.storms.take(sample, settings)
    }

    pub(crate) fn opened(&self) -> u64 {
        self.counter(Counter::PhoneOpened) + self.counter(Counter::AppOpened)
    }

    pub(crate) fn closed(&self) -> u64 {
        Counter::ALL
            .iter()
            .filter(|counter| counter.name() == "mentra_connections_closed_total")
            .map(|counter| self.counter(*counter))
            .sum()
    }

    /// Connections opened and closed within the window.
    pub(crate) fn churn(&self) -> (u64, u64) {
        let first = self
            .window
            .front()
            .map_or((0, 0), |slot| (slot.opened, slot.closed));
        (
            self.opened().saturating_sub(first.0),
            self.closed().saturating_sub(first.1),
        )
    }

    /// Merged histograms of the window.
    pub(crate) fn window(&self) -> Metrics {
        let mut merged = empty();
        for slot in &self.window {
            merged.merge_histograms(&slot.metrics);
        }
        merged
    }

    /// Last reports.
    pub(crate) fn reports(&self) -> impl Iterator<Item = &ShardReport> {
        self.shards.iter().flatten()
    }

    /// Sum over shards.
    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        self.reports()
            .map(|report| report.metrics.get(counter))
            .sum()
    }

    /// Sum over shards.
    pub(crate) fn gauge(&self, of: impl Fn(&ShardReport) -> u64) -> u64 {
        self.reports().map(of).sum()
    }

    /// Messages by kind, summed over shards.
    pub(crate) fn messages(&self, side: Side) -> Vec<u64> {
        let mut sums = vec![0; kinds(side).len()];
        for report in self.reports() {
            for (sum, count) in sums.iter_mut().zip(report.metrics.messages(side)) {
                *sum += count;
            }
        }
        sums
    }

    /// Frames sent to a side, by place (`wire::sent_kinds`), summed over shards.
    pub(crate) fn frames_sent(&self, side: Side) -> [u64; SENT_KINDS] {
        let mut sums = [0; SENT_KINDS];
        for report in self.reports() {
            for (sum, count) in sums.iter_mut().zip(report.metrics.frames_sent(side)) {
                *sum += count;
            }
        }
        sums
    }

    /// Memory by owner, of every shard's last memory report.
    pub(crate) fn owners(&self) -> impl Iterator<Item = Owner> {
        self.reports()
            .flat_map(|report| report.owners.iter().copied())
    }

    /// Whether every shard has reported since this round was asked for.
    pub(crate) fn has_round(&self, round: u64) -> bool {
        self.shards
            .iter()
            .all(|report| report.as_ref().is_some_and(|report| report.round >= round))
    }
}

/// Nanoseconds; 0 where nothing was recorded.
pub(crate) fn quantile(latency: &Latency, quantile: f64) -> u64 {
    latency
        .histogram()
        .map_or(0, |histogram| histogram.value_at_quantile(quantile))
}

/// Nanoseconds; 0 where nothing was recorded.
pub(crate) fn mean(latency: &Latency) -> f64 {
    latency
        .histogram()
        .map_or(0.0, |histogram| histogram.mean())
}
