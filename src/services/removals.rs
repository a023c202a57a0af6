//! Outside thread: deletions at the provider of managed streams. Nobody waits for them and the session that asked may be gone, so
//! they are tried again here, and a shutdown gives them a moment.

use super::context::Services;
use crate::session::effects::HttpCall;
use crate::session::event::HttpOutcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::sleep;

/// Attempts per deletion. The pauses between them begin at `managed_api_backoff_ms` and double: half a minute in all for a second.
const TRIES: u32 = 6;
/// Longest pause that the provider may ask for (s).
const PAUSE_MAX_S: u64 = 60;
/// Deletions that may wait for another attempt; beyond that number each gets one attempt.
const WAITING_MAX: usize = 1024;
/// How often a shutdown looks whether all are done.
const LOOK: Duration = Duration::from_millis(5);

/// How many deletions are under way.
#[derive(Default)]
pub(crate) struct Removals(Arc<AtomicUsize>);

/// A deletion under way; counted until it is dropped.
pub(crate) struct Removal(Arc<AtomicUsize>);

impl Drop for Removal {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Removals {
    /// Counts one more, before its task first runs, so that a shutdown does not miss it.
    pub(crate) fn begin(&self) -> Removal {
        self.0.fetch_add(1, Ordering::Relaxed);
        Removal(Arc::clone(&self.0))
    }

    /// Deletes, trying again as often as [`TRIES`] allows; returns the outcome of the last attempt.
    pub(crate) async fn run(&self, cx: &Services, call: HttpCall) -> HttpOutcome {
        let all = self.0.load(Ordering::Relaxed);
        let tries = if all <= WAITING_MAX { TRIES } else { 1 };
        let mut outcome = cx.webhooks.call(call.clone(), None).await;
        for done in 1..tries {
            if !outcome.may_pass() {
                break;
            }
            let pause_ms = cx.settings().streaming.managed_api_backoff_ms << (done - 1);
            let wished = wished_pause(&outcome);
            sleep(wished.max(Duration::from_millis(pause_ms))).await;
            outcome = cx.webhooks.call(call.clone(), None).await;
        }
        if outcome.may_pass() {
            tracing::warn!(url = call.url, ?outcome, "live-input-left");
        }
        outcome
    }

    /// Waits until all are done and none is on its way here.
    pub(crate) async fn done(&self, is_inbox_empty: impl Fn() -> bool) {
        while !is_inbox_empty() || self.0.load(Ordering::Relaxed) > 0 {
            sleep(LOOK).await;
        }
    }
}

/// How long the provider wants to be left alone.
fn wished_pause(outcome: &HttpOutcome) -> Duration {
    let wished_s = match outcome {
        HttpOutcome::Answer { retry_after_s, .. } => retry_after_s.unwrap_or(0),
        HttpOutcome::Failed { .. } => 0,
    };
    Duration::from_secs(wished_s.min(PAUSE_MAX_S))
}
