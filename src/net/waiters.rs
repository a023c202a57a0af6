//! Layer 4: the plain HTTP connections of a shard: their time limits, and the answers they wait for.

use super::socket::shutdown;
use crate::shard::mailbox::Answer;
use std::collections::VecDeque;
use std::task::{Poll, Waker};

/// Bytes of a streamed answer that may wait for a slow client; beyond them the client counts as gone.
const STREAM_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often time limits are looked at (ms).
const SWEEP_MS: u64 = 100;
const SLOT_BITS: u32 = 24;

/// Names one request of one connection: an answer to an earlier request of it finds nobody.
pub(crate) type Key = u64;

fn slot_of(key: Key) -> usize {
    (key & ((1 << SLOT_BITS) - 1)) as usize
}

struct Slot {
    generation: u64,
    open: Option<Open>,
}

struct Open {
    fd: i32,
    deadline_ms: u64,
    /// No whole request of it has come, or none since its last answer.
    idle: bool,
    /// When the client must have taken what is being sent to it.
    taken_by_ms: u64,
    waiting: Waiting,
    answers: VecDeque<Answer>,
    bytes: usize,
    waker: Option<Waker>,
}

/// What the connection does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waiting {
    /// It reads or writes; its time limit cuts it.
    Io,
    /// It waits for an answer; its time limit ends the wait.
    Answer,
    /// It waited too long, or its client went away.
    Over,
}

/// All plain HTTP connections of one shard.
#[derive(Default)]
pub(crate) struct Waiters {
    slots: Vec<Slot>,
    free: Vec<u32>,
    next_sweep_ms: u64,
}

