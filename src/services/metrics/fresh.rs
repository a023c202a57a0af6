//! Outside thread: figures that are not older than the question. Before `/health` or `/metrics` is answered every shard is
//! asked to report; questions that come together share a round, and a stalled shard holds no answer up for long.

use crate::base::ids::ShardId;
use crate::services::context::Services;
use crate::shard::mailbox::ToShard;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::time::{sleep, timeout};

/// After this the answer is given with the figures there are.
const LIMIT: Duration = Duration::from_millis(50);
/// Between two rounds (ms), so that a flood of questions costs the shards little.
const PAUSE_MS: u64 = 10;

/// The rounds of asking.
#[derive(Default)]
pub(crate) struct Rounds {
    /// Number of the last one begun.
    begun: AtomicU64,
    /// Held while a round is under way: `mono_ms` before which none may begin.
    turn: Mutex<u64>,
    /// A report arrived.
    news: Notify,
}

impl Rounds {
    /// Rounds so far.
    #[cfg(test)]
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// A report was taken.
    pub(crate) fn reported(&self) {
        self.news.notify_waiters();
    }
}

/// Returns when every shard has reported since the call, or after 50 ms.
pub(crate) async fn fresh(cx: &Services) {
    // A round that is under way may have missed what the caller saw happen: only a later one will do.
    let wanted = cx.rounds.begun.load(Ordering::Relaxed) + 1;
    let _ = timeout(LIMIT, async {
        let mut next = cx.rounds.turn.lock().await;
        // Begun after this call, and over, or it would hold the lock.
        if cx.rounds.begun.load(Ordering::Relaxed) >= wanted {
            return;
        }
        let early_ms = next.saturating_sub(cx.clock.now().mono_ms);
        if early_ms > 0 {
            sleep(Duration::from_millis(early_ms)).await;
        }
        let round = cx.rounds.begun.fetch_add(1, Ordering::Relaxed) + 1;
        *next = cx.clock.now().mono_ms + PAUSE_MS;
        for shard in 0..cx.shards.shards() {
            // A full inbox is a shard that is late anyway.
            let _ = cx.shards.send(ShardId(shard), ToShard::ReportNow(round));
        }
        loop {
            let mut news = std::pin::pin!(cx.rounds.news.notified());
            // Registered before the look, so that no report falls between.
            news.as_mut().enable();
            if has_round(cx, round) {
                return;
            }
            news.await;
        }
    })
    .await;
}

fn has_round(cx: &Services, round: u64) -> bool {
    crate::services::lock::lock(&cx.aggregate).has_round(round)
}
