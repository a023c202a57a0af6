//! Outside thread, durable state (behaviour.md §12). A [`Store`] reads documents and commits batches of [`Change`]s, each batch
//! in one durable transaction and in order. What a change means is written once, in [`changes`]; backends only keep bytes, so
//! none of them can differ in semantics. Nobody but [`writes`] calls `commit`.

mod bounds;
pub mod changes;
pub mod embedded;
mod incidents;
pub mod memory;
pub mod postgres;
mod settings;
mod slow;
mod storage;
pub mod writes;

use crate::base::settings::Settings;
use async_trait::async_trait;
pub use changes::{Change, DocKey, Outcome, Space};
pub use incidents::incidents_of;
use memchr::memmem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
pub use storage::Quota;

/// Documents that a search looks through at a time.
const PAGE: usize = 64;

/// What went wrong in a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The embedded database failed.
    #[error("embedded store: {0}")]
    Embedded(String),
    /// Another process has the embedded database open.
    #[error("embedded store: {} is open in another process; a running server keeps its store to itself", .0.display())]
    InUse(PathBuf),
    /// PostgreSQL refused something.
    #[error("postgres: {0}")]
    Postgres(String),
    /// PostgreSQL is down, starting, or unreachable; this passes.
    #[error("postgres cannot be reached: {0}")]
    Unreachable(String),
    /// A defect ended a call, or there was no thread for it.
    #[error("a call was ended by what the line `a thread panicked` says")]
    Panicked,
    /// No answer within `db_timeout_ms`.
    #[error("the store did not answer in time")]
    Timeout,
    /// The store gave up, and can be asked at once again: a lock that somebody held for too long, or too much work.
    #[error("the store did not get it done in time: {0}")]
    Unfinished(String),
    /// `db_queue_max` writes wait already.
    #[error("too many writes are waiting")]
    Full,
    /// A stored document cannot be read.
    #[error("a stored document is damaged: {0}")]
    Damaged(String),
    /// The document would be larger than any may be.
    #[error("the document would be too large")]
    TooLarge,
    /// What was to be written can never be stored, whoever tries; nothing changed.
    #[error("it cannot be stored: {0}")]
    Refused(String),
    /// The data was written by a newer version.
    #[error("the store has schema version {found}, this program knows {known}")]
    Newer {
        /// In the store.
        found: u64,
        /// Here.
        known: u64,
    },
    /// The store was shut down.
    #[error("the store is closed")]
    Closed,
}

/// A stored document with its two-part name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    /// First part: user or unique id.
    pub owner: String,
    /// Second part: package of simple storage, else empty.
    pub name: String,
    /// JSON.
    pub json: Vec<u8>,
}

/// A backend.
#[async_trait]
pub trait Store: Send + Sync {
    /// One document.
    ///
    /// # Errors
    /// When the backend fails.
    async fn get(&self, key: &DocKey) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` documents of a space whose owner comes after `after`, ordered by owner.
    ///
    /// # Errors
    /// When the backend fails.
    async fn list(
        &self,
        space: Space,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError>;

    /// Up to `limit` documents of a space that hold `text` and whose owner comes after `after`, ordered by owner.
    ///
    /// # Errors
    /// When the backend fails.
    async fn find(
        &self,
        space: Space,
        text: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let (mut after, mut found) = (after.to_owned(), Vec::new());
        loop {
            let page = self.list(space, &after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(found);
            };
            after.clone_from(&last.owner);
            let holds = |one: &Document| memmem::find(&one.json, text.as_bytes()).is_some();
            found.extend(page.into_iter().filter(holds));
            if found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
            // Others have their turn between two pages.
            tokio::task::yield_now().await;
        }
    }

    /// Applies all changes in order and returns when they are durable, with one outcome each. All or nothing.
    ///
    /// # Errors
    /// When the backend fails; nothing was applied then (or, after a lost connection, perhaps all of it: changes are such
    /// that applying them again does no harm).
    async fn commit(&self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError>;

    /// Whether the store as a whole takes writes now, as far as that can be told without one.
    ///
    /// # Errors
    /// What it says instead. A backend that fails with a change only says nothing.
    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Resolves when another process may have changed app records; a backend of one process never resolves.
    async fn apps_changed(&self);

    /// For logs.
    fn kind(&self) -> &'static str;
}

/// Opens the store that the settings name, creating or migrating its schema.
///
/// # Errors
/// When it cannot be opened; a PostgreSQL that is down can.
pub async fn open(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    let store: Arc<dyn Store> = if settings.server.store_url.is_empty() {
        let folder = Path::new(&settings.server.data_dir);
        Arc::new(embedded::Embedded::open(folder)?)
    } else {
        Arc::new(postgres::Postgres::open(settings).await?)
    };
    Ok(match settings.store.db_slow_query_ms {
        0 => store,
        limit_ms => Arc::new(slow::Slow::new(store, limit_ms)),
    })
}
