//! Layer 2, manager: phone.

use crate::base::ids::ConnId;

/// The phone's sockets. OWNER H3 adds what it needs.
#[derive(Default)]
pub struct Phone {
    /// Current socket while open.
    pub current: Option<ConnId>,
}

impl Phone {
    /// The current socket, if it is open.
    #[must_use]
    pub fn open(&self) -> Option<ConnId> {
        self.current
    }
}
