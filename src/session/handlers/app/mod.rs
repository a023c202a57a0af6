//! Layer 2, handlers of app messages: one file per type, one row per type, proved complete at compile time.

use super::AppHandler;
use crate::wire::kinds::AppKind;

mod app_broadcast_message;
mod app_direct_message;
mod app_room_join;
mod app_room_leave;
mod app_user_discovery;
mod audio_play_request;
mod audio_stop_request;
mod audio_stream_end;
mod audio_stream_start;
mod camera_fov_set;
mod connection_init;
mod dashboard_content_update;
mod dashboard_mode_change;
mod dashboard_system_update;
mod display_event;
mod location_poll_request;
mod managed_stream_request;
mod managed_stream_stop;
mod ownership_release;
mod photo_request;
mod ping;
mod pong;
mod reconnect;
mod request_wifi_setup;
mod rgb_led_control;
mod rtmp_stream_request;
mod rtmp_stream_stop;
mod stream_request;
mod stream_status_check;
mod stream_stop;
mod subscription_update;
mod telemetry_response;
mod tpa_connection_init;
mod transcription_config;

/// One row per [`AppKind`], in its order.
pub const APP: [AppHandler; AppKind::COUNT] = [
    ping::HANDLER,
    pong::HANDLER,
    tpa_connection_init::HANDLER,
    connection_init::HANDLER,
    reconnect::HANDLER,
    subscription_update::HANDLER,
    display_event::HANDLER,
    dashboard_content_update::HANDLER,
    dashboard_mode_change::HANDLER,
    dashboard_system_update::HANDLER,
    rgb_led_control::HANDLER,
    camera_fov_set::HANDLER,
    stream_request::HANDLER,
    rtmp_stream_request::HANDLER,
    stream_stop::HANDLER,
    rtmp_stream_stop::HANDLER,
    managed_stream_request::HANDLER,
    managed_stream_stop::HANDLER,
    stream_status_check::HANDLER,
    location_poll_request::HANDLER,
    photo_request::HANDLER,
    audio_play_request::HANDLER,
    audio_stop_request::HANDLER,
    audio_stream_start::HANDLER,
    audio_stream_end::HANDLER,
    request_wifi_setup::HANDLER,
    ownership_release::HANDLER,
    transcription_config::HANDLER,
    telemetry_response::HANDLER,
    app_broadcast_message::HANDLER,
    app_direct_message::HANDLER,
    app_user_discovery::HANDLER,
    app_room_join::HANDLER,
    app_room_leave::HANDLER,
];

const _: () = {
    let mut index = 0;
    while index < APP.len() {
        assert!(
            APP[index].kind as usize == index,
            "rows stand in the order of AppKind"
        );
        index += 1;
    }
};
