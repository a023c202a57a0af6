//! Deadlines of the engine, in one heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What is to happen at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A phone (re)connects.
    PhoneConnect(u32),
    /// An app dials again.
    AppDial(u32, u8),
    /// A start request is repeated.
    AppStart(u32, u8),
    /// A phone vanishes; when it comes back is planned already.
    CutPhone(u32),
    /// An app socket vanishes.
    DropApp(u32, u8),
    /// Step `1` of fault number `0`.
    Fault(u16, u32),
    /// A phone sends its probe number `1` of the UDP path.
    UdpProbe(u32, u8),
    /// One more socket that never says who it is.
    Bystander,
    /// One more visitor.
    Visit,
    /// The misbehaving client acts: what, and until when it goes on.
    Abuse(AbuseKind, u64),
    /// Once per sampling interval.
    Sample,
    /// Once a second: time-outs and stalls.
    Sweep,
}

/// What the misbehaving client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AbuseKind {
    /// Opens one more socket.
    Open,
    /// Posts its device state.
    DeviceState,
    /// Sends a text that is not JSON.
    Garbage,
}

/// The heap.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(u64, Timer)>>,
}

impl Timers {
    /// Adds a deadline (monotonic nanoseconds).
    pub(crate) fn at(&mut self, due: u64, timer: Timer) {
        self.heap.push(Reverse((due, timer)));
    }

    /// The earliest deadline.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes the earliest deadline if it has passed.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(u64, Timer)> {
        self.next_due().filter(|due| *due <= now)?;
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}
