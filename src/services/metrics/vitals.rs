//! Outside thread: the vitals line every `vitals_log_ms` (behaviour.md §10.4).

use super::aggregate::{Aggregate, mean, quantile};
use super::process;
use crate::base::metrics::{Counter, Latency, Metrics, Side, Timing};
use crate::services::context::Services;
use crate::services::lock::lock;
use std::sync::Arc;
use std::time::Duration;

/// How phones came and went since the last line (behaviour.md §1.12).
#[derive(Clone, Default, Debug)]
struct Churn {
    disconnects: u64,
    reconnects: u64,
    /// Of these reconnects (ms).
    downtime_mean_ms: f64,
    /// `1000:3 1006:2`.
    close_codes: String,
}

/// What the counters said at the last line.
#[derive(Default, Debug)]
struct Last {
    closes: Vec<u64>,
    reconnects: u64,
    downtimes: (u64, f64),
    /// In the order of [`STEPPED`].
    counts: [u64; STEPPED.len()],
}

/// Counters whose steps stand in the line.
const STEPPED: [Counter; 8] = [
    Counter::DeviceStateTotal,
    Counter::DeviceStateDeduped,
    Counter::DeviceStateApplied,
    Counter::DeviceStateRateLimited,
    Counter::UdpReceived,
    Counter::UdpDropped,
    Counter::UdpPings,
    Counter::UdpDecryptionFailures,
];

fn is_phone_close(counter: &Counter) -> bool {
    counter.name() == "mentra_connections_closed_total"
        && counter.labels().starts_with("kind=\"glasses\"")
}

impl Last {
    /// The changes since the last call.
    fn step(&mut self, all: &Aggregate) -> Churn {
        let rows: Vec<_> = Counter::ALL
            .iter()
            .copied()
            .filter(is_phone_close)
            .collect();
        let closes: Vec<u64> = rows.iter().map(|row| all.counter(*row)).collect();
        self.closes.resize(closes.len(), 0);
        let steps: Vec<u64> = closes
            .iter()
            .zip(&self.closes)
            .map(|(now, last)| now.saturating_sub(*last))
            .collect();
        let code = |row: &Counter| row.labels().rsplit('"').nth(1).unwrap_or_default();
        let codes: Vec<String> = rows
            .iter()
            .zip(&steps)
            .filter(|(_, step)| **step > 0)
            .map(|(row, step)| format!("{}:{step}", code(row)))
            .collect();
        let reconnects = all.counter(Counter::PhoneReconnects);
        let downtimes = &all.timings[Timing::PhoneDowntime as usize];
        let (count, seconds) = (downtimes.count(), downtimes.sum);
        let returned = count.saturating_sub(self.downtimes.0);
        let churn = Churn {
            disconnects: steps.iter().sum(),
            reconnects: reconnects.saturating_sub(self.reconnects),
            downtime_mean_ms: (seconds - self.downtimes.1) * 1000.0 / returned.max(1) as f64,
            close_codes: codes.join(" "),
        };
        *self = Self {
            closes,
            reconnects,
            downtimes: (count, seconds),
            counts: self.counts,
        };
        churn
    }
}

/// `class:mean/p99` in ms, of the last minute, for classes that had any operation.
fn operations(window: &Metrics) -> String {
    let messages = |side| {
        let mut all = Latency::default();
        let of_kind = window.latencies(side).iter();
        of_kind.for_each(|latency| all.merge(latency));
        all
    };
    let classes = [
        ("glasses", messages(Side::Phone)),
        ("app", messages(Side::App)),
        ("audio", window.timing(Timing::AudioFanout).clone()),
        ("turn", window.timing(Timing::TurnLength).clone()),
        ("app_start", window.timing(Timing::AppStartOk).clone()),
    ];
    let shown = classes.iter().filter(|class| class.1.histogram().is_some());
    let shown: Vec<String> = shown
        .map(|(class, latency)| {
            let p99 = quantile(latency, 0.99) as f64 / 1e6;
            format!("{class}:{:.2}/{p99:.2}", mean(latency) / 1e6)
        })
        .collect();
    shown.join(" ")
}

/// Logs until the runtime ends; the log says when that itself was slow.
pub(crate) async fn log(cx: Arc<Services>) {
    let mut last = Last::default();
    loop {
        tokio::time::sleep(Duration::from_millis(
            cx.settings().observability.vitals_log_ms,
        ))
        .await;
        let begun_ms = cx.clock.now().mono_ms;
        line(&cx, &mut last);
        let took_ms = cx.clock.now().mono_ms.saturating_sub(begun_ms);
        if took_ms >= cx.settings().observability.vitals_slow_ms {
            tracing::warn!(took_ms, "slow vitals");
        }
    }
}

