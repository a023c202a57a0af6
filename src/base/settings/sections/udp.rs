//! Layer 0: section `udp` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// UDP audio (behaviour.md §5.4).
    udp: Udp {
        /// Take microphone audio by UDP. Off at the start, no port is opened before the next one; switched off later, phones that connect are no longer told of it.
        udp_enabled: bool = true;
        /// Offer encrypted UDP audio to phones that ask for it.
        udp_encryption_enabled: bool = true;
        /// Host to which phones send UDP audio; empty = they are not told to. Established name: UDP_HOST.
        udp_host: String = String::new();
        /// Port to which phones send UDP audio; 0 = udp_port. Established name: UDP_PORT.
        udp_advertised_port: u64 = 0, 0..=65_535;
        /// UDP port to listen on for microphone audio.
        udp_port: u64 = 8000, 0..=65_535 => AtStart;
        /// UDP audio packets kept per user while earlier ones are missing.
        udp_reorder_capacity: u64 = 10, 1..=1000;
        /// A missing UDP audio packet is waited for this long (ms).
        udp_reorder_timeout_ms: u64 = 20, 1..=10_000;
        /// A jump of more than this in the numbers of a phone's UDP audio packets begins a new sequence.
        udp_reorder_max_gap: u64 = 50, 1..=30_000;
        /// A UDP audio packet whose handling takes longer is logged (ms).
        udp_audio_slow_ms: u64 = 50, 1..=60_000;
    }
}
