//! Layer 0: section `http` of the configuration file.

use super::list;
use crate::base::settings::declare::section;

section! {
    /// REST and CORS.
    http: Http {
        /// Largest request body (bytes); a larger one gets 413.
        http_body_bytes_max: u64 = 12_582_912, 1024..=268_435_456;
        /// Largest body with pictures (bytes), taken only with a core token; the default holds a bug report's five of 10 MiB and their framing.
        http_upload_bytes_max: u64 = 53_477_376, 1024..=268_435_456;
        /// Time for a whole body with pictures (ms); phones give up after 60 s.
        http_upload_timeout_ms: u64 = 60_000, 100..=600_000;
        /// Bodies that a shard reads or answers at a time, together (bytes); who exceeds it gets 503.
        http_bodies_bytes_max: u64 = 268_435_456, 1024..=2_147_483_647;
        /// Time for a whole request head (ms); after it the connection is closed.
        http_head_timeout_ms: u64 = 10_000, 100..=600_000;
        /// Time for a whole request body, and for a client to take each 64 KiB of an answer (ms).
        http_body_timeout_ms: u64 = 30_000, 100..=600_000;
        /// Idle time between requests of one connection (ms).
        http_keepalive_ms: u64 = 75_000, 0..=3_600_000;
        /// Most plain HTTP connections per shard; beyond it new ones are closed at once, and those without a request within 250 ms.
        http_connections_max: u64 = 16_384, 16..=1_000_000;
        /// Origins that browsers may call from: exact ones, or patterns such as https://*.example.net. Reloaded on SIGHUP.
        cors_origins: Vec<String> = Vec::new();
        /// Send Access-Control-Allow-Credentials; must be false where cors_origins has "*".
        cors_allow_credentials: bool = true;
        /// Methods a pre-flight allows.
        cors_methods: Vec<String> = list(&["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
        /// Headers a pre-flight allows.
        cors_headers: Vec<String> = list(&["Content-Type", "Authorization", "X-Requested-With", "X-User-Id", "X-Request-Id"]);
        /// How long browsers may keep the answer to a pre-flight: Access-Control-Max-Age (s).
        cors_max_age_s: u64 = 600, 0..=86_400;
        /// Base URL of a server that gets requests for unknown routes, bodies streamed both ways; empty = they are answered 404. Reloaded on SIGHUP.
        fallback_upstream: String = String::new();
        /// Paths that fallback_upstream gets, with all below them and under every mount, although this server knows them: a capability moves here by one line, and back. Reloaded on SIGHUP.
        upstream_paths: Vec<String> = Vec::new();
    }
}
