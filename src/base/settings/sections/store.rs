//! Layer 0: section `store` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// Durability (behaviour.md §12).
    store: Store {
        /// Time for one call to the store (ms).
        db_timeout_ms: u64 = 5000, 10..=600_000 => AtStart;
        /// Most connections to PostgreSQL: two of them for writes, the others, one at least, for reads.
        db_pool_size: u64 = 8, 1..=1000 => AtStart;
        /// Attempts after a write conflict; writes of one user are in one queue and cannot conflict.
        db_conflict_retries: u64 = 3, 0..=100 => Never;
        /// Pause after a write conflict; writes of one user cannot conflict (ms).
        db_conflict_backoff_ms: u64 = 50, 0..=60_000 => Never;
        /// Most writes that wait for the store, 256 MiB together at most; beyond it a new one is refused, with an error for whoever waits for it.
        db_queue_max: u64 = 65_536, 16..=10_000_000 => AtStart;
        /// Writes that nobody waits for are collected per user for this long (ms).
        db_write_delay_ms: u64 = 200, 0..=1000 => AtStart;
        /// A failed write, or a user record that could not be read, is tried again after this, doubled up to 30 s (ms).
        db_retry_ms: u64 = 1000, 10..=600_000 => AtStart;
        /// Incidents and feedback kept per user, with logs and pictures; a new one takes the place of the oldest, and what is beyond a lowered bound stays.
        incidents_per_user: u64 = 50, 1..=10_000;
        /// Calls to the store that take longer are logged (ms); 0 = never.
        db_slow_query_ms: u64 = 0, 0..=600_000 => AtStart;
    }
}
