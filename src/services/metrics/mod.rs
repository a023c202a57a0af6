//! Outside thread, figures: merges what the shards report and renders it. Histograms are merged, never averaged; no figure
//! is read from a session.

mod aggregate;
pub(crate) mod connections;
mod fresh;
pub(crate) mod gaps;
pub(crate) mod health;
pub(crate) mod lag;
pub(crate) mod memory;
mod process;
mod prometheus;
mod providers;
mod storm;
pub(crate) mod vitals;

pub(crate) use aggregate::{Aggregate, mean, quantile};
pub(crate) use fresh::{Rounds, fresh};
pub(crate) use prometheus::{CONTENT_TYPE, render};

use super::context::Services;
use super::lock::lock;
use crate::shard::mailbox::ShardReport;

/// Takes a shard's report and judges overload (behaviour.md §10.7).
pub(crate) fn take_report(cx: &Services, report: ShardReport) {
    let settings = cx.settings();
    let now_ms = cx.clock.now().mono_ms;
    let (late, storm) = {
        let mut all = lock(&cx.aggregate);
        (all.take(report, now_ms), all.storm(now_ms, &settings))
    };
    if let Some(storm) = storm {
        tracing::warn!(
            abnormal_closes = storm.abnormal_closes,
            reconnects = storm.reconnects,
            window_ms = settings.connections.storm_window_ms,
            "reconnect-storm"
        );
    }
    cx.rounds.reported();
    if let Some(p99_ms) = late {
        let overloaded =
            settings.server.shed_load_enabled && p99_ms > settings.server.admission_lag_ms;
        if overloaded != cx.shared.is_overloaded() {
            tracing::warn!(overloaded, p99_ms, "admission");
            cx.shared.set_overloaded(overloaded);
        }
    }
}

#[cfg(test)]
mod tests;
