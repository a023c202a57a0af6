//! Outside thread: the health monitor's statistics line every `health_stats_log_ms` (behaviour.md §9.5), over all sessions.

use super::aggregate::{mean, quantile};
use crate::base::metrics::{Counter, Timing};
use crate::services::context::Services;
use crate::services::lock::lock;
use std::sync::Arc;
use std::time::Duration;

/// Packages named in the line.
const TROUBLED_MAX: usize = 5;

/// Sockets found dead until the last line.
#[derive(Clone, Copy, Default, Debug)]
struct Last {
    glasses: u64,
    apps: u64,
}

/// Logs until the runtime ends.
pub(crate) async fn log(cx: Arc<Services>) {
    let mut last = Last::default();
    loop {
        let pause_ms = cx.settings().health.health_stats_log_ms;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        line(&cx, &mut last);
    }
}

fn line(cx: &Services, last: &mut Last) {
    let all = lock(&cx.aggregate);
    let window = all.window();
    let (glasses_ping, app_ping) = (
        window.timing(Timing::PingPhone),
        window.timing(Timing::PingApp),
    );
    let now = Last {
        glasses: all.counter(Counter::HealthTimeoutPhone),
        apps: all.counter(Counter::HealthTimeoutApp),
    };
    tracing::info!(
        glasses = all.gauge(|shard| shard.phones),
        apps = all.gauge(|shard| shard.apps),
        pending_apps = all.gauge(|shard| shard.pending_apps),
        glasses_timeouts = now.glasses.saturating_sub(last.glasses),
        app_timeouts = now.apps.saturating_sub(last.apps),
        glasses_ping_mean_ms = mean(glasses_ping) / 1e6,
        glasses_ping_max_ms = max_ms(glasses_ping),
        app_ping_mean_ms = mean(app_ping) / 1e6,
        app_ping_max_ms = max_ms(app_ping),
        troubled_apps = lock(&cx.memory.app_stats).troubled(TROUBLED_MAX),
        "connection-health"
    );
    *last = now;
}

fn max_ms(latency: &crate::base::metrics::Latency) -> f64 {
    quantile(latency, 1.0) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::log_capture::lines_of;
    use crate::services::rest::testkit::{self, Kit};

    #[test]
    fn the_line_counts_the_dead_since_the_last_one() {
        Kit::run(|kit| async move {
            let mut last = Last::default();
            let mut report = testkit::report(0);
            report.metrics.add(Counter::HealthTimeoutApp, 4);
            report.metrics.time(Timing::PingApp, 30_000_000);
            let mut say = |report: &crate::shard::mailbox::ShardReport| {
                crate::services::metrics::take_report(&kit.cx, report.clone());
                lines_of(|| line(&kit.cx, &mut last)).join(" ")
            };
            let first = say(&report);
            let parts = [
                "INFO connection-health glasses=2 apps=5",
                "app_timeouts=4",
                "app_ping_max_ms=30",
            ];
            for part in parts {
                assert!(first.contains(part), "{part}: {first}");
            }
            assert!(say(&report).contains("app_timeouts=0"));
        });
    }
}
