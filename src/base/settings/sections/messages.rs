//! Layer 0: section `messages` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// App-to-app messages and simple storage (behaviour.md §7.10).
    messages: Messages {
        /// Serve app-to-app messages.
        app_to_app_enabled: bool = true;
        /// Rooms per app.
        app_rooms_max: u64 = 256, 1..=1_000_000;
        /// Last messages of each app, shown to administrators by GET /api/admin/app-messages.
        app_msg_history: u64 = 100, 0..=100_000;
        /// A direct message whose delivery nobody confirmed has failed (ms).
        direct_message_timeout_ms: u64 = 15_000, 100..=600_000;
        /// Unconfirmed direct messages per user; beyond it new ones fail at once.
        direct_messages_max: u64 = 64, 1..=10_000;
        /// Largest simple-storage value (characters).
        storage_value_chars: u64 = 100_000, 1..=100_000_000;
        /// All values of one user and app (characters).
        storage_total_chars: u64 = 1_000_000, 1..=1_000_000_000;
        /// Simple-storage writes per minute, user and app; 0 = unlimited, else 429.
        storage_rate_per_min: u64 = 0, 0..=1_000_000;
    }
}
