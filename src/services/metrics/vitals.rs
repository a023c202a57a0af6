//! Outside thread: the vitals line every `vitals_log_ms` (behaviour.md §10.4).

use super::aggregate::{mean, quantile};
use super::process;
use crate::base::metrics::{Counter, Timing};
use crate::services::context::{Services, lock};
use std::sync::Arc;
use std::time::Duration;

/// Logs until the runtime ends.
pub(crate) async fn log(cx: Arc<Services>) {
    loop {
        tokio::time::sleep(Duration::from_millis(
            cx.settings().observability.vitals_log_ms,
        ))
        .await;
        let memory = process::memory();
        let all = lock(&cx.aggregate);
        let window = all.window();
        let lag = window.timing(Timing::TurnLag);
        let (opened, closed) = all.churn();
        tracing::info!(
            rss_mb = memory.rss >> 20,
            sessions = all.gauge(|shard| shard.sessions),
            phones = all.gauge(|shard| shard.phones),
            apps = all.gauge(|shard| shard.apps),
            http = all.gauge(|shard| shard.http),
            mic_active = all.gauge(|shard| shard.mic_active),
            opened_1m = opened,
            closed_1m = closed,
            reconnects = all.counter(Counter::PhoneReconnects),
            downtime_mean_ms = mean(window.timing(Timing::PhoneDowntime)) / 1e6,
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
}
