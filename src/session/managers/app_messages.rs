//! Layer 2, manager: app to app messages.

/// A message that leaves this session for others. OWNER H5.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing;

/// A message that arrives from another session. OWNER H5.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming;

/// App-to-app messages. OWNER H5.
#[derive(Default)]
pub struct AppMessages;
