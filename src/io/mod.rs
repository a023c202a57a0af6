//! Layer 4, below `net/`: the kernel's side of a shard's sockets. Operations are started here and their results taken one after
//! another; who a socket belongs to is unknown. Two drivers: io_uring (multishot receive into buffers that all sockets share) and
//! epoll, where io_uring is refused.

mod bell;
mod buffers;
mod epoll;
mod gather;
mod put_off;
mod ring;
mod trial;

use crate::base::settings::IoDriver;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::task::Waker;
use std::time::Duration;

/// Names a socket in results; chosen by the caller, below 2^29.
pub(crate) type Token = u32;

/// The driver could not be built.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// `io_driver: uring`, but the kernel (or a seccomp profile) refuses io_uring.
    #[error("io_uring is not available: {0}; use --io-driver auto or epoll")]
    NoUring(io::Error),
    /// Not even epoll.
    #[error("no I/O driver: {0}")]
    None(io::Error),
    /// It ran, and does no more.
    #[error("the I/O driver broke: {0}")]
    Broke(io::Error),
}

/// The result of an operation.
#[derive(Debug)]
pub(crate) enum Done {
    /// A connection, or why there is none.
    Accepted {
        connection: io::Result<OwnedFd>,
        /// More are accepted only after another [`Driver::accept`].
        last: bool,
    },
    /// Bytes arrived; they stand in the buffer given to [`Driver::next`].
    Received {
        token: Token,
        /// The receive operation is over; more comes only after another [`Driver::receive`].
        last: bool,
    },
    /// A datagram arrived that no buffer holds; it is gone.
    TooLong {
        token: Token,
        /// As of `Received`.
        last: bool,
    },
    /// A receive operation is over without bytes.
    ReceiveEnded { token: Token, end: End },
    /// A send is over: so many bytes went.
    Sent {
        token: Token,
        result: io::Result<usize>,
    },
    /// The waker of [`Driver::waker`] was used.
    Rung,
}

/// A send of [`Driver::send_now`] that did not go whole.
#[derive(Debug)]
pub(crate) struct Short {
    /// Which, as its caller counts.
    pub(crate) place: u32,
    /// So many bytes went, or none and why: `WouldBlock` where the socket has no room.
    pub(crate) result: io::Result<usize>,
}

/// A result that is to be taken soon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Upcoming {
    /// Of a receive operation.
    Received(Token),
    /// Of a send.
    Sent(Token),
}

/// Why a receive operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// It was stopped, or there was no memory: it may be started again.
    Paused,
    /// The driver ran out of buffers: it may be started again.
    Starved,
    /// Nothing more comes: the peer ended its side, or the connection broke.
    Closed,
}

/// Whether a receive failed for something that has nothing to do with its socket, and can be had again after a moment: memory.
fn passes(errno: i32) -> bool {
    matches!(errno, libc::ENOMEM | libc::ENOBUFS)
}

/// How long a receive operation goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Until {
    /// Something was received.
    Once,
    /// [`Driver::stop`].
    Stopped,
    /// [`Driver::stop`], on a socket of datagrams.
    StoppedDatagrams,
}

/// Bounds of a driver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Bytes of one receive buffer.
    pub(crate) buffer_bytes: usize,
    /// Receive buffers, a power of two (io_uring only).
    pub(crate) buffers: u16,
}

/// A wait that is to bring more than one result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gather {
    /// With so many it is over.
    pub(crate) results: u32,
    /// After this it is over with what came, or else with the first that comes.
    pub(crate) time: Duration,
}

/// One shard's driver. Every token has at most one receive and one send operation under way.
#[derive(Debug)]
pub(crate) enum Driver {
    /// io_uring.
    Ring(Box<ring::Ring>),
    /// epoll.
    Epoll(Box<epoll::Epoll>),
}

impl Driver {
    /// The best driver that `choice` allows, for this thread alone; one that io_uring is refused to is told so in the log.
    ///
    /// # Errors
    /// No driver that `choice` allows could be built.
    pub(crate) fn new(choice: IoDriver, sizes: Sizes) -> Result<Self, DriverError> {
        if choice != IoDriver::Epoll {
            match ring::Ring::new(sizes) {
                Ok(ring) => return Ok(Self::Ring(Box::new(ring))),
                Err(refused) if choice == IoDriver::Uring => {
                    return Err(DriverError::NoUring(refused));
                }
                Err(refused) => {
                    tracing::warn!(%refused, "io_uring is not available; running on epoll");
                }
            }
        }
        epoll::Epoll::new(sizes)
            .map(|epoll| Self::Epoll(Box::new(epoll)))
            .map_err(DriverError::None)
    }

