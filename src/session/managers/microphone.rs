//! Layer 2, manager: microphone.

/// State of this manager. OWNER H4.
#[derive(Default)]
pub struct Microphone;
