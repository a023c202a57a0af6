//! Layer 4: the writers of WebSocket connections. Everything that is pending on a connection leaves in one send.
//!
//! The sends of a turn leave with one system call, as a *flight*. The kernel finishes each send or gives it up within that call, so a
//! send that goes whole, as nearly all do, needs no result and no second visit to its connection. One that fell short waits for room
//! in its socket, and everything new for that connection waits behind it.

use super::links::{Kind, Link, Reading};
use super::node::{Net, Node};
use super::{conn, handoff};
use crate::base::ids::ConnId;
use crate::io::{Driver, Short, Token};
use crate::shard::outbox::Pending;
use crate::shard::sockets::Marked;
use crate::shard::writers::WriteStep;
use std::io;

/// Pieces of one gathered write; the kernel takes no more than 1024.
const PIECES_MAX: usize = 1024;

/// Sends that leave together: started in [`flush`], over in [`settle`], and nothing but the driver's wait between.
#[derive(Default)]
pub(super) struct Flights {
    /// The sends, by the number that the driver knows them by. `None`: it fell short, and its link has it back.
    sends: Vec<(Token, Option<Box<Pending>>)>,
    /// Connections whose writers are visited again in the next flush.
    again: Vec<Marked>,
}

impl Flights {
    /// Sends under way.
    pub(super) fn len(&self) -> usize {
        self.sends.len()
    }

    /// Whether a connection is to be looked at without waiting for the kernel.
    pub(super) fn is_busy(&self) -> bool {
        !self.again.is_empty()
    }

    pub(super) fn look_again(&mut self, id: ConnId, token: Token) {
        self.again.push(Marked { id, token });
    }
}

/// Starts what the last turns left to be sent.
#[inline]
pub(super) fn flush(node: &Node) {
    let mut marked = node.marked.take();
    let net = &mut *node.net.borrow_mut();
    marked.append(&mut net.flights.again);
    loop {
        for mark in marked.drain(..) {
            // The link may be another's by now.
            if net.links.get(mark.token).id == mark.id {
                look(node, net, mark.token);
            }
        }
        node.shard.borrow_mut().take_marked(&mut marked);
        if marked.is_empty() {
            break;
        }
    }
    node.marked.set(marked);
}

/// Does what the shard wants of this connection's writer, unless a send is under way.
#[inline]
fn look(node: &Node, net: &mut Net, token: Token) {
    let flight = net.links.flight;
    let link = net.links.get(token);
    if link.kind != Kind::Frames || link.writer_over {
        return;
    }
    if link.sending.is_some() {
        link.look_again = true;
        return;
    }
    if link.flight == flight {
        net.flights.look_again(link.id, token);
        return;
    }
    let step = node.shard.borrow_mut().next_write(link.id);
    match step {
        None => {}
        Some(WriteStep::Send(pending)) => fly(net, token, pending),
        Some(WriteStep::Finish) => {
            link.shutdown(libc::SHUT_WR);
            end(node, net, token);
        }
        Some(WriteStep::Leave) => end(node, net, token),
    }
}

/// One more send of this flight.
#[inline]
fn fly(net: &mut Net, token: Token, pending: Box<Pending>) {
    let flight = net.links.flight;
    let link = net.links.get(token);
    let place = net.flights.sends.len() as u32;
    if pending.references().is_empty() {
        // SAFETY: `sends` neither changes nor drops it before the driver says that it is over (`settle`), nor does the link
        // close (`Links::is_held`); its bytes stand on the heap.
        unsafe {
            net.driver.send_now(place, token, link.fd, pending.bytes());
        }
    } else if gather(&mut link.pieces, &pending, 0) < pending.len() {
        link.sending = Some(pending);
        link.sent = 0;
        return send_rest(link, &mut net.driver, token);
    } else {
        let pieces = (&link.pieces[..], pending.len());
        // SAFETY: as above; a link in flight does not change its `pieces`.
        unsafe {
            net.driver.send_gathered_now(place, token, link.fd, pieces);
        }
    }
    link.flight = flight;
    net.flights.sends.push((token, Some(pending)));
}

/// The driver has waited: the sends of the flight are over. `now_ns` is when.
#[inline]
pub(super) fn settle(node: &Node, now_ns: u64) {
    let net = &mut *node.net.borrow_mut();
    if net.flights.sends.is_empty() || !net.driver.has_sent() {
        return;
    }
    net.links.flight += 1;
    while let Some(short) = net.driver.next_short() {
        fell_short(node, net, short, now_ns);
    }
    let mut shard = node.shard.borrow_mut();
    for (_, pending) in net.flights.sends.drain(..) {
        if let Some(pending) = pending {
            shard.sent(pending, now_ns);
        }
    }
}

/// The socket did not take everything: the rest goes when it can, unless the connection is broken.
#[cold]
fn fell_short(node: &Node, net: &mut Net, short: Short, now_ns: u64) {
    let Some((token, Some(pending))) = net
        .flights
        .sends
        .get_mut(short.place as usize)
        .map(|(token, pending)| (*token, pending.take()))
    else {
        return;
    };
    let link = net.links.get(token);
    match short.result {
        Err(error) if !is_patient(&error) => {
            node.shard.borrow_mut().sent(pending, now_ns);
            end(node, net, token);
        }
        result => {
            link.sending = Some(pending);
            link.sent = result.unwrap_or(0) as u32;
            send_rest(link, &mut net.driver, token);
        }
    }
}

fn is_patient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Sends what has not gone yet, as the socket gets room.
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
    gather(&mut link.pieces, pending, sent);
    // SAFETY: as above; `pieces` is changed only here and in `fly`, after the send before is over.
    unsafe { driver.send_gathered(token, link.fd, &link.pieces) };
}

/// Lists what stands behind the first `skip` bytes, as far as one write takes it. Returns its bytes.
fn gather(pieces: &mut Vec<libc::iovec>, pending: &Pending, mut skip: usize) -> usize {
    pieces.clear();
    let mut total = 0;
    let mut add = |piece: &[u8]| {
        let rest = &piece[skip.min(piece.len())..];
        skip -= piece.len() - rest.len();
        if !rest.is_empty() && pieces.len() < PIECES_MAX {
            total += rest.len();
            pieces.push(libc::iovec {
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
    total
}

/// A send that waited for its socket is over.
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
    if let Some(pending) = link.sending.take() {
        node.shard.borrow_mut().sent(pending, now_ns);
    }
    if !went {
        end(node, net, token);
    } else if std::mem::take(&mut link.look_again) {
        net.flights.look_again(link.id, token);
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
