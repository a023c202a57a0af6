//! Layer 1: the closed lists of message types that the server sends, and the place of a frame in them, under which it is counted.

use super::frame::Opcode;
use crate::base::metrics::SENT_KINDS;

/// What the server may send to a phone (`protocol.md` appendix D.2), without what is declared but never sent.
pub const TO_PHONE: [&str; 23] = [
    "connection_ack",
    "pong",
    "connection_error",
    "display_event",
    "app_state_change",
    "microphone_state_change",
    "photo_request",
    "audio_play_request",
    "audio_stop_request",
    "start_stream",
    "stop_stream",
    "keep_stream_alive",
    "rgb_led_control",
    "camera_fov_set",
    "show_wifi_setup",
    "set_location_tier",
    "request_single_location",
    "udp_ping_ack",
    "app_stopped",
    "data_stream",
    "phone_stream_status",
    "phone_managed_stream_status",
    "phone_photo_ready",
];

/// What the server may send to an app (`protocol.md` appendix D.4).
pub const TO_APP: [&str; 28] = [
    "tpa_connection_ack",
    "reconnect_ack",
    "reconnect_rejected",
    "reconnect_deferred",
    "tpa_connection_error",
    "app_stopped",
    "settings_update",
    "augmentos_settings_update",
    "capabilities_update",
    "device_state_update",
    "photo_response",
    "audio_play_response",
    "audio_stream_ready",
    "stream_status",
    "rtmp_stream_status",
    "managed_stream_status",
    "stream_status_check_response",
    "data_stream",
    "request_telemetry",
    "pong",
    "dashboard_mode_changed",
    "dashboard_always_on_changed",
    "permission_error",
    "app_message_received",
    "app_user_joined",
    "app_user_left",
    "app_room_updated",
    "app_direct_message_response",
];

const _: () = assert!(TO_PHONE.len() + 2 <= SENT_KINDS && TO_APP.len() + 2 <= SENT_KINDS);

/// How most frames to apps begin: found without a search.
const STREAM: &[u8] = br#"{"type":"data_stream""#;
const STREAM_AT: usize = 17;

/// The place under which a frame to a phone is counted: that of its type in [`TO_PHONE`]; the two places behind the types are audio
/// and everything else.
#[inline]
#[must_use]
pub fn to_phone(op: Opcode, payload: &[u8]) -> usize {
    place(&TO_PHONE, op, payload)
}

/// As [`to_phone`], for a frame to an app.
#[inline]
#[must_use]
pub fn to_app(op: Opcode, payload: &[u8]) -> usize {
    if op == Opcode::Text && payload.starts_with(STREAM) {
        return STREAM_AT;
    }
    place(&TO_APP, op, payload)
}

#[inline]
fn place(types: &[&str], op: Opcode, payload: &[u8]) -> usize {
    match op {
        Opcode::Binary => types.len(),
        Opcode::Text => place_of_text(types, payload),
        _ => types.len() + 1,
    }
}

/// All messages of ours begin with their type; of those passed on as they came, some do not.
#[inline(never)]
fn place_of_text(types: &[&str], payload: &[u8]) -> usize {
    let Some(rest) = payload.strip_prefix(br#"{"type":""#) else {
        return types.len() + 1;
    };
    // The closing quote rules most of them out.
    let is =
        |known: &&str| rest.get(known.len()) == Some(&b'"') && rest.starts_with(known.as_bytes());
    types.iter().position(is).unwrap_or(types.len() + 1)
}

/// Names of all places, in order.
#[must_use]
pub fn places(types: &[&'static str]) -> Vec<&'static str> {
    types.iter().copied().chain(["audio", "other"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_counted_under_its_type() {
        let app = |op, payload: &str| places(&TO_APP)[to_app(op, payload.as_bytes())];
        let phone = |payload: &str| places(&TO_PHONE)[to_phone(Opcode::Text, payload.as_bytes())];
        for kind in TO_APP {
            let text = format!(r#"{{"type":"{kind}","more":1}}"#);
            assert_eq!(app(Opcode::Text, &text), kind);
        }
        for kind in TO_PHONE {
            assert_eq!(phone(&format!(r#"{{"type":"{kind}"}}"#)), kind);
        }
        assert_eq!(app(Opcode::Binary, "pcm"), "audio");
        assert_eq!(app(Opcode::Ping, "p1"), "other");
        for odd in [
            "",
            "{}",
            r#"{"type":"#,
            r#"{"type":"foo"}"#,
            r#"{"x":1,"type":"pong"}"#,
        ] {
            assert_eq!(phone(odd), "other", "{odd}");
        }
    }

    #[test]
    fn the_short_cut_is_to_the_right_place() {
        assert_eq!(TO_APP[STREAM_AT], "data_stream");
    }
}
