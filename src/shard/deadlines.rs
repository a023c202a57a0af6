//! Layer 3: which session or connection is due next. One heap of (deadline, whose); rows are not removed when they change, but
//! found stale.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a deadline wakes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Due {
    /// A session, by its slot.
    Session(u32),
    /// A connection the shard itself watches, by its id.
    Conn(crate::base::ids::ConnId),
}

/// The heap. A caller that sets a deadline keeps the value; a popped row whose value differs is stale.
#[derive(Default, Debug)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(u64, Due)>>,
}

impl Deadlines {
    /// Adds a row. Setting the same deadline twice is the caller's to avoid.
    pub(super) fn set(&mut self, at_ms: u64, due: Due) {
        self.heap.push(Reverse((at_ms, due)));
    }

    /// Takes a row that is due at `now_ms`.
    pub(super) fn pop(&mut self, now_ms: u64) -> Option<(u64, Due)> {
        if self.heap.peek()?.0.0 > now_ms {
            return None;
        }
        self.heap.pop().map(|Reverse(row)| row)
    }

    /// Rows, stale ones included.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Drops rows that `keep` calls stale; called when the heap is much larger than what is live.
    pub(super) fn retain(&mut self, keep: impl Fn(u64, Due) -> bool) {
        self.heap.retain(|Reverse((at, due))| keep(*at, *due));
    }
}
