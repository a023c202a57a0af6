//! Layer 0: section `microphone` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// Microphone decisions (behaviour.md §4).
    microphone: Microphone {
        /// At least this long between two microphone states sent to a phone (ms).
        mic_debounce_ms: u64 = 1000, 0..=60_000;
        /// The microphone is decided anew when subscriptions have not changed for this long (ms).
        mic_subscription_debounce_ms: u64 = 100, 0..=60_000;
        /// The microphone is switched off only after nobody has wanted it for this long (ms).
        mic_off_holddown_ms: u64 = 3000, 1..=600_000;
        /// While the microphone is on, its state is sent again this often (ms).
        mic_keepalive_ms: u64 = 10_000, 100..=600_000;
        /// The need is recomputed whenever something it depends on changes.
        mic_cache_max_age_ms: u64 = 5000, 0..=600_000 => Never;
        /// After switching an unwanted microphone off, audio is no evidence for this long (ms).
        unauthorized_audio_ignore_ms: u64 = 5000, 0..=600_000;
    }
}
