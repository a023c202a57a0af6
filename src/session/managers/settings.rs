//! Layer 2, manager: settings.

/// State of this manager. OWNER H5.
#[derive(Default)]
pub struct Settings;
