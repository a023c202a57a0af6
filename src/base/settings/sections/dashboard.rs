//! Layer 0: section `dashboard` of the configuration file.

use crate::base::settings::DashboardMode;
use crate::base::settings::declare::section;

section! {
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
        /// Mode app renders when something changes, not periodically (ms).
        dashboard_update_interval_ms: u64 = 45_000, 1000..=3_600_000 => Never;
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
        /// Places whose weather is remembered for all users; the oldest gives way, and its users ask the service every minute.
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
}
