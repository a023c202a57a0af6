//! Layer 4: one TCP socket, read by one task and written by another.

use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut, IoVecBuf};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::TcpStream;
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;

/// A handle to a socket; the descriptor closes with the last one. (monoio's own write half shuts the socket down when it is
/// dropped, which a hand-off to another shard must not do.)
pub(crate) struct Socket {
    /// A second copy of what `owner` holds, so that a read or write does not have to fetch the shared one from memory first:
    /// with thousands of sockets that is a cache miss per operation. Never dropped.
    stream: ManuallyDrop<UnsafeCell<TcpStream>>,
    owner: Rc<TcpStream>,
}

impl Clone for Socket {
    fn clone(&self) -> Self {
        Self::over(self.owner.clone())
    }
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self::over(Rc::new(stream))
    }

    fn over(owner: Rc<TcpStream>) -> Self {
        // SAFETY: the copy lives as long as `owner`, which keeps the original alive and in place, and is never dropped. Nothing
        // changes either of them: operations clone the descriptor's count behind a pointer that both share, and the address
        // cache of `TcpStream` is not asked for.
        let stream = unsafe { std::ptr::read(&raw const *owner) };
        Self {
            stream: ManuallyDrop::new(UnsafeCell::new(stream)),
            owner,
        }
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.owner.as_raw_fd()
    }

    /// Reads once; at most one read is pending at a time.
    pub(crate) fn read<B: IoBufMut>(&self, buf: B) -> impl Future<Output = BufResult<usize, B>> {
        self.stream().read(buf)
    }

    /// Writes once; at most one write is pending at a time.
    pub(crate) fn write<B: IoBuf>(&self, buf: B) -> impl Future<Output = BufResult<usize, B>> {
        self.stream().write(buf)
    }

    /// Writes once from several places.
    pub(crate) fn write_gathered<B: IoVecBuf>(
        &self,
        buf: B,
    ) -> impl Future<Output = BufResult<usize, B>> {
        self.stream().writev(buf)
    }

    #[expect(
        clippy::mut_from_ref,
        reason = "monoio's operations want `&mut` and change nothing"
    )]
    fn stream(&self) -> &mut TcpStream {
        // SAFETY: the reference is gone when the operation was submitted (its future owns a clone of the descriptor), and
        // `Socket` is not `Sync`: no second one exists meanwhile.
        unsafe { &mut *self.stream.get() }
    }

    /// Writes everything; `false` when the connection broke.
    pub(crate) async fn write_all(&self, bytes: Vec<u8>) -> (bool, Vec<u8>) {
        let (result, bytes) = self.write(bytes).await;
        match result {
            Ok(count) if count == bytes.len() => (true, bytes),
            Ok(0) | Err(_) => (false, bytes),
            Ok(count) => Box::pin(self.write_rest(bytes, count)).await,
        }
    }

    /// The kernel took less than it was given: the socket's buffer is full.
    async fn write_rest(&self, mut bytes: Vec<u8>, mut at: usize) -> (bool, Vec<u8>) {
        while at < bytes.len() {
            let (result, rest) = self.write(bytes.slice(at..)).await;
            bytes = rest.into_inner();
            match result {
                Ok(0) | Err(_) => return (false, bytes),
                Ok(count) => at += count,
            }
        }
        (true, bytes)
    }

    /// No more is sent: the peer sees the end of the stream.
    pub(crate) fn finish(&self) {
        shutdown(self.raw_fd(), libc::SHUT_WR);
    }

    /// Whether another task still holds a handle.
    pub(crate) fn is_shared(&self) -> bool {
        Rc::strong_count(&self.owner) > 1
    }

    /// The descriptor, if this is the last handle.
    pub(crate) fn into_fd(self) -> Option<OwnedFd> {
        let fd = Rc::try_unwrap(self.owner).ok()?.into_raw_fd();
        // SAFETY: `into_raw_fd` gave ownership away, and nobody else has it.
        Some(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Ends one or both directions. A pending read then completes with 0 bytes, a pending write with an error: nothing has to be
/// cancelled.
pub(crate) fn shutdown(fd: RawFd, how: i32) {
    // SAFETY: no memory is involved; a descriptor that is gone yields an error, which changes nothing.
    unsafe { libc::shutdown(fd, how) };
}
