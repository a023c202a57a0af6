//! Layer 2, manager: display.

/// State of this manager. OWNER H4.
#[derive(Default)]
pub struct Display;
