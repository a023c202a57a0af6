//! Layer 0: section `store` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// Durability (behaviour.md §12).
    store: Store {
        /// One store call (ms).
        db_timeout_ms: u64 = 5000, 10..=600_000 => AtStart;
        /// PostgreSQL connections.
        db_pool_size: u64 = 8, 1..=1000 => AtStart;
        /// Writes of one user are in one queue and cannot conflict.
        db_conflict_retries: u64 = 3, 0..=100 => Never;
        /// As above: first pause, doubled each time (ms).
        db_conflict_backoff_ms: u64 = 50, 0..=60_000 => Never;
        /// Writes waiting for the store; beyond it a caller that waits gets an error, the rest is retried from memory.
        db_queue_max: u64 = 65_536, 16..=10_000_000 => AtStart;
        /// Unacknowledged writes of one user are coalesced for this long (ms).
        db_write_delay_ms: u64 = 200, 0..=1000 => AtStart;
        /// A failed write is tried again after this, doubled up to 30 s (ms).
        db_retry_ms: u64 = 1000, 10..=600_000 => AtStart;
        /// Slower calls are logged; 0 = off (ms).
        db_slow_query_ms: u64 = 0, 0..=600_000 => AtStart;
    }
}
