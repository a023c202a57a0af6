//! Outside thread, the one writer of the store. It batches everything that waits into one durable commit, keeps the order of
//! changes, coalesces what nobody waits for, and retries a failed batch until it is written (`writes/commits.rs`). An
//! acknowledgement means durable, nothing else. It refuses, never blocks, when `db_queue_max` changes wait, or too many bytes.

mod commits;

use super::bounds::weight;
use super::changes::{self, Change, DocKey, Outcome};
use super::{Store, StoreError};
use crate::base::ids::UserId;
use crate::base::settings::Store as StoreSettings;
use crate::services::lasting;
use crate::wire::records::UserRecord;
use commits::{Batch, write_aside};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// Changes of one commit.
const BATCH_MAX: usize = 512;
/// What they may weigh together, but for a single one (bytes).
const BATCH_BYTES_MAX: usize = 16 << 20;
/// What all that wait may weigh together (bytes): one caller's large values must not take the memory of all during an outage.
const QUEUE_BYTES_MAX: usize = 256 << 20;
/// Waiting changes of a document that are looked through for one a new change replaces.
const LOOK_BACK: usize = 16;
/// Longest pause between attempts.
const RETRY_MAX_MS: u64 = 30_000;

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
    /// Changes that the store can never take.
    pub dropped: AtomicU64,
}

struct Waiting {
    change: Change,
    weight: usize,
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
    /// What they weigh.
    bytes: usize,
    urgent: usize,
    next: u64,
    /// Number of the last waiting change of a document; numbers in `waiting` are consecutive.
    latest: HashMap<DocKey, u64>,
    /// Changes that did not get done in time, and what follows on them, by document.
    aside: BTreeMap<DocKey, Batch>,
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
    /// Something was set aside.
    aside: Notify,
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
            aside: Notify::new(),
            idle: Notify::new(),
            figures: Figures::default(),
        });
        let writing = Arc::clone(&inner);
        lasting::keep("store writer", move || write_all(Arc::clone(&writing)));
        let aside = Arc::clone(&inner);
        lasting::keep("store writer of what takes long", move || {
            write_aside(Arc::clone(&aside))
        });
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
    /// [`StoreError::Timeout`] after `db_timeout_ms` (it is still written when the store returns), [`StoreError::Full`];
    /// [`StoreError::Refused`] and [`StoreError::TooLarge`] for what is never written.
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
    /// As [`Writes::apply`], and when it cannot be parsed. What can have no name is not there.
    pub async fn read<T: DeserializeOwned>(&self, key: DocKey) -> Result<Option<T>, StoreError> {
        if !key.is_nameable() {
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
            Ok(Ok(Outcome::TooLarge)) => Err(StoreError::TooLarge),
            Ok(Ok(Outcome::Refused(why))) => Err(StoreError::Refused(why)),
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => Err(StoreError::Timeout),
        }
    }
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
        if !key.is_nameable() {
            return Err(StoreError::Refused("nothing can have this name".into()));
        }
        let mut queue = self.queue();
        if queue.closing {
            return Err(StoreError::Closed);
        }
        if ack.is_none() && queue.replace_latest(&key, &change) {
            self.figures.coalesced.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let weight = weight(&change);
        let has_room = queue.bytes == 0 || queue.bytes + weight <= QUEUE_BYTES_MAX;
        if !has_room || queue.waiting.len() as u64 >= self.settings.db_queue_max {
            self.figures.refused.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::Full);
        }
        let number = queue.next;
        queue.next += 1;
        queue.bytes += weight;
        queue.urgent += usize::from(ack.is_some());
        let previous = queue.latest.insert(key.clone(), number);
        *queue.per_document.entry(key).or_insert(0) += 1;
        queue.waiting.push_back(Waiting {
            change,
            weight,
            ack,
            number,
            previous,
        });
        drop(queue);
        self.wake.notify_one();
        Ok(())
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

    fn take_batch(&mut self) -> Batch {
        let mut bytes = 0;
        let fit = self.waiting.iter().take_while(|waiting| {
            bytes += waiting.weight;
            bytes <= BATCH_BYTES_MAX
        });
        let count = fit.take(BATCH_MAX).count().max(1).min(self.waiting.len());
        let batch: Vec<_> = self.waiting.drain(..count).collect();
        self.urgent -= batch.iter().filter(|waiting| waiting.ack.is_some()).count();
        for waiting in &batch {
            let key = waiting.change.key();
            if self.latest.get(&key) == Some(&waiting.number) {
                self.latest.remove(&key);
            }
        }
        let mut taken = Batch::default();
        for waiting in batch {
            taken.push(waiting.change, (waiting.weight, waiting.ack));
        }
        taken
    }

    /// A change of that document waits no more.
    fn done(&mut self, key: &DocKey, weight: usize) {
        self.bytes -= weight;
        if let Some(count) = self.per_document.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.per_document.remove(key);
            }
        }
    }
}

async fn write_all(inner: Arc<Inner>) {
    let delay = Duration::from_millis(inner.settings.db_write_delay_ms);
    let mut most = BATCH_MAX;
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
        inner.write(batch, &mut most).await;
    }
}

#[cfg(test)]
mod tests;
