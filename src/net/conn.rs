//! Layer 4: the reader of WebSocket connections: bytes become frames, frames go to the shard, one turn per arrival.

use super::handoff::{self, Leaving};
use super::links::{Kind, Link, Links, Reading};
use super::node::{Net, Node};
use crate::base::ids::{ConnId, UserId};
use crate::io::{End, Token, Until};
use crate::shard::Shard;
use crate::shard::frames::ReadStep;
use crate::wire::frame::{Decoder, Extent, ProtocolError, Utf8Bytes};
use bytes::BytesMut;

/// Complete frames of a connection that wait for the next turn take no more memory than this (bytes): beyond it they are handled at
/// once.
const WAITING_BYTES_MAX: usize = 64 * 1024;
/// Most room that is made ahead for an unfinished frame (bytes): a header that announces a large frame must not cost more.
const AHEAD_BYTES_MAX: usize = 64 * 1024;
/// Messages that may be kept are copied into buffers of this size (bytes): a kept one keeps no more memory alive than that.
const ARENA_BYTES: usize = 1024;
/// A larger buffer, made for a large message, is not kept (bytes).
const ARENA_BYTES_MAX: usize = 64 * 1024;

/// A connection may always hold this much of an unfinished message; beyond it, what its shard holds of all of them counts (bytes).
const UNFINISHED_FREE_BYTES: usize = 256 * 1024;

/// What becomes of the connection after a turn.
enum After {
    Read,
    Yield,
    Discard,
    Stop,
    Leave(UserId, Utf8Bytes),
}

/// Makes a WebSocket connection, which the shard knows as `id`, of a link. `early` arrived already.
pub(super) fn open(node: &Node, token: Token, id: ConnId, mut early: BytesMut) {
    let message_bytes_max = {
        let shard = node.shard.borrow();
        shard.cfg().connections.ws_max_message_bytes as usize
    };
    {
        let Net { links, driver, .. } = &mut *node.net.borrow_mut();
        let link = links.get(token);
        link.kind = Kind::Frames;
        link.http = None;
        link.id = id;
        link.decoder = Decoder::new(message_bytes_max);
        link.reading = Reading::On;
        link.writer_over = false;
        link.receive(driver, token, Until::Stopped);
    }
    if !early.is_empty() {
        arrived(node, &mut node.net.borrow_mut(), token, &mut early);
    }
}

/// A receive operation brought bytes.
#[inline]
pub(super) fn received(node: &Node, token: Token, bytes: &mut [u8], last: bool) {
    let net = &mut *node.net.borrow_mut();
    let link = net.links.get(token);
    if last {
        link.receiving = false;
    }
    match link.reading {
        Reading::On => arrived(node, net, token, bytes),
        Reading::Leaving => net.links.keep(token, bytes),
        Reading::Discarding | Reading::Over => {}
    }
    if last {
        go_on(node, net, token);
    }
}

/// A receive operation is over.
pub(super) fn ended(node: &Node, token: Token, end: End) {
    let net = &mut *node.net.borrow_mut();
    net.links.get(token).receiving = false;
    if end == End::Closed {
        // What came before the end counts.
        while net.links.get(token).waiting {
            arrived(node, net, token, &mut []);
        }
        if matches!(
            net.links.get(token).reading,
            Reading::On | Reading::Discarding
        ) {
            stop(node, net, token);
        }
    }
    go_on(node, net, token);
}

/// Starts the next receive operation, or ends what waited for the last.
fn go_on(node: &Node, net: &mut Net, token: Token) {
    let link = net.links.get(token);
    match link.reading {
        Reading::On | Reading::Discarding => {
            link.receive(&mut net.driver, token, Until::Stopped);
        }
        Reading::Leaving => handoff::leave_if_ready(node, net, token),
        Reading::Over => finish(net, token),
    }
}

