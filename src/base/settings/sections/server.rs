//! Layer 0: section `server` of the configuration file.

use crate::base::settings::declare::section;
use crate::base::settings::{IoDriver, Profile};

/// The secret of the shipped development configuration; profile `production` refuses it.
pub const DEVELOPMENT_SECRET: &str = "prism-development-secret-do-not-use-in-production";

section! {
    /// Process, listener and identity of this deployment.
    server: Server {
        /// How strict the start is: development, or production, which refuses the development secret.
        profile: Profile = Profile::Development => AtStart;
        /// Address to listen on.
        host: String = "0.0.0.0".into() => AtStart;
        /// TCP port for HTTP and WebSocket; 0 takes a free one. Established name: PORT.
        port: u64 = 80, 0..=65_535 => AtStart;
        /// Port of a second listener, on the outside thread, for /livez, /health, /metrics and /api/admin, so that a stalled shard cannot hide; 0 = none.
        admin_port: u64 = 0, 0..=65535 => AtStart;
        /// Address that the listener of admin_port listens on.
        admin_host: String = "127.0.0.1".into() => AtStart;
        /// Shards: threads that each own a part of the users; 0 = one per CPU of the cgroup quota.
        shards: u64 = 0, 0..=1024 => AtStart;
        /// Pin each shard's thread to a core.
        pin_cores: bool = true => AtStart;
        /// How shards do their I/O: auto (io_uring where the kernel allows it, else epoll), uring or epoll.
        io_driver: IoDriver = IoDriver::Auto => AtStart;
        /// Shared secret that signs phone and app tokens (HS256/384/512). Established name: AUGMENTOS_AUTH_JWT_SECRET.
        auth_jwt_secret: String = DEVELOPMENT_SECRET.into() => AtStart;
        /// Value of `env` in connection_ack. Established name: NODE_ENV.
        env: String = "development".into();
        /// Public base URL, e.g. https://rt.example.net; its scheme decides ws or wss in webhooks. Empty: public_host. Established name: CLOUD_PUBLIC_URL.
        public_url: String = String::new();
        /// Public host (and port) where no public_url is set. Empty: the listener's own address. Established names: CLOUD_PUBLIC_HOST_NAME, HOST_NAME.
        public_host: String = String::new();
        /// Host that system apps are given instead of the public one. Empty: the public one. Established name: CLOUD_LOCAL_HOST_NAME.
        internal_host: String = String::new();
        /// Region named in the periodic vitals line. Established name: REGION.
        region: String = String::new();
        /// File of app records; a relative path is looked up beside the config file. Read at start and on SIGHUP.
        apps_file: String = "apps.yaml".into();
        /// Capability profiles of glasses models beside the built-in ones, one JSON object a line; a relative path is looked up beside the config file. Empty: none. Read at start and on SIGHUP.
        capabilities_file: String = String::new();
        /// Folder of the embedded store.
        data_dir: String = "data".into() => AtStart;
        /// postgres://… for the PostgreSQL store; empty = embedded.
        store_url: String = String::new() => AtStart;
        /// Certificates (PEM) to trust for PostgreSQL instead of the public authorities; empty = those.
        store_ca_file: String = String::new() => AtStart;
        /// Addresses or CIDRs whose X-Forwarded-For is believed.
        trusted_proxies: Vec<String> = Vec::new();
        /// Secret of the identity provider whose supabaseToken /auth/exchange-token takes; empty = answered 401. Established name: SUPABASE_JWT_SECRET.
        supabase_jwt_secret: String = String::new();
        /// Secret of the identity provider whose authingToken /auth/exchange-token takes; empty = answered 401. Established name: AUTHING_APP_SECRET.
        authing_app_secret: String = String::new();
        /// E-mails whose core token opens /api/admin. Established name: ADMIN_EMAILS.
        admin_emails: Vec<String> = Vec::new();
        /// Key that opens /api/admin as a bearer token, for agents without an account; empty = none. Established name: MENTRA_AGENT_API_KEY.
        admin_api_key: String = String::new();
        /// Most user sessions of this process; beyond it new users get 503. 0 = unlimited.
        max_sessions: u64 = 0, 0..=10_000_000;
        /// With shed_load_enabled: new users get 503 while the P99 of scheduling delay over 10 s exceeds this (ms).
        admission_lag_ms: u64 = 1000, 1..=600_000;
        /// Refuse new user sessions while the shards are late (admission_lag_ms).
        shed_load_enabled: bool = false;
        /// A shutdown that takes longer is cut off with exit code 1 (ms); keep it below the orchestrator's grace period.
        shutdown_budget_ms: u64 = 5000, 500..=60_000 => AtStart;
        /// How long the exit waits for the log writer (ms).
        log_flush_timeout_ms: u64 = 500, 0..=10_000 => AtStart;
    }
}
