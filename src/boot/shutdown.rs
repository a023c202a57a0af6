//! Layer 5: the way down (behaviour.md §10.6). Everything is bounded by a watchdog on a thread of its own.

use super::alarm::Alarm;
use crate::base::ids::ShardId;
use crate::base::settings::Settings;
use crate::logs::{Logs, announce};
use crate::net::Door;
use crate::services::Running;
use crate::shard::mailbox::{Mailboxes, ToShard};
use crate::shard::shared::Shared;
use std::io;
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// Exit code where a shard ended by itself.
const SHARD_LOST: i32 = 3;
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

/// Ends the process when the way down takes too long. It stands by from the start, as later there may be no thread to be had.
pub(super) struct Watchdog(mpsc::Sender<Duration>);

impl Watchdog {
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start() -> io::Result<Self> {
        let (begin, begun) = mpsc::channel();
        thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                // Nothing comes where the start failed.
                if let Ok(budget) = begun.recv() {
                    thread::sleep(budget);
                    announce("shutdown-watchdog");
                    process::exit(1);
                }
            })?;
        Ok(Self(begin))
    }
}

/// Everything that is closed on the way down; [`run`] knows the order.
pub(super) struct Closing<'a> {
    pub(super) alarm: &'a Alarm,
    pub(super) settings: &'a Settings,
    pub(super) shared: &'a Shared,
    pub(super) mail: &'a Mailboxes,
    pub(super) services: Running,
    pub(super) logs: Logs,
    pub(super) door: &'a Door,
}

/// Closes everything and ends the process: 0, 3 where a shard was lost, or 1 from the watchdog.
pub(super) fn run(closing: Closing<'_>, watchdog: &Watchdog) -> ! {
    let Closing {
        alarm,
        settings,
        shared,
        mail,
        services,
        logs,
        door,
    } = closing;
    shared.start_draining();
    if alarm.is_raised() {
        // Connections to the shard that ended would wait for nobody.
        door.shut();
    }
    announce("shutdown-started");
    let budget = Duration::from_millis(settings.server.shutdown_budget_ms);
    let _ = watchdog.0.send(budget);
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
    // Where there is no thread to be had, they are dropped here.
    let flushed = thread::Builder::new().spawn(move || drop(logs));
    wait(settings.server.log_flush_timeout_ms, || {
        flushed.as_ref().is_ok_and(thread::JoinHandle::is_finished)
    });
    door.shut();
    announce("shutdown-complete");
    process::exit(if alarm.is_raised() { SHARD_LOST } else { 0 });
}
