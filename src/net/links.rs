//! Layer 4: the table of the sockets of one shard; a token is a row's number. A link begins as plain HTTP and may become a WebSocket
//! connection; its row is free again once the kernel uses nothing of it.

use crate::base::ids::ConnId;
use crate::io::{Driver, Token, Until};
use crate::shard::outbox::Pending;
use crate::shard::sockets::LinkRef;
use crate::shard::trail::Trail;
use crate::wire::frame::Decoder;
use bytes::BytesMut;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::task::Waker;

/// Links stand in chunks, so that their addresses never change (see [`Links::place`]).
const CHUNK: usize = 64;
/// Cache lines of a row that a turn touches.
const ROW_LINES: usize = 3;
/// Of a place without a socket.
pub(super) const NO_FD: RawFd = -1;

/// What a link is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Its place is free.
    Free,
    /// Plain HTTP, served by a task.
    Http,
    /// A WebSocket connection.
    Frames,
    /// The shard's socket for datagrams.
    Datagrams,
    /// Nobody's any more: it waits for the kernel.
    Gone,
}

/// What the reader of a WebSocket connection does with what comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    /// Hands it on.
    On,
    /// Throws it away until the peer goes.
    Discarding,
    /// Keeps it for the shard that the connection goes to.
    Leaving,
    /// Nothing any more.
    Over,
}

/// One socket. The first 64 bytes are what a relayed message touches of sender and receiver.
#[repr(C, align(64))]
pub(super) struct Link {
    pub(super) id: ConnId,
    /// What the kernel is sending.
    pub(super) sending: Option<Box<Pending>>,
    pub(super) decoder: Decoder,
    /// Bytes of an unfinished frame, or of frames that wait for their turn.
    #[expect(
        clippy::box_collection,
        reason = "most have none, and the first line has room for one word"
    )]
    pub(super) carry: Option<Box<Vec<u8>>>,
    pub(super) fd: RawFd,
    /// How much of `sending` went.
    pub(super) sent: u32,
    /// Number of the flight that its last send was part of ([`Links::flight`]).
    pub(super) flight: u64,
    pub(super) kind: Kind,
    pub(super) reading: Reading,
    /// A receive operation is under way.
    pub(super) receiving: bool,
    /// The writer must look again when its send is over.
    pub(super) look_again: bool,
    pub(super) writer_over: bool,
    /// Stands among those whose frames wait for their turn.
    pub(super) waiting: bool,
    pub(super) trail: Trail,
    /// The places of a gathered send, while it is under way.
    pub(super) pieces: Vec<libc::iovec>,
    pub(super) http: Option<Box<Http>>,
    pub(super) leaving: Option<Box<super::handoff::Leaving>>,
    /// Its part of [`Links::unfinished`].
    counted: usize,
}

const _: () = assert!(std::mem::offset_of!(Link, trail) <= 64);

/// A link's side of a plain HTTP connection.
#[derive(Default)]
pub(super) struct Http {
    /// Handles of tasks.
    pub(super) handles: u32,
    pub(super) arrived: BytesMut,
    pub(super) ended: bool,
    pub(super) reader: Option<Waker>,
    /// What the kernel is sending, and how much of it went.
    pub(super) sending: Option<Vec<u8>>,
    pub(super) sent: usize,
    /// How the last send went, until it is asked for.
    pub(super) outcome: Option<bool>,
    pub(super) writer: Option<Waker>,
}

impl Link {
    fn free() -> Self {
        Self {
            id: ConnId(u64::MAX),
            sending: None,
            decoder: Decoder::new(0),
            carry: None,
            fd: NO_FD,
            sent: 0,
            flight: 0,
            kind: Kind::Free,
            reading: Reading::Over,
            receiving: false,
            look_again: false,
            writer_over: true,
            waiting: false,
            trail: Trail::default(),
            pieces: Vec::new(),
            http: None,
            leaving: None,
            counted: 0,
        }
    }

    /// Whether it holds any of [`Link::unfinished`].
    #[inline]
    pub(super) fn has_unfinished(&self) -> bool {
        self.carry.is_some() || self.decoder.holds()
    }

    /// Bytes that it holds of messages that have not arrived whole, or wait for their turn.
    pub(super) fn unfinished(&self) -> usize {
        self.carry.as_ref().map_or(0, |carry| carry.len()) + self.decoder.held()
    }

    /// Asks the processor for the row.
    #[inline]
    pub(super) fn fetch(&self) {
        let mut row = Trail::default();
        row.note(&raw const *self, ROW_LINES);
        row.fetch();
    }

