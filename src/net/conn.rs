//! Layer 4: the reader of one WebSocket connection. The read that is pending is never dropped: to end a connection its socket
//! is shut down, which completes the read.

use super::guard::{Ended, guard};
use super::node::Node;
use super::sizing::Sizing;
use super::socket::Socket;
use super::{handoff, writer};
use crate::base::ids::{ConnId, UserId};
use crate::shard::frames::Flow;
use crate::shard::trail::Trail;
use crate::wire::frame::Decoder;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use monoio::buf::SliceMut;
use std::rc::Rc;

/// Starts reader and writer of a connection that the shard knows as `id`. `buf` holds what already arrived.
pub(crate) fn spawn(node: &Rc<Node>, id: ConnId, socket: &Socket, buf: BytesMut) {
    monoio::spawn(writer::run(node.clone(), id, socket.clone()));
    let task = read(node.clone(), id, socket.clone(), buf);
    let node = node.clone();
    monoio::spawn(guard("reader", task).map(move |ended| {
        if ended == Ended::ByPanic {
            node.read_ended(id);
        }
    }));
}

/// What the reader does after a turn.
enum After {
    Read,
    Yield,
    Discard,
    Stop,
    Leave(UserId, Bytes),
}

/// What happens seldom is boxed: this future exists once per connection.
async fn read(node: Rc<Node>, id: ConnId, socket: Socket, mut buf: BytesMut) {
    let cfg = node.shard.borrow().cfg().clone();
    let connections = &cfg.connections;
    let mut decoder = Decoder::new(connections.ws_max_message_bytes as usize);
    let mut sizing = Sizing::new(
        connections.read_buffer_bytes as usize,
        connections.read_buffer_bytes_max as usize,
    );
    let turn_frames_max = connections.turn_frames_max as usize;
    drop(cfg);
    let mut counted = Counted::new(&node, sizing.target());
    let mut trail = Trail::default();
    let mut discarding = false;
    loop {
        if discarding {
            buf.clear();
        } else if !buf.is_empty() {
            trail.fetch();
            match turn(
                &node,
                id,
                &mut decoder,
                &mut buf,
                turn_frames_max,
                &mut trail,
            ) {
                After::Read => {}
                After::Yield => {
                    Box::pin(node.let_others_run()).await;
                    continue;
                }
                After::Discard => {
                    discarding = true;
                    continue;
                }
                After::Stop => break,
                After::Leave(user, text) => {
                    return Box::pin(handoff::leave(&node, id, socket, user, text, buf)).await;
                }
            }
        }
        let wanted = decoder.wanted(&buf);
        sizing.prepare(&mut buf, wanted);
        let (len, room) = (buf.len(), buf.capacity() - buf.len());
        let (result, slice) = socket.read(SliceMut::new(buf, len, len + room)).await;
        buf = slice.into_inner();
        match result {
            Ok(0) | Err(_) => break,
            Ok(count) => sizing.note(count, room),
        }
        counted.set(sizing.target());
    }
    node.read_ended(id);
}

/// Handles the frames that are there, up to the turn's bound.
#[inline]
fn turn(
    node: &Node,
    id: ConnId,
    decoder: &mut Decoder,
    buf: &mut BytesMut,
    frames_max: usize,
    trail: &mut Trail,
) -> After {
    let (now, now_ns) = node.now();
    node.with(|shard| {
        shard.begin_turn(id, now, now_ns);
        let mut after = After::Read;
        let mut frames = 0;
        loop {
            if frames == frames_max {
                if !buf.is_empty() {
                    after = After::Yield;
                }
                break;
            }
            let lends = shard.lends(id);
            if lends > 0 && decoder.next_small(buf, lends, |data| shard.lent(id, data)) {
                frames += 1;
                continue;
            }
            let flow = match decoder.next(buf) {
                Ok(None) => break,
                Ok(Some(message)) => shard.message(id, message),
                Err(error) => shard.protocol_error(id, error),
            };
            frames += 1;
            after = match flow {
                Flow::Continue => continue,
                Flow::Discard => After::Discard,
                Flow::Stop => After::Stop,
                Flow::Leave(user, text) => After::Leave(user, text),
            };
            break;
        }
        *trail = shard.end_turn(id, || node.clock.mono_ns());
        after
    })
}

/// Read-buffer bytes of this connection in the shard's gauge.
struct Counted<'a> {
    node: &'a Node,
    bytes: usize,
}

impl<'a> Counted<'a> {
    fn new(node: &'a Node, bytes: usize) -> Self {
        let mut counted = Self { node, bytes: 0 };
        counted.set(bytes);
        counted
    }

    fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            let total = &self.node.read_bytes;
            total.set(total.get() + bytes - self.bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}
