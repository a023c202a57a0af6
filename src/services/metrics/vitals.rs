//! Outside thread: the vitals line every `vitals_log_ms` (behaviour.md §10.4).

use super::aggregate::{Aggregate, mean, quantile};
use super::process;
use crate::base::metrics::{Counter, Timing};
use crate::services::context::{Services, lock};
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
}

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
        };
        churn
    }
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
    tracing::info!(
        region = cx.settings().server.region,
        rss_mb = memory.rss >> 20,
        sessions = all.gauge(|shard| shard.sessions),
        phones = all.gauge(|shard| shard.phones),
        apps = all.gauge(|shard| shard.apps),
        http = all.gauge(|shard| shard.http),
        speech_streams = all.gauge(|shard| shard.speech_streams),
        mic_active = all.gauge(|shard| shard.mic_active),
        disconnects = churn.disconnects,
        reconnects = churn.reconnects,
        downtime_mean_ms = churn.downtime_mean_ms,
        close_codes = churn.close_codes,
        device_state = all.counter(Counter::DeviceStateTotal),
        udp_received = all.counter(Counter::UdpReceived),
        udp_dropped = all.counter(Counter::UdpDropped),
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
