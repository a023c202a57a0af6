//! Layer 4: receives of a ring that must wait: for a buffer, when more sockets have something to say than there are buffers, or for
//! memory. Each would fail again at once, and where many do, that is all the ring would be busy with.

use super::ring::Ring;
use super::{Gather, Token, Until};
use crate::base::clock::Clock;
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::time::Duration;

/// After the kernel had no memory for a receive (ns).
pub(super) const SCARCE_NS: u64 = 10_000_000;

/// The receives, in the order in which they came. One a socket, so that there are no more than sockets.
pub(super) struct PutOff {
    waiting: VecDeque<(Token, RawFd, Until)>,
    /// None starts before this.
    until_ns: u64,
    clock: Clock,
}

impl PutOff {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            until_ns: 0,
            clock: Clock::start(),
        }
    }

    pub(super) fn push(&mut self, token: Token, fd: RawFd, until: Until) {
        self.waiting.push_back((token, fd, until));
    }

    /// The kernel has no memory.
    pub(super) fn pause(&mut self) {
        if self.pause_left().is_zero() {
            self.until_ns = self.clock.mono_ns() + SCARCE_NS;
        }
    }

    fn pause_left(&self) -> Duration {
        if self.until_ns == 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.until_ns.saturating_sub(self.clock.mono_ns()))
    }

    fn take(&mut self, token: Token) -> Option<(Token, RawFd, Until)> {
        let at = self.waiting.iter().position(|(other, ..)| *other == token);
        at.and_then(|at| self.waiting.remove(at))
    }
}

impl Ring {
    /// Starts as many as there are buffers. Says how a wait is to be that would have been `limit` long: none while others are left,
    /// which find buffers after what these bring was taken.
    #[cold]
    pub(super) fn start_put_off(
        &mut self,
        limit: Duration,
        gather: Option<Gather>,
    ) -> (Duration, Option<Gather>) {
        let pause = self.put_off.pause_left();
        if !pause.is_zero() {
            // The ring's timer may be armed for longer: this wait has a limit of its own.
            let alone = Gather {
                results: 1,
                time: Duration::ZERO,
            };
            return (limit.min(pause), Some(alone));
        }
        self.put_off.until_ns = 0;
        for _ in 0..self.buffers.count() {
            let Some((token, fd, until)) = self.put_off.waiting.pop_front() else {
                break;
            };
            self.start_receive(token, fd, until);
        }
        self.strained = !self.put_off.waiting.is_empty();
        match self.strained {
            true => (Duration::ZERO, None),
            false => (limit, gather),
        }
    }

    /// A receive that is to be stopped is started, so that it has an end.
    #[cold]
    pub(super) fn start_to_stop(&mut self, token: Token) {
        if let Some((token, fd, until)) = self.put_off.take(token) {
            self.start_receive(token, fd, until);
        }
    }
}
