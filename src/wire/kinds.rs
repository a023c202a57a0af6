//! Layer 1: the closed lists of message types that peers send; it holds no message's fields
//! and handles none.

/// Declares an enum of message types: variant, name on the wire, section of `protocol.md`.
macro_rules! kinds {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($variant:ident = $wire:literal, $section:literal;)+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name {
            $(
                #[doc = concat!("`", $wire, "`, `protocol.md §", $section, "`.")]
                $variant,
            )+
        }

        impl $name {
            /// How many kinds there are.
            pub const COUNT: usize = [$(Self::$variant),+].len();

            /// Every kind, in the order of the appendix; `ALL[kind as usize] == kind`.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant),+];

            /// The value of the member `type`.
            #[must_use]
            pub const fn wire(self) -> &'static str {
                match self {
                    $(Self::$variant => $wire,)+
                }
            }

            /// The kind that has this name on the wire; names are case-sensitive.
            #[must_use]
            pub fn from_wire(name: &str) -> Option<Self> {
                match name {
                    $($wire => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// Text messages from the phone (`protocol.md` appendix D.1). Any other type is relayed as a
    /// stream of its own name.
    pub enum PhoneKind {
        Ping = "ping", "6.2";
        Pong = "pong", "6.2";
        ConnectionInit = "connection_init", "6.3";
        StartApp = "start_app", "6.4";
        StopApp = "stop_app", "6.5";
        PhoneSubscriptionUpdate = "phone_subscription_update", "6.6";
        GlassesConnectionState = "glasses_connection_state", "6.7";
        Vad = "VAD", "6.8";
        VadLower = "vad", "6.8";
        LocalTranscription = "local_transcription", "6.9";
        ButtonPress = "button_press", "6.10";
        HeadPosition = "head_position", "6.11";
        TouchEvent = "touch_event", "6.12";
        GlassesBatteryUpdate = "glasses_battery_update", "6.13";
        PhoneBatteryUpdate = "phone_battery_update", "6.13";
        LocationUpdate = "location_update", "6.14";
        CalendarEvent = "calendar_event", "6.15";
        StreamStatus = "stream_status", "6.16";
        RtmpStreamStatus = "rtmp_stream_status", "6.16";
        KeepAliveAck = "keep_alive_ack", "6.17";
        AudioPlayResponse = "audio_play_response", "6.18";
        RgbLedControlResponse = "rgb_led_control_response", "6.19";
        UdpRegister = "udp_register", "6.20";
        UdpUnregister = "udp_unregister", "6.20";
        StreamRequest = "stream_request", "6.21";
        StreamStop = "stream_stop", "6.21";
        ManagedStreamRequest = "managed_stream_request", "6.21";
        ManagedStreamStop = "managed_stream_stop", "6.21";
        PhotoResponse = "photo_response", "6.22";
        PhotoTaken = "photo_taken", "6.22";
        VideoStreamResponse = "video_stream_response", "6.23";
        SwipeVolumeStatus = "swipe_volume_status", "6.23";
        SwitchStatus = "switch_status", "6.23";
        RequestSettings = "request_settings", "6.24";
        SettingsUpdateRequest = "settings_update_request", "6.24";
        DashboardState = "dashboard_state", "6.24";
        OpenDashboard = "open_dashboard", "6.24";
        CoreStatusUpdate = "core_status_update", "6.24";
        VpsCoordinates = "vps_coordinates", "6.24";
        LivekitInit = "livekit_init", "6.24";
        PhoneNotification = "phone_notification", "6.24";
        PhoneNotificationDismissed = "phone_notification_dismissed", "6.24";
    }
}

kinds! {
    /// Text messages from an app (`protocol.md` appendix D.3). Any other type is ignored.
    pub enum AppKind {
        Ping = "ping", "8.1";
        Pong = "pong", "8.1";
        TpaConnectionInit = "tpa_connection_init", "8.2";
        ConnectionInit = "connection_init", "8.2";
        Reconnect = "reconnect", "8.3";
        SubscriptionUpdate = "subscription_update", "8.4";
        DisplayEvent = "display_event", "8.5";
        DashboardContentUpdate = "dashboard_content_update", "8.6";
        DashboardModeChange = "dashboard_mode_change", "8.6";
        DashboardSystemUpdate = "dashboard_system_update", "8.6";
        RgbLedControl = "rgb_led_control", "8.7";
        CameraFovSet = "camera_fov_set", "8.8";
        StreamRequest = "stream_request", "8.9";
        RtmpStreamRequest = "rtmp_stream_request", "8.9";
        StreamStop = "stream_stop", "8.10";
        RtmpStreamStop = "rtmp_stream_stop", "8.10";
        ManagedStreamRequest = "managed_stream_request", "8.11";
        ManagedStreamStop = "managed_stream_stop", "8.12";
        StreamStatusCheck = "stream_status_check", "8.13";
        LocationPollRequest = "location_poll_request", "8.14";
        PhotoRequest = "photo_request", "8.15";
        AudioPlayRequest = "audio_play_request", "8.16";
        AudioStopRequest = "audio_stop_request", "8.17";
        AudioStreamStart = "audio_stream_start", "8.18";
        AudioStreamEnd = "audio_stream_end", "8.18";
        RequestWifiSetup = "request_wifi_setup", "8.19";
        OwnershipRelease = "ownership_release", "8.20";
        TranscriptionConfig = "transcription_config", "8.21";
        TelemetryResponse = "telemetry_response", "8.21";
        AppBroadcastMessage = "app_broadcast_message", "8.21";
        AppDirectMessage = "app_direct_message", "8.21";
        AppUserDiscovery = "app_user_discovery", "8.21";
        AppRoomJoin = "app_room_join", "8.21";
        AppRoomLeave = "app_room_leave", "8.21";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name_and_stands_at_its_index() {
        for (at, kind) in PhoneKind::ALL.into_iter().enumerate() {
            assert_eq!(PhoneKind::from_wire(kind.wire()), Some(kind));
            assert_eq!(kind as usize, at);
        }
        for (at, kind) in AppKind::ALL.into_iter().enumerate() {
            assert_eq!(AppKind::from_wire(kind.wire()), Some(kind));
            assert_eq!(kind as usize, at);
        }
    }

    #[test]
    fn names_are_case_sensitive_and_closed() {
        assert_eq!(PhoneKind::from_wire("VAD"), Some(PhoneKind::Vad));
        assert_eq!(PhoneKind::from_wire("vad"), Some(PhoneKind::VadLower));
        assert_eq!(PhoneKind::from_wire("Vad"), None);
        assert_eq!(PhoneKind::from_wire(""), None);
        assert_eq!(
            AppKind::from_wire("connection_init"),
            Some(AppKind::ConnectionInit)
        );
        assert_eq!(AppKind::from_wire("data_stream"), None);
    }
}
