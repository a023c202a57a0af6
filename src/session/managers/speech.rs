//! Layer 2, manager: speech.

/// State of this manager. OWNER H4.
#[derive(Default)]
pub struct Speech;