    pub(super) fn shutdown(&self, how: i32) {
        super::socket::shutdown(self.fd, how);
    }

    /// Starts a receive operation unless one is under way.
    #[inline]
    pub(super) fn receive(&mut self, driver: &mut Driver, token: Token, until: Until) {
        if !std::mem::replace(&mut self.receiving, true) {
            driver.receive(token, self.fd, until);
        }
    }
}

/// All links of a shard.
pub(super) struct Links {
    chunks: Vec<Box<[Link; CHUNK]>>,
    free: Vec<Token>,
    /// What all of them hold of unfinished messages (bytes).
    pub(super) unfinished: usize,
    /// Number of the flight under way ([`super::writer::Flights`]); a link with another number has no send in it.
    pub(super) flight: u64,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            unfinished: 0,
            flight: 1,
        }
    }
}

impl Links {
    /// Sockets that have a place.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.chunks.len() * CHUNK - self.free.len()
    }

    /// A place for a new socket, as plain HTTP with one handle.
    pub(super) fn insert(&mut self, fd: OwnedFd) -> Token {
        if self.free.is_empty() {
            let first = (self.chunks.len() * CHUNK) as Token;
            self.chunks
                .push(Box::new(std::array::from_fn(|_| Link::free())));
            self.free.extend((first..first + CHUNK as Token).rev());
        }
        let token = self.free.pop().unwrap_or_default();
        let link = self.get(token);
        link.fd = fd.into_raw_fd();
        link.kind = Kind::Http;
        link.http = Some(Box::new(Http {
            handles: 1,
            ..Http::default()
        }));
        token
    }

    #[inline]
    pub(super) fn get(&mut self, token: Token) -> &mut Link {
        let at = token as usize;
        &mut self.chunks[at / CHUNK][at % CHUNK]
    }

    /// Every place, free ones too.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Link> {
        self.chunks.iter_mut().flat_map(|chunk| chunk.iter_mut())
    }

    /// What the shard is told of it.
    pub(super) fn place(&mut self, token: Token) -> LinkRef {
        LinkRef {
            token,
            place: (&raw const *self.get(token)).addr(),
        }
    }

    /// Whether the kernel may still use something of it.
    pub(super) fn is_held(&mut self, token: Token) -> bool {
        let flight = self.flight;
        let link = self.get(token);
        let http = link.http.as_ref();
        link.receiving
            || link.sending.is_some()
            || link.flight == flight
            || http.is_some_and(|http| http.sending.is_some())
    }

    /// Takes the socket out, to go on elsewhere. `None` while the kernel holds something of it: then it closes.
    pub(super) fn take(&mut self, driver: &mut Driver, token: Token) -> Option<OwnedFd> {
        if self.is_held(token) {
            self.abandon(driver, token);
            return None;
        }
        let link = self.get(token);
        let fd = std::mem::replace(&mut link.fd, NO_FD);
        driver.forget(token, fd);
        // SAFETY: `insert` took it from its owner; the link has forgotten it.
        let fd = (fd != NO_FD).then(|| unsafe { OwnedFd::from_raw_fd(fd) });
        self.release(token);
        fd
    }

    /// Nobody needs it any more: it closes as soon as the kernel lets go.
    pub(super) fn abandon(&mut self, driver: &mut Driver, token: Token) {
        let held = self.is_held(token);
        let link = self.get(token);
        link.kind = Kind::Gone;
        if held {
            // Ends what is under way.
            link.shutdown(libc::SHUT_RDWR);
        } else {
            drop(self.take(driver, token));
        }
    }

    /// An operation of it ended: an abandoned one may be free now.
    pub(super) fn settle(&mut self, driver: &mut Driver, token: Token) {
        if self.get(token).kind == Kind::Gone && !self.is_held(token) {
            drop(self.take(driver, token));
        }
    }

    /// Brings [`Links::unfinished`] up to date with a link; returns its part.
    pub(super) fn count_unfinished(&mut self, token: Token) -> usize {
        let link = self.get(token);
        let unfinished = link.unfinished();
        let before = std::mem::replace(&mut link.counted, unfinished);
        self.unfinished = self.unfinished - before + unfinished;
        unfinished
    }

    fn release(&mut self, token: Token) {
        let link = self.get(token);
        let counted = link.counted;
        *link = Link::free();
        self.unfinished -= counted;
        self.free.push(token);
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for link in self.all() {
            if link.fd != NO_FD {
                // SAFETY: `insert` took it from its owner, and nobody else has it.
                drop(unsafe { OwnedFd::from_raw_fd(link.fd) });
            }
        }
    }
}
