//! Layer 2, manager: location.

/// State of this manager. OWNER H5.
#[derive(Default)]
pub struct Location;
