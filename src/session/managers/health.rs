//! Layer 2, manager: health.

/// State of this manager. OWNER H3.
#[derive(Default)]
pub struct Health;
