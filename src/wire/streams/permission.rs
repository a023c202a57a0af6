//! Layer 1: permissions of apps and what streams need (`protocol.md §5.3`); it holds no app's
//! record.

use super::{LOCATION_STREAM, LOCATION_UPDATE};

/// A permission on an app's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Permission {
    /// Microphone audio and speech.
    Microphone,
    /// Location.
    Location,
    /// Location while the app is not in front.
    BackgroundLocation,
    /// Calendar events.
    Calendar,
    /// Photos and video.
    Camera,
    /// Legacy spelling of [`Permission::ReadNotifications`].
    Notifications,
    /// Phone notifications.
    ReadNotifications,
    /// Making notifications.
    PostNotifications,
    /// Everything.
    All,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 9] = [
        Self::Microphone,
        Self::Location,
        Self::BackgroundLocation,
        Self::Calendar,
        Self::Camera,
        Self::Notifications,
        Self::ReadNotifications,
        Self::PostNotifications,
        Self::All,
    ];

    /// The name on an app's record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Microphone => "MICROPHONE",
            Self::Location => "LOCATION",
            Self::BackgroundLocation => "BACKGROUND_LOCATION",
            Self::Calendar => "CALENDAR",
            Self::Camera => "CAMERA",
            Self::Notifications => "NOTIFICATIONS",
            Self::ReadNotifications => "READ_NOTIFICATIONS",
            Self::PostNotifications => "POST_NOTIFICATIONS",
            Self::All => "ALL",
        }
    }
}

/// A name that is no permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown permission")]
pub struct UnknownPermission;

impl std::str::FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(name: &str) -> Result<Self, UnknownPermission> {
        let found = Self::ALL
            .into_iter()
            .find(|permission| permission.as_str() == name);
        found.ok_or(UnknownPermission)
    }
}

/// The permission that a stream needs, judged by its name up to the first colon.
///
/// Wildcards need none: each delivery through one is judged by the concrete stream.
#[must_use]
pub fn permission_for(stream: &str) -> Option<Permission> {
    match stream.split(':').next().unwrap_or_default() {
        "audio_chunk" | "transcription" | "translation" | "VAD" => Some(Permission::Microphone),
        LOCATION_UPDATE | LOCATION_STREAM => Some(Permission::Location),
        "calendar_event" => Some(Permission::Calendar),
        "photo_response" | "photo_taken" | "stream_status" | "managed_stream_status" => {
            Some(Permission::Camera)
        }
        "phone_notification" | "phone_notification_dismissed" => {
            Some(Permission::ReadNotifications)
        }
        _ => None,
    }
}
