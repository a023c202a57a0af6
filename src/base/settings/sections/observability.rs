//! Layer 0: section `observability` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// Logs and metrics (behaviour.md §10).
    observability: Observability {
        /// What is logged: trace, debug, info, warn or error, or a filter such as `info,prism::session=debug`. Reloaded on SIGHUP.
        log_level: String = "info".into();
        /// Log JSON lines to stdout; false = readable text. Established name: LOG_STDOUT_JSON.
        log_json: bool = true => AtStart;
        /// Lines that wait for the reader of the log; beyond it lines are dropped and counted.
        log_queue_lines: u64 = 16_384, 64..=10_000_000 => AtStart;
        /// A line with the process's vital signs is logged this often (ms).
        vitals_log_ms: u64 = 30_000, 1000..=86_400_000;
        /// /livez answers 503 when a shard has not turned for this long; 0 = never (ms).
        livez_stall_ms: u64 = 30_000, 0..=3_600_000;
        /// Shards hand their metrics to the aggregator this often (ms).
        metrics_interval_ms: u64 = 1000, 50..=60_000;
        /// A sample of scheduling delay, the worst of all shards, is taken this often (ms).
        lag_sample_ms: u64 = 2000, 10..=60_000;
        /// Samples of scheduling delay that the figures of /health are made of.
        lag_window: u64 = 150, 1..=100_000;
        /// Scheduling delay above this is logged (ms).
        lag_warn_ms: u64 = 100, 1..=600_000;
        /// Scheduling delay and slow audio are each logged at most once per this time and shard (ms).
        lag_warn_cooldown_ms: u64 = 30_000, 0..=3_600_000;
        /// Shards are checked for long gaps this often (ms).
        gap_interval_ms: u64 = 1000, 100..=60_000;
        /// A shard that has not turned for this long, or a check for long gaps that comes this late, is logged (ms).
        gap_warn_ms: u64 = 2000, 500..=600_000;
        /// Shards are checked for short gaps this often (ms).
        gap_fine_interval_ms: u64 = 500, 50..=60_000;
        /// A shard that has not turned for this long, or a check for short gaps that comes this late, is logged (ms).
        gap_fine_warn_ms: u64 = 1000, 100..=600_000;
        /// A vitals line that takes longer to make is logged (ms).
        vitals_slow_ms: u64 = 500, 1..=600_000;
        /// An answer of /health that takes longer to make is logged (ms).
        health_slow_ms: u64 = 50, 1..=600_000;
        /// A message whose handling takes longer is logged (ms).
        slow_message_ms: u64 = 100, 1..=600_000;
        /// Reading a user record, or one step of the outside thread, that takes longer is logged (ms).
        slow_phase_ms: u64 = 50, 1..=600_000;
        /// Who holds how much memory is reported in the log this often (ms).
        memory_report_ms: u64 = 600_000, 1000..=86_400_000;
        /// An owner that holds more memory than this is warned of in the memory report (bytes).
        memory_owner_warn_bytes: u64 = 26_214_400, 1024..=1_073_741_824;
        /// An owner that grew by more than this since the last memory report is warned of (bytes).
        memory_growth_bytes: u64 = 2_097_152, 1024..=1_073_741_824;
        /// An owner that grew by more than this since the last memory report is said to grow fast (bytes).
        memory_fast_growth_bytes: u64 = 10_485_760, 1024..=1_073_741_824;
    }
}
