//! Latency histograms per message class: recording on the hot path, summaries and curves for the report.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency kept apart, nanoseconds; longer ones count as this long.
const LONGEST_NS: u64 = 120 * crate::clock::SECOND;
/// Steps of a percentile curve per halving of the distance to 100 %.
const CURVE_STEPS: usize = 5;

/// What a latency was measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    /// Binary microphone frame, phone to app.
    Audio,
    /// From a microphone frame to the transcription of it at an app, by way of the recogniser.
    Speech,
    /// JSON event, phone to app, in its envelope.
    Event,
    /// `display_event`, app to phone.
    Display,
    /// `ping` of a phone to its `pong`.
    Ping,
    /// Phone socket: from the attempt to `connection_ack`.
    PhoneConnect,
    /// App socket: from dialling to `tpa_connection_ack`.
    AppConnect,
    /// `POST /apps/:pkg/start`, from the request to its answer.
    AppStart,
    /// Every other REST call.
    Rest,
}

impl Class {
    /// All classes in the order in which reports list them.
    pub(crate) const ALL: [Self; 9] = [
        Self::Audio,
        Self::Speech,
        Self::Event,
        Self::Display,
        Self::Ping,
        Self::PhoneConnect,
        Self::AppConnect,
        Self::AppStart,
        Self::Rest,
    ];

    /// Those of the streams: numbered messages.
    pub(crate) const STREAMS: [Self; 4] = [Self::Audio, Self::Speech, Self::Event, Self::Display];

    /// Position in [`Class::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Name in tables and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Speech => "speech",
            Self::Event => "event",
            Self::Display => "display",
            Self::Ping => "ping",
            Self::PhoneConnect => "phone_connect",
            Self::AppConnect => "app_connect",
            Self::AppStart => "app_start",
            Self::Rest => "rest",
        }
    }
}

/// Latencies of one class: the whole window and the current second.
pub(crate) struct Recorder {
    whole: Histogram<u64>,
    second: Histogram<u64>,
}

impl Recorder {
    /// An empty recorder with 1 % resolution.
    pub(crate) fn new() -> Self {
        let empty = Histogram::new_with_bounds(1, LONGEST_NS, 2)
            .expect("1 ns to 120 s at two digits are legal bounds");
        Self {
            second: empty.clone(),
            whole: empty,
        }
    }

    /// Records `ns` in the current interval, and in the window if it belongs there.
    pub(crate) fn record(&mut self, ns: u64, in_window: bool) {
        if in_window {
            self.whole.saturating_record(ns);
        }
        self.second.saturating_record(ns);
    }

    /// Summary of the second that ends now, and a fresh second.
    pub(crate) fn take_second(&mut self) -> Option<Latency> {
        let summary = Latency::of(&self.second);
        if summary.is_some() {
            self.second.reset();
        }
        summary
    }

    /// Summary of everything since the last [`Recorder::reset`].
    pub(crate) fn summary(&self) -> Option<Latency> {
        Latency::of(&self.whole)
    }

    /// The percentile curve: (percentile, microseconds).
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        if self.whole.is_empty() {
            return Vec::new();
        }
        let mut curve: Vec<(f64, f64)> = Vec::new();
        for step in 0..CURVE_STEPS * 20 {
            let distance = 0.5_f64.powf(step as f64 / CURVE_STEPS as f64);
            let quantile = 1.0 - distance;
            // Below the distance of a single sample there is only the maximum.
            if distance * (self.whole.len() as f64) < 1.0 {
                break;
            }
            curve.push((
                quantile * 100.0,
                micros(self.whole.value_at_quantile(quantile)),
            ));
        }
        curve.push((100.0, micros(self.whole.max())));
        curve
    }
}

fn micros(ns: u64) -> f64 {
    (ns as f64 / 100.0).round() / 10.0
}

/// Latency summary; microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Latency {
    /// Samples.
    pub(crate) count: u64,
    /// Median.
    pub(crate) p50_us: f64,
    /// 90th percentile.
    pub(crate) p90_us: f64,
    /// 99th percentile.
    pub(crate) p99_us: f64,
    /// 99.9th percentile.
    pub(crate) p999_us: f64,
    /// Largest.
    pub(crate) max_us: f64,
    /// Mean.
    pub(crate) mean_us: f64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Some(Self {
            count: histogram.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: micros(histogram.max()),
            mean_us: (histogram.mean() / 100.0).round() / 10.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_one_percent_of_the_exact_ones() {
        let mut recorder = Recorder::new();
        for us in 1..=10_000_u64 {
            recorder.record(us * 1000, true);
        }
        let latency = recorder.summary().unwrap();
        assert_eq!(latency.count, 10_000);
        for (got, exact) in [
            (latency.p50_us, 5000.0),
            (latency.p90_us, 9000.0),
            (latency.p99_us, 9900.0),
            (latency.p999_us, 9990.0),
            (latency.max_us, 10_000.0),
        ] {
            assert!((got / exact - 1.0_f64).abs() < 0.01, "{got} for {exact}");
        }
    }

    #[test]
    fn seconds_are_separate_and_the_whole_keeps_all_of_them() {
        let mut recorder = Recorder::new();
        recorder.record(1000, true);
        assert_eq!(recorder.take_second().unwrap().count, 1);
        assert_eq!(recorder.take_second(), None);
        recorder.record(2000, true);
        recorder.record(2000, true);
        assert_eq!(recorder.take_second().unwrap().count, 2);
        assert_eq!(recorder.summary().unwrap().count, 3);
    }

    #[test]
    fn curves_rise_and_end_at_the_maximum() {
        let mut recorder = Recorder::new();
        for us in 1..=1000_u64 {
            recorder.record(us * 1000, true);
        }
        let curve = recorder.curve();
        assert!(
            curve
                .windows(2)
                .all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1)
        );
        let last = curve.last().unwrap();
        assert!(last.0 == 100.0 && (last.1 / 1000.0 - 1.0_f64).abs() < 0.01);
    }

    #[test]
    fn the_index_of_a_class_is_its_place_in_the_list() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), index);
        }
    }
}
