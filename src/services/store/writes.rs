//! Outside thread, the one writer of the store. It batches everything that waits into one durable commit, keeps the order of
//! changes, coalesces what nobody waits for, and retries a failed batch until it is written. An acknowledgement means
//! durable, nothing else. It refuses, never blocks, when `db_queue_max` changes wait.

use super::changes::{self, Change, DocKey, Outcome};
use super::{Store, StoreError};
use crate::base::ids::UserId;
use crate::base::settings::Store as StoreSettings;
use crate::services::lasting;
use crate::wire::records::UserRecord;
use futures_util::FutureExt as _;
use serde::de::DeserializeOwned;
use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

/// Changes of one commit.
const BATCH_MAX: usize = 512;
/// Waiting changes of a document that are looked through for one a new change replaces.
const LOOK_BACK: usize = 16;
/// Longest pause between attempts.
const RETRY_MAX_MS: u64 = 30_000;
/// Longest owner or name; longer ones (and NUL) name nothing that exists.
const KEY_BYTES_MAX: usize = 512;

/// Figures for `/metrics`.
#[derive(Default, Debug)]
pub struct Figures {
    /// Commits that succeeded.
    pub commits: AtomicU64,
    /// Commits that failed and were tried again.
    pub failures: AtomicU64,
    /// Changes that became durable.
    pub written: AtomicU64,
    /// Changes replaced by a later one before they were written.
    pub coalesced: AtomicU64,
    /// Changes refused because the queue was full.
    pub refused: AtomicU64,
}

struct Waiting {
    change: Change,
    ack: Option<oneshot::Sender<Outcome>>,
    number: u64,
    /// Number of the change of the same document before this one; it may be written already.
    previous: Option<u64>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Changes of a document in `waiting` and in the batch being written.
    per_document: HashMap<DocKey, u32>,
    urgent: usize,
    next: u64,
    /// Number of the last waiting change of a document; numbers in `waiting` are consecutive.
    latest: HashMap<DocKey, u64>,
    closing: bool,
}

/// Handle to the writer; clones share it.
#[derive(Clone)]
pub struct Writes {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    settings: StoreSettings,
    queue: Mutex<Queue>,
    wake: Notify,
    idle: Notify,
    figures: Figures,
}

