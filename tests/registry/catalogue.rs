//! Who sends what, and what the server may say; and where the samples are. Tables only; nothing is checked here.

use std::fs;
use std::path::PathBuf;

pub(crate) use prism::wire::sent_kinds::{TO_APP, TO_PHONE};

/// Who sends a type of the phone, where the reference client's own types are not plain (protocol.md appendix D.1).
pub(crate) const PHONE_SENDERS: &[(&str, &str)] = &[
    ("ping", "phone"),
    ("connection_init", "headless clients"),
    ("start_app", "headless clients"),
    ("stop_app", "headless clients"),
    ("phone_subscription_update", "phone"),
    ("glasses_connection_state", "phone (rare), headless clients"),
    ("VAD", "phone"),
    ("vad", "headless clients"),
    ("local_transcription", "phone"),
    ("button_press", "phone, headless clients"),
    ("head_position", "phone, headless clients"),
    ("touch_event", "phone"),
    ("glasses_battery_update", "phone"),
    ("location_update", "phone (rare), headless clients"),
    ("stream_status", "phone"),
    ("rtmp_stream_status", "phones of the 2.x era"),
    ("keep_alive_ack", "phone"),
    ("audio_play_response", "phone"),
    ("rgb_led_control_response", "phone"),
    ("udp_register", "phone"),
    ("stream_request", "phone (mini-apps)"),
    ("stream_stop", "phone (mini-apps)"),
    ("managed_stream_request", "phone (mini-apps)"),
    ("managed_stream_stop", "phone (mini-apps)"),
    ("video_stream_response", "phone"),
    ("swipe_volume_status", "phone"),
    ("switch_status", "phone"),
    ("core_status_update", "headless clients"),
];

/// Types of apps that not every SDK sends (appendix D.3).
pub(crate) const APP_SENDERS: &[(&str, &str)] = &[
    ("ping", "SDK 3.x"),
    ("pong", "nobody"),
    ("connection_init", "nobody (alias)"),
    ("reconnect", "SDK 3.x"),
    ("dashboard_mode_change", "SDK 2.x"),
    ("dashboard_system_update", "SDK 2.x"),
    ("camera_fov_set", "SDK 3.x"),
    ("stream_request", "SDK 3.x"),
    ("rtmp_stream_request", "SDK 2.x"),
    ("stream_stop", "SDK 3.x"),
    ("rtmp_stream_stop", "SDK 2.x"),
    ("audio_stream_start", "SDK 3.x"),
    ("audio_stream_end", "SDK 3.x"),
    ("transcription_config", "SDK 3.x"),
    ("telemetry_response", "SDK 3.x over HTTP"),
    ("app_broadcast_message", "SDK 2.x"),
    ("app_direct_message", "SDK 2.x"),
    ("app_user_discovery", "nobody"),
    ("app_room_join", "SDK 2.x"),
    ("app_room_leave", "SDK 2.x"),
];

/// Types to the phone that not only phones act on (appendix D.2).
pub(crate) const PHONE_READERS: &[(&str, &str)] = &[
    ("connection_ack", "phone, headless clients"),
    ("connection_error", "phone, headless clients"),
    ("display_event", "phone, headless clients"),
    ("app_state_change", "phone, headless clients"),
    ("microphone_state_change", "phone, headless clients"),
    ("data_stream", "phone (mini-apps)"),
    ("phone_stream_status", "phone (mini-apps)"),
    ("phone_managed_stream_status", "phone (mini-apps)"),
    ("phone_photo_ready", "phone (mini-apps)"),
];

/// Types to apps on which not every SDK acts (appendix D.4).
pub(crate) const APP_READERS: &[(&str, &str)] = &[
    ("reconnect_ack", "SDK 3.x"),
    ("reconnect_rejected", "SDK 3.x"),
    ("reconnect_deferred", "SDK 3.x"),
    (
        "augmentos_settings_update",
        "SDK 2.x, classes of 2.x in 3.x",
    ),
    ("photo_response", "SDK 2.x (logs it), SDK 3.x"),
    ("audio_stream_ready", "SDK 3.x"),
    ("stream_status", "SDK 2.x (as an error), SDK 3.x"),
    ("rtmp_stream_status", "SDK 2.x"),
    ("request_telemetry", "classes of 2.x in SDK 3.x"),
    ("pong", "SDK 3.x"),
    ("dashboard_mode_changed", "SDK 2.x, classes of 2.x in 3.x"),
    (
        "dashboard_always_on_changed",
        "SDK 2.x, classes of 2.x in 3.x",
    ),
    ("permission_error", "SDK 2.x, classes of 2.x in 3.x"),
    ("app_message_received", "SDK 2.x, classes of 2.x in 3.x"),
    ("app_user_joined", "SDK 2.x, classes of 2.x in 3.x"),
    ("app_user_left", "SDK 2.x, classes of 2.x in 3.x"),
    ("app_room_updated", "SDK 2.x, classes of 2.x in 3.x"),
    (
        "app_direct_message_response",
        "SDK 2.x, classes of 2.x in 3.x",
    ),
];

/// Optional members that protocol.md names but no sample shows.
pub(crate) const ADDED: &[(&str, &str)] = &[
    ("app_stopped", "reason"),
    ("stream_status_check_response", "requestId"),
    ("phone_managed_stream_status", "message"),
    ("app_direct_message_response", "targetUserId"),
    ("app_direct_message_response", "error"),
];

/// Types whose members are the peer's own, passed on whole.
pub(crate) const VERBATIM: &[&str] = &["display_event"];

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The sample lines of a type. On file systems that ignore case, `VAD` and `vad` need names of their own.
pub(crate) fn sample_file(direction: &str, name: &str) -> String {
    match name {
        "vad" => format!("tests/golden/{direction}/vad-lower.json"),
        name => format!("tests/golden/{direction}/{name}.json"),
    }
}

pub(crate) fn samples(direction: &str, name: &str) -> Vec<String> {
    let path = root().join(sample_file(direction, name));
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect()
}
