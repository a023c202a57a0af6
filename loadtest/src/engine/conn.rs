//! Connections of the engine and the slab that holds them. A token names one connection for ever: slots
//! are reused, tokens are not.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::frame::Opcode;

/// Name of a connection: generation in the upper half, slot in the lower.
pub(crate) type Token = u64;

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Phone of a user.
    Phone(u32),
    /// App socket: user, app.
    App(u32, u8),
    /// A phone that only connects and leaves.
    Visitor,
    /// A socket of the misbehaving client.
    Abuser,
    /// The webhook receiver's listening socket.
    Listener,
    /// A connection of the server to the webhook receiver.
    Hook,
    /// A REST connection to the server.
    Rest,
    /// A socket that never says who it is.
    Bystander,
    /// The listening socket of the recognisers.
    RecogniserListener,
    /// A connection of the server to a recogniser.
    Recogniser,
}

impl Role {
    /// Word for error and close counts.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Phone(_) => "phone",
            Self::App(..) => "app",
            Self::Visitor => "visitor",
            Self::Abuser => "abuser",
            Self::Listener => "listener",
            Self::Hook => "webhook",
            Self::Rest => "rest",
            Self::Bystander => "bystander",
            Self::RecogniserListener => "recogniser listener",
            Self::Recogniser => "recogniser",
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The TCP connect is under way; what is to be sent waits in `tx`.
    Connecting,
    /// The upgrade request is out.
    Upgrading,
    /// WebSocket frames flow.
    Open,
    /// Plain HTTP.
    Http,
    /// Our close frame is out; only the end is awaited.
    Closing,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn {
    fd: OwnedFd,
    /// Whose it is.
    pub(crate) role: Role,
    /// How far it is.
    pub(crate) stage: Stage,
    /// Bytes of an incomplete frame or message.
    pub(crate) rx: Vec<u8>,
    /// Pieces of a fragmented WebSocket message, and its kind.
    pub(crate) pieces: Option<(Opcode, Vec<u8>)>,
    /// Bytes that the kernel did not take yet.
    pub(crate) tx: Vec<u8>,
    /// Does not read for now.
    pub(crate) paused: bool,
    /// The peer has ended its side, or the connection broke: reading goes on until it shows.
    pub(crate) ended: bool,
    /// When the attempt was meant to begin (monotonic nanoseconds).
    pub(crate) since: u64,
}

impl Conn {
    /// A connection at its beginning.
    pub(crate) fn new(fd: OwnedFd, role: Role, stage: Stage, since: u64) -> Self {
        Self {
            fd,
            role,
            stage,
            rx: Vec::new(),
            pieces: None,
            tx: Vec::new(),
            paused: false,
            ended: false,
            since,
        }
    }

    /// The descriptor, valid while the connection lives.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    conn: Option<Conn>,
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

fn split(token: Token) -> (usize, u32) {
    let slot = (token & u64::from(u32::MAX)) as usize;
    (slot, (token >> 32) as u32)
}

impl Slab {
    /// Stores a connection and names it.
    pub(crate) fn insert(&mut self, conn: Conn) -> Token {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("descriptors are far fewer than 2^32")
        });
        let own = &mut self.slots[slot as usize];
        own.conn = Some(conn);
        u64::from(own.generation) << 32 | u64::from(slot)
    }

    /// The connection, if it still exists.
    pub(crate) fn get(&mut self, token: Token) -> Option<&mut Conn> {
        let (slot, generation) = split(token);
        let own = self.slots.get_mut(slot)?;
        if own.generation == generation {
            own.conn.as_mut()
        } else {
            None
        }
    }

    /// Takes it out; dropping it closes the socket.
    pub(crate) fn remove(&mut self, token: Token) -> Option<Conn> {
        let (slot, generation) = split(token);
        let own = self.slots.get_mut(slot)?;
        if own.generation != generation {
            return None;
        }
        let conn = own.conn.take()?;
        own.generation = own.generation.wrapping_add(1);
        self.free.push(slot as u32);
        Some(conn)
    }

    /// Tokens of all connections for which `wanted` holds.
    pub(crate) fn select(&self, wanted: impl Fn(&Conn) -> bool) -> Vec<Token> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.conn.as_ref().is_some_and(&wanted))
            .map(|(index, slot)| u64::from(slot.generation) << 32 | index as u64)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn() -> Conn {
        let (fd, _) = crate::sys::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        Conn::new(fd, Role::Rest, Stage::Http, 0)
    }

    #[test]
    fn a_token_never_names_a_later_connection() {
        let mut slab = Slab::default();
        let first = slab.insert(conn());
        assert!(slab.remove(first).is_some());
        let second = slab.insert(conn());
        assert_ne!(first, second);
        assert!(slab.get(first).is_none() && slab.remove(first).is_none());
        assert!(slab.get(second).is_some());
        assert_eq!(slab.select(|conn| conn.role == Role::Rest), vec![second]);
    }
}
