//! Layer 3: what `net/` asks for a connection's writer: what to send and when to stop; and what it reports back.

use super::Shard;
use super::conns::Marked;
use super::outbox::Pending;
use crate::base::ids::ConnId;

/// What the writer does next.
#[derive(Debug)]
pub enum WriteStep {
    /// Sends this and calls [`Shard::sent`].
    Send(Box<Pending>),
    /// Everything is sent and nothing more comes: shuts the sending side down and ends.
    Finish,
    /// Everything is sent; ends without touching the socket, which goes to another shard.
    Leave,
}

impl Shard {
    /// Moves the connections whose writers have something to do ([`Shard::next_write`]) into `into`, which is empty.
    #[inline]
    pub fn take_marked(&mut self, into: &mut Vec<Marked>) {
        std::mem::swap(&mut self.out.marked, into);
    }

    /// What to do next; `None` while nothing waits: the connection is marked when that changes.
    #[inline]
    pub fn next_write(&mut self, id: ConnId) -> Option<WriteStep> {
        let Some(conn) = self.out.conns.get(id) else {
            return Some(WriteStep::Finish);
        };
        conn.marked = false;
        let is_last = conn.leaving || !conn.reader_alive || conn.failed;
        if let Some(pending) = conn.outbox.take() {
            conn.count(&pending);
            if is_last {
                // Nothing else will: the end comes behind this.
                conn.mark(&mut self.out.marked);
            }
            Some(WriteStep::Send(pending))
        } else if conn.leaving {
            Some(WriteStep::Leave)
        } else if is_last {
            Some(WriteStep::Finish)
        } else {
            None
        }
    }

    /// A send is over.
    #[inline]
    pub fn sent(&mut self, pending: Box<Pending>, now_ns: u64) {
        self.out.sent(pending, now_ns, &mut self.workspace.metrics);
    }

    /// The writer ends, for whatever reason. A reader that still runs is brought to its end.
    pub fn writer_ended(&mut self, id: ConnId, now_ns: u64) {
        let Some(conn) = self.out.conns.get(id) else {
            return;
        };
        conn.writer_alive = false;
        if conn.leaving {
            // `left` ends it.
        } else if conn.reader_alive && !conn.failed {
            self.out.cut(id);
        } else if conn.reader_alive {
            // The reader drains until the peer goes or the close handshake's time is up: cutting now could destroy the close
            // frame before the peer read it.
        } else {
            self.out.release(id, now_ns, &mut self.workspace.metrics);
        }
    }

    /// The writer of a leaving connection is gone: the connection is forgotten here.
    pub fn left(&mut self, id: ConnId, now_ns: u64) {
        self.out.release(id, now_ns, &mut self.workspace.metrics);
    }
}
