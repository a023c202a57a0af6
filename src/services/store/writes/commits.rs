//! Outside thread, store writer: how a batch becomes durable though the store fails, refuses a change for what it says, or never gets
//! one done in time. None of them holds up changes of other documents; those of one document stay in order.

use super::{BATCH_MAX, Inner, Queue, RETRY_MAX_MS};
use crate::base::ids::UserId;
use crate::services::lines::{Line, may};
use crate::services::store::changes::{Change, DocKey, Outcome};
use crate::services::store::{Space, StoreError};
use futures_util::FutureExt as _;
use std::collections::VecDeque;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// Next to nothing of a batch that failed is tried at once: the rest may be what it does not get done.
const SHRINK: usize = 8;

/// Most time after which a document that somebody locks is tried again: the attempt waits for the lock as well, so that its own
/// user's writes follow soon after it is free.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);

/// Weight of a change, and who waits for it.
type Waiter = (usize, Option<oneshot::Sender<Outcome>>);

/// Changes that were taken from the queue, in order.
#[derive(Default)]
pub(super) struct Batch {
    changes: VecDeque<Change>,
    waiters: VecDeque<Waiter>,
}

impl Batch {
    pub(super) fn push(&mut self, change: Change, waiter: Waiter) {
        self.changes.push_back(change);
        self.waiters.push_back(waiter);
    }

    /// Takes the first `count`.
    fn take(&mut self, count: usize) -> Self {
        Self {
            changes: self.changes.drain(..count).collect(),
            waiters: self.waiters.drain(..count).collect(),
        }
    }

    fn into_parts(self) -> impl Iterator<Item = (Change, Waiter)> {
        self.changes.into_iter().zip(self.waiters)
    }
}

/// Whose fault a failure is, as far as can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The store takes others.
    Changes,
    /// It takes none.
    Store,
    /// It took none, and does again.
    Past,
}

/// Failures in a row, and the pause after each.
struct Trouble {
    failures: u32,
    store_works: bool,
    pause_ms: u64,
    retry_ms: u64,
    /// No line of the log for so long: a lock is looked at more often than it is worth one.
    quiet: Duration,
}

impl Trouble {
    fn new(retry_ms: u64) -> Self {
        Self {
            failures: 0,
            store_works: true,
            // A cut connection is no outage: the first retry comes at once.
            pause_ms: 0,
            retry_ms,
            quiet: Duration::ZERO,
        }
    }

    /// Takes in and tells of a failure. `store_works`: what the store was asked thereupon.
    fn failed(&mut self, error: &StoreError, changes: usize, store_works: bool) -> Fault {
        self.failures += 1;
        let retry_ms = self.pause_ms;
        if self.quiet.is_zero() {
            tracing::error!(%error, changes, store_works, retry_ms, "store-write-failed");
        }
        let worked = std::mem::replace(&mut self.store_works, store_works);
        match (worked, store_works) {
            (_, false) => Fault::Store,
            (false, true) => Fault::Past,
            (true, true) => Fault::Changes,
        }
    }

    fn next_pause(&mut self) -> Duration {
        let now_ms = self.pause_ms;
        self.pause_ms = (now_ms * 2).min(RETRY_MAX_MS).max(self.retry_ms);
        self.quiet = Duration::ZERO;
        Duration::from_millis(now_ms)
    }

    /// The pause before a single change is tried again that failed so.
    fn next_pause_alone(&mut self, error: &StoreError, fault: Fault) -> Duration {
        let quiet = self.quiet;
        let full = self.next_pause();
        if fault != Fault::Changes || !matches!(error, StoreError::Unfinished(_)) {
            return full;
        }
        let pause = full.min(LOCKED_PAUSE);
        let quiet = if quiet.is_zero() { full } else { quiet };
        self.quiet = quiet - pause.min(quiet);
        pause
    }

    fn is_over(&mut self) {
        if self.failures > 0 {
            tracing::warn!(failures = self.failures, "store-writes-again");
        }
        *self = Self::new(self.retry_ms);
    }
}

impl Inner {
    /// A defect of the backend, or a thread that it cannot have for a moment, must not be the end of all writing.
    async fn attempt(&self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        let commit = async { self.store.commit(changes).await };
        let caught = AssertUnwindSafe(commit).catch_unwind().await;
        let result = caught.unwrap_or(Err(StoreError::Panicked));
        let (counter, count) = match &result {
            Ok(_) => {
                let written = changes.len() as u64;
                self.figures.written.fetch_add(written, Ordering::Relaxed);
                (&self.figures.commits, 1)
            }
            Err(error) if is_for_good(error) => {
                (&self.figures.dropped, u64::from(changes.len() == 1))
            }
            Err(_) => (&self.figures.failures, 1),
        };
        counter.fetch_add(count, Ordering::Relaxed);
        result
    }

    /// Whether the store takes writes, other than those that just failed. One question decides for all that wait: a database that
    /// hangs as a whole says nothing of the changes that it was given.
    async fn store_works(&self) -> bool {
        let probe = async { self.store.probe().await };
        let caught = AssertUnwindSafe(probe).catch_unwind().await;
        matches!(caught, Ok(Ok(())))
    }

    /// Waits before the next attempt; where the store took no writes at all, only until it does again.
    pub(super) async fn pause(&self, pause: Duration, fault: Fault) {
        let works_again = async {
            loop {
                sleep(Duration::from_millis(self.settings.db_retry_ms)).await;
                if self.store_works().await {
                    return;
                }
            }
        };
        match fault {
            Fault::Changes => sleep(pause).await,
            Fault::Store => drop(timeout(pause, works_again).await),
            Fault::Past => {}
        }
    }