impl Waiters {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A connection begins.
    pub(crate) fn open(&mut self, fd: i32, deadline_ms: u64) -> Key {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                open: None,
            });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[at as usize];
        slot.generation += 1;
        slot.open = Some(Open {
            fd,
            deadline_ms,
            idle: true,
            taken_by_ms: u64::MAX,
            waiting: Waiting::Io,
            answers: VecDeque::new(),
            bytes: 0,
            waker: None,
        });
        slot.generation << SLOT_BITS | u64::from(at)
    }

    fn get(&mut self, key: Key) -> Option<&mut Open> {
        let slot = self.slots.get_mut(slot_of(key))?;
        (slot.generation == key >> SLOT_BITS)
            .then_some(slot.open.as_mut())
            .flatten()
    }

    /// A connection ends (or stops being plain HTTP).
    pub(crate) fn close(&mut self, key: Key) {
        if self.get(key).is_some() {
            let at = slot_of(key);
            self.slots[at].open = None;
            self.free.push(at as u32);
        }
    }

    /// The next reads and writes must be over by then. `idle`: they bring a request.
    pub(crate) fn limit(&mut self, key: Key, deadline_ms: u64, idle: bool) {
        if let Some(open) = self.get(key) {
            open.deadline_ms = deadline_ms;
            open.idle = idle;
            open.waiting = Waiting::Io;
        }
    }

    /// Who has brought no request by then goes.
    pub(crate) fn hurry(&mut self, deadline_ms: u64) {
        let open = self.slots.iter_mut().filter_map(|slot| slot.open.as_mut());
        for open in open.filter(|open| open.idle && open.waiting == Waiting::Io) {
            open.deadline_ms = open.deadline_ms.min(deadline_ms);
        }
    }

    /// The connection now waits for an answer, until `deadline_ms` at most. Returns the key under which it is expected: an
    /// answer to an earlier request finds nobody.
    pub(crate) fn expect(&mut self, key: Key, deadline_ms: u64) -> Key {
        let at = slot_of(key);
        let slot = &mut self.slots[at];
        slot.generation += 1;
        if let Some(open) = &mut slot.open {
            open.deadline_ms = deadline_ms;
            open.waiting = Waiting::Answer;
            open.answers.clear();
            open.bytes = 0;
        }
        slot.generation << SLOT_BITS | at as u64
    }

    /// Part of an answer is being sent, and must be taken by then; `None`: it was taken.
    pub(crate) fn sending(&mut self, key: Key, taken_by_ms: Option<u64>) {
        if let Some(open) = self.get(key) {
            open.taken_by_ms = taken_by_ms.unwrap_or(u64::MAX);
        }
    }

    /// The time limit of a streamed answer moves on.
    pub(crate) fn extend(&mut self, key: Key, deadline_ms: u64) {
        if let Some(open) = self.get(key) {
            open.deadline_ms = deadline_ms;
        }
    }

    /// An answer arrived.
    pub(crate) fn deliver(&mut self, key: Key, answer: Answer) {
        let Some(open) = self.get(key).filter(|open| open.waiting != Waiting::Io) else {
            return;
        };
        if let Answer::StreamChunk(data) = &answer {
            open.bytes += data.len();
            if open.bytes > STREAM_BYTES_MAX {
                open.waiting = Waiting::Over;
            }
        }
        open.answers.push_back(answer);
        if let Some(waker) = open.waker.take() {
            waker.wake();
        }
    }

    /// The client of a streamed answer went away.
    pub(crate) fn gone(&mut self, key: Key) {
        if let Some(open) = self.get(key) {
            open.waiting = Waiting::Over;
            if let Some(waker) = open.waker.take() {
                waker.wake();
            }
        }
    }

    /// The next answer; `None` when the wait is over without one.
    pub(crate) fn poll(&mut self, key: Key, waker: &Waker) -> Poll<Option<Answer>> {
        let Some(open) = self.get(key) else {
            return Poll::Ready(None);
        };
        if open.waiting == Waiting::Over {
            return Poll::Ready(None);
        }
        match open.answers.pop_front() {
            Some(answer) => {
                if let Answer::StreamChunk(data) = &answer {
                    open.bytes -= data.len();
                }
                Poll::Ready(Some(answer))
            }
            None => {
                open.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    /// Enforces time limits; returns how many connections were cut.
    pub(crate) fn sweep(&mut self, now_ms: u64) -> u64 {
        if now_ms < self.next_sweep_ms {
            return 0;
        }
        self.next_sweep_ms = now_ms + SWEEP_MS;
        let mut cut = 0;
        for open in self.slots.iter_mut().filter_map(|slot| slot.open.as_mut()) {
            if open.taken_by_ms <= now_ms {
                open.taken_by_ms = u64::MAX;
                shutdown(open.fd, libc::SHUT_RDWR);
                cut += 1;
            }
            if open.deadline_ms > now_ms {
                continue;
            }
            open.deadline_ms = u64::MAX;
            match open.waiting {
                Waiting::Io => {
                    shutdown(open.fd, libc::SHUT_RDWR);
                    cut += 1;
                }
                Waiting::Answer | Waiting::Over => {
                    open.waiting = Waiting::Over;
                    if let Some(waker) = open.waker.take() {
                        waker.wake();
                    }
                }
            }
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::effects::RestAnswer;

    fn answer() -> Answer {
        Answer::Whole(RestAnswer::json(200, "{}"))
    }

    #[test]
    fn an_answer_to_an_earlier_request_finds_nobody() {
        let mut waiters = Waiters::default();
        let key = waiters.open(-1, 100);
        let first = waiters.expect(key, 100);
        let second = waiters.expect(first, 200);
        waiters.deliver(first, answer());
        assert!(waiters.poll(second, Waker::noop()).is_pending());
        waiters.deliver(second, answer());
        assert!(matches!(
            waiters.poll(second, Waker::noop()),
            Poll::Ready(Some(_))
        ));
        waiters.close(second);
        assert_eq!(waiters.len(), 0);
    }

    #[test]
    fn a_wait_ends_at_its_time_limit() {
        let mut waiters = Waiters::default();
        let key = waiters.open(-1, 100);
        let key = waiters.expect(key, 500);
        waiters.sweep(400);
        assert!(waiters.poll(key, Waker::noop()).is_pending());
        waiters.sweep(500);
        assert!(matches!(
            waiters.poll(key, Waker::noop()),
            Poll::Ready(None)
        ));
    }
}
