//! Layer 0: the table of all settings. One row per key; nothing else in the code holds a tunable number.

use super::declare::settings;
use super::load::Problem;
use super::{
    DashboardMode, DeploymentRegion, HealthMonitorMode, IoDriver, KeyInfo, Profile, Value,
};
use serde::Deserialize;

/// The secret of the shipped development configuration; profile `production` refuses it.
pub const DEVELOPMENT_SECRET: &str = "prism-development-secret-do-not-use-in-production";

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

settings! {
    /// Process, listener and identity of this deployment.
    server: Server {
        /// How strict start-up is: development or production (refuses the development secret). Restart needed.
        profile: Profile = Profile::Development;
        /// Address to listen on. Restart needed.
        host: String = "0.0.0.0".into();
        /// TCP port for HTTP and WebSocket; 0 takes a free one. Restart needed.
        port: u64 = 80, 0..=65_535;
        /// Second listener on the outside thread for /livez, /health, /metrics and /api/admin, so that a stalled shard cannot hide; 0 = off. Restart needed.
        admin_port: u64 = 0, 0..=65535;
        /// Address of that listener. Restart needed.
        admin_host: String = "127.0.0.1".into();
        /// Shards, each a pinned core; 0 = one per CPU of the cgroup quota. Restart needed.
        shards: u64 = 0, 0..=1024;
        /// Pin each shard's thread to a core. Restart needed.
        pin_cores: bool = true;
        /// auto, uring or epoll. Restart needed.
        io_driver: IoDriver = IoDriver::Auto;
        /// Shared secret that signs phone and app tokens (HS256/384/512). Established name: AUGMENTOS_AUTH_JWT_SECRET. Restart needed.
        auth_jwt_secret: String = DEVELOPMENT_SECRET.into();
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
        /// Folder of the embedded store. Restart needed.
        data_dir: String = "data".into();
        /// postgres://… for the PostgreSQL store; empty = embedded. Restart needed.
        store_url: String = String::new();
        /// Certificates (PEM) to trust for PostgreSQL instead of the public authorities; empty = those. Restart needed.
        store_ca_file: String = String::new();
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
        /// Watchdog of the shutdown (ms); keep below the orchestrator's grace. Restart needed.
        shutdown_budget_ms: u64 = 5000, 500..=60_000;
        /// Time given to the log writer at exit (ms). Restart needed.
        log_flush_timeout_ms: u64 = 500, 0..=10_000;
    }
    /// REST and CORS.
    http: Http {
        /// Largest request body (bytes); larger ones get 413.
        http_body_bytes_max: u64 = 12_582_912, 1024..=268_435_456;
        /// Time for a whole request head (ms), then the connection is closed.
        http_head_timeout_ms: u64 = 10_000, 100..=600_000;
        /// Time for a whole request body (ms).
        http_body_timeout_ms: u64 = 30_000, 100..=600_000;
        /// Idle time between requests of one connection (ms).
        http_keepalive_ms: u64 = 75_000, 0..=3_600_000;
        /// Plain HTTP connections per shard; beyond it new ones are closed at once.
        http_connections_max: u64 = 16_384, 16..=1_000_000;
        /// Exact origins, or https://*.domain patterns. Reloaded on SIGHUP.
        cors_origins: Vec<String> = Vec::new();
        /// Access-Control-Allow-Credentials; must be false with "*".
        cors_allow_credentials: bool = true;
        /// Methods a pre-flight allows.
        cors_methods: Vec<String> = list(&["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
        /// Headers a pre-flight allows.
        cors_headers: Vec<String> = list(&["Content-Type", "Authorization", "X-Requested-With", "X-User-Id", "X-Request-Id"]);
        /// Access-Control-Max-Age (s).
        cors_max_age_s: u64 = 600, 0..=86_400;
        /// Base URL to which unknown routes are proxied, bodies streamed both ways; empty = 404. Reloaded on SIGHUP.
        fallback_upstream: String = String::new();
        /// Path prefixes that are proxied there although they are known here: a capability moves by one line, and back. Reloaded on SIGHUP.
        upstream_paths: Vec<String> = Vec::new();
    }
    /// WebSocket transport and the user session's phone side (behaviour.md §1).
    connections: Connections {
        /// A socket from which nothing at all arrives for this long is closed (s).
        ws_idle_timeout_s: u64 = 120, 5..=86_400;
        /// Largest inbound message (bytes); beyond it 1009.
        ws_max_message_bytes: u64 = 16_777_216, 1024..=1_073_741_824;
        /// Bytes queued to a phone, beside one larger message, before messages are shed; control overflow closes 1013.
        ws_send_queue_bytes_phone: u64 = 1_048_576, 16_384..=1_073_741_824;
        /// Bytes queued to an app, beside one larger message: oldest audio goes first; control overflow closes 1013.
        ws_send_queue_bytes_app: u64 = 4_194_304, 16_384..=1_073_741_824;
        /// Payloads from this size up are referenced instead of copied into the send buffer (bytes).
        zero_copy_min_bytes: u64 = 2048, 0..=1_048_576;
        /// One receive buffer (bytes). All sockets of a shard share them; larger messages are put together. Restart needed.
        receive_buffer_bytes: u64 = 4096, 1024..=65_536;
        /// Most receive buffers of a shard, rounded up to a power of two; 1024 are used until they run out. Restart needed.
        receive_buffers: u64 = 4096, 16..=32_768;
        /// Frames handled per socket and turn before others get theirs.
        turn_frames_max: u64 = 64, 1..=65_536;
        /// An app socket neither initialised nor parked by then is closed 1008 (ms).
        app_init_timeout_ms: u64 = 30_000, 100..=600_000;
        /// A session without phone is kept this long (ms).
        reconnect_grace_ms: u64 = 60_000, 100..=86_400_000;
        /// Old phone sockets kept open per user.
        superseded_sockets_max: u64 = 2, 0..=16;
        /// Phone frames held while a session loads; beyond it the oldest audio, then the newest message is dropped.
        pending_frames_max: u64 = 256, 1..=65_536;
        /// A replaced app socket is closed after this (ms).
        replaced_linger_ms: u64 = 5000, 0..=600_000;
        /// Close after reconnect_rejected SESSION_* (ms).
        reject_linger_ms: u64 = 1000, 0..=60_000;
        /// Microphone state is re-sent this long after a phone returns (ms).
        mic_resync_after_reconnect_ms: u64 = 100, 0..=60_000;
        /// Handler failures within the window that close an app socket 1011.
        handler_failures_before_close: u64 = 5, 1..=1000;
        /// That window (ms).
        handler_failure_window_ms: u64 = 60_000, 1000..=3_600_000;
        /// Unparsable app messages in a row before 1007.
        invalid_json_before_close: u64 = 10, 1..=1000;
        /// Dispose a session when its grace ends; off only for debugging.
        grace_period_cleanup_enabled: bool = true;
        /// Abnormal phone closes within the window that raise a storm warning.
        storm_closes: u64 = 50, 1..=1_000_000;
        /// Reconnects within the window that raise a storm warning.
        storm_reconnects: u64 = 25, 1..=1_000_000;
        /// That window (ms).
        storm_window_ms: u64 = 10_000, 100..=600_000;
    }
    /// Per-session health monitor (behaviour.md §9).
    health: Health {
        /// off, observe (log and count) or enforce.
        health_monitor_mode: HealthMonitorMode = HealthMonitorMode::Enforce;
        /// Protocol ping to every socket (ms).
        heartbeat_interval_ms: u64 = 10_000, 100..=600_000;
        /// Without effect: characters of the ping payload, fixed by the wire.
        ping_id_len: u64 = 8, 8..=8;
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
    /// App life cycle and webhooks (behaviour.md §2).
    apps: Apps {
        /// Packages that are refused.
        deprecated_packages: Vec<String> = list(&["system.augmentos.dashboard"]);
        /// Packages installed for every new user; unknown ones are skipped. Established name: ADDITIONAL_PRE_INSTALLED_APPS.
        preinstalled_apps: Vec<String> = Vec::new();
        /// Assistant apps that may use /api/sdk/system-app and the Q calls.
        system_app_packages: Vec<String> = Vec::new();
        /// A start ends after this (ms).
        app_start_timeout_ms: u64 = 6000, 100..=600_000;
        /// Unexpectedly lost app sockets may come back within this (ms).
        app_grace_ms: u64 = 5000, 10..=600_000;
        /// Transitional states are forced to stopped after this (ms).
        app_stuck_ms: u64 = 30_000, 1000..=3_600_000;
        /// One webhook attempt, further bounded by the start budget (ms).
        webhook_timeout_ms: u64 = 10_000, 10..=600_000;
        /// Attempts of a session request.
        webhook_attempts: u64 = 2, 1..=10;
        /// First pause between attempts, doubled each time (ms).
        webhook_backoff_ms: u64 = 1000, 0..=60_000;
        /// Stop webhook (ms).
        stop_webhook_timeout_ms: u64 = 3000, 10..=60_000;
        /// Settings webhook (ms).
        settings_webhook_timeout_ms: u64 = 5000, 10..=60_000;
        /// One tool call attempt (ms).
        tool_webhook_timeout_ms: u64 = 20_000, 10..=600_000;
        /// Attempts of a tool call.
        tool_webhook_attempts: u64 = 2, 1..=10;
        /// Overall limit of invoke-tool (ms).
        tool_invoke_timeout_ms: u64 = 30_000, 10..=600_000;
        /// Outbound HTTP calls at a time; more wait in order. Restart needed.
        webhook_concurrency: u64 = 256, 1..=100_000;
        /// Outbound calls waiting; beyond it new ones fail at once. Restart needed.
        webhook_queue_max: u64 = 65_536, 16..=10_000_000;
        /// Allow webhook targets on loopback and private addresses; switch off when app records are not trusted. Restart needed.
        webhook_private_addresses: bool = true;
        /// A v2 app's empty list is ignored this long after it attached (ms).
        subscription_grace_ms: u64 = 8000, 0..=600_000;
        /// Remembered updates per app, for diagnostics.
        subscription_history: u64 = 50, 0..=1000;
        /// Subscriptions per app; more are dropped with a warning.
        subscriptions_max: u64 = 256, 8..=10_000;
        /// app_state_change at most once per window (ms).
        app_state_broadcast_coalesce_ms: u64 = 150, 0..=10_000;
        /// Parked v3 sockets (ms).
        deferred_timeout_ms: u64 = 30_000, 100..=600_000;
        /// Parked sockets per shard; beyond it a reconnect is rejected.
        deferred_max: u64 = 10_000, 1..=10_000_000;
        /// Dormant apps restarted at a time per user.
        resurrect_concurrency: u64 = 4, 1..=1000;
        /// App-server recovery at a time.
        recovery_concurrency: u64 = 16, 1..=10_000;
        /// Sockets of one package lost within the window that count as a server crash.
        mass_disconnect_threshold: u64 = 10, 2..=1_000_000;
        /// That window (ms).
        mass_disconnect_window_ms: u64 = 5000, 100..=600_000;
        /// Spread of the restarts that follow (ms).
        mass_disconnect_jitter_ms: u64 = 2000, 0..=600_000;
        /// App-server registrations without a sign of life (ms).
        registration_stale_ms: u64 = 1_800_000, 1000..=86_400_000;
        /// How often they are looked for (ms).
        registration_sweep_ms: u64 = 900_000, 1000..=86_400_000;
        /// App records are re-read from the store this often (ms).
        app_cache_refresh_ms: u64 = 30_000, 1000..=3_600_000;
        /// Older app records raise a warning (ms).
        app_cache_stale_warn_ms: u64 = 90_000, 1000..=3_600_000;
        /// Without effect: keys are looked up in memory, nothing is cached.
        sdk_auth_cache_entries: u64 = 1000, 0..=1_000_000;
        /// Poll GET {publicUrl}/health of every app. Established name: UPTIME_SERVICE_RUNNING.
        uptime_checker_enabled: bool = false;
        /// Between polls (ms).
        uptime_poll_ms: u64 = 60_000, 1000..=86_400_000;
        /// One poll (ms).
        uptime_timeout_ms: u64 = 10_000, 100..=600_000;
        /// Between two reports of an app that stays down (ms).
        uptime_notify_min_ms: u64 = 86_400_000, 1000..=604_800_000;
        /// Log window asked for (ms).
        telemetry_window_ms: u64 = 600_000, 1000..=86_400_000;
        /// Serve /api/tpa-server and /api/app-server.
        app_server_registration_enabled: bool = true;
        /// Apply allowedIps where an app has them.
        app_ip_validation_enabled: bool = true;
        /// Tell apps which subscriptions were rejected.
        send_permission_error: bool = true;
        /// Apps not stopped at the same time per user; a start beyond it fails.
        apps_per_user_max: u64 = 64, 1..=10_000;
    }
    /// Microphone decisions (behaviour.md §4).
    microphone: Microphone {
        /// Between two state messages (ms).
        mic_debounce_ms: u64 = 1000, 0..=60_000;
        /// Quiet time after a subscription change (ms).
        mic_subscription_debounce_ms: u64 = 100, 0..=60_000;
        /// Off is held back this long (ms).
        mic_off_holddown_ms: u64 = 3000, 1..=600_000;
        /// State is repeated while on (ms).
        mic_keepalive_ms: u64 = 10_000, 100..=600_000;
        /// Without effect: the need is recomputed whenever something it depends on changes.
        mic_cache_max_age_ms: u64 = 5000, 0..=600_000;
        /// After switching an unwanted microphone off, audio is no evidence for this long (ms).
        unauthorized_audio_ignore_ms: u64 = 5000, 0..=600_000;
    }
    /// Audio path and app audio output (behaviour.md §5, protocol.md §10).
    audio: Audio {
        /// Hz; fixed by the wire.
        pcm_sample_rate: u64 = 16_000, 16_000..=16_000;
        /// LC3 frame (ms); fixed by the wire.
        lc3_frame_ms: u64 = 10, 10..=10;
        /// LC3 frame where the phone names none or a wrong one (bytes).
        lc3_frame_bytes: u64 = 20, 20..=60;
        /// Audio whose last write comes later after its receipt is counted and logged (ms).
        audio_slow_relay_ms: u64 = 20, 1..=60_000;
        /// More subscribers than this are logged.
        audio_fanout_warn: u64 = 10, 1..=10_000;
        /// Audio that takes longer from its receipt to the last outbox is counted and logged; one turn in 64 is measured (ms).
        audio_stage_slow_ms: u64 = 10, 1..=60_000;
        /// Base URL of the text-to-speech service: ElevenLabs, or what talks like it.
        tts_url: String = "https://api.elevenlabs.io".into();
        /// Its key; empty: GET /api/tts is refused. With it, whoever reaches the server may use it, as players have no token. Established name: ELEVENLABS_API_KEY.
        tts_api_key: String = String::new();
        /// Voice where a player names none. Established name: ELEVENLABS_DEFAULT_VOICE_ID.
        tts_voice_id: String = "8IRrZoKuYTPnpLc6lM6a".into();
        /// Model where a player names none.
        tts_model: String = "eleven_flash_v2_5".into();
        /// Voice settings where a player sends none (numbers): speed. Established name: ELEVENLABS_DEFAULT_SPEED.
        tts_speed: String = "1.13".into();
        /// Established name: ELEVENLABS_DEFAULT_STABILITY.
        tts_stability: String = "0.68".into();
        /// Established name: ELEVENLABS_DEFAULT_SIMILARITY.
        tts_similarity: String = "0.75".into();
        /// Established name: ELEVENLABS_DEFAULT_STYLE.
        tts_style: String = "0.0".into();
        /// The first sound must come within this (ms).
        tts_timeout_ms: u64 = 20_000, 100..=30_000;
        /// Without effect: no endpoint reads recent audio back (ms).
        audio_recent_buffer_ms: u64 = 0, 0..=600_000;
        /// Re-sync the microphone when wanted audio stops.
        audio_gap_resync_enabled: bool = false;
        /// Silence that counts as a gap (ms).
        audio_gap_resync_ms: u64 = 15_000, 1000..=600_000;
        /// Between two such re-syncs (ms).
        audio_gap_cooldown_ms: u64 = 30_000, 1000..=3_600_000;
        /// An output stream nobody fetches ends (ms).
        audio_out_claim_timeout_ms: u64 = 15_000, 100..=600_000;
        /// An unanswered play request of ours (ms).
        audio_out_reclaim_timeout_ms: u64 = 10_000, 100..=600_000;
        /// An output stream without writes ends (ms).
        audio_out_abandon_ms: u64 = 60_000, 1000..=3_600_000;
        /// Buffered while nobody reads; the oldest goes first (bytes).
        audio_out_pending_bytes: u64 = 2_097_152, 4096..=1_073_741_824;
        /// An ended stream is forgotten after this (ms).
        audio_out_cleanup_ms: u64 = 1000, 0..=60_000;
        /// No play request of ours before this (ms).
        audio_out_autoplay_delay_ms: u64 = 2000, 0..=60_000;
        /// Output streams per app.
        audio_out_streams_max: u64 = 8, 1..=1000;
        /// A play request waits this long for its answer (ms).
        audio_play_map_ttl_ms: u64 = 600_000, 1000..=86_400_000;
        /// Unanswered play requests per user; the oldest is forgotten.
        audio_play_map_max: u64 = 256, 1..=100_000;
    }
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
        /// Local UDP port. Restart needed.
        udp_port: u64 = 8000, 0..=65_535;
        /// Audio packets kept while earlier ones are missing.
        udp_reorder_capacity: u64 = 10, 1..=1000;
        /// A missing packet is waited for so long (ms).
        udp_reorder_timeout_ms: u64 = 20, 1..=10_000;
        /// A larger jump begins a new sequence (packets).
        udp_reorder_max_gap: u64 = 50, 1..=30_000;
        /// A UDP packet handled slower is logged (ms).
        udp_audio_slow_ms: u64 = 50, 1..=60_000;
    }
    /// Display arbitration (behaviour.md §6.1).
    display: Display {
        /// Between two main-view messages (ms).
        display_throttle_ms: u64 = 300, 0..=60_000;
        /// Boot screen (ms).
        boot_duration_ms: u64 = 1500, 0..=60_000;
        /// Life of a background app's hold on the screen (ms).
        background_lock_ms: u64 = 10_000, 0..=600_000;
        /// A silent holder loses it (ms).
        background_lock_inactive_ms: u64 = 2000, 0..=600_000;
        /// A display without duration is restorable while younger (ms).
        min_display_lifetime_ms: u64 = 1000, 0..=600_000;
        /// Restore a foreground app's undated display after an interruption.
        restore_undated_core_display: bool = false;
        /// Show an app's instructions at its first start.
        onboarding_display: bool = false;
        /// Other displays wait that long (ms).
        onboarding_block_ms: u64 = 5000, 0..=600_000;
        /// Instructions stay that long (ms).
        onboarding_display_ms: u64 = 15_000, 0..=600_000;
        /// Package of the server's own displays.
        os_package_name: String = "com.mentra.os".into();
    }
    /// Dashboard (behaviour.md §2.15, §6.2).
    dashboard: Dashboard {
        /// internal or app.
        dashboard_mode: DashboardMode = DashboardMode::Internal;
        /// The system dashboard app in mode app.
        dashboard_package_name: String = "system.augmentos.dashboard".into();
        /// A change is rendered after this (ms).
        dashboard_debounce_ms: u64 = 500, 0..=60_000;
        /// Rendered at least this often (ms).
        dashboard_heartbeat_ms: u64 = 60_000, 1000..=3_600_000;
        /// Contents kept per mode in mode app.
        dashboard_queue_size: u64 = 5, 1..=100;
        /// Without effect: mode app renders when something changes, not periodically (ms).
        dashboard_update_interval_ms: u64 = 45_000, 1000..=3_600_000;
        /// Displays from this width up put weather beside the header (px).
        dashboard_wide_min_px: u64 = 500, 1..=10_000;
        /// Spaces between header and weather.
        dashboard_header_min_pad: u64 = 2, 0..=100;
        /// Events further away are not shown (days).
        calendar_lookahead_days: u64 = 7, 1..=365;
        /// A started event stays relevant this long (ms).
        calendar_recent_ms: u64 = 3_600_000, 0..=86_400_000;
        /// Age at which weather is fetched again (ms).
        weather_ttl_ms: u64 = 600_000, 1000..=86_400_000;
        /// Distance within which cached weather holds (km).
        weather_radius_km: u64 = 5, 1..=1000;
        /// Places whose weather is remembered for all users; the oldest gives way.
        weather_cache_entries: u64 = 1000, 1..=1_000_000;
        /// One weather request (ms).
        weather_timeout_ms: u64 = 10_000, 100..=600_000;
        /// Base URL of the weather service: OpenWeather, or what talks like it. With `/data/…` in it (3.0/onecall) the very call to make.
        weather_url: String = "https://api.openweathermap.org".into();
        /// Its key; empty = no weather. Established name: OPEN_WEATHER_API_KEY.
        weather_api_key: String = String::new();
        /// Base URL of the language model that orders notifications: OpenAI, or what talks like it.
        llm_url: String = "https://api.openai.com".into();
        /// Its key; empty = the newest come first. Established name: OPENAI_API_KEY.
        llm_api_key: String = String::new();
        /// The model. Established name: LLM_MODEL.
        llm_model: String = "gpt-4o-mini".into();
        /// One ranking (ms).
        llm_timeout_ms: u64 = 30_000, 100..=600_000;
        /// Notifications kept.
        notif_cache: u64 = 20, 1..=1000;
        /// A notification shown more often is dropped.
        notif_max_views: u64 = 10, 1..=10_000;
        /// Notifications shown.
        notif_top: u64 = 2, 1..=20;
        /// Characters of each.
        notif_chars: u64 = 35, 4..=500;
    }
    /// Device state, location, calendar, photos (behaviour.md §7).
    device: Device {
        /// Refuse hardware requests while no glasses are connected.
        validation_enabled: bool = true;
        /// Tier nobody asked to raise.
        location_default_tier: String = "reduced".into();
        /// Age up to which a fix answers a poll, as tier:seconds; a tier that is not named takes 900.
        location_tier_ages_s: Vec<String> = list(&["reduced:900", "threeKilometers:900", "kilometer:300", "hundredMeters:60", "tenMeters:30", "standard:30", "high:10", "realtime:1"]);
        /// A location poll is forgotten after this (ms).
        location_poll_timeout_ms: u64 = 30_000, 100..=600_000;
        /// Pending polls per user; the oldest is forgotten.
        location_polls_max: u64 = 64, 1..=10_000;
        /// Events kept.
        calendar_cache: u64 = 100, 1..=10_000;
        /// Device-state posts per second and user; beyond it 429.
        device_state_rate_per_s: u64 = 10, 1..=10_000;
        /// Between two warnings of one user who exceeds it (ms).
        device_state_warn_ms: u64 = 60_000, 0..=86_400_000;
        /// Without effect: the limiter is part of the session and needs no sweep (ms).
        device_state_sweep_ms: u64 = 60_000, 1000..=86_400_000;
        /// Without effect, as above: it ends with its session (ms).
        device_state_entry_ttl_ms: u64 = 300_000, 1000..=86_400_000;
        /// A hardware request is logged when the phone was silent for longer (ms).
        device_state_stale_warn_ms: u64 = 60_000, 1000..=86_400_000;
        /// A photo without answer fails (ms).
        photo_request_timeout_ms: u64 = 30_000, 100..=600_000;
        /// Pending photo requests per user; beyond it new ones are refused.
        photo_requests_max: u64 = 64, 1..=10_000;
        /// Largest uploaded photo (bytes).
        photo_upload_max_bytes: u64 = 10_485_760, 1024..=268_435_456;
        /// Upload token of a phone mini-app photo (s).
        photo_upload_token_ttl_s: u64 = 120, 1..=86_400;
        /// Signed download link (s).
        photo_download_ttl_s: u64 = 900, 1..=86_400;
        /// Secret of upload tokens; empty = derived from auth_jwt_secret. Established name: MINIAPP_SDK_PHOTO_UPLOAD_SECRET. Restart needed.
        photo_upload_secret: String = String::new();
        /// PKCS#8 RSA key (PEM) for signed web-view tokens; empty = that route answers 500. Established name: APP_AUTH_JWT_PRIVATE_KEY. Restart needed.
        webview_private_key: String = String::new();
        /// Version served to phones.
        client_min_version: String = "2.7.0".into();
    }
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
    /// App-to-app messages and simple storage (behaviour.md §7.10).
    messages: Messages {
        /// Serve app-to-app messages.
        app_to_app_enabled: bool = true;
        /// Rooms per app.
        app_rooms_max: u64 = 256, 1..=1_000_000;
        /// Last messages of each app, shown to administrators by GET /api/admin/app-messages.
        app_msg_history: u64 = 100, 0..=100_000;
        /// A direct message whose delivery nobody confirmed has failed (ms).
        direct_message_timeout_ms: u64 = 15_000, 100..=600_000;
        /// Unconfirmed direct messages per user; beyond it new ones fail at once.
        direct_messages_max: u64 = 64, 1..=10_000;
        /// Largest simple-storage value (characters).
        storage_value_chars: u64 = 100_000, 1..=100_000_000;
        /// All values of one user and app (characters).
        storage_total_chars: u64 = 1_000_000, 1..=1_000_000_000;
        /// Simple-storage writes per minute, user and app; 0 = unlimited, else 429.
        storage_rate_per_min: u64 = 0, 0..=1_000_000;
    }
    /// Speech (behaviour.md §8).
    speech: Speech {
        /// Where recognisers run: global (Soniox) or china (Alibaba). Established name: DEPLOYMENT_REGION.
        deployment_region: DeploymentRegion = DeploymentRegion::Global;
        /// Key of the Soniox service; without it and others below no recogniser runs here (with region global). Established name: SONIOX_API_KEY.
        soniox_api_key: String = String::new();
        /// Keys to use when that one is refused or at its limits, in turn. Established name: SONIOX_FALLBACK_API_KEYS.
        soniox_fallback_api_keys: Vec<String> = Vec::new();
        /// WebSocket address of that service. Established name: SONIOX_ENDPOINT.
        soniox_endpoint: String = "wss://stt-rt.soniox.com/transcribe-websocket".into();
        /// Its model. Established name: SONIOX_MODEL.
        soniox_model: String = "stt-rt-v5".into();
        /// How long it may still change tokens (ms).
        soniox_max_non_final_ms: u64 = 2000, 0..=60_000;
        /// How long it may wait for the end of an utterance (ms). Established name: SONIOX_MAX_ENDPOINT_DELAY_MS.
        soniox_max_endpoint_delay_ms: u64 = 3000, 500..=3000;
        /// WebSocket address of the Alibaba service. Established name: ALIBABA_ENDPOINT.
        alibaba_endpoint: String = "wss://dashscope.aliyuncs.com/api-ws/v1/inference".into();
        /// Its workspace; empty = none. Established name: ALIBABA_WORKSPACE.
        alibaba_workspace: String = String::new();
        /// Its key; empty = no recogniser runs here (with region china). Established name: ALIBABA_DASHSCOPE_API_KEY.
        alibaba_api_key: String = String::new();
        /// Recognisers of this process; beyond it new ones are refused.
        stt_max_streams: u64 = 500, 0..=1_000_000;
        /// Recognisers are refused below this much free memory (MB); 0 = never.
        stt_memory_limit_mb: u64 = 512, 0..=1_000_000;
        /// And it is logged as critical below this much (MB).
        stt_memory_critical_mb: u64 = 256, 0..=1_000_000;
        /// Connecting to a provider (ms).
        stt_connect_timeout_ms: u64 = 10_000, 100..=600_000;
        /// From its start a recogniser must be ready within this (ms).
        stream_ready_timeout_ms: u64 = 10_000, 100..=600_000;
        /// The same for one that speech started, before it is tried again the ordinary way (ms).
        vad_stream_ready_timeout_ms: u64 = 5000, 100..=600_000;
        /// Recognisers are looked after this often (ms).
        stt_health_check_ms: u64 = 60_000, 1000..=3_600_000;
        /// Attempts after a failure, until something asks for the recogniser anew.
        max_stream_retries: u64 = 3, 0..=100;
        /// Step of the pause before them (ms).
        stream_retry_delay_ms: u64 = 5000, 1..=600_000;
        /// Longest such pause (ms).
        stream_retry_cap_ms: u64 = 60_000, 1..=3_600_000;
        /// Pause before a recogniser that its provider closed is started again (ms).
        stream_reconnect_delay_ms: u64 = 1000, 1..=600_000;
        /// Chunks of audio kept while a recogniser starts; beyond it the oldest goes.
        stt_start_buffer_chunks: u64 = 50, 0..=10_000;
        /// They are dropped after this (ms).
        stt_start_buffer_timeout_ms: u64 = 10_000, 100..=600_000;
        /// A recogniser without any activity for this long is dropped (ms).
        dead_stream_idle_ms: u64 = 300_000, 1000..=86_400_000;
        /// So is one after this many writes in a row that failed.
        dead_stream_failures: u64 = 10, 1..=1000;
        /// A provider with so many failures within the window counts as unhealthy.
        provider_unhealthy_failures: u64 = 5, 1..=10_000;
        /// The same for translation.
        translation_unhealthy_failures: u64 = 3, 1..=10_000;
        /// The window (ms).
        provider_unhealthy_window_ms: u64 = 300_000, 1000..=86_400_000;
        /// And as healthy again below so many.
        provider_recovered_below: u64 = 2, 1..=10_000;
        /// Without audio for this long a recogniser pauses (ms).
        stt_pause_after_ms: u64 = 2000, 100..=600_000;
        /// How often that is looked at (ms).
        stt_gap_check_ms: u64 = 1000, 10..=600_000;
        /// Keepalive to the provider while no audio is sent (ms).
        stt_keepalive_ms: u64 = 15_000, 100..=600_000;
        /// A write to a provider that takes longer is logged (ms).
        stt_slow_send_ms: u64 = 50, 1..=600_000;
        /// At most so often (ms).
        stt_slow_send_warn_ms: u64 = 30_000, 0..=3_600_000;
        /// A recogniser this old is replaced in the next silence (ms); 0 = never.
        stt_rotate_after_ms: u64 = 3_600_000, 0..=86_400_000;
        /// The end of an utterance waits this long for more of it (ms). Established name: SONIOX_ENDPOINT_DEBOUNCE_MS.
        endpoint_debounce_ms: u64 = 500, 0..=60_000;
        /// Characters that must overlap for two parts of an utterance to be joined.
        overlap_min_chars: u64 = 3, 1..=1000;
        /// A key that is at its concurrency limit rests (ms).
        key_cooldown_concurrency_ms: u64 = 5000, 0..=86_400_000;
        /// One at its rate limit (ms).
        key_cooldown_rate_ms: u64 = 60_000, 0..=86_400_000;
        /// One whose quota is used up (ms).
        key_cooldown_quota_ms: u64 = 1_800_000, 0..=86_400_000;
        /// One after another passing failure (ms).
        key_cooldown_transient_ms: u64 = 10_000, 0..=86_400_000;
        /// The translated part of an utterance is waited for this long (ms).
        translation_wait_ms: u64 = 3000, 0..=600_000;
        /// Between the last words of a translation and its end (ms).
        translation_close_wait_ms: u64 = 100, 0..=60_000;
        /// Translations show only what does not change any more.
        soniox_finals_only_translation: bool = true;
        /// Times a broken translation is connected again.
        translation_reconnects: u64 = 3, 0..=100;
        /// Recognisers stay this long after speech ends (ms).
        vad_close_linger_ms: u64 = 0, 0..=600_000;
    }
    /// Durability (behaviour.md §12).
    store: Store {
        /// One store call (ms). Restart needed.
        db_timeout_ms: u64 = 5000, 10..=600_000;
        /// PostgreSQL connections. Restart needed.
        db_pool_size: u64 = 8, 1..=1000;
        /// Without effect: writes of one user are in one queue and cannot conflict.
        db_conflict_retries: u64 = 3, 0..=100;
        /// Without effect, as above: first pause, doubled each time (ms).
        db_conflict_backoff_ms: u64 = 50, 0..=60_000;
        /// Writes waiting for the store; beyond it a caller that waits gets an error, the rest is retried from memory. Restart needed.
        db_queue_max: u64 = 65_536, 16..=10_000_000;
        /// Unacknowledged writes of one user are coalesced for this long (ms). Restart needed.
        db_write_delay_ms: u64 = 200, 0..=1000;
        /// A failed write is tried again after this, doubled up to 30 s (ms). Restart needed.
        db_retry_ms: u64 = 1000, 10..=600_000;
        /// Slower calls are logged; 0 = off (ms). Restart needed.
        db_slow_query_ms: u64 = 0, 0..=600_000;
    }
    /// Logs and metrics (behaviour.md §10).
    observability: Observability {
        /// trace, debug, info, warn or error; a filter such as `info,prism::session=debug` works. Reloaded on SIGHUP.
        log_level: String = "info".into();
        /// JSON lines on stdout; false = readable text. Restart needed.
        log_json: bool = true;
        /// Lines waiting for the log's reader; beyond it lines are dropped and counted. Restart needed.
        log_queue_lines: u64 = 16_384, 64..=10_000_000;
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
