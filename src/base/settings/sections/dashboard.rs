//! Layer 0: section `dashboard` of the configuration file.

use crate::base::settings::DashboardMode;
use crate::base::settings::declare::section;

section! {
    /// Dashboard (behaviour.md §2.15, §6.2).
    dashboard: Dashboard {
        /// Who composes the dashboard: internal (this server) or app (the app dashboard_package_name).
        dashboard_mode: DashboardMode = DashboardMode::Internal;
        /// Package of the system dashboard app, for dashboard_mode app.
        dashboard_package_name: String = "system.augmentos.dashboard".into();
        /// A change is shown on the dashboard after this, together with what else changed meanwhile (ms).
        dashboard_debounce_ms: u64 = 500, 0..=60_000;
        /// The dashboard is composed anew at least this often (ms).
        dashboard_heartbeat_ms: u64 = 60_000, 1000..=3_600_000;
        /// In dashboard_mode app: apps whose content is kept per mode of the dashboard.
        dashboard_queue_size: u64 = 5, 1..=100;
        /// Mode app renders when something changes, not periodically (ms).
        dashboard_update_interval_ms: u64 = 45_000, 1000..=3_600_000 => Never;
        /// Glasses with a display this wide show the weather beside the dashboard's header (px).
        dashboard_wide_min_px: u64 = 500, 1..=10_000;
        /// Least number of spaces between the dashboard's header and the weather.
        dashboard_header_min_pad: u64 = 2, 0..=100;
        /// The dashboard shows no event further away than this (days).
        calendar_lookahead_days: u64 = 7, 1..=365;
        /// The dashboard shows an event that began for this much longer (ms).
        calendar_recent_ms: u64 = 3_600_000, 0..=86_400_000;
        /// Weather older than this is fetched anew (ms).
        weather_ttl_ms: u64 = 600_000, 1000..=86_400_000;
        /// Weather of a place counts for everybody within this distance (km).
        weather_radius_km: u64 = 5, 1..=1000;
        /// Places whose weather is remembered, for all users together. Beyond it the oldest is dropped, and its users ask the service every minute.
        weather_cache_entries: u64 = 1000, 1..=1_000_000;
        /// Time for one request to the weather service (ms).
        weather_timeout_ms: u64 = 10_000, 100..=600_000;
        /// Base URL of the weather service: OpenWeather, or one with its API. One that contains /data/, such as …/data/3.0/onecall, is the call itself.
        weather_url: String = "https://api.openweathermap.org".into();
        /// Key of the weather service; empty = no weather. Established name: OPEN_WEATHER_API_KEY.
        weather_api_key: String = String::new();
        /// Base URL of the language model that orders notifications: OpenAI, or a service with its API.
        llm_url: String = "https://api.openai.com".into();
        /// Key of the language model; empty = the newest notifications come first. Established name: OPENAI_API_KEY.
        llm_api_key: String = String::new();
        /// Name of the language model that orders notifications. Established name: LLM_MODEL.
        llm_model: String = "gpt-4o-mini".into();
        /// Time for the language model to order notifications (ms).
        llm_timeout_ms: u64 = 30_000, 100..=600_000;
        /// Notifications remembered per user.
        notif_cache: u64 = 20, 1..=1000;
        /// A notification that the dashboard has shown more often than this is dropped.
        notif_max_views: u64 = 10, 1..=10_000;
        /// Notifications that the dashboard shows at a time.
        notif_top: u64 = 2, 1..=20;
        /// Longest text of a notification on the dashboard (characters).
        notif_chars: u64 = 35, 4..=500;
    }
}
