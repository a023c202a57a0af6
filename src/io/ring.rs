//! Layer 4: the io_uring driver. One submission per turn of the shard, results in the order of the completion queue.

use super::bell::Bell;
use super::buffers::{Buffers, GROUP};
use super::put_off::PutOff;
use super::{Done, End, Gather, Short, Sizes, Token, Until, Upcoming, gather, passes};
use io_uring::types::{Fd, Timespec};
use io_uring::{Builder, EnterFlags, IoUring, cqueue, opcode, squeue};
use rustix::thread::nanosleep;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// Submission queue entries; when they are used up, what is there is submitted first.
const ENTRIES: u32 = 4096;
/// Completion queue entries; the kernel keeps what exceeds them and hands it over later.
const COMPLETIONS: u32 = 16_384;

/// After the kernel took nothing.
const REFUSED_PAUSE: rustix::thread::Timespec = rustix::thread::Timespec {
    tv_sec: 0,
    tv_nsec: 1_000_000,
};

type Tune = fn(&mut Builder) -> &mut Builder;

/// Ways to set the ring up, the best first, with their names in logs.
const LADDER: [(&str, Tune); 3] = [
    ("defer_taskrun", |ring| {
        ring.setup_single_issuer().setup_defer_taskrun()
    }),
    ("coop_taskrun, single_issuer", |ring| {
        ring.setup_single_issuer().setup_coop_taskrun()
    }),
    ("plain", |ring| ring),
];

/// Kind of an operation: the low bits of its user data, the token above them.
mod kind {
    pub(super) const RECEIVE: u64 = 0;
    pub(super) const SEND: u64 = 1;
    pub(super) const ACCEPT: u64 = 2;
    pub(super) const BELL: u64 = 3;
    pub(super) const TIMER: u64 = 4;
    pub(super) const CANCEL: u64 = 5;
    /// Its user data holds the place that the caller gave.
    pub(super) const SEND_NOW: u64 = 6;
    pub(super) const BITS: u32 = 3;
}

fn data(token: Token, kind: u64) -> u64 {
    u64::from(token) << kind::BITS | kind
}

/// io_uring of one shard. `uring` stands first: it is dropped before the memory that the kernel may write to.
pub(crate) struct Ring {
    pub(super) uring: IoUring,
    pub(super) buffers: Buffers,
    /// The number of buffers in use was already raised since the last wait: other sockets that ran out meanwhile do not raise it again.
    grew: bool,
    /// A receive found no buffer or no memory: who starts one stands behind those that wait.
    pub(super) strained: bool,
    pub(super) put_off: PutOff,
    flags: &'static str,
    /// The kernel can let results gather.
    pub(super) gathers: bool,
    bell: Arc<Bell>,
    /// Where the kernel writes the bell's count.
    rung: Box<u64>,
    bell_armed: bool,
    /// What the timer waits for; must stay in place while it is armed.
    due: Box<Timespec>,
    timer_armed: bool,
    /// Results taken from the queue, and how many of them were handed over.
    batch: Vec<cqueue::Entry>,
    at: usize,
    /// Sends that did not go whole.
    short: Vec<Short>,
    /// Of the gathered sends since the last wait; the boxes are used again.
    #[expect(clippy::vec_box, reason = "the kernel is given their addresses")]
    messages: Vec<Box<libc::msghdr>>,
    messages_used: usize,
    /// Everything asked for before the last wait was submitted, and all its results were taken from the queue.
    sent: bool,
    /// What the submission queue has no room for, in order; while there is any, the queue is full. The kernel may take nothing for a
    /// while, and nobody is to wait for it in the middle of a turn.
    backlog: VecDeque<squeue::Entry>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("flags", &self.flags).finish()
    }
}

impl Ring {
    pub(super) fn new(sizes: Sizes) -> io::Result<Self> {
        Self::sized(sizes, ENTRIES, COMPLETIONS)
    }