impl Writes {
    /// Starts the writer on the current runtime.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, settings: StoreSettings) -> Self {
        let inner = Arc::new(Inner {
            store,
            settings,
            queue: Mutex::default(),
            wake: Notify::new(),
            idle: Notify::new(),
            figures: Figures::default(),
        });
        let writing = Arc::clone(&inner);
        lasting::keep("store writer", move || write_all(Arc::clone(&writing)));
        Self { inner }
    }

    /// Figures so far.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.inner.figures
    }

    /// Changes waiting or being written.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.inner
            .queue()
            .per_document
            .values()
            .map(|count| *count as usize)
            .sum()
    }

    /// Queues a change that nobody waits for: written within `db_write_delay_ms` and a commit, later ones replace it.
    ///
    /// # Errors
    /// [`StoreError::Full`] at the bound; the change is gone and counted.
    pub fn submit(&self, change: Change) -> Result<(), StoreError> {
        self.inner.push(change, None)
    }

    /// Writes a change and returns when it is durable.
    ///
    /// # Errors
    /// [`StoreError::Timeout`] after `db_timeout_ms` (it is still written when the store returns), [`StoreError::Full`].
    pub async fn apply(&self, change: Change) -> Result<Outcome, StoreError> {
        self.begin(change)?.wait().await
    }

    /// Queues a change at once, so that order holds, and returns what to wait on.
    ///
    /// # Errors
    /// [`StoreError::Full`] at the bound.
    pub fn begin(&self, change: Change) -> Result<Pending, StoreError> {
        let (ack, done) = oneshot::channel();
        self.inner.push(change, Some(ack))?;
        Ok(Pending {
            done,
            limit: self.limit(),
        })
    }

    /// Reads a document after all that was queued for it before.
    ///
    /// # Errors
    /// As [`Writes::apply`], and when it cannot be parsed.
    pub async fn read<T: DeserializeOwned>(&self, key: DocKey) -> Result<Option<T>, StoreError> {
        if !is_nameable(&key) {
            return Ok(None);
        }
        let queued = self.inner.queue().per_document.contains_key(&key);
        if queued {
            self.apply(Change::Barrier(key.clone())).await?;
        }
        let json = timeout(self.limit(), self.inner.store.get(&key))
            .await
            .map_err(|_| StoreError::Timeout)??;
        changes::parse(json.as_deref()).map_err(|error| StoreError::Damaged(error.to_string()))
    }

    /// A user's record; who has none, or one that was never loaded, is given one with `packages`.
    ///
    /// # Errors
    /// As [`Writes::read`].
    pub async fn user(
        &self,
        user: &UserId,
        packages: Vec<String>,
        at_ms: u64,
    ) -> Result<UserRecord, StoreError> {
        let stored: Option<UserRecord> = self.read(DocKey::user(user)).await?;
        if let Some(record) = stored.filter(|record| !record.provisional) {
            return Ok(record);
        }
        match self
            .apply(Change::EnsureUser {
                user: user.clone(),
                packages,
                at_ms,
            })
            .await?
        {
            Outcome::User(record) => Ok(*record),
            other => Err(StoreError::Damaged(format!("unexpected outcome {other:?}"))),
        }
    }

    /// The backend, for lists.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// Writes what waits and refuses more; gives up after `limit`. Says whether all was written.
    pub async fn close(&self, limit: Duration) -> bool {
        self.inner.queue().closing = true;
        self.inner.wake.notify_one();
        let drained = async {
            loop {
                let idle = self.inner.idle.notified();
                if self.inner.queue().per_document.is_empty() {
                    return;
                }
                idle.await;
            }
        };
        timeout(limit, drained).await.is_ok()
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.inner.settings.db_timeout_ms)
    }
}

/// A queued change that somebody waits for. Dropping it does not take the change back.
pub struct Pending {
    done: oneshot::Receiver<Outcome>,
    limit: Duration,
}

impl Pending {
    /// Waits until the change is durable.
    ///
    /// # Errors
    /// As [`Writes::apply`].
    pub async fn wait(self) -> Result<Outcome, StoreError> {
        match timeout(self.limit, self.done).await {
            Ok(Ok(Outcome::Damaged)) => Err(StoreError::Damaged("it was left as it is".into())),
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => Err(StoreError::Timeout),
        }
    }
}

fn is_nameable(key: &DocKey) -> bool {
    [&key.owner, &key.name]
        .iter()
        .all(|part| part.len() <= KEY_BYTES_MAX && !part.contains('\0'))
}

