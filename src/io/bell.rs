//! Layer 4: what wakes a shard that waits: an eventfd, which the ring reads and epoll watches.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::Wake;

/// The eventfd.
#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: plain system call; the descriptor is owned right away.
        match unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) } {
            fd if fd < 0 => Err(io::Error::last_os_error()),
            // SAFETY: new and ours.
            fd => Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) })),
        }
    }

    /// Where the kernel counts the rings.
    pub(super) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let one = 1_u64;
        // SAFETY: eight readable bytes. It fails only when 2^64 - 2 rings wait, and then the shard wakes anyway.
        unsafe {
            libc::write(
                self.0.as_raw_fd(),
                (&raw const one).cast(),
                size_of::<u64>(),
            )
        };
    }
}
