//! Layer 2, manager: audio output.

/// State of this manager. OWNER H5.
#[derive(Default)]
pub struct AudioOutput;
