//! Layer 0: section `messages` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// App-to-app messages and simple storage (behaviour.md §7.10).
    messages: Messages {
        /// Let apps send messages to other users of the same app.
        app_to_app_enabled: bool = true;
        /// Most rooms of an app.
        app_rooms_max: u64 = 256, 1..=1_000_000;
        /// Messages remembered per app, which administrators see at GET /api/admin/app-messages.
        app_msg_history: u64 = 100, 0..=100_000;
        /// A direct message between users fails when its delivery is not confirmed within this (ms).
        direct_message_timeout_ms: u64 = 15_000, 100..=600_000;
        /// Most unconfirmed direct messages per user; an app may have half of what others leave of it, and more of it fails at once.
        direct_messages_max: u64 = 128, 1..=10_000;
        /// Messages that an app may send to other users per second and user, entering a room included; beyond it they are refused.
        app_messages_per_s: u64 = 200, 1..=1_000_000;
        /// Longest value in simple storage (characters).
        storage_value_chars: u64 = 100_000, 1..=100_000_000;
        /// All values in simple storage of one user and app together (characters); what is beyond a lowered bound may stay, and shrink.
        storage_total_chars: u64 = 1_000_000, 1..=1_000_000_000;
        /// Writes to simple storage per minute, user and app; beyond it 429. 0 = unlimited.
        storage_rate_per_min: u64 = 0, 0..=1_000_000;
    }
}
