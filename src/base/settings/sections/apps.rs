//! Layer 0: section `apps` of the configuration file.

use super::list;
use crate::base::settings::declare::section;

section! {
    /// App life cycle and webhooks (behaviour.md §2).
    apps: Apps {
        /// Packages whose apps are refused everywhere.
        deprecated_packages: Vec<String> = list(&["system.augmentos.dashboard"]);
        /// Packages installed for every new user; unknown ones are skipped. ADDITIONAL_PRE_INSTALLED_APPS adds to them.
        preinstalled_apps: Vec<String> = Vec::new();
        /// Packages of assistant apps, which may use /api/sdk/system-app and act for a user.
        system_app_packages: Vec<String> = Vec::new();
        /// Addresses and CIDR blocks of assistant servers that call /api/tools without a token, for any user, as they could before; trusted_proxies must be set if a proxy stands in front.
        assistant_addresses: Vec<String> = Vec::new();
        /// An app's start fails when its server has not connected by then (ms).
        app_start_timeout_ms: u64 = 6000, 100..=600_000;
        /// An app whose socket was lost may come back within this before it is restarted (ms).
        app_grace_ms: u64 = 5000, 10..=600_000;
        /// An app that is between two states for longer counts as stopped (ms).
        app_stuck_ms: u64 = 30_000, 1000..=3_600_000;
        /// Time for one attempt of the webhook that starts an app, never more than is left of the start (ms).
        webhook_timeout_ms: u64 = 10_000, 10..=600_000;
        /// Attempts of the webhook that starts an app.
        webhook_attempts: u64 = 2, 1..=10;
        /// Pause before the second attempt of a webhook, doubled for each further one (ms).
        webhook_backoff_ms: u64 = 1000, 0..=60_000;
        /// Time for the webhook that tells an app to stop (ms).
        stop_webhook_timeout_ms: u64 = 3000, 10..=60_000;
        /// Time for the webhook that tells an app of changed settings (ms).
        settings_webhook_timeout_ms: u64 = 5000, 10..=60_000;
        /// Time for one attempt of a tool call (ms).
        tool_webhook_timeout_ms: u64 = 20_000, 10..=600_000;
        /// Attempts of a tool call.
        tool_webhook_attempts: u64 = 2, 1..=10;
        /// Time for a whole invoke-tool request, all attempts together (ms).
        tool_invoke_timeout_ms: u64 = 30_000, 10..=600_000;
        /// Outbound HTTP calls under way at a time; more wait in order. An app server gets a quarter of them at most and a user an eighth (at least 4); tools, settings and health checks half of each.
        webhook_concurrency: u64 = 256, 1..=100_000 => AtStart;
        /// Outbound HTTP calls that may wait; beyond it new ones fail at once.
        webhook_queue_max: u64 = 65_536, 16..=10_000_000 => AtStart;
        /// Allow webhooks to loopback and private addresses; switch it off where app records are not trusted.
        webhook_private_addresses: bool = true => AtStart;
        /// For this long after it attached, an empty subscription list of a 2.x app is ignored: the SDK sends one before its handlers are registered (ms).
        subscription_grace_ms: u64 = 8000, 0..=600_000;
        /// Subscription changes remembered per app, which administrators see at GET /api/admin/subscriptions.
        subscription_history: u64 = 50, 0..=1000;
        /// Most subscriptions of an app; more are dropped with a warning.
        subscriptions_max: u64 = 256, 8..=10_000;
        /// A phone gets at most one app_state_change per this time (ms).
        app_state_broadcast_coalesce_ms: u64 = 150, 0..=10_000;
        /// A 3.x app socket that is parked until its phone returns is rejected after this (ms).
        deferred_timeout_ms: u64 = 30_000, 100..=600_000;
        /// Most parked app sockets per shard; beyond it a reconnect is rejected, unless an app has more parked than the one that comes: then one of that app gives way.
        deferred_max: u64 = 10_000, 1..=10_000_000;
        /// Apps restarted at a time per user, when the phone returns to apps that were lost meanwhile.
        resurrect_concurrency: u64 = 4, 1..=1000;
        /// Sessions recovered at a time after an app server restarted.
        recovery_concurrency: u64 = 16, 1..=10_000;
        /// This many sockets of one app lost within mass_disconnect_window_ms count as a crash of its server.
        mass_disconnect_threshold: u64 = 10, 2..=1_000_000;
        /// Window of mass_disconnect_threshold (ms).
        mass_disconnect_window_ms: u64 = 5000, 100..=600_000;
        /// After the crash of an app's server its restarts are spread over this time (ms).
        mass_disconnect_jitter_ms: u64 = 2000, 0..=600_000;
        /// The registration of an app server that shows no sign of life for this long is deactivated (ms).
        registration_stale_ms: u64 = 1_800_000, 1000..=86_400_000;
        /// Registrations of app servers are checked this often (ms).
        registration_sweep_ms: u64 = 900_000, 1000..=86_400_000;
        /// App records are re-read from the store this often (ms).
        app_cache_refresh_ms: u64 = 30_000, 1000..=3_600_000;
        /// A warning is logged when app records could not be read from the store for this long (ms).
        app_cache_stale_warn_ms: u64 = 90_000, 1000..=3_600_000;
        /// Keys are looked up in memory, nothing is cached.
        sdk_auth_cache_entries: u64 = 1000, 0..=1_000_000 => Never;
        /// Ask GET {publicUrl}/health of every app regularly. Established name: UPTIME_SERVICE_RUNNING.
        uptime_checker_enabled: bool = false;
        /// With uptime_checker_enabled: apps are asked this often (ms).
        uptime_poll_ms: u64 = 60_000, 1000..=86_400_000;
        /// Time for one answer to the uptime checker (ms).
        uptime_timeout_ms: u64 = 10_000, 100..=600_000;
        /// An app that stays down is reported again after this (ms).
        uptime_notify_min_ms: u64 = 86_400_000, 1000..=604_800_000;
        /// Logs of this last stretch are asked of apps when a user reports an incident (ms).
        telemetry_window_ms: u64 = 600_000, 1000..=86_400_000;
        /// Serve /api/tpa-server and /api/app-server, where app servers register for recovery after a restart.
        app_server_registration_enabled: bool = true;
        /// Refuse app sockets from addresses outside the app's allowedIps, where it has any.
        app_ip_validation_enabled: bool = true;
        /// Tell apps which of their subscriptions were refused for want of a permission.
        send_permission_error: bool = true;
        /// Most apps of a user that are not stopped or about to be; a start beyond it fails.
        apps_per_user_max: u64 = 64, 1..=10_000;
    }
}
