//! Layer 0: section `observability` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// Logs and metrics (behaviour.md §10).
    observability: Observability {
        /// trace, debug, info, warn or error; a filter such as `info,prism::session=debug` works. Reloaded on SIGHUP.
        log_level: String = "info".into();
        /// JSON lines on stdout; false = readable text.
        log_json: bool = true => AtStart;
        /// Lines waiting for the log's reader; beyond it lines are dropped and counted.
        log_queue_lines: u64 = 16_384, 64..=10_000_000 => AtStart;
        /// Vitals line (ms).
        vitals_log_ms: u64 = 30_000, 1000..=86_400_000;
        /// /livez answers 503 when a shard has not turned for this long; 0 = never (ms).
        livez_stall_ms: u64 = 30_000, 0..=3_600_000;
        /// Shards hand their metrics to the aggregator this often (ms).
        metrics_interval_ms: u64 = 1000, 50..=60_000;
        /// Window of one scheduling-delay sample (ms).
        lag_sample_ms: u64 = 2000, 10..=60_000;
        /// Samples kept.
        lag_window: u64 = 150, 1..=100_000;
        /// Delay that is logged (ms).
        lag_warn_ms: u64 = 100, 1..=600_000;
        /// Between two such lines (ms).
        lag_warn_cooldown_ms: u64 = 30_000, 0..=3_600_000;
        /// How often shards are looked at for long gaps (ms).
        gap_interval_ms: u64 = 1000, 100..=60_000;
        /// A shard that has not turned for this long, or a look that comes this late, is logged (ms).
        gap_warn_ms: u64 = 2000, 500..=600_000;
        /// How often shards are looked at for short gaps (ms).
        gap_fine_interval_ms: u64 = 500, 50..=60_000;
        /// The same for these looks (ms).
        gap_fine_warn_ms: u64 = 1000, 100..=600_000;
        /// A vitals line that took longer is logged (ms).
        vitals_slow_ms: u64 = 500, 1..=600_000;
        /// An answer of /health that took longer is logged (ms).
        health_slow_ms: u64 = 50, 1..=600_000;
        /// A message handled slower is logged (ms).
        slow_message_ms: u64 = 100, 1..=600_000;
        /// A phase is logged when it takes longer: reading a user record, one step of the outside thread (ms).
        slow_phase_ms: u64 = 50, 1..=600_000;
        /// Report of who owns how much memory (ms).
        memory_report_ms: u64 = 600_000, 1000..=86_400_000;
        /// An owner of more is warned of in that report (bytes).
        memory_owner_warn_bytes: u64 = 26_214_400, 1024..=1_073_741_824;
        /// So is one that grew by more since the last report (bytes).
        memory_growth_bytes: u64 = 2_097_152, 1024..=1_073_741_824;
        /// Growth by more than this is called fast (bytes).
        memory_fast_growth_bytes: u64 = 10_485_760, 1024..=1_073_741_824;
    }
}
