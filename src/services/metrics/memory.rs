//! Outside thread: its part of the memory report (behaviour.md §10.4). The shards count what they hold themselves
//! (`shard/memory.rs`); here are the bodies of requests being answered (uploads of photos among them), the app records, and
//! what the process as a whole uses.

use super::process;
use crate::base::footprint::Footprint as _;
use crate::services::context::Services;
use crate::services::lock::lock;
use crate::shard::memory::{MemoryWarning, Owner, warnings};
use crate::wire::records::{AppRecord, Registry};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of request bodies that somebody works on.
#[derive(Clone, Default, Debug)]
pub(crate) struct Bodies(Arc<AtomicU64>);

/// One body; taken off the sum when dropped.
pub(crate) struct Body(Bodies, u64);

impl Bodies {
    /// Counts a body as long as the answer lives.
    pub(crate) fn hold(&self, bytes: usize) -> Body {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
        Body(self.clone(), bytes as u64)
    }

    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.0.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// Reports until the runtime ends.
pub(crate) async fn log(cx: Arc<Services>) {
    let mut last = Vec::new();
    loop {
        let pause_ms = cx.settings().observability.memory_report_ms;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        report(&cx, &mut last);
    }
}

fn report(cx: &Services, last: &mut Vec<Owner>) {
    let owners = vec![
        Owner {
            name: "request_bodies",
            bytes: cx.bodies.bytes(),
        },
        Owner {
            name: "app_records",
            bytes: record_bytes(&cx.registry()),
        },
    ];
    let memory = process::memory();
    let of_shards: u64 = lock(&cx.aggregate).owners().map(|owner| owner.bytes).sum();
    let list: Vec<String> = owners
        .iter()
        .map(|owner| format!("{}:{}", owner.name, owner.bytes))
        .collect();
    tracing::info!(
        rss_bytes = memory.rss,
        heap_used_bytes = memory.heap_used,
        shard_owners_bytes = of_shards,
        store_waiting = cx.writes.depth(),
        owners = list.join(" "),
        "memory-process"
    );
    let settings = cx.settings();
    for Owner { name, bytes } in &owners {
        let before = last.iter().find(|one| one.name == *name);
        for warning in warnings(&settings.observability, *bytes, before.map(|one| one.bytes)) {
            match warning {
                MemoryWarning::Large => tracing::warn!(owner = name, bytes, "memory-owner-large"),
                MemoryWarning::Grows { by, fast } => tracing::warn!(
                    owner = name,
                    bytes,
                    growth_bytes = by,
                    fast,
                    "memory-owner-grows"
                ),
            }
        }
    }
    *last = owners;
}

fn record_bytes(registry: &Registry) -> u64 {
    let of = |record: &AppRecord| {
        size_of::<AppRecord>()
            + record.description.len()
            + record.onboarding_instructions.len()
            + record.settings.heap_bytes()
            + record.tools.heap_bytes()
    };
    registry.iter().map(|(_, record)| of(record) as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::log_capture::lines_of;
    use crate::services::rest::testkit::Kit;

    #[test]
    fn bodies_under_way_are_an_owner_like_any_other() {
        Kit::run(|kit| async move {
            let mut last = Vec::new();
            let held = kit.cx.bodies.hold(26_214_401);
            let lines = lines_of(|| report(&kit.cx, &mut last));
            let large = |line: &String| {
                line.starts_with("WARN memory-owner-large")
                    && line.contains(r#"owner="request_bodies" bytes=26214401"#)
            };
            assert!(
                lines[0].starts_with("INFO memory-process") && lines.iter().any(large),
                "{lines:?}"
            );
            drop(held);
            let lines = lines_of(|| report(&kit.cx, &mut last));
            assert!(
                lines.len() == 1 && lines[0].contains("request_bodies:0"),
                "{lines:?}"
            );
            let _held = kit.cx.bodies.hold(2_097_153);
            let lines = lines_of(|| report(&kit.cx, &mut last));
            assert!(
                lines[1].starts_with("WARN memory-owner-grows")
                    && lines[1].contains("growth_bytes=2097153 fast=false"),
                "{lines:?}"
            );
        });
    }
}
