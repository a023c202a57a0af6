//! Layer 2, manager: photos.

/// State of this manager. OWNER H5.
#[derive(Default)]
pub struct Photos;
