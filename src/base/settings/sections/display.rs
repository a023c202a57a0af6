//! Layer 0: section `display` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// Display arbitration (behaviour.md §6.1).
    display: Display {
        /// At least this long between two messages for the glasses' main view (ms).
        display_throttle_ms: u64 = 300, 0..=60_000;
        /// How long the boot screen of a starting app is shown (ms).
        boot_duration_ms: u64 = 1500, 0..=60_000;
        /// A background app may hold the screen this long (ms).
        background_lock_ms: u64 = 10_000, 0..=600_000;
        /// A background app that holds the screen loses it when it draws nothing for this long (ms).
        background_lock_inactive_ms: u64 = 2000, 0..=600_000;
        /// After an interruption a display without duration is shown again only while it is younger than this (ms).
        min_display_lifetime_ms: u64 = 1000, 0..=600_000;
        /// After an interruption show a foreground app's display without duration again, however old it is.
        restore_undated_core_display: bool = false;
        /// Show an app's onboarding instructions at its first start.
        onboarding_display: bool = false;
        /// Other displays are refused for this long after onboarding instructions appear (ms).
        onboarding_block_ms: u64 = 5000, 0..=600_000;
        /// Onboarding instructions stay on the glasses for this long (ms).
        onboarding_display_ms: u64 = 15_000, 0..=600_000;
        /// Package name under which the server itself draws on the glasses.
        os_package_name: String = "com.mentra.os".into();
    }
}
