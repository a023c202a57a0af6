//! Layer 4: the writer of one WebSocket connection. One send is in flight; everything that comes meanwhile leaves in the next.

use super::guard::guard;
use super::node::Node;
use super::socket::Socket;
use crate::base::ids::ConnId;
use crate::shard::outbox::Pending;
use crate::shard::writers::Step;
use futures_util::FutureExt;
use monoio::buf::IoVecBuf;
use std::future::poll_fn;
use std::rc::Rc;

/// Pieces of one gathered write; the kernel takes no more than 1024.
const PIECES_MAX: usize = 1024;

pub(crate) fn run(node: Rc<Node>, id: ConnId, socket: Socket) -> impl Future<Output = ()> {
    guard("writer", write(node.clone(), id, socket)).map(move |_| {
        let (_, ns) = node.now();
        node.with(|shard| shard.writer_ended(id, ns));
    })
}

async fn write(node: Rc<Node>, id: ConnId, socket: Socket) {
    loop {
        let step =
            poll_fn(|context| node.shard.borrow_mut().poll_writer(id, context.waker())).await;
        let mut pending = match step {
            Step::Send(pending) => pending,
            Step::Finish => return socket.finish(),
            Step::Leave => return,
        };
        let (ok, pending) = if pending.references().is_empty() {
            let (ok, bytes) = socket.write_all(pending.take_bytes()).await;
            pending.restore(bytes);
            (ok, pending)
        } else {
            Box::pin(write_gathered(&socket, pending)).await
        };
        let ns = node.clock.mono_ns();
        node.shard.borrow_mut().sent(pending, ns);
        if !ok {
            return;
        }
    }
}

/// What a gathered write lends to the kernel: the frames and the list of their pieces.
struct Gather {
    pieces: Vec<libc::iovec>,
    bytes: Vec<u8>,
    pending: Box<Pending>,
}

// SAFETY: `pieces` points into `bytes` (a heap buffer that is not changed while lent) and into the payloads that `pending`
// holds; moving the struct moves none of them. Pointer and length are those of one vector.
unsafe impl IoVecBuf for Gather {
    fn read_iovec_ptr(&self) -> *const libc::iovec {
        self.pieces.as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        self.pieces.len()
    }
}

impl Gather {
    /// Lists the pieces behind the first `skip` bytes.
    fn aim(&mut self, mut skip: usize) {
        self.pieces.clear();
        let pieces = &mut self.pieces;
        let mut add = |piece: &[u8]| {
            let rest = &piece[skip.min(piece.len())..];
            skip -= piece.len() - rest.len();
            if !rest.is_empty() && pieces.len() < PIECES_MAX {
                pieces.push(libc::iovec {
                    iov_base: rest.as_ptr().cast_mut().cast(),
                    iov_len: rest.len(),
                });
            }
        };
        let mut from = 0;
        for reference in self.pending.references() {
            add(&self.bytes[from..reference.at]);
            add(&reference.payload);
            from = reference.at;
        }
        add(&self.bytes[from..]);
    }
}

async fn write_gathered(socket: &Socket, mut pending: Box<Pending>) -> (bool, Box<Pending>) {
    let bytes = pending.take_bytes();
    let referenced: usize = pending
        .references()
        .iter()
        .map(|reference| reference.payload.len())
        .sum();
    let total = bytes.len() + referenced;
    let mut gather = Gather {
        pieces: Vec::with_capacity((2 * pending.references().len() + 1).min(PIECES_MAX)),
        bytes,
        pending,
    };
    let mut at = 0;
    let mut ok = true;
    while ok && at < total {
        gather.aim(at);
        let (result, lent) = socket.write_gathered(gather).await;
        gather = lent;
        match result {
            Ok(0) | Err(_) => ok = false,
            Ok(count) => at += count,
        }
    }
    let Gather {
        bytes, mut pending, ..
    } = gather;
    pending.restore(bytes);
    (ok, pending)
}
