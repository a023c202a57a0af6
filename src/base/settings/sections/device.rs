//! Layer 0: section `device` of the configuration file.

use super::list;
use crate::base::settings::declare::section;

section! {
    /// Device state, location, calendar, photos (behaviour.md §7).
    device: Device {
        /// Refuse hardware requests while no glasses are connected.
        validation_enabled: bool = true;
        /// Location accuracy tier that a phone is told while no app asks for one.
        location_default_tier: String = "reduced".into();
        /// How old a location may be to answer an app's poll, per accuracy tier, as tier:seconds; a tier that is not named takes 900.
        location_tier_ages_s: Vec<String> = list(&["reduced:900", "threeKilometers:900", "kilometer:300", "hundredMeters:60", "tenMeters:30", "standard:30", "high:10", "realtime:1"]);
        /// An app's location poll that the phone does not answer is forgotten after this (ms).
        location_poll_timeout_ms: u64 = 30_000, 100..=600_000;
        /// Most unanswered location polls per user; beyond it the oldest of the app with most is forgotten.
        location_polls_max: u64 = 64, 1..=10_000;
        /// Calendar events remembered per user.
        calendar_cache: u64 = 100, 1..=10_000;
        /// Device-state posts per second and user; beyond it 429.
        device_state_rate_per_s: u64 = 10, 1..=10_000;
        /// A user who exceeds device_state_rate_per_s is logged at most once per this time (ms).
        device_state_warn_ms: u64 = 60_000, 0..=86_400_000;
        /// The limiter is part of the session and needs no sweep (ms).
        device_state_sweep_ms: u64 = 60_000, 1000..=86_400_000 => Never;
        /// The limiter ends with its session, so its entries need no life time (ms).
        device_state_entry_ttl_ms: u64 = 300_000, 1000..=86_400_000 => Never;
        /// A hardware request is logged when the phone has been silent for longer than this (ms).
        device_state_stale_warn_ms: u64 = 60_000, 1000..=86_400_000;
        /// A photo request fails when the phone does not answer within this (ms).
        photo_request_timeout_ms: u64 = 30_000, 100..=600_000;
        /// Most unanswered photo requests per user; an app may have half of what others leave of it, and more of it is refused.
        photo_requests_max: u64 = 64, 1..=10_000;
        /// Largest uploaded photo (bytes).
        photo_upload_max_bytes: u64 = 10_485_760, 1024..=268_435_456;
        /// How long the upload token of a phone mini-app's photo is valid (s).
        photo_upload_token_ttl_s: u64 = 120, 1..=86_400;
        /// How long the signed link to a phone mini-app's photo is valid (s).
        photo_download_ttl_s: u64 = 900, 1..=86_400;
        /// Secret that signs upload tokens of photos; empty = derived from auth_jwt_secret. Established name: MINIAPP_SDK_PHOTO_UPLOAD_SECRET.
        photo_upload_secret: String = String::new() => AtStart;
        /// PKCS#8 RSA key (PEM) for signed web-view tokens; empty = that route answers 500. Established names: APP_AUTH_JWT_PRIVATE_KEY, TPA_AUTH_JWT_PRIVATE_KEY.
        webview_private_key: String = String::new() => AtStart;
        /// Oldest phone app version that this server supports, as phones are told.
        client_min_version: String = "2.7.0".into();
    }
}