    /// Writes a batch and acknowledges what is durable; what is not yet stays in its hands. `most` changes go into one commit: few
    /// after a failure, as a batch that the store does not get done in time never will be, and as what it refuses is found
    /// so; then more and more again. A single change that does not get done is set aside, with what follows of its document. While
    /// the store takes no writes at all, nothing is divided or set aside.
    pub(super) async fn write(&self, mut batch: Batch, most: &mut usize) {
        let mut trouble = Trouble::new(self.settings.db_retry_ms);
        loop {
            self.queue().set_followers_aside(&mut batch);
            let count = batch.changes.len().min(*most);
            if count == 0 {
                return;
            }
            let now = &batch.changes.make_contiguous()[..count];
            match self.attempt(now).await {
                Ok(outcomes) => {
                    *most = (*most + *most / SHRINK + 1).min(BATCH_MAX);
                    trouble.is_over();
                    self.finish(batch.take(count), outcomes);
                }
                Err(error) if is_for_good(&error) => {
                    if count == 1 {
                        let outcome = dropped(&now[0], error);
                        self.finish(batch.take(1), vec![outcome]);
                    }
                    *most = count.div_ceil(SHRINK);
                }
                Err(error) => {
                    let fault = trouble.failed(&error, count, self.store_works().await);
                    let theirs = fault == Fault::Changes;
                    if theirs && !matches!(error, StoreError::Unreachable(_)) {
                        *most = count.div_ceil(SHRINK);
                    }
                    let in_time = !matches!(error, StoreError::Timeout | StoreError::Unfinished(_));
                    if theirs && !in_time {
                        if count == 1 {
                            self.queue().set_aside(batch.take(1));
                            self.aside.notify_one();
                        }
                        // It took long enough, and others wait behind it.
                        continue;
                    }
                    self.pause(trouble.next_pause(), fault).await;
                }
            }
        }
    }

    /// Acknowledges changes that are durable, or never will be.
    fn finish(&self, batch: Batch, outcomes: Vec<Outcome>) {
        for ((change, (weight, ack)), outcome) in batch.into_parts().zip(outcomes) {
            self.queue().done(&change.key(), weight);
            if let Some(ack) = ack {
                // The waiter may have run out of time; the change is durable all the same.
                let _ = ack.send(outcome);
            }
        }
        self.idle.notify_waiters();
    }
}

impl Queue {
    /// These wait beside the queue from now on.
    fn set_aside(&mut self, batch: Batch) {
        for (change, waiter) in batch.into_parts() {
            let of_document = self.aside.entry(change.key()).or_default();
            of_document.push(change, waiter);
        }
    }

    /// What follows on a change that was set aside waits behind it.
    fn set_followers_aside(&mut self, batch: &mut Batch) {
        let follows = |change: &Change| self.aside.contains_key(&change.key());
        if self.aside.is_empty() || !batch.changes.iter().any(follows) {
            return;
        }
        for (change, waiter) in std::mem::take(batch).into_parts() {
            match self.aside.get_mut(&change.key()) {
                Some(of_document) => of_document.push(change, waiter),
                None => batch.push(change, waiter),
            }
        }
    }

    /// The first change of the document after that one, in a circle.
    fn next_aside(&self, last: Option<DocKey>) -> Option<(DocKey, Change)> {
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.aside.range((after, Bound::Unbounded));
        let (key, batch) = behind.next().or_else(|| self.aside.iter().next())?;
        Some((key.clone(), batch.changes.front()?.clone()))
    }

    /// The first change of a document that was set aside, which is done.
    fn take_aside(&mut self, key: &DocKey) -> Batch {
        let Some(of_document) = self.aside.get_mut(key) else {
            return Batch::default();
        };
        let first = of_document.take(1);
        if of_document.changes.is_empty() {
            self.aside.remove(key);
        }
        first
    }
}

/// Writes what was set aside, as somebody locks it or it is too much for the way to the database: one change after another,
/// beside all others.
pub(super) async fn write_aside(inner: Arc<Inner>) {
    let mut trouble = Trouble::new(inner.settings.db_retry_ms);
    let mut last = None;
    loop {
        let Some((key, change)) = inner.queue().next_aside(last.take()) else {
            inner.aside.notified().await;
            continue;
        };
        let outcomes = match inner.attempt(std::slice::from_ref(&change)).await {
            Ok(outcomes) => outcomes,
            Err(error) if is_for_good(&error) => vec![dropped(&change, error)],
            Err(error) => {
                let fault = trouble.failed(&error, 1, inner.store_works().await);
                let pause = trouble.next_pause_alone(&error, fault);
                inner.pause(pause, fault).await;
                last = Some(key);
                continue;
            }
        };
        trouble.is_over();
        let done = inner.queue().take_aside(&key);
        inner.finish(done, outcomes);
    }
}

/// Whether the store would say the same at every other time.
fn is_for_good(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused(_) | StoreError::Damaged(_))
}

/// A change that the store refuses for what it says, or whose document is damaged: to repeat it would hold up all others for ever.
fn dropped(change: &Change, error: StoreError) -> Outcome {
    if let Some(more) = may(Line::WriteDropped) {
        let DocKey { space, owner, name } = change.key();
        let owner = match space {
            Space::User | Space::Storage => UserId::new(&owner).log_tag(),
            _ => owner,
        };
        let space = space.as_str();
        tracing::error!(space, owner, name, %error, more, "store-write-dropped");
    }
    match error {
        StoreError::Refused(why) => Outcome::Refused(why),
        _ => Outcome::Damaged,
    }
}
