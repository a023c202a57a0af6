//! Layer 2, manager: subscriptions.

/// State of this manager. OWNER H4.
#[derive(Default)]
pub struct Subscriptions;