    /// A ring with queues of these lengths.
    pub(super) fn sized(sizes: Sizes, entries: u32, completions: u32) -> io::Result<Self> {
        let mut refused = io::Error::from(io::ErrorKind::Unsupported);
        for (flags, tune) in LADDER {
            let mut builder = IoUring::builder();
            tune(&mut builder)
                .setup_cqsize(completions)
                .setup_submit_all();
            let ring = builder
                .build(entries)
                .and_then(|uring| Self::over(uring, flags, sizes));
            match ring {
                Ok(ring) => return Ok(ring),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn over(uring: IoUring, flags: &'static str, sizes: Sizes) -> io::Result<Self> {
        let buffers = Buffers::register(&uring, sizes)?;
        let mut ring = Self {
            gathers: gather::is_known(&uring),
            uring,
            buffers,
            grew: false,
            strained: false,
            put_off: PutOff::new(),
            flags,
            bell: Arc::new(Bell::new()?),
            rung: Box::new(0),
            bell_armed: false,
            due: Box::new(Timespec::new()),
            timer_armed: false,
            batch: Vec::new(),
            at: 0,
            short: Vec::new(),
            messages: Vec::new(),
            messages_used: 0,
            sent: true,
            backlog: VecDeque::new(),
        };
        ring.try_out()?;
        ring.try_short_send()?;
        Ok(ring)
    }

    pub(super) fn flags(&self) -> &'static str {
        self.flags
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffers.len()
    }

    pub(super) fn waker(&self) -> Waker {
        Waker::from(self.bell.clone())
    }

    #[inline]
    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what an entry points to stays in place until its completion: the ring's own memory (see the type), and
        // that of sends by the promise of their callers.
        if unsafe { self.uring.submission().push(entry) }.is_err() {
            self.push_behind(entry);
        }
    }

    /// The queue is full: what stands in it goes first.
    #[cold]
    fn push_behind(&mut self, entry: &squeue::Entry) {
        self.backlog.push_back(entry.clone());
        self.submit();
        self.refill();
    }

    /// Moves entries into the queue as far as it has room.
    fn refill(&mut self) {
        let mut queue = self.uring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: as in `push`; results of none of them were taken, as the kernel has not seen them.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.backlog.pop_front();
        }
    }

    pub(super) fn accept(&mut self, listener: RawFd) {
        let entry = opcode::AcceptMulti::new(Fd(listener))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(kind::ACCEPT);
        self.push(&entry);
    }

    #[inline]
    pub(super) fn receive(&mut self, token: Token, fd: RawFd, until: Until) {
        if self.strained {
            return self.put_off.push(token, fd, until);
        }
        self.start_receive(token, fd, until);
    }

