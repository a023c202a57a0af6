//! Layer 0: section `apps` of the configuration file.

use super::list;
use crate::base::settings::declare::section;

section! {
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
        /// Outbound HTTP calls at a time; more wait in order.
        webhook_concurrency: u64 = 256, 1..=100_000 => AtStart;
        /// Outbound calls waiting; beyond it new ones fail at once.
        webhook_queue_max: u64 = 65_536, 16..=10_000_000 => AtStart;
        /// Allow webhook targets on loopback and private addresses; switch off when app records are not trusted.
        webhook_private_addresses: bool = true => AtStart;
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
        /// Keys are looked up in memory, nothing is cached.
        sdk_auth_cache_entries: u64 = 1000, 0..=1_000_000 => Never;
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
}
