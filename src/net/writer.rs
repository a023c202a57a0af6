//! Layer 4: the writer of WebSocket connections. One send per connection is in flight; everything that comes meanwhile leaves in
//! the next.

use super::links::{Kind, Link, Reading};
use super::node::{Net, Node};
use super::{conn, handoff};
use crate::io::{Driver, Token};
use crate::shard::writers::Step;
use std::io;

/// Pieces of one gathered write; the kernel takes no more than 1024.
const PIECES_MAX: usize = 1024;

/// Starts what the last turns left to be sent.
#[inline]
pub(super) fn flush(node: &Node) {
    let mut marked = node.marked.take();
    loop {
        node.shard.borrow_mut().take_marked(&mut marked);
        if marked.is_empty() {
            break;
        }
        let net = &mut *node.net.borrow_mut();
        for mark in marked.drain(..) {
            // The link may be another's by now.
            if net.links.get(mark.token).id == mark.id {
                look(node, net, mark.token);
            }
        }
    }
    node.marked.set(marked);
}

/// Does what the shard wants of this connection's writer, unless a send is under way.
#[inline]
pub(super) fn look(node: &Node, net: &mut Net, token: Token) {
    let Net { links, driver, .. } = &mut *net;
    let link = links.get(token);
    if link.kind != Kind::Frames || link.writer_over {
        return;
    }
    if link.sending.is_some() {
        link.look_again = true;
        return;
    }
    let step = node.shard.borrow_mut().next_write(link.id);
    match step {
        None => {}
        Some(Step::Send(pending)) => {
            link.sending = Some(pending);
            link.sent = 0;
            send_rest(link, driver, token);
        }
        Some(Step::Finish) => {
            link.shutdown(libc::SHUT_WR);
            end(node, net, token);
        }
        Some(Step::Leave) => end(node, net, token),
    }
}

/// Sends what has not gone yet.
#[inline]
fn send_rest(link: &mut Link, driver: &mut Driver, token: Token) {
    let Some(pending) = &link.sending else {
        return;
    };
    let sent = link.sent as usize;
    if pending.references().is_empty() {
        // SAFETY: `sending` is neither changed nor dropped before `Sent` (here and in `Links`: a link that is held stays), and
        // its bytes stand on the heap.
        unsafe { driver.send(token, link.fd, &pending.bytes()[sent..]) };
        return;
    }
    link.pieces.clear();
    let mut skip = sent;
    let mut add = |piece: &[u8]| {
        let rest = &piece[skip.min(piece.len())..];
        skip -= piece.len() - rest.len();
        if !rest.is_empty() && link.pieces.len() < PIECES_MAX {
            link.pieces.push(libc::iovec {
                iov_base: rest.as_ptr().cast_mut().cast(),
                iov_len: rest.len(),
            });
        }
    };
    let (bytes, mut from) = (pending.bytes(), 0);
    for reference in pending.references() {
        add(&bytes[from..reference.at]);
        add(&reference.payload);
        from = reference.at;
    }
    add(&bytes[from..]);
    // SAFETY: as above; `pieces` is changed only here, after the send before is over.
    unsafe { driver.send_gathered(token, link.fd, &link.pieces) };
}

/// A send is over.
#[inline]
pub(super) fn sent(node: &Node, token: Token, result: io::Result<usize>, now_ns: u64) {
    let net = &mut *node.net.borrow_mut();
    let link = net.links.get(token);
    let Some(pending) = &link.sending else {
        return;
    };
    let went = match result {
        Ok(count @ 1..) => {
            link.sent += count as u32;
            if (link.sent as usize) < pending.len() {
                return send_rest(link, &mut net.driver, token);
            }
            true
        }
        Ok(0) | Err(_) => false,
    };
    let again = std::mem::take(&mut link.look_again);
    if let Some(pending) = link.sending.take() {
        node.shard.borrow_mut().sent(pending, now_ns);
    }
    if !went {
        end(node, net, token);
    } else if again {
        look(node, net, token);
    }
}

/// The writer is over, for whatever reason.
fn end(node: &Node, net: &mut Net, token: Token) {
    let link = net.links.get(token);
    let id = link.id;
    link.writer_over = true;
    link.pieces = Vec::new();
    let (_, ns) = node.now();
    node.with(|shard| shard.writer_ended(id, ns));
    match net.links.get(token).reading {
        Reading::Leaving => handoff::leave_if_ready(node, net, token),
        _ => conn::finish(net, token),
    }
}
