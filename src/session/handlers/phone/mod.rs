//! Layer 2, handlers of phone messages: one file per type, one row per type. Types without behaviour of their own share
//! `relay`. The table is data, proved complete at compile time.

use super::PhoneHandler;
use crate::wire::kinds::PhoneKind;

mod audio_play_response;
mod calendar_event;
mod connection_init;
mod glasses_connection_state;
mod head_position;
mod keep_alive_ack;
mod local_transcription;
mod location_update;
mod managed_stream_request;
mod managed_stream_stop;
mod phone_notification;
mod phone_notification_dismissed;
mod phone_subscription_update;
mod photo_response;
mod ping;
mod pong;
mod relay;
mod start_app;
mod stop_app;
mod stream_request;
mod stream_status;
mod stream_stop;
mod touch_event;
mod udp_register;
mod udp_unregister;
mod vad;

pub(crate) use relay::unknown;

/// One row per [`PhoneKind`], in its order.
pub const PHONE: [PhoneHandler; PhoneKind::COUNT] = [
    ping::HANDLER,
    pong::HANDLER,
    connection_init::HANDLER,
    start_app::HANDLER,
    stop_app::HANDLER,
    phone_subscription_update::HANDLER,
    glasses_connection_state::HANDLER,
    vad::HANDLER,
    relay::row(PhoneKind::VadLower),
    local_transcription::HANDLER,
    relay::row(PhoneKind::ButtonPress),
    head_position::HANDLER,
    touch_event::HANDLER,
    relay::row(PhoneKind::GlassesBatteryUpdate),
    relay::row(PhoneKind::PhoneBatteryUpdate),
    location_update::HANDLER,
    calendar_event::HANDLER,
    stream_status::HANDLER,
    relay::row(PhoneKind::RtmpStreamStatus),
    keep_alive_ack::HANDLER,
    audio_play_response::HANDLER,
    relay::row(PhoneKind::RgbLedControlResponse),
    udp_register::HANDLER,
    udp_unregister::HANDLER,
    stream_request::HANDLER,
    stream_stop::HANDLER,
    managed_stream_request::HANDLER,
    managed_stream_stop::HANDLER,
    photo_response::HANDLER,
    relay::row(PhoneKind::PhotoTaken),
    relay::row(PhoneKind::VideoStreamResponse),
    relay::row(PhoneKind::SwipeVolumeStatus),
    relay::row(PhoneKind::SwitchStatus),
    relay::row(PhoneKind::RequestSettings),
    relay::row(PhoneKind::SettingsUpdateRequest),
    relay::row(PhoneKind::DashboardState),
    relay::row(PhoneKind::OpenDashboard),
    relay::row(PhoneKind::CoreStatusUpdate),
    relay::row(PhoneKind::VpsCoordinates),
    relay::row(PhoneKind::LivekitInit),
    phone_notification::HANDLER,
    phone_notification_dismissed::HANDLER,
];

const _: () = {
    let mut index = 0;
    while index < PHONE.len() {
        assert!(
            PHONE[index].kind as usize == index,
            "rows stand in the order of PhoneKind"
        );
        index += 1;
    }
};