    #[inline]
    pub(super) fn start_receive(&mut self, token: Token, fd: RawFd, until: Until) {
        let entry = match until {
            Until::Stopped => opcode::RecvMulti::new(Fd(fd), GROUP).build(),
            // The result is the datagram's length, whatever the buffer held of it.
            Until::StoppedDatagrams => opcode::RecvMulti::new(Fd(fd), GROUP)
                .flags(libc::MSG_TRUNC)
                .build(),
            Until::Once => opcode::Recv::new(Fd(fd), std::ptr::null_mut(), 0)
                .buf_group(GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
        };
        self.push(&entry.user_data(data(token, kind::RECEIVE)));
    }

    pub(super) fn stop(&mut self, token: Token) {
        if self.strained {
            self.start_to_stop(token);
        }
        let entry = opcode::AsyncCancel::new(data(token, kind::RECEIVE))
            .build()
            .user_data(data(token, kind::CANCEL));
        self.push(&entry);
    }

    /// # Safety
    /// As [`super::Driver::send`].
    #[inline]
    pub(super) unsafe fn send(&mut self, token: Token, fd: RawFd, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(Fd(fd), bytes.as_ptr(), len)
            .flags(libc::MSG_NOSIGNAL)
            .build()
            .user_data(data(token, kind::SEND));
        self.push(&entry);
    }

    /// # Safety
    /// As [`super::Driver::send_gathered`].
    pub(super) unsafe fn send_gathered(&mut self, token: Token, fd: RawFd, pieces: &[libc::iovec]) {
        let entry = opcode::Writev::new(Fd(fd), pieces.as_ptr(), pieces.len() as u32)
            .build()
            .user_data(data(token, kind::SEND));
        self.push(&entry);
    }

    /// What a send that the kernel is to finish or give up at once has in common: a short one counts as failed, success is silent.
    const NOW: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_WAITALL;

    #[inline]
    fn push_now(&mut self, place: u32, entry: squeue::Entry) {
        let data = u64::from(place) << kind::BITS | kind::SEND_NOW;
        self.push(&entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(data));
    }

    /// # Safety
    /// As [`super::Driver::send_now`].
    #[inline]
    pub(super) unsafe fn send_now(&mut self, place: u32, fd: RawFd, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(Fd(fd), bytes.as_ptr(), len)
            .flags(Self::NOW)
            .build();
        self.push_now(place, entry);
    }

    /// # Safety
    /// As [`super::Driver::send_gathered_now`].
    pub(super) unsafe fn send_gathered_now(
        &mut self,
        place: u32,
        fd: RawFd,
        pieces: &[libc::iovec],
    ) {
        if self.messages_used == self.messages.len() {
            // SAFETY: all-zero is a message without address, pieces and control data.
            self.messages.push(Box::new(unsafe { std::mem::zeroed() }));
        }
        let message = &mut self.messages[self.messages_used];
        self.messages_used += 1;
        message.msg_iov = pieces.as_ptr().cast_mut();
        message.msg_iovlen = pieces.len();
        let entry = opcode::SendMsg::new(Fd(fd), &raw const **message)
            .flags(Self::NOW as u32)
            .build();
        self.push_now(place, entry);
    }

    #[inline]
    pub(super) fn has_sent(&self) -> bool {
        self.sent
    }

    #[inline]
    pub(super) fn next_short(&mut self) -> Option<Short> {
        self.short.pop()
    }

    pub(super) fn arm_bell(&mut self) {
        if !std::mem::replace(&mut self.bell_armed, true) {
            let into: *mut u64 = &raw mut *self.rung;
            let entry = opcode::Read::new(Fd(self.bell.fd()), into.cast(), 8).build();
            self.push(&entry.user_data(kind::BELL));
        }
    }

    fn arm_timer(&mut self, limit: Duration) {
        if !std::mem::replace(&mut self.timer_armed, true) {
            *self.due = Timespec::from(limit);
            let entry = opcode::Timeout::new(&raw const *self.due).build();
            self.push(&entry.user_data(kind::TIMER));
        }
    }

    /// Starts what was asked for without waiting.
    fn submit(&mut self) {
        self.buffers.publish();
        // An error leaves the entries in the queue for the next attempt.
        let _ = self.uring.submit();
    }

    /// A timer that is armed already ends the wait too: all of a shard's waits end at its next tick.
    pub(super) fn wait(&mut self, limit: Duration, gather: Option<Gather>) -> io::Result<()> {
        self.buffers.publish();
        self.grew = false;
        let mut gather = gather.filter(|_| self.gathers);
        let mut limit = limit;
        if self.strained {
            (limit, gather) = self.start_put_off(limit, gather);
        }
        // Results that were taken and not handed over are no reason to sleep.
        let outcome = if limit.is_zero() || !self.sent || self.at < self.batch.len() {
            let entries = self.uring.submission().len() as u32;
            let flags = EnterFlags::GETEVENTS.bits();
            // SAFETY: no argument is passed.
            unsafe {
                self.uring
                    .submitter()
                    .enter::<libc::sigset_t>(entries, 0, flags, None)
            }
        } else if let Some(gather) = gather {
            self.gather(limit, gather)
        } else {
            self.arm_bell();
            self.arm_timer(limit);
            // Behind others the timer would be armed too late to end this wait.
            self.uring
                .submit_and_wait(usize::from(self.backlog.is_empty()))
        };
        self.take_results();
        match outcome {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // Interrupted, or over.
                Some(libc::EINTR | libc::ETIME) => Ok(()),
                // The kernel first wants results to be taken, or has no memory for now.
                Some(libc::EBUSY | libc::EAGAIN | libc::ENOMEM) => {
                    self.rest();
                    Ok(())
                }
                _ => Err(error),
            },
        }
    }