impl Inner {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(
        &self,
        change: Change,
        ack: Option<oneshot::Sender<Outcome>>,
    ) -> Result<(), StoreError> {
        let key = change.key();
        if !is_nameable(&key) {
            return Err(StoreError::Damaged("the name cannot be stored".into()));
        }
        let mut queue = self.queue();
        if queue.closing {
            return Err(StoreError::Closed);
        }
        if ack.is_none() && queue.replace_latest(&key, &change) {
            self.figures.coalesced.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        if queue.waiting.len() as u64 >= self.settings.db_queue_max {
            self.figures.refused.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::Full);
        }
        let number = queue.next;
        queue.next += 1;
        queue.urgent += usize::from(ack.is_some());
        let previous = queue.latest.insert(key.clone(), number);
        *queue.per_document.entry(key).or_insert(0) += 1;
        queue.waiting.push_back(Waiting {
            change,
            ack,
            number,
            previous,
        });
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// A defect of the backend, or a thread that it cannot have for a moment, must not be the end of all writing.
    async fn attempt(&self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        let commit = async { self.store.commit(changes).await };
        let caught = AssertUnwindSafe(commit).catch_unwind().await;
        caught.unwrap_or(Err(StoreError::Panicked))
    }

    /// Commits until it works; changes stay queued in the caller's hands, so order holds.
    async fn commit(&self, changes: &[Change]) -> Vec<Outcome> {
        // A cut connection is no outage: the first retry comes at once.
        let mut pause_ms = 0;
        let mut failures = 0;
        loop {
            match self.attempt(changes).await {
                Ok(outcomes) => {
                    self.figures.commits.fetch_add(1, Ordering::Relaxed);
                    self.figures
                        .written
                        .fetch_add(changes.len() as u64, Ordering::Relaxed);
                    if failures > 0 {
                        tracing::warn!(failures, "store-writes-again");
                    }
                    return outcomes;
                }
                Err(error) => {
                    self.figures.failures.fetch_add(1, Ordering::Relaxed);
                    failures += 1;
                    tracing::error!(%error, changes = changes.len(), retry_ms = pause_ms, "store-write-failed");
                    sleep(Duration::from_millis(pause_ms)).await;
                    pause_ms = (pause_ms * 2)
                        .min(RETRY_MAX_MS)
                        .max(self.settings.db_retry_ms);
                }
            }
        }
    }
}

impl Queue {
    /// Puts `change` in the place of a waiting change of the document that it makes pointless, when that is safe: what a
    /// session asked for in between concerns other fields, so it may come after.
    fn replace_latest(&mut self, key: &DocKey, change: &Change) -> bool {
        let Some(front) = self.waiting.front().map(|waiting| waiting.number) else {
            return false;
        };
        let mut number = self.latest.get(key).copied();
        for _ in 0..LOOK_BACK {
            let index = number.and_then(|number| number.checked_sub(front));
            let Some(earlier) = index.and_then(|index| self.waiting.get_mut(index as usize)) else {
                return false;
            };
            if earlier.change.is_superseded_by(change) {
                if earlier.ack.is_none() {
                    earlier.change = change.clone();
                }
                return earlier.ack.is_none();
            }
            if !matches!(earlier.change, Change::Session(..)) {
                return false;
            }
            number = earlier.previous;
        }
        false
    }

    fn take_batch(&mut self) -> Vec<Waiting> {
        let count = self.waiting.len().min(BATCH_MAX);
        let batch: Vec<_> = self.waiting.drain(..count).collect();
        self.urgent -= batch.iter().filter(|waiting| waiting.ack.is_some()).count();
        for waiting in &batch {
            let key = waiting.change.key();
            if self.latest.get(&key) == Some(&waiting.number) {
                self.latest.remove(&key);
            }
        }
        batch
    }

    fn written(&mut self, changes: &[Change]) {
        for change in changes {
            let key = change.key();
            if let Some(count) = self.per_document.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.per_document.remove(&key);
                }
            }
        }
    }
}

async fn write_all(inner: Arc<Inner>) {
    let delay = Duration::from_millis(inner.settings.db_write_delay_ms);
    loop {
        let (empty, urgent, closing) = {
            let queue = inner.queue();
            (queue.waiting.is_empty(), queue.urgent > 0, queue.closing)
        };
        if empty {
            inner.idle.notify_waiters();
            if closing {
                return;
            }
            inner.wake.notified().await;
            continue;
        }
        if !urgent && !closing {
            let hurried = async {
                while inner.queue().urgent == 0 && !inner.queue().closing {
                    inner.wake.notified().await;
                }
            };
            let _ = timeout(delay, hurried).await;
        }
        let batch = inner.queue().take_batch();
        let (changes, acks): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|waiting| (waiting.change, waiting.ack))
            .unzip();
        let outcomes = inner.commit(&changes).await;
        inner.queue().written(&changes);
        for (ack, outcome) in acks.into_iter().zip(outcomes) {
            if let Some(ack) = ack {
                // The waiter may have run out of time; the change is durable all the same.
                let _ = ack.send(outcome);
            }
        }
    }
}

#[cfg(test)]
mod tests;
