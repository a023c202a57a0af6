//! Layer 4: the epoll driver, for kernels and containers that refuse io_uring. It gives the results that the ring gives: sockets
//! are watched edge-triggered, each from its first operation to its last with one call; operations are tried until they would
//! block, and go on when the socket can again.

use super::bell::Bell;
use super::put_off::SCARCE_NS;
use super::{Done, End, Gather, Short, Sizes, Token, Until, Upcoming, passes};
use crate::base::clock::Clock;
use crate::base::rarely::{CLIENT_MS, Rarely};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::thread::nanosleep;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// Events taken per wait.
const EVENTS: usize = 1024;
/// Key of the listening socket, which is no token.
const LISTENER: u64 = Token::MAX as u64 + 1;
/// Key of the bell.
const BELL: u64 = LISTENER + 1;
const NO_FD: RawFd = -1;
/// After these a read that leaves room does not say that nothing is left: an end is told only once, and a read stops in front of
/// urgent data.
const READ_ON: EventFlags = EventFlags::RDHUP
    .union(EventFlags::HUP)
    .union(EventFlags::ERR)
    .union(EventFlags::PRI);

/// What is watched for at a socket from its first operation on.
const SOCKET: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::PRI);

/// A send that the kernel has not taken whole.
#[derive(Clone, Copy, Debug)]
enum Sending {
    None,
    One(*const u8, usize),
    Gathered(*const libc::iovec, usize),
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    fd: RawFd,
    receiving: Option<Until>,
    /// Stands in the queue of sockets to try.
    queued: bool,
    /// [`READ_ON`] came: it is read until there is nothing.
    read_on: bool,
    /// The kernel does not watch it: whatever would have to wait ends at once.
    refused: bool,
    sending: Sending,
}

const UNWATCHED: Watched = Watched {
    fd: NO_FD,
    receiving: None,
    queued: false,
    read_on: false,
    refused: false,
    sending: Sending::None,
};

pub(crate) struct Epoll {
    epoll: OwnedFd,
    bell: Arc<Bell>,
    events: Vec<epoll::Event>,
    sockets: Vec<Watched>,
    /// Sockets whose receive may bring something, in turn.
    readable: VecDeque<Token>,
    /// Sockets whose receive found no memory; they are tried again then.
    scarce: Vec<Token>,
    scarce_until_ns: u64,
    /// Results that are there already.
    done: VecDeque<Done>,
    /// Sends that did not go whole.
    short: Vec<Short>,
    listener: Option<RawFd>,
    acceptable: bool,
    /// Accepting and receiving take turns, so that neither starves the other.
    accept_first: bool,
    rung: bool,
    buffer_bytes: usize,
    clock: Clock,
    refusals: Rarely,
}

impl std::fmt::Debug for Epoll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epoll")
            .field("sockets", &self.sockets)
            .finish_non_exhaustive()
    }
}

