//! Outside thread, durable state: a store whose slow calls are logged, for `db_slow_query_ms`.

use super::{Change, DocKey, Document, Outcome, Space, Store, StoreError};
use crate::base::clock::Clock;
use async_trait::async_trait;
use std::sync::Arc;

/// Another store, watched.
pub(super) struct Slow {
    store: Arc<dyn Store>,
    limit_ms: u64,
    clock: Clock,
}

impl Slow {
    /// `store`, with calls of `limit_ms` and more logged.
    pub(super) fn new(store: Arc<dyn Store>, limit_ms: u64) -> Self {
        Self {
            store,
            limit_ms,
            clock: Clock::start(),
        }
    }

    async fn timed<T>(&self, what: &'static str, call: impl Future<Output = T>) -> T {
        let begun_ns = self.clock.mono_ns();
        let result = call.await;
        let took_ms = (self.clock.mono_ns() - begun_ns) / 1_000_000;
        if took_ms >= self.limit_ms {
            tracing::warn!(
                store = self.store.kind(),
                call = what,
                took_ms,
                "slow-store"
            );
        }
        result
    }
}

#[async_trait]
impl Store for Slow {
    async fn get(&self, key: &DocKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.timed("get", self.store.get(key)).await
    }

    async fn list(
        &self,
        space: Space,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.timed("list", self.store.list(space, after, limit))
            .await
    }

    async fn find(
        &self,
        space: Space,
        text: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.timed("find", self.store.find(space, text, after, limit))
            .await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        self.timed("commit", self.store.commit(changes)).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.store.probe().await
    }

    async fn apps_changed(&self) {
        self.store.apps_changed().await;
    }

    fn kind(&self) -> &'static str {
        self.store.kind()
    }
}
