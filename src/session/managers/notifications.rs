//! Layer 2, manager: notifications.

/// State of this manager. OWNER H4.
#[derive(Default)]
pub struct Notifications;
