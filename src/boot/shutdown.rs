//! Layer 5: the way down (behaviour.md §10.6). Everything is bounded by a watchdog on a thread of its own.

use super::BootError;
use crate::base::ids::ShardId;
use crate::base::settings::Settings;
use crate::logs::{Logs, announce};
use crate::net::Door;
use crate::services::Running;
use crate::shard::mailbox::{Mailboxes, ToShard};
use crate::shard::shared::Shared;
use std::process;
use std::thread;
use std::time::Duration;

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// Time for the store's last writes.
const STORE: Duration = Duration::from_millis(500);

/// Waits for `done`, `ms` at most.
fn wait(ms: u64, done: impl Fn() -> bool) {
    let mut left_ms = ms;
    while !done() && left_ms > 0 {
        thread::sleep(LOOK);
        left_ms = left_ms.saturating_sub(LOOK.as_millis() as u64);
    }
}

/// Closes everything and ends the process: 0, or 1 from the watchdog.
pub(super) fn run(
    settings: &Settings,
    shared: &Shared,
    mail: &Mailboxes,
    services: Running,
    logs: Logs,
    door: &Door,
) -> Result<(), BootError> {
    shared.start_draining();
    announce("shutdown-started");
    let budget_ms = settings.server.shutdown_budget_ms;
    thread::Builder::new()
        .name("watchdog".into())
        .spawn(move || {
            thread::sleep(Duration::from_millis(budget_ms));
            announce("shutdown-watchdog");
            process::exit(1);
        })?;
    for shard in 0..mail.shards() {
        // A shard whose inbox is full does not turn; the others must still say goodbye.
        let sent = mail.send(ShardId(shard), ToShard::Drain);
        if sent.is_err() {
            tracing::warn!(shard, "a shard takes no mail and cannot be drained");
        }
    }
    let handshake_ms = settings.health.close_handshake_timeout_ms;
    wait(handshake_ms + 1000, || shared.is_drained());
    if !services.stop(STORE) {
        tracing::warn!("the store did not finish in time");
    }
    tracing::info!("all closed");
    let flushed = thread::spawn(move || drop(logs));
    wait(settings.server.log_flush_timeout_ms, || {
        flushed.is_finished()
    });
    door.shut();
    announce("shutdown-complete");
    process::exit(0);
}
