//! Layer 2, manager: audio.

use crate::base::ids::ConnId;

/// Audio state. OWNER H4.
#[derive(Default)]
pub struct Audio {
    /// Open sockets that get every chunk; kept ready by `flow::sync`, so that the hot path only walks it.
    pub targets: Vec<ConnId>,
}