/// Sends without waiting.
///
/// # Safety
/// What `sending` points to is readable.
unsafe fn send(fd: RawFd, sending: Sending) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    let count = match sending {
        Sending::None => 0,
        // SAFETY: the caller's promise.
        Sending::One(at, len) => unsafe { libc::send(fd, at.cast(), len, flags) },
        Sending::Gathered(at, len) => {
            // SAFETY: all-zero is a message without address, pieces and control data.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_iov = at.cast_mut();
            message.msg_iovlen = len;
            // SAFETY: the caller's promise; the kernel only reads the list.
            unsafe { libc::sendmsg(fd, &raw const message, flags) }
        }
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

impl Epoll {
    pub(super) fn new(sizes: Sizes) -> io::Result<Self> {
        let this = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            bell: Arc::new(Bell::new()?),
            events: Vec::with_capacity(EVENTS),
            sockets: Vec::new(),
            readable: VecDeque::new(),
            scarce: Vec::new(),
            scarce_until_ns: 0,
            done: VecDeque::new(),
            short: Vec::new(),
            listener: None,
            acceptable: false,
            accept_first: false,
            rung: false,
            buffer_bytes: sizes.buffer_bytes,
            clock: Clock::start(),
            refusals: Rarely::default(),
        };
        // Each ring is an edge, so that its count need not be read.
        this.watch(BELL, this.bell.fd(), EventFlags::IN)?;
        Ok(this)
    }

    pub(super) fn waker(&self) -> Waker {
        Waker::from(self.bell.clone())
    }

    /// Tells of `what`, as it comes.
    fn watch(&self, key: u64, fd: RawFd, what: EventFlags) -> io::Result<()> {
        // SAFETY: open during the call; one that is closed leaves epoll by itself.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let data = EventData::new_u64(key);
        Ok(epoll::add(&self.epoll, fd, data, what | EventFlags::ET)?)
    }

    fn socket(&mut self, token: Token, fd: RawFd) -> &mut Watched {
        let at = token as usize;
        if self.sockets.len() <= at {
            self.sockets.resize(at + 1, UNWATCHED);
        }
        if self.sockets[at].fd != fd {
            let watched = self.watch(u64::from(token), fd, SOCKET);
            self.sockets[at] = Watched {
                fd,
                // No event will bring it back to the queue.
                read_on: watched.is_err(),
                refused: watched.is_err(),
                ..UNWATCHED
            };
            if let Err(error) = watched {
                self.tell_of_refusal(&error);
            }
        }
        &mut self.sockets[at]
    }

    /// A limit of the system (`fs.epoll.max_user_watches`) meets every new socket.
    #[cold]
    fn tell_of_refusal(&mut self, error: &io::Error) {
        let now_ms = self.clock.now().mono_ms;
        if let Some(more) = self.refusals.may(now_ms, CLIENT_MS) {
            tracing::error!(%error, more, "epoll refuses a socket");
        }
    }

    pub(super) fn accept(&mut self, listener: RawFd) {
        if self.listener.is_none()
            && let Err(error) = self.watch(LISTENER, listener, EventFlags::IN)
        {
            self.done.push_back(Done::Accepted {
                connection: Err(error),
                last: true,
            });
            return;
        }
        self.listener = Some(listener);
        self.acceptable = true;
    }

    pub(super) fn receive(&mut self, token: Token, fd: RawFd, until: Until) {
        let socket = self.socket(token, fd);
        socket.receiving = Some(until);
        // Whether something is there shows when it is tried.
        self.try_later(token);
    }

    fn try_later(&mut self, token: Token) {
        let socket = &mut self.sockets[token as usize];
        if !std::mem::replace(&mut socket.queued, true) {
            self.readable.push_back(token);
        }
    }

    pub(super) fn stop(&mut self, token: Token) {
        if let Some(socket) = self.sockets.get_mut(token as usize)
            && socket.receiving.take().is_some()
        {
            self.done.push_back(Done::ReceiveEnded {
                token,
                end: End::Paused,
            });
        }
    }

    /// # Safety
    /// As [`super::Driver::send`].
    pub(super) unsafe fn send(&mut self, token: Token, fd: RawFd, bytes: &[u8]) {
        self.socket(token, fd).sending = Sending::One(bytes.as_ptr(), bytes.len());
        self.try_send(token);
    }

    /// # Safety
    /// As [`super::Driver::send_gathered`].
    pub(super) unsafe fn send_gathered(&mut self, token: Token, fd: RawFd, pieces: &[libc::iovec]) {
        self.socket(token, fd).sending = Sending::Gathered(pieces.as_ptr(), pieces.len());
        self.try_send(token);
    }

    pub(super) fn send_now(&mut self, place: u32, token: Token, fd: RawFd, bytes: &[u8]) {
        self.socket(token, fd);
        // SAFETY: the memory is borrowed.
        let result = unsafe { send(fd, Sending::One(bytes.as_ptr(), bytes.len())) };
        self.told(place, result, bytes.len());
    }

    /// # Safety
    /// As [`super::Driver::send_gathered_now`].
    pub(super) unsafe fn send_gathered_now(
        &mut self,
        place: u32,
        token: Token,
        fd: RawFd,
        pieces: &[libc::iovec],
        len: usize,
    ) {
        self.socket(token, fd);
        // SAFETY: the caller's promise.
        let result = unsafe { send(fd, Sending::Gathered(pieces.as_ptr(), pieces.len())) };
        self.told(place, result, len);
    }

    fn told(&mut self, place: u32, result: io::Result<usize>, len: usize) {
        if result.as_ref().is_ok_and(|count| *count == len) {
            return;
        }
        self.short.push(Short { place, result });
    }

    pub(super) fn next_short(&mut self) -> Option<Short> {
        self.short.pop()
    }

    fn try_send(&mut self, token: Token) {
        let socket = &mut self.sockets[token as usize];
        if matches!(socket.sending, Sending::None) {
            return;
        }
        // SAFETY: the memory stays in place until `Sent` (promise of the caller of `send`).
        match unsafe { send(socket.fd, socket.sending) } {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !socket.refused => {}
            result => {
                socket.sending = Sending::None;
                self.done.push_back(Done::Sent { token, result });
            }
        }
    }

    pub(super) fn forget(&mut self, token: Token, fd: RawFd) {
        let Some(socket) = self.sockets.get_mut(token as usize) else {
            return;
        };
        let was = std::mem::replace(socket, UNWATCHED);
        if was.fd == fd {
            // SAFETY: the descriptor is still open: its owner gives it up after this.
            let _ = epoll::delete(&self.epoll, unsafe { BorrowedFd::borrow_raw(fd) });
        }
        if was.queued {
            self.readable.retain(|other| *other != token);
            self.scarce.retain(|other| *other != token);
        }
    }

    /// Without a way to let events gather in the kernel, a wait that is to do so sleeps first.
    pub(super) fn wait(&mut self, limit: Duration, gather: Option<Gather>) -> io::Result<()> {
        let limit = match self.scarce.is_empty() {
            true => limit,
            false => limit.min(self.try_scarce()),
        };
        let busy = !self.done.is_empty()
            || !self.short.is_empty()
            || !self.readable.is_empty()
            || self.acceptable;
        let mut limit = if busy { Duration::ZERO } else { limit };
        if let Some(gather) = gather.filter(|_| !limit.is_zero()) {
            let sleep = gather.time.min(limit);
            // Interrupted, it gathers less.
            let _ = nanosleep(&sleep.try_into().map_err(io::Error::other)?);
            limit -= sleep;
        }
        let limit = limit.try_into().map_err(io::Error::other)?;
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for at in 0..self.events.len() {
            let event = self.events[at];
            match event.data.u64() {
                BELL => self.rung = true,
                LISTENER => self.acceptable = true,
                token => self.happened(token as Token, event.flags),
            }
        }
        Ok(())
    }

    /// Tries those again that found no memory, or says how long it is until then.
    #[cold]
    fn try_scarce(&mut self) -> Duration {
        let left_ns = self.scarce_until_ns.saturating_sub(self.clock.mono_ns());
        if left_ns == 0 {
            self.readable.extend(self.scarce.drain(..));
        }
        Duration::from_nanos(left_ns)
    }

    #[inline]
    fn happened(&mut self, token: Token, flags: EventFlags) {
        let Some(socket) = self.sockets.get_mut(token as usize) else {
            return;
        };
        socket.read_on |= flags.intersects(READ_ON);
        if socket.receiving.is_some() && flags.intersects(EventFlags::IN | READ_ON) {
            self.try_later(token);
        }
        if flags.contains(EventFlags::OUT) {
            self.try_send(token);
        }
    }

    #[inline]
    pub(super) fn upcoming(&self, ahead: usize) -> Option<Upcoming> {
        self.readable.get(ahead).copied().map(Upcoming::Received)
    }

    #[inline]
    pub(super) fn next(&mut self, into: &mut Vec<u8>) -> Option<Done> {
        if std::mem::take(&mut self.rung) {
            return Some(Done::Rung);
        }
        if let Some(done) = self.done.pop_front() {
            return Some(done);
        }
        self.accept_first = !self.accept_first;
        if self.accept_first {
            self.try_accept().or_else(|| self.try_readable(into))
        } else {
            self.try_readable(into).or_else(|| self.try_accept())
        }
    }

    /// Those that bring something stand at the end of the queue again.
    fn try_readable(&mut self, into: &mut Vec<u8>) -> Option<Done> {
        while let Some(token) = self.readable.pop_front() {
            if let Some(done) = self.try_receive(token, into) {
                return Some(done);
            }
        }
        None
    }

    fn try_accept(&mut self) -> Option<Done> {
        let listener = self.listener.filter(|_| self.acceptable)?;
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no address is asked for.
        let fd =
            unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
        if fd >= 0 {
            // SAFETY: new and ours.
            let connection = Ok(unsafe { OwnedFd::from_raw_fd(fd) });
            return Some(Done::Accepted {
                connection,
                last: false,
            });
        }
        self.acceptable = false;
        let error = io::Error::last_os_error();
        (error.kind() != io::ErrorKind::WouldBlock).then_some(Done::Accepted {
            connection: Err(error),
            last: true,
        })
    }

    fn try_receive(&mut self, token: Token, into: &mut Vec<u8>) -> Option<Done> {
        let socket = &mut self.sockets[token as usize];
        socket.queued = false;
        let until = socket.receiving?;
        into.clear();
        into.reserve(self.buffer_bytes);
        let room = self.buffer_bytes;
        let flags = match until {
            Until::Once | Until::Stopped => libc::MSG_DONTWAIT,
            // The count is the datagram's length, whatever there was room for.
            Until::StoppedDatagrams => libc::MSG_DONTWAIT | libc::MSG_TRUNC,
        };
        // SAFETY: `room` writable bytes were reserved.
        let count = unsafe { libc::recv(socket.fd, into.as_mut_ptr().cast(), room, flags) };
        let end = match count {
            1.. => {
                let last = until == Until::Once;
                if last {
                    socket.receiving = None;
                } else if until == Until::StoppedDatagrams
                    || socket.read_on
                    || count as usize >= room
                {
                    self.try_later(token);
                }
                if count as usize > room {
                    return Some(Done::TooLong { token, last });
                }
                // SAFETY: the kernel wrote so many bytes.
                unsafe { into.set_len(count as usize) };
                return Some(Done::Received { token, last });
            }
            0 => End::Closed,
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock && !socket.refused => {
                    return None;
                }
                error if error.kind() == io::ErrorKind::Interrupted => {
                    self.try_later(token);
                    return None;
                }
                error if error.raw_os_error().is_some_and(passes) => {
                    // It counts as queued; nothing else brings it back before its time.
                    socket.queued = true;
                    if self.scarce.is_empty() {
                        self.scarce_until_ns = self.clock.mono_ns() + SCARCE_NS;
                    }
                    self.scarce.push(token);
                    return None;
                }
                _ => End::Closed,
            },
        };
        socket.receiving = None;
        Some(Done::ReceiveEnded { token, end })
    }
}
