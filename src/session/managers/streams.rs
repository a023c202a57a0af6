//! Layer 2, manager: streams.

/// State of this manager. OWNER H5.
#[derive(Default)]
pub struct Streams;
