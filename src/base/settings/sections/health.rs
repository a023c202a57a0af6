//! Layer 0: section `health` of the configuration file.

use crate::base::settings::HealthMonitorMode;
use crate::base::settings::declare::section;

section! {
    /// Per-session health monitor (behaviour.md §9).
    health: Health {
        /// off, observe (log and count) or enforce.
        health_monitor_mode: HealthMonitorMode = HealthMonitorMode::Enforce;
        /// Protocol ping to every socket (ms).
        heartbeat_interval_ms: u64 = 10_000, 100..=600_000;
        /// Characters of the ping payload, fixed by the wire.
        ping_id_len: u64 = 8, 8..=8 => Never;
        /// Apply app_timeout_ms.
        app_timeout_enabled: bool = true;
        /// Silence after which a proven app socket is dead (ms).
        app_timeout_ms: u64 = 45_000, 1000..=86_400_000;
        /// Apply glasses_timeout_ms.
        glasses_timeout_enabled: bool = true;
        /// Silence after which a phone socket is dead (ms).
        glasses_timeout_ms: u64 = 120_000, 1000..=86_400_000;
        /// Time for the peer's close frame before the TCP connection is cut (ms).
        close_handshake_timeout_ms: u64 = 1000, 50..=60_000;
        /// Statistics log line (ms).
        health_stats_log_ms: u64 = 60_000, 1000..=86_400_000;
        /// Ping samples kept per connection.
        latency_ring: u64 = 10, 1..=100;
        /// Liveness closes per core and tick.
        timeout_batch_max: u64 = 200, 1..=100_000;
        /// Debug line per ping.
        log_ping_pong: bool = false;
    }
}
