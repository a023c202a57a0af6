//! Layer 4: what a ring must show before it serves anybody.

use super::ring::Ring;
use super::{Done, Short, Until};
use io_uring::types::{SubmitArgs, Timespec};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Far longer than a kernel needs that supports multishot receive.
const TRY_OUT: Duration = Duration::from_secs(1);
/// More than a socket takes at once.
const TRY_OUT_BYTES: usize = 4 << 20;

impl Ring {
    /// Kernels before 6.0 build a ring but know no multishot receive: found out here, not at the first phone.
    pub(super) fn try_out(&mut self) -> io::Result<()> {
        let (mut near, far) = UnixStream::pair()?;
        near.write_all(b"?")?;
        drop(near);
        self.receive(0, far.as_raw_fd(), Until::Stopped);
        self.buffers.publish();
        // A limit of this call alone: a timer of the ring would outlive it, and with it the shard's first tick.
        let limit = Timespec::from(TRY_OUT);
        let args = SubmitArgs::new().timespec(&limit);
        let mut received = Vec::new();
        loop {
            self.uring.submitter().submit_with_args(1, &args)?;
            self.take_results();
            while let Some(done) = self.next(&mut received) {
                match done {
                    Done::Received { .. } if received == b"?" => {}
                    Done::ReceiveEnded { .. } if received == b"?" => return Ok(()),
                    _ => return Err(io::ErrorKind::Unsupported.into()),
                }
            }
        }
    }

    /// A send that falls short must say how far it went, or the rest would be sent from the wrong place. Not every
    /// kernel that knows multishot receive need do so: found out here.
    pub(super) fn try_short_send(&mut self) -> io::Result<()> {
        let (near, mut far) = UnixStream::pair()?;
        far.set_nonblocking(true)?;
        let bytes = vec![0; TRY_OUT_BYTES];
        // SAFETY: `bytes` outlives the wait; should that not start the send, nothing will: this ring is given up.
        unsafe { self.send_now(0, near.as_raw_fd(), &bytes) };
        self.wait(Duration::ZERO, None)?;
        let short = self.next_short().filter(|_| self.has_sent());
        let mut rest = bytes;
        let arrived: usize = std::iter::from_fn(|| far.read(&mut rest).ok()).sum();
        match short {
            Some(Short {
                result: Ok(went), ..
            }) if went == arrived => Ok(()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}