/// Frames that waited for their turn have it.
pub(super) fn take_turns(node: &Node) {
    let net = &mut *node.net.borrow_mut();
    for _ in 0..net.waiting.len() {
        let Some(token) = net.waiting.pop_front() else {
            return;
        };
        if net.links.get(token).waiting {
            arrived(node, net, token, &mut []);
        }
    }
}

/// Frees the link once reader, writer and kernel are done with it.
pub(super) fn finish(net: &mut Net, token: Token) {
    let link = net.links.get(token);
    let over = link.kind == Kind::Frames && link.reading == Reading::Over && link.writer_over;
    if over && !net.links.is_held(token) {
        drop(net.links.take(&mut net.driver, token));
    }
}

/// Nothing more is read.
pub(super) fn stop(node: &Node, net: &mut Net, token: Token) {
    let link = net.links.get(token);
    let id = link.id;
    link.reading = Reading::Over;
    if link.receiving {
        net.driver.stop(token);
    }
    net.links.forget_unfinished(token);
    node.read_ended(id);
    finish(net, token);
}

/// One turn: handles the frames that are complete with `bytes`, behind those that wait.
#[inline]
fn arrived(node: &Node, net: &mut Net, token: Token, bytes: &mut [u8]) {
    let link = net.links.get(token);
    link.trail.fetch();
    link.waiting = false;
    let had_unfinished = link.has_unfinished();
    let mut after = match link.carry.take() {
        None => {
            let (used, missing, after) = turn(node, link, &mut net.arena, bytes);
            let rest = &bytes[used..];
            if !rest.is_empty() {
                let ahead = missing.min(AHEAD_BYTES_MAX);
                let mut carry = Vec::with_capacity(rest.len() + ahead);
                carry.extend_from_slice(rest);
                link.carry = Some(Box::new(carry));
            }
            after
        }
        Some(mut carry) => {
            carry.extend_from_slice(bytes);
            let (used, missing, after) = turn(node, link, &mut net.arena, &mut carry);
            carry.drain(..used);
            carry.reserve(missing.min(AHEAD_BYTES_MAX));
            if !carry.is_empty() {
                link.carry = Some(carry);
            }
            after
        }
    };
    if had_unfinished || link.has_unfinished() {
        let unfinished = net.links.count_unfinished(token);
        if unfinished > UNFINISHED_FREE_BYTES && matches!(after, After::Read) {
            after = room(node, net, token);
        }
    }
    match after {
        After::Read => {}
        After::Yield => {
            net.links.get(token).waiting = true;
            net.waiting.push_back(token);
        }
        After::Discard => {
            net.links.get(token).reading = Reading::Discarding;
            net.links.forget_unfinished(token);
        }
        After::Stop => stop(node, net, token),
        After::Leave(user, text) => leave(node, net, token, user, text),
    }
}

/// Whether there is room for a large unfinished message: strangers, who may open as many connections as they like, get half of it.
#[cold]
fn room(node: &Node, net: &mut Net, token: Token) -> After {
    let id = net.links.get(token).id;
    let unfinished = net.links.unfinished as u64;
    node.with(|shard| {
        let max = shard.cfg().connections.unfinished_bytes_max;
        let max = match shard.is_stranger(id) {
            true => max / 2,
            false => max,
        };
        if unfinished <= max {
            return After::Read;
        }
        shard.no_room(id);
        After::Discard
    })
}

