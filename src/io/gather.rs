//! Layer 4: a wait in which results gather, for io_uring. The kernel counts what arrives without waking the thread, so several
//! small messages share one wake-up, which costs more than any of them.

use super::Gather;
use super::ring::Ring;
use io_uring::types::Timespec;
use io_uring::{EnterFlags, IoUring};
use std::io;
use std::time::Duration;

/// The kernel's `struct io_uring_getevents_arg`.
#[repr(C)]
struct Arguments {
    /// Address of a signal mask: none.
    mask: u64,
    mask_bytes: u32,
    min_wait_us: u32,
    /// Address of the time after which one result no longer has to come.
    limit: u64,
}

/// Whether the kernel has such waits (6.12).
pub(super) fn is_known(uring: &IoUring) -> bool {
    uring.params().is_feature_min_timeout()
}

impl Ring {
    /// Starts what was asked for; ends with so many results as `gather` says, with those there are when its time is over, with the
    /// first one after that, or at `limit`.
    pub(super) fn gather(&mut self, limit: Duration, gather: Gather) -> io::Result<usize> {
        self.arm_bell();
        let min_wait = gather.time.min(limit);
        let limit = Timespec::from(limit);
        let arguments = Arguments {
            mask: 0,
            mask_bytes: 0,
            min_wait_us: u32::try_from(min_wait.as_micros()).unwrap_or(u32::MAX),
            // Exposed: the kernel reads what stands there.
            limit: (&raw const limit).expose_provenance() as u64,
        };
        let entries = self.uring.submission().len() as u32;
        let flags = (EnterFlags::GETEVENTS | EnterFlags::EXT_ARG).bits();
        let submitter = self.uring.submitter();
        // SAFETY: the kernel reads `arguments` and `limit` during the call alone, and both outlive it; their layout is its own.
        unsafe { submitter.enter(entries, gather.results, flags, Some(&arguments)) }
    }
}