fn line(cx: &Services, last: &mut Last) {
    let memory = process::memory();
    let all = lock(&cx.aggregate);
    let window = all.window();
    let lag = window.timing(Timing::TurnLag);
    let churn = last.step(&all);
    let before = std::mem::replace(&mut last.counts, STEPPED.map(|row| all.counter(row)));
    // Since the last line.
    let step = |counter: Counter| -> u64 {
        let at = STEPPED.iter().position(|row| *row == counter);
        at.map_or(0, |at| last.counts[at].saturating_sub(before[at]))
    };
    tracing::info!(
        region = cx.settings().server.region,
        rss_mb = memory.rss >> 20,
        sessions = all.gauge(|shard| shard.sessions),
        phones = all.gauge(|shard| shard.phones),
        apps = all.gauge(|shard| shard.apps),
        http = all.gauge(|shard| shard.http),
        speech_streams = all.gauge(|shard| shard.speech_streams.iter().sum()),
        mic_active = all.gauge(|shard| shard.mic_active),
        disconnects = churn.disconnects,
        reconnects = churn.reconnects,
        downtime_mean_ms = churn.downtime_mean_ms,
        close_codes = churn.close_codes,
        device_state = step(Counter::DeviceStateTotal),
        device_state_deduped = step(Counter::DeviceStateDeduped),
        device_state_applied = step(Counter::DeviceStateApplied),
        device_state_rate_limited = step(Counter::DeviceStateRateLimited),
        udp_received = step(Counter::UdpReceived),
        udp_dropped = step(Counter::UdpDropped),
        udp_pings = step(Counter::UdpPings),
        udp_decryption_failures = step(Counter::UdpDecryptionFailures),
        operations_ms = operations(&window),
        lag_mean_ms = mean(lag) / 1e6,
        lag_p99_ms = quantile(lag, 0.99) as f64 / 1e6,
        lag_max_ms = quantile(lag, 1.0) as f64 / 1e6,
        store_waiting = cx.writes.depth(),
        log_lines_dropped = (cx.dropped_log_lines)(),
        "vitals"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::rest::testkit;

    #[test]
    fn the_line_says_what_happened_since_the_last_one_and_how_long_operations_took() {
        use crate::base::log_capture::lines_of;
        testkit::Kit::run(|kit| async move {
            let mut report = testkit::report(0);
            report.metrics.add(Counter::DeviceStateTotal, 5);
            report.metrics.add(Counter::DeviceStateDeduped, 3);
            report.metrics.add(Counter::UdpReceived, 9);
            report.metrics.time(Timing::AudioFanout, 4_000_000);
            let mut last = Last::default();
            let mut say = |report: &crate::shard::mailbox::ShardReport| {
                crate::services::metrics::take_report(&kit.cx, report.clone());
                lines_of(|| line(&kit.cx, &mut last)).join(" ")
            };
            let first = say(&report);
            for part in [
                "device_state=5",
                "device_state_deduped=3",
                "udp_received=9",
                "audio:4.0",
            ] {
                assert!(first.contains(part), "{part}: {first}");
            }
            report.metrics.add(Counter::UdpReceived, 2);
            let second = say(&report);
            assert!(
                second.contains("udp_received=2") && second.contains("device_state=0"),
                "{second}"
            );
        });
    }

    #[test]
    fn churn_is_what_happened_since_the_last_line() {
        let mut all = Aggregate::new(1);
        let mut report = testkit::report(0);
        report.metrics.add(Counter::PhoneClosed1006, 3);
        report.metrics.add(Counter::AppClosed1006, 9);
        report.metrics.add(Counter::PhoneReconnects, 2);
        report.metrics.time(Timing::PhoneDowntime, 1_000_000_000);
        report.metrics.time(Timing::PhoneDowntime, 3_000_000_000);
        let handed = report.metrics.hand_over();
        let counters = report.clone();
        all.take(
            crate::shard::mailbox::ShardReport {
                metrics: handed,
                ..report
            },
            0,
        );
        let mut last = Last::default();
        let first = last.step(&all);
        assert_eq!((first.disconnects, first.reconnects), (3, 2));
        assert_eq!(first.close_codes, "1006:3");
        assert!(
            (1980.0..2030.0).contains(&first.downtime_mean_ms),
            "{first:?}"
        );
        let mut later = counters;
        later.metrics.inc(Counter::PhoneClosed1000);
        all.take(later, 1);
        let second = last.step(&all);
        assert_eq!((second.disconnects, second.reconnects), (1, 0));
        assert_eq!(second.close_codes, "1000:1");
        assert!(second.downtime_mean_ms.abs() < 1e-9);
    }
}