    /// Where nothing else is to be done either, whoever was refused asks again after a moment.
    #[cold]
    fn rest(&self) {
        if self.batch.is_empty() && self.short.is_empty() {
            // Interrupted, it asks sooner.
            let _ = nanosleep(&REFUSED_PAUSE);
        }
    }

    /// Takes all results: one of a send that fell short may stand anywhere among them.
    #[inline]
    pub(super) fn take_results(&mut self) {
        self.batch.drain(..self.at);
        self.at = 0;
        for entry in self.uring.completion() {
            if entry.user_data() & ((1 << kind::BITS) - 1) == kind::SEND_NOW {
                self.short.push(Short {
                    place: (entry.user_data() >> kind::BITS) as u32,
                    result: result(&entry),
                });
            } else {
                self.batch.push(entry);
            }
        }
        if !self.backlog.is_empty() {
            self.refill();
        }
        let queue = self.uring.submission();
        self.sent = queue.is_empty() && !queue.cq_overflow();
        drop(queue);
        if self.sent {
            self.messages_used = 0;
        }
    }

    #[inline]
    pub(super) fn upcoming(&self, ahead: usize) -> Option<Upcoming> {
        let entry = self.batch.get(self.at + ahead)?;
        let token = (entry.user_data() >> kind::BITS) as Token;
        match entry.user_data() & ((1 << kind::BITS) - 1) {
            kind::RECEIVE => Some(Upcoming::Received(token)),
            kind::SEND => Some(Upcoming::Sent(token)),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn next(&mut self, into: &mut Vec<u8>) -> Option<Done> {
        loop {
            let entry = self.batch.get(self.at)?.clone();
            self.at += 1;
            let token = (entry.user_data() >> kind::BITS) as Token;
            return Some(match entry.user_data() & ((1 << kind::BITS) - 1) {
                kind::RECEIVE => self.received(token, &entry, into),
                kind::SEND => Done::Sent {
                    token,
                    result: result(&entry),
                },
                kind::ACCEPT => Done::Accepted {
                    // SAFETY: the kernel made this descriptor for us.
                    connection: result(&entry)
                        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) }),
                    last: !cqueue::more(entry.flags()),
                },
                kind::BELL => {
                    self.bell_armed = false;
                    Done::Rung
                }
                kind::TIMER => {
                    self.timer_armed = false;
                    continue;
                }
                _ => continue,
            });
        }
    }

    #[inline]
    fn received(&mut self, token: Token, entry: &cqueue::Entry, into: &mut Vec<u8>) -> Done {
        let len = usize::try_from(entry.result()).unwrap_or(0);
        let last = !cqueue::more(entry.flags());
        if let Some(id) = cqueue::buffer_select(entry.flags()) {
            let bytes = self.buffers.bytes(id, len);
            into.clear();
            into.extend_from_slice(bytes.unwrap_or_default());
            let is_too_long = bytes.is_none();
            self.buffers.give_back(id);
            if is_too_long {
                return Done::TooLong { token, last };
            }
        }
        match -entry.result() {
            _ if len > 0 => Done::Received { token, last },
            errno => Done::ReceiveEnded {
                token,
                end: self.ended(errno),
            },
        }
    }

    /// Why a receive ended without bytes.
    pub(super) fn ended(&mut self, errno: i32) -> End {
        match errno {
            libc::ENOBUFS => {
                self.strained = true;
                if !std::mem::replace(&mut self.grew, true) {
                    self.buffers.grow();
                }
                End::Starved
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => End::Paused,
            _ if passes(errno) => {
                self.strained = true;
                self.put_off.pause();
                End::Paused
            }
            _ => End::Closed,
        }
    }
}

fn result(entry: &cqueue::Entry) -> io::Result<usize> {
    usize::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()))
}

#[cfg(test)]
mod tests;
