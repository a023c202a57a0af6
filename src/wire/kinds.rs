//! Layer 1: the closed lists of message types that peers send (protocol.md appendix D.1 and D.3).

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $wire:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name {
            $(#[doc = concat!("`", $wire, "`")] $variant,)*
        }

        impl $name {
            /// Every kind, in table order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// How many.
            pub const COUNT: usize = Self::ALL.len();

            /// The `type` member.
            #[must_use]
            pub const fn wire(self) -> &'static str {
                match self { $(Self::$variant => $wire,)* }
            }

            /// The kind of a `type` member; `None` for unknown ones.
            #[must_use]
            pub fn from_wire(wire: &str) -> Option<Self> {
                match wire { $($wire => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    /// Text messages of the phone.
    PhoneKind {
        Ping = "ping",
        Pong = "pong",
        ConnectionInit = "connection_init",
        StartApp = "start_app",
        StopApp = "stop_app",
        PhoneSubscriptionUpdate = "phone_subscription_update",
        GlassesConnectionState = "glasses_connection_state",
        Vad = "VAD",
        VadLower = "vad",
        LocalTranscription = "local_transcription",
        ButtonPress = "button_press",
        HeadPosition = "head_position",
        TouchEvent = "touch_event",
        GlassesBatteryUpdate = "glasses_battery_update",
        PhoneBatteryUpdate = "phone_battery_update",
        LocationUpdate = "location_update",
        CalendarEvent = "calendar_event",
        StreamStatus = "stream_status",
        RtmpStreamStatus = "rtmp_stream_status",
        KeepAliveAck = "keep_alive_ack",
        AudioPlayResponse = "audio_play_response",
        RgbLedControlResponse = "rgb_led_control_response",
        UdpRegister = "udp_register",
        UdpUnregister = "udp_unregister",
        StreamRequest = "stream_request",
        StreamStop = "stream_stop",
        ManagedStreamRequest = "managed_stream_request",
        ManagedStreamStop = "managed_stream_stop",
        PhotoResponse = "photo_response",
        PhotoTaken = "photo_taken",
        VideoStreamResponse = "video_stream_response",
        SwipeVolumeStatus = "swipe_volume_status",
        SwitchStatus = "switch_status",
        RequestSettings = "request_settings",
        SettingsUpdateRequest = "settings_update_request",
        DashboardState = "dashboard_state",
        OpenDashboard = "open_dashboard",
        CoreStatusUpdate = "core_status_update",
        VpsCoordinates = "vps_coordinates",
        LivekitInit = "livekit_init",
        PhoneNotification = "phone_notification",
        PhoneNotificationDismissed = "phone_notification_dismissed",
    }
}

kinds! {
    /// Text messages of an app server.
    AppKind {
        Ping = "ping",
        Pong = "pong",
        TpaConnectionInit = "tpa_connection_init",
        ConnectionInit = "connection_init",
        Reconnect = "reconnect",
        SubscriptionUpdate = "subscription_update",
        DisplayEvent = "display_event",
        DashboardContentUpdate = "dashboard_content_update",
        DashboardModeChange = "dashboard_mode_change",
        DashboardSystemUpdate = "dashboard_system_update",
        RgbLedControl = "rgb_led_control",
        CameraFovSet = "camera_fov_set",
        StreamRequest = "stream_request",
        RtmpStreamRequest = "rtmp_stream_request",
        StreamStop = "stream_stop",
        RtmpStreamStop = "rtmp_stream_stop",
        ManagedStreamRequest = "managed_stream_request",
        ManagedStreamStop = "managed_stream_stop",
        StreamStatusCheck = "stream_status_check",
        LocationPollRequest = "location_poll_request",
        PhotoRequest = "photo_request",
        AudioPlayRequest = "audio_play_request",
        AudioStopRequest = "audio_stop_request",
        AudioStreamStart = "audio_stream_start",
        AudioStreamEnd = "audio_stream_end",
        RequestWifiSetup = "request_wifi_setup",
        OwnershipRelease = "ownership_release",
        TranscriptionConfig = "transcription_config",
        TelemetryResponse = "telemetry_response",
        AppBroadcastMessage = "app_broadcast_message",
        AppDirectMessage = "app_direct_message",
        AppUserDiscovery = "app_user_discovery",
        AppRoomJoin = "app_room_join",
        AppRoomLeave = "app_room_leave",
    }
}
