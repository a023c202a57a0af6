//! Layer 3: what a connection's writer asks: what to send, when to stop, what became of it.

use super::Shard;
use super::outbox::Pending;
use crate::base::ids::ConnId;
use std::task::{Poll, Waker};

/// What the writer does next.
#[derive(Debug)]
pub enum Step {
    /// Sends this and calls [`Shard::sent`].
    Send(Box<Pending>),
    /// Everything is sent and nothing more comes: shuts the sending side down and ends.
    Finish,
    /// Everything is sent; ends without touching the socket, which goes to another shard.
    Leave,
}

impl Shard {
    /// What to do next; pending while nothing waits.
    #[inline]
    pub fn poll_writer(&mut self, id: ConnId, waker: &Waker) -> Poll<Step> {
        let Some(conn) = self.out.conns.get(id) else {
            return Poll::Ready(Step::Finish);
        };
        if let Some(pending) = conn.outbox.take() {
            return Poll::Ready(Step::Send(pending));
        }
        if conn.leaving {
            return Poll::Ready(Step::Leave);
        }
        if !conn.reader_alive || conn.failed {
            return Poll::Ready(Step::Finish);
        }
        match &mut conn.writer {
            Some(known) if known.will_wake(waker) => {}
            slot => *slot = Some(waker.clone()),
        }
        Poll::Pending
    }

    /// A send is over.
    #[inline]
    pub fn sent(&mut self, pending: Box<Pending>, now_ns: u64) {
        self.out.sent(pending, now_ns, &mut self.metrics);
    }

    /// The writer ends, for whatever reason. A reader that still runs is brought to its end.
    pub fn writer_ended(&mut self, id: ConnId, now_ns: u64) {
        let Some(conn) = self.out.conns.get(id) else {
            return;
        };
        conn.writer_alive = false;
        if conn.leaving {
            if let Some(waker) = conn.reader.take() {
                waker.wake();
            }
        } else if conn.reader_alive && !conn.failed {
            self.out.cut(id);
        } else if conn.reader_alive {
            // The reader drains until the peer goes or the close handshake's time is up: cutting now could destroy the close
            // frame before the peer read it.
        } else {
            self.out.release(id, now_ns, &mut self.metrics);
        }
    }

    /// Ready once the writer of a leaving connection is gone; the connection is forgotten then.
    pub fn poll_left(&mut self, id: ConnId, waker: &Waker, now_ns: u64) -> Poll<()> {
        match self.out.conns.get(id) {
            Some(conn) if conn.writer_alive => {
                conn.reader = Some(waker.clone());
                Poll::Pending
            }
            Some(_) => {
                self.out.release(id, now_ns, &mut self.metrics);
                Poll::Ready(())
            }
            None => Poll::Ready(()),
        }
    }
}
