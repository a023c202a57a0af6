//! Layer 1: stream names (placeholder until branch `wire` is merged; same signatures).

/// Permission types on app records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Permission {
    Microphone,
    Location,
    BackgroundLocation,
    Calendar,
    Camera,
    Notifications,
    ReadNotifications,
    PostNotifications,
    All,
}
impl Permission {
    pub fn as_str(self) -> &'static str {
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
    #[expect(clippy::should_implement_trait, reason = "an Option, not a Result")]
    pub fn from_str(text: &str) -> Option<Self> {
        [
            Self::Microphone,
            Self::Location,
            Self::BackgroundLocation,
            Self::Calendar,
            Self::Camera,
            Self::Notifications,
            Self::ReadNotifications,
            Self::PostNotifications,
            Self::All,
        ]
        .into_iter()
        .find(|p| p.as_str() == text)
    }
}
