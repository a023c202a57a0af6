//! Layer 4: one TCP socket, read by one task and written by another.

use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut, IoVecBuf};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::TcpStream;
use std::cell::UnsafeCell;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;

/// A handle to a socket; the descriptor closes with the last one. (monoio's own write half shuts the socket down when it is
/// dropped, which a hand-off to another shard must not do.)
#[derive(Clone)]
pub(crate) struct Socket(Rc<UnsafeCell<TcpStream>>);

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(Rc::new(UnsafeCell::new(stream)))
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        // SAFETY: `as_raw_fd` reads a number that never changes; see `stream` for aliasing.
        unsafe { &*self.0.get() }.as_raw_fd()
    }

    /// Reads once; at most one read is pending at a time.
    pub(crate) async fn read<B: IoBufMut>(&self, buf: B) -> BufResult<usize, B> {
        // SAFETY: `TcpStream` keeps nothing that reads and writes change: its operations clone the descriptor, which is what
        // monoio's own `Split` promises. Reader and writer run on one thread.
        let stream = unsafe { &mut *self.0.get() };
        stream.read(buf).await
    }

    /// Writes once; at most one write is pending at a time.
    pub(crate) async fn write<B: IoBuf>(&self, buf: B) -> BufResult<usize, B> {
        // SAFETY: as in `read`.
        let stream = unsafe { &mut *self.0.get() };
        stream.write(buf).await
    }

    /// Writes once from several places.
    pub(crate) async fn write_gathered<B: IoVecBuf>(&self, buf: B) -> BufResult<usize, B> {
        // SAFETY: as in `read`.
        let stream = unsafe { &mut *self.0.get() };
        stream.writev(buf).await
    }

    /// Writes everything; `false` when the connection broke.
    pub(crate) async fn write_all(&self, bytes: Vec<u8>) -> (bool, Vec<u8>) {
        let (result, mut bytes) = self.write(bytes).await;
        let mut at = match result {
            Ok(0) | Err(_) => return (bytes.is_empty(), bytes),
            Ok(count) => count,
        };
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
        Rc::strong_count(&self.0) > 1
    }

    /// The descriptor, if this is the last handle.
    pub(crate) fn into_fd(self) -> Option<OwnedFd> {
        let stream = Rc::try_unwrap(self.0).ok()?.into_inner();
        let fd = stream.into_raw_fd();
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
