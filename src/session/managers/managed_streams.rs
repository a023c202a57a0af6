//! Layer 2, manager: managed streams.

/// State of this manager. OWNER H5.
#[derive(Default)]
pub struct ManagedStreams;
