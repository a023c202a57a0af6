//! Layer 0: section `streaming` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// Video streams (behaviour.md §7.6).
    streaming: Streaming {
        /// keep_stream_alive (ms).
        stream_keepalive_ms: u64 = 15_000, 100..=600_000;
        /// Its answer (ms).
        stream_ack_timeout_ms: u64 = 10_000, 100..=600_000;
        /// Missed answers before the stream times out.
        stream_max_missed_acks: u64 = 3, 1..=100;
        /// An unmanaged stream that never becomes active (ms).
        stream_start_timeout_ms: u64 = 60_000, 1000..=3_600_000;
        /// Poll of a managed stream's playback (ms).
        managed_ready_poll_ms: u64 = 2000, 100..=600_000;
        /// It must be playable by then (ms).
        managed_ready_timeout_ms: u64 = 60_000, 1000..=3_600_000;
        /// Before the first poll (ms).
        managed_ingest_wait_ms: u64 = 3000, 0..=600_000;
        /// One provider call (ms).
        managed_api_timeout_ms: u64 = 10_000, 100..=600_000;
        /// Retries of a provider call.
        managed_api_retries: u64 = 3, 0..=100;
        /// Between them (ms).
        managed_api_backoff_ms: u64 = 1000, 0..=60_000;
        /// Inactive managed streams are looked for this often (ms).
        managed_sweep_ms: u64 = 3_600_000, 1000..=86_400_000;
        /// A managed stream that was inactive for this long ends at the next sweep (ms).
        managed_idle_ms: u64 = 3_600_000, 1000..=86_400_000;
        /// Restream outputs per stream.
        managed_outputs_per_stream: u64 = 10, 1..=1000;
        /// Restream outputs per app.
        managed_outputs_per_app: u64 = 10, 1..=1000;
        /// Base URL of the managed streaming provider: Cloudflare, or what talks like it.
        managed_api_url: String = "https://api.cloudflare.com/client/v4".into();
        /// Account at the provider; empty = managed streams are refused. Established name: CLOUDFLARE_ACCOUNT_ID.
        managed_account_id: String = String::new();
        /// Its token. Established name: CLOUDFLARE_API_TOKEN.
        managed_api_token: String = String::new();
        /// Playback host. Established name: CLOUDFLARE_CUSTOMER_SUBDOMAIN.
        managed_customer_subdomain: String = String::new();
    }
}
