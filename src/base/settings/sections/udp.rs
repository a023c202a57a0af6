//! Layer 0: section `udp` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// UDP audio (behaviour.md §5.4).
    udp: Udp {
        /// Offer UDP audio.
        udp_enabled: bool = true;
        /// Offer encrypted UDP audio.
        udp_encryption_enabled: bool = true;
        /// Advertised host; empty = UDP is not offered. Established name: UDP_HOST.
        udp_host: String = String::new();
        /// Advertised port; 0 = udp_port. Established name: UDP_PORT.
        udp_advertised_port: u64 = 0, 0..=65_535;
        /// Local UDP port.
        udp_port: u64 = 8000, 0..=65_535 => AtStart;
        /// Audio packets kept while earlier ones are missing.
        udp_reorder_capacity: u64 = 10, 1..=1000;
        /// A missing packet is waited for so long (ms).
        udp_reorder_timeout_ms: u64 = 20, 1..=10_000;
        /// A larger jump begins a new sequence (packets).
        udp_reorder_max_gap: u64 = 50, 1..=30_000;
        /// A UDP packet handled slower is logged (ms).
        udp_audio_slow_ms: u64 = 50, 1..=60_000;
    }
}
