//! Layer 0: section `server` of the configuration file.

use crate::base::settings::declare::section;
use crate::base::settings::{IoDriver, Profile};

/// The secret of the shipped development configuration; profile `production` refuses it.
pub const DEVELOPMENT_SECRET: &str = "prism-development-secret-do-not-use-in-production";

section! {
    /// Process, listener and identity of this deployment.
    server: Server {
        /// How strict start-up is: development or production (refuses the development secret).
        profile: Profile = Profile::Development => AtStart;
        /// Address to listen on.
        host: String = "0.0.0.0".into() => AtStart;
        /// TCP port for HTTP and WebSocket; 0 takes a free one.
        port: u64 = 80, 0..=65_535 => AtStart;
        /// Second listener on the outside thread for /livez, /health, /metrics and /api/admin, so that a stalled shard cannot hide; 0 = off.
        admin_port: u64 = 0, 0..=65535 => AtStart;
        /// Address of that listener.
        admin_host: String = "127.0.0.1".into() => AtStart;
        /// Shards, each a pinned core; 0 = one per CPU of the cgroup quota.
        shards: u64 = 0, 0..=1024 => AtStart;
        /// Pin each shard's thread to a core.
        pin_cores: bool = true => AtStart;
        /// auto, uring or epoll.
        io_driver: IoDriver = IoDriver::Auto => AtStart;
        /// Shared secret that signs phone and app tokens (HS256/384/512). Established name: AUGMENTOS_AUTH_JWT_SECRET.
        auth_jwt_secret: String = DEVELOPMENT_SECRET.into() => AtStart;
        /// `env` of connection_ack. Established name: NODE_ENV.
        env: String = "development".into();
        /// Public base URL, e.g. https://rt.example.net; its scheme decides ws or wss in webhooks. Empty: public_host.
        public_url: String = String::new();
        /// Public host (and port) where no public_url is set. Empty: the listener's own address. Established names: CLOUD_PUBLIC_HOST_NAME, HOST_NAME.
        public_host: String = String::new();
        /// Host that system apps are given instead of the public one. Empty: the public one.
        internal_host: String = String::new();
        /// Tag in the periodic vitals record. Established name: REGION.
        region: String = String::new();
        /// App records; a relative path is looked up beside the config file. Read at start and on SIGHUP.
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
        /// The same for the provider whose authingToken it takes. Established name: AUTHING_APP_SECRET.
        authing_app_secret: String = String::new();
        /// E-mails whose core token opens /api/admin. Established name: ADMIN_EMAILS.
        admin_emails: Vec<String> = Vec::new();
        /// Key that opens /api/admin as a bearer token, for agents without an account; empty = none. Established name: MENTRA_AGENT_API_KEY.
        admin_api_key: String = String::new();
        /// User sessions of this process; beyond it new ones get 503. 0 = unlimited.
        max_sessions: u64 = 0, 0..=10_000_000;
        /// Scheduling delay P99 (ms) over 10 s beyond which new sessions get 503, when shed_load_enabled.
        admission_lag_ms: u64 = 1000, 1..=600_000;
        /// Refuse new user sessions while overloaded.
        shed_load_enabled: bool = false;
        /// Watchdog of the shutdown (ms); keep below the orchestrator's grace.
        shutdown_budget_ms: u64 = 5000, 500..=60_000 => AtStart;
        /// Time given to the log writer at exit (ms).
        log_flush_timeout_ms: u64 = 500, 0..=10_000 => AtStart;
    }
}
