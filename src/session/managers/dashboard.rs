//! Layer 2, manager: dashboard.

/// State of this manager. OWNER H4.
#[derive(Default)]
pub struct Dashboard;
