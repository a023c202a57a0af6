//! Layer 3: how much of a phone's outbox apps may fill with what they ask of it. What waits for a phone is bounded, and control
//! messages are never dropped for others: without shares one app that asks without end would close the phone of its user.

use crate::base::ids::ConnId;

/// One app may fill this part of the bound.
const OF_ONE: usize = 8;
/// All apps together may fill this part of it; the rest is the server's own.
const OF_ALL: usize = 2;

/// Who asked for how much of what waits.
#[derive(Default, Debug)]
pub(super) struct Shares(Vec<(ConnId, usize)>);

impl Shares {
    /// Whether a message of this size is so large that it has to stand beside the bound, as one may.
    pub(super) fn is_large(size: usize, limit: usize) -> bool {
        size > limit / OF_ALL
    }

    /// Whether an app may add a message of this size: within its share, or one that is larger by itself.
    pub(super) fn may_add(&self, by: ConnId, size: usize, limit: usize) -> bool {
        let own = self.0.iter().find(|(app, _)| *app == by);
        let own = own.map_or(0, |(_, bytes)| *bytes);
        let all: usize = self.0.iter().map(|(_, bytes)| bytes).sum();
        (own == 0 || own + size <= limit / OF_ONE) && all + size <= limit / OF_ALL
    }

    /// It did.
    pub(super) fn add(&mut self, by: ConnId, size: usize) {
        match self.0.iter_mut().find(|(app, _)| *app == by) {
            Some((_, bytes)) => *bytes += size,
            None => self.0.push((by, size)),
        }
    }

    /// Everything is on its way.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
