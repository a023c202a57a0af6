//! Layer 5: a shard that ends takes the process along. Its users would be served by nobody, and a new process serves all of them
//! again.

use crate::base::ids::ShardId;
use crate::shard::shared::Shared;
use signal_hook::iterator::Handle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shard's thread raises at its end.
#[derive(Clone)]
pub(super) struct Alarm {
    raised: Arc<AtomicBool>,
    signals: Handle,
    shared: Arc<Shared>,
}

impl Alarm {
    /// Ends the wait for these signals.
    pub(super) fn new(signals: Handle, shared: Arc<Shared>) -> Self {
        Self {
            raised: Arc::default(),
            signals,
            shared,
        }
    }

    /// This shard ended; it has nothing to drain.
    pub(super) fn raise(&self, shard: ShardId) {
        self.shared.shard_drained(shard);
        self.raised.store(true, Ordering::Release);
        self.signals.close();
    }

    pub(super) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }
}
