//! Outside thread, store backend for tests: documents in a map, lost with the process. A switch makes it fail, to test what
//! happens then.

use super::{Change, DocKey, Document, Outcome, Space, Store, StoreError};
use crate::services::lock::lock;
use crate::services::store::changes::Edit;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use tokio::sync::oneshot;

/// The backend.
#[derive(Default)]
pub struct Memory {
    documents: Mutex<BTreeMap<DocKey, Vec<u8>>>,
    failing: AtomicBool,
    panicking: AtomicBool,
    hanging: AtomicBool,
    /// The next commit is done, and nobody told.
    cut: AtomicBool,
    /// Changes that a commit may have, if it is to be done in time.
    in_time: AtomicUsize,
    /// Changes that hold this text are refused.
    refused: Mutex<String>,
    /// Changes that hold this text do not get done in time.
    stuck: Mutex<String>,
    commits: AtomicU64,
    /// The next list is read, and handed out only when this is told.
    held: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Memory {
    /// While `true` every call fails.
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// Stores these bytes, whatever they say.
    #[cfg(test)]
    pub(crate) fn put(&self, key: DocKey, json: &[u8]) {
        let mut documents = self.documents().expect("not told to fail");
        documents.insert(key, json.to_vec());
    }

    /// While `true` every call panics.
    pub fn set_panicking(&self, panicking: bool) {
        self.panicking.store(panicking, Ordering::SeqCst);
    }

    /// While `true` no write is answered in time.
    #[cfg(test)]
    pub(crate) fn set_hanging(&self, hanging: bool) {
        self.hanging.store(hanging, Ordering::SeqCst);
    }

    /// The connection is cut behind the next commit.
    #[cfg(test)]
    pub(crate) fn cut_next(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// From now on larger commits run out of time.
    #[cfg(test)]
    pub(crate) fn set_in_time(&self, changes: usize) {
        self.in_time.store(changes, Ordering::SeqCst);
    }

    /// From now on changes that hold this text are refused for what they say.
    #[cfg(test)]
    pub(crate) fn set_refused(&self, text: &str) {
        *lock(&self.refused) = text.to_owned();
    }

    /// From now on changes that hold this text do not get done in time.
    #[cfg(test)]
    pub(crate) fn set_stuck(&self, text: &str) {
        *lock(&self.stuck) = text.to_owned();
    }

    /// The next list is read when it is asked for, but handed out only when the sender is told.
    #[cfg(test)]
    pub(crate) fn hold_next_list(&self) -> oneshot::Sender<()> {
        let (sender, receiver) = oneshot::channel();
        *lock(&self.held) = Some(receiver);
        sender
    }

    /// Whether that list was not asked for yet.
    #[cfg(test)]
    pub(crate) fn holds_next_list(&self) -> bool {
        lock(&self.held).is_some()
    }

    fn answers(&self) -> Result<(), StoreError> {
        match self.hanging.load(Ordering::SeqCst) {
            true => Err(StoreError::Timeout),
            false => Ok(()),
        }
    }

    /// What a database says to a commit before it does it.
    fn objection(&self, changes: &[Change]) -> Option<StoreError> {
        let in_time = self.in_time.load(Ordering::SeqCst);
        if in_time > 0 && changes.len() > in_time {
            return Some(StoreError::Timeout);
        }
        let holds = |text: &Mutex<String>| {
            let text = lock(text);
            let says = |change: &Change| format!("{change:?}").contains(text.as_str());
            !text.is_empty() && changes.iter().any(says)
        };
        if holds(&self.stuck) {
            return Some(StoreError::Unfinished("told to".into()));
        }
        holds(&self.refused).then(|| StoreError::Refused("told to refuse it".into()))
    }

    /// Successful commits so far.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    fn documents(&self) -> Result<MutexGuard<'_, BTreeMap<DocKey, Vec<u8>>>, StoreError> {
        assert!(!self.panicking.load(Ordering::SeqCst), "told to panic");
        if self.failing.load(Ordering::SeqCst) {
            return Err(StoreError::Embedded("told to fail".into()));
        }
        Ok(lock(&self.documents))
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &DocKey) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.documents()?.get(key).cloned())
    }

    async fn list(
        &self,
        space: Space,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let found = {
            let documents = self.documents()?;
            let found = documents
                .iter()
                .filter(|(key, _)| key.space == space && key.owner.as_str() > after)
                .take(limit);
            let document = |(key, json): (&DocKey, &Vec<u8>)| Document {
                owner: key.owner.clone(),
                name: key.name.clone(),
                json: json.clone(),
            };
            found.map(document).collect()
        };
        let held = lock(&self.held).take();
        if let Some(held) = held {
            let _ = held.await;
        }
        Ok(found)
    }

    async fn commit(&self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        let mut documents = self.documents()?;
        self.answers()?;
        if let Some(objection) = self.objection(changes) {
            return Err(objection);
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        let outcomes = changes.iter().map(|change| {
            let key = change.key();
            let (edit, outcome) = change.apply(documents.get(&key).map(Vec::as_slice));
            match edit {
                Edit::Keep => {}
                Edit::Put(json) => drop(documents.insert(key, json)),
                Edit::Delete => drop(documents.remove(&key)),
            }
            outcome
        });
        let outcomes = outcomes.collect();
        match self.cut.swap(false, Ordering::SeqCst) {
            true => Err(StoreError::Unreachable("cut behind the commit".into())),
            false => Ok(outcomes),
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.documents().map(drop)?;
        self.answers()
    }

    async fn apps_changed(&self) {
        std::future::pending().await
    }

    fn kind(&self) -> &'static str {
        "memory"
    }
}