    /// `uring` or `epoll`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ring(_) => "uring",
            Self::Epoll(_) => "epoll",
        }
    }

    /// How the ring was set up.
    pub(crate) fn flags(&self) -> &'static str {
        match self {
            Self::Ring(ring) => ring.flags(),
            Self::Epoll(_) => "",
        }
    }

    /// Memory of receive buffers (bytes).
    pub(crate) fn buffer_bytes(&self) -> usize {
        match self {
            Self::Ring(ring) => ring.buffer_bytes(),
            Self::Epoll(_) => 0,
        }
    }

    /// Wakes this driver's thread out of [`Driver::wait`], from any thread.
    pub(crate) fn waker(&self) -> Waker {
        match self {
            Self::Ring(ring) => ring.waker(),
            Self::Epoll(epoll) => epoll.waker(),
        }
    }

    /// Accepts connections, each a [`Done::Accepted`], until one is the last.
    pub(crate) fn accept(&mut self, listener: RawFd) {
        match self {
            Self::Ring(ring) => ring.accept(listener),
            Self::Epoll(epoll) => epoll.accept(listener),
        }
    }

    /// Receives; ends with `Received` or `TooLong` that is the last, or with `ReceiveEnded`.
    #[inline]
    pub(crate) fn receive(&mut self, token: Token, fd: RawFd, until: Until) {
        match self {
            Self::Ring(ring) => ring.receive(token, fd, until),
            Self::Epoll(epoll) => epoll.receive(token, fd, until),
        }
    }

    /// Ends a receive operation that is under way; what arrived before may still be reported.
    pub(crate) fn stop(&mut self, token: Token) {
        match self {
            Self::Ring(ring) => ring.stop(token),
            Self::Epoll(epoll) => epoll.stop(token),
        }
    }

    /// Sends `bytes`, or a beginning of them.
    ///
    /// # Safety
    /// The memory must stay as it is until `Sent`.
    #[inline]
    pub(crate) unsafe fn send(&mut self, token: Token, fd: RawFd, bytes: &[u8]) {
        match self {
            // SAFETY: the caller's promise.
            Self::Ring(ring) => unsafe { ring.send(token, fd, bytes) },
            // SAFETY: the caller's promise.
            Self::Epoll(epoll) => unsafe { epoll.send(token, fd, bytes) },
        }
    }

    /// Sends pieces in order, or a beginning of them.
    ///
    /// # Safety
    /// The list and the memory that it names must stay as they are until `Sent`.
    pub(crate) unsafe fn send_gathered(&mut self, token: Token, fd: RawFd, pieces: &[libc::iovec]) {
        match self {
            // SAFETY: the caller's promise.
            Self::Ring(ring) => unsafe { ring.send_gathered(token, fd, pieces) },
            // SAFETY: the caller's promise.
            Self::Epoll(epoll) => unsafe { epoll.send_gathered(token, fd, pieces) },
        }
    }

    /// Sends what the socket takes at once. It is over when a wait is and [`Driver::has_sent`]; success is not told, the
    /// rest by [`Driver::next_short`].
    ///
    /// # Safety
    /// The memory must stay as it is until then.
    #[inline]
    pub(crate) unsafe fn send_now(&mut self, place: u32, token: Token, fd: RawFd, bytes: &[u8]) {
        match self {
            // SAFETY: the caller's promise.
            Self::Ring(ring) => unsafe { ring.send_now(place, fd, bytes) },
            Self::Epoll(epoll) => epoll.send_now(place, token, fd, bytes),
        }
    }

    /// [`Driver::send_now`] for pieces in order, `len` bytes altogether.
    ///
    /// # Safety
    /// The list and the memory that it names must stay as they are until then.
    pub(crate) unsafe fn send_gathered_now(
        &mut self,
        place: u32,
        token: Token,
        fd: RawFd,
        (pieces, len): (&[libc::iovec], usize),
    ) {
        match self {
            // SAFETY: the caller's promise.
            Self::Ring(ring) => unsafe { ring.send_gathered_now(place, fd, pieces) },
            // SAFETY: the caller's promise.
            Self::Epoll(epoll) => unsafe {
                epoll.send_gathered_now(place, token, fd, pieces, len);
            },
        }
    }

    /// Whether everything that [`Driver::send_now`] started before the last wait is over.
    #[inline]
    pub(crate) fn has_sent(&self) -> bool {
        match self {
            Self::Ring(ring) => ring.has_sent(),
            Self::Epoll(_) => true,
        }
    }

    /// A send that did not go whole.
    #[inline]
    pub(crate) fn next_short(&mut self) -> Option<Short> {
        match self {
            Self::Ring(ring) => ring.next_short(),
            Self::Epoll(epoll) => epoll.next_short(),
        }
    }

    /// The socket of `token` leaves this driver (it is closed, or goes elsewhere). No operation may be under way.
    pub(crate) fn forget(&mut self, token: Token, fd: RawFd) {
        if let Self::Epoll(epoll) = self {
            epoll.forget(token, fd);
        }
    }

    /// Starts what was asked for and waits for a result, at most until `limit`; for several, as `gather` says: io_uring where the
    /// kernel can do so, epoll for the whole time.
    ///
    /// # Errors
    /// The driver is broken.
    pub(crate) fn wait(&mut self, limit: Duration, gather: Option<Gather>) -> io::Result<()> {
        match self {
            Self::Ring(ring) => ring.wait(limit, gather),
            Self::Epoll(epoll) => epoll.wait(limit, gather),
        }
    }

    /// What [`Driver::next`] will hand over after `ahead` others, if that is known: its memory can be fetched meanwhile.
    #[inline]
    pub(crate) fn upcoming(&self, ahead: usize) -> Option<Upcoming> {
        match self {
            Self::Ring(ring) => ring.upcoming(ahead),
            Self::Epoll(epoll) => epoll.upcoming(ahead),
        }
    }

    /// The next result that is there. What was received replaces the content of `into`.
    #[inline]
    pub(crate) fn next(&mut self, into: &mut Vec<u8>) -> Option<Done> {
        match self {
            Self::Ring(ring) => ring.next(into),
            Self::Epoll(epoll) => epoll.next(into),
        }
    }
}

#[cfg(test)]
mod tests;
