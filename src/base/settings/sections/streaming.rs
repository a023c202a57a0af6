//! Layer 0: section `streaming` of the configuration file.

use crate::base::settings::declare::section;

section! {
    /// Video streams (behaviour.md §7.6).
    streaming: Streaming {
        /// While a video stream runs, the phone gets keep_stream_alive this often (ms).
        stream_keepalive_ms: u64 = 15_000, 100..=600_000;
        /// A keep_stream_alive counts as missed when it is not acknowledged within this (ms).
        stream_ack_timeout_ms: u64 = 10_000, 100..=600_000;
        /// This many missed acknowledgements in a row end a video stream.
        stream_max_missed_acks: u64 = 3, 1..=100;
        /// An unmanaged video stream that is not active within this ends (ms).
        stream_start_timeout_ms: u64 = 60_000, 1000..=3_600_000;
        /// The provider is asked this often whether a managed stream can be played (ms).
        managed_ready_poll_ms: u64 = 2000, 100..=600_000;
        /// A managed stream that cannot be played within this fails (ms).
        managed_ready_timeout_ms: u64 = 60_000, 1000..=3_600_000;
        /// Pause between the provider's creation of a managed stream and the glasses' start to send (ms).
        managed_ingest_wait_ms: u64 = 3000, 0..=600_000;
        /// Time for one call to the streaming provider (ms).
        managed_api_timeout_ms: u64 = 10_000, 100..=600_000;
        /// Attempts to create a managed stream at the provider.
        managed_api_retries: u64 = 3, 0..=100;
        /// Pause before the next attempt to create a managed stream, or to remove it, doubled each time (ms).
        managed_api_backoff_ms: u64 = 1000, 0..=60_000;
        /// Inactive managed streams are looked for this often (ms).
        managed_sweep_ms: u64 = 3_600_000, 1000..=86_400_000;
        /// A managed stream without a sign of life for this long ends at the next managed_sweep_ms (ms).
        managed_idle_ms: u64 = 3_600_000, 1000..=86_400_000;
        /// Most restream outputs of a managed stream.
        managed_outputs_per_stream: u64 = 10, 1..=1000;
        /// Most restream outputs of an app.
        managed_outputs_per_app: u64 = 10, 1..=1000;
        /// Base URL of the streaming provider: Cloudflare, or a service with its API.
        managed_api_url: String = "https://api.cloudflare.com/client/v4".into();
        /// Account at the streaming provider; empty = managed streams are refused. Established name: CLOUDFLARE_ACCOUNT_ID.
        managed_account_id: String = String::new();
        /// Token for the streaming provider's API. Established name: CLOUDFLARE_API_TOKEN.
        managed_api_token: String = String::new();
        /// Host under which the streaming provider serves playback. Established name: CLOUDFLARE_CUSTOMER_SUBDOMAIN.
        managed_customer_subdomain: String = String::new();
    }
}
