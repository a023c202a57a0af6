//! Layer 3, for the command line: the store without the outside thread, by blocking calls on a runtime of its own. The embedded store is
//! open in one process at a time, so its server must be stopped; PostgreSQL may be in use.

use super::store::{self, Change, DocKey, Outcome, Space, Store, StoreError};
use crate::base::ids::UserId;
use crate::base::settings::Settings;
use crate::wire::records::{AppRecord, UserRecord};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Changes of one commit.
const BATCH: usize = 500;
/// Documents read at a time.
const PAGE: usize = 500;

/// An open store.
pub struct Offline {
    runtime: tokio::runtime::Runtime,
    store: Arc<dyn Store>,
}

impl Offline {
    /// Opens the store that `settings` name.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StoreError::Embedded(error.to_string()))?;
        let store = runtime.block_on(store::open(settings))?;
        Ok(Self { runtime, store })
    }

    /// Writes all changes, in order, some hundred to a commit.
    ///
    /// # Errors
    /// When one is of a document that can have no name: nothing is written. When a commit fails; earlier ones stand.
    pub fn write(&self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        if !changes.iter().all(|change| change.key().is_nameable()) {
            return Err(StoreError::Refused("nothing can have this name".into()));
        }
        let mut outcomes = Vec::with_capacity(changes.len());
        for batch in changes.chunks(BATCH) {
            outcomes.extend(self.runtime.block_on(self.store.commit(batch))?);
        }
        Ok(outcomes)
    }

    /// A user's record.
    ///
    /// # Errors
    /// When the store fails or the record is damaged.
    pub fn user(&self, user: &UserId) -> Result<Option<UserRecord>, StoreError> {
        self.one(&DocKey::user(user))
    }

    /// An app record of the store (not of the apps file).
    ///
    /// # Errors
    /// When the store fails or the record is damaged.
    pub fn app(&self, package: &str) -> Result<Option<AppRecord>, StoreError> {
        self.one(&DocKey::app(package))
    }

    fn one<T: DeserializeOwned>(&self, key: &DocKey) -> Result<Option<T>, StoreError> {
        let json = self.runtime.block_on(self.store.get(key))?;
        store::changes::parse(json.as_deref())
            .map_err(|error| StoreError::Damaged(error.to_string()))
    }

    /// Calls `each` with the name of every user, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub fn each_user(&self, mut each: impl FnMut(&str)) -> Result<(), StoreError> {
        self.each(Space::User, |owner, _| each(owner))
    }

    /// All app records of the store (not those of the apps file).
    ///
    /// # Errors
    /// When the store fails.
    pub fn apps(&self) -> Result<Vec<AppRecord>, StoreError> {
        let mut records = Vec::new();
        self.each(Space::App, |_, json| {
            records.extend(serde_json::from_slice::<AppRecord>(json));
        })?;
        Ok(records)
    }

    fn each(&self, space: Space, mut each: impl FnMut(&str, &[u8])) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let page = self
                .runtime
                .block_on(self.store.list(space, &after, PAGE))?;
            for document in &page {
                each(&document.owner, &document.json);
            }
            match page.into_iter().next_back() {
                Some(last) => after = last.owner,
                None => return Ok(()),
            }
        }
    }
}
