//! Layer 0: section `health` of the configuration file.

use crate::base::settings::HealthMonitorMode;
use crate::base::settings::declare::section;

section! {
    /// Per-session health monitor (behaviour.md §9).
    health: Health {
        /// What happens to sockets that are silent for too long: off (nobody looks), observe (logged and counted) or enforce (closed).
        health_monitor_mode: HealthMonitorMode = HealthMonitorMode::Enforce;
        /// Every socket gets a WebSocket ping this often (ms).
        heartbeat_interval_ms: u64 = 10_000, 100..=600_000;
        /// Characters of the ping payload, fixed by the wire.
        ping_id_len: u64 = 8, 8..=8 => Never;
        /// Hold app sockets to app_timeout_ms.
        app_timeout_enabled: bool = true;
        /// An app socket is dead after this much silence, once its peer has shown that it answers pings or sends them (ms).
        app_timeout_ms: u64 = 45_000, 1000..=86_400_000;
        /// Hold phone sockets to glasses_timeout_ms.
        glasses_timeout_enabled: bool = true;
        /// A phone socket is dead after this much silence (ms).
        glasses_timeout_ms: u64 = 120_000, 1000..=86_400_000;
        /// The peer's close frame is waited for this long; then the TCP connection is cut (ms).
        close_handshake_timeout_ms: u64 = 1000, 50..=60_000;
        /// A line with statistics of the sockets is logged this often (ms).
        health_stats_log_ms: u64 = 60_000, 1000..=86_400_000;
        /// Ping round trips remembered per connection.
        latency_ring: u64 = 10, 1..=100;
        /// Most sockets closed as dead per shard and tick: many at once look like a stall of our own.
        timeout_batch_max: u64 = 200, 1..=100_000;
        /// Log every ping, at level debug.
        log_ping_pong: bool = false;
    }
}
