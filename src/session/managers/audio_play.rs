//! Layer 2, manager: audio play.

/// State of this manager. OWNER H5.
#[derive(Default)]
pub struct AudioPlay;
