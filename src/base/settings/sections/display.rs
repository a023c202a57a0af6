//! Layer 0: section `display` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// Display arbitration (behaviour.md §6.1).
    display: Display {
        /// Between two main-view messages (ms).
        display_throttle_ms: u64 = 300, 0..=60_000;
        /// Boot screen (ms).
        boot_duration_ms: u64 = 1500, 0..=60_000;
        /// Life of a background app's hold on the screen (ms).
        background_lock_ms: u64 = 10_000, 0..=600_000;
        /// A silent holder loses it (ms).
        background_lock_inactive_ms: u64 = 2000, 0..=600_000;
        /// A display without duration is restorable while younger (ms).
        min_display_lifetime_ms: u64 = 1000, 0..=600_000;
        /// Restore a foreground app's undated display after an interruption.
        restore_undated_core_display: bool = false;
        /// Show an app's instructions at its first start.
        onboarding_display: bool = false;
        /// Other displays wait that long (ms).
        onboarding_block_ms: u64 = 5000, 0..=600_000;
        /// Instructions stay that long (ms).
        onboarding_display_ms: u64 = 15_000, 0..=600_000;
        /// Package of the server's own displays.
        os_package_name: String = "com.mentra.os".into();
    }
}