/// Handles the frames that are there, up to the turn's bound. Returns how many bytes they were, how many the next one lacks, and
/// what becomes of the connection.
#[inline]
fn turn(
    node: &Node,
    link: &mut Link,
    arena: &mut BytesMut,
    bytes: &mut [u8],
) -> (usize, usize, After) {
    let id = link.id;
    let frames_max = if bytes.len() > WAITING_BYTES_MAX {
        usize::MAX
    } else {
        node.turn_frames_max.get()
    };
    let (now, now_ns) = node.begin_turn();
    let (decoder, trail) = (&mut link.decoder, &mut link.trail);
    node.with(|shard| {
        shard.begin_turn(id, now, now_ns);
        let (mut at, mut frames, mut missing) = (0, 0, 0);
        let mut after = After::Read;
        while at < bytes.len() {
            if frames == frames_max {
                after = After::Yield;
                break;
            }
            frames += 1;
            let rest = &mut bytes[at..];
            let lent = match shard.lends(id) {
                Some(below) => decoder.next_lent(rest, below, |lent| shard.lent(id, lent)),
                None => Ok(0),
            };
            if let Ok(used @ 1..) = lent {
                at += used;
                continue;
            }
            let flow = match lent.and_then(|_| decoder.extent(rest)) {
                Ok(Extent::Whole(len)) => {
                    at += len;
                    match whole(decoder, arena, &rest[..len]) {
                        Ok(None) => continue,
                        Ok(Some(message)) => shard.message(id, message),
                        Err(error) => shard.protocol_error(id, error),
                    }
                }
                Ok(Extent::Part(more)) => {
                    missing = more;
                    break;
                }
                Ok(Extent::Unknown) => break,
                // The limit is that of the socket's opening; a reload may have raised it.
                Err(ProtocolError::TooBig) if grows(decoder, shard) => continue,
                Err(error) => shard.protocol_error(id, error),
            };
            after = match flow {
                ReadStep::Continue => continue,
                ReadStep::Discard => After::Discard,
                ReadStep::Stop => After::Stop,
                ReadStep::Leave(user, text) => After::Leave(user, text),
            };
            break;
        }
        *trail = *shard.end_turn(id, || node.read_clock());
        (at, missing, after)
    })
}

/// Gives a connection the limit of today; `false` where it has it.
#[cold]
fn grows(decoder: &mut Decoder, shard: &Shard) -> bool {
    decoder.allow(shard.cfg().connections.ws_max_message_bytes as usize)
}

/// The message that one whole frame makes or completes, in memory that it may keep.
#[inline]
fn whole(
    decoder: &mut Decoder,
    arena: &mut BytesMut,
    frame: &[u8],
) -> Result<Option<crate::wire::frame::Message>, ProtocolError> {
    if arena.capacity() < frame.len() {
        arena.reserve(frame.len().max(ARENA_BYTES));
    }
    arena.extend_from_slice(frame);
    let message = decoder.next(arena);
    arena.clear();
    if arena.capacity() > ARENA_BYTES_MAX {
        *arena = BytesMut::new();
    }
    message
}

/// [`ReadStep::Leave`]: reads and writes no more, then goes to the home shard of `user`.
fn leave(node: &Node, net: &mut Net, token: Token, user: UserId, text: Utf8Bytes) {
    let link = net.links.get(token);
    let id = link.id;
    let Some(mut candidate) = node.with(|shard| shard.leave(id)) else {
        return stop(node, net, token);
    };
    candidate.resolved = Some(user.clone());
    link.reading = Reading::Leaving;
    link.leaving = Some(Box::new(Leaving {
        user,
        text,
        candidate,
    }));
    if link.receiving {
        net.driver.stop(token);
    }
    handoff::leave_if_ready(node, net, token);
}

impl Links {
    /// Keeps bytes for whoever gets the connection.
    fn keep(&mut self, token: Token, bytes: &[u8]) {
        let link = self.get(token);
        link.carry.get_or_insert_default().extend_from_slice(bytes);
        self.count_unfinished(token);
    }

    /// Nobody wants what is left.
    pub(super) fn forget_unfinished(&mut self, token: Token) {
        let link = self.get(token);
        link.waiting = false;
        link.carry = None;
        link.decoder.forget();
        self.count_unfinished(token);
    }
}

/// A defect ended a turn of this connection: it closes.
#[cold]
pub(super) fn broke(node: &Node, token: Token) {
    let net = &mut *node.net.borrow_mut();
    let link = net.links.get(token);
    match link.kind {
        Kind::Frames if link.reading != Reading::Over => {
            let id = link.id;
            stop(node, net, token);
            net.flights.look_again(id, token);
        }
        Kind::Http => link.shutdown(libc::SHUT_RDWR),
        _ => {}
    }
}
