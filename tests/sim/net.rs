//! The network of the simulation: sockets with a delay in each direction, order kept within a socket and nowhere else.

use bytes::Bytes;
use prism::base::ids::ConnId;
use prism::shard::outbox::Pending;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a peer sends.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    Text(String),
    Binary(Bytes),
    Ping,
    Pong(Bytes),
    Close(u16, String),
}

/// What the server sends.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    Text(Value),
    Binary(Bytes),
    Ping(Bytes),
    Pong,
    Close(u16, String),
}

impl Down {
    /// The `type` of a text, else nothing.
    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Text(value) => value["type"].as_str().unwrap_or_default(),
            _ => "",
        }
    }
}

/// Whose socket it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Party {
    Phone(usize),
    App(usize),
    /// An intruder, or a socket that never says who it is.
    Stray,
}

/// One socket, seen by both ends.
#[derive(Debug)]
pub(crate) struct Sock {
    pub(crate) party: Party,
    /// The user it belongs to (claims to, for strays).
    pub(crate) user: String,
    /// Empty for phones.
    pub(crate) package: String,
    pub(crate) delay_ms: u64,
    pub(crate) up_ms: u64,
    pub(crate) down_ms: u64,
    /// Nothing gets through any more, and neither end knows.
    pub(crate) silent: bool,
    /// Something on the way answers or swallows protocol pings.
    pub(crate) pongs_lost: bool,
    /// The peer reads nothing until then.
    pub(crate) stalled_until_ms: u64,
    /// The peer has gone.
    pub(crate) peer_left: bool,
    /// The server has ended its reading side.
    pub(crate) ended: bool,
    /// The server released it whole.
    pub(crate) released: bool,
    pub(crate) closed_by_server: Option<(u16, String)>,
    pub(crate) opened_ms: u64,
    /// How much may wait for an app, by the settings when it came.
    pub(crate) bound: u64,
    pub(crate) last_rx_ms: u64,
}

impl Sock {
    /// Open, as far as the server can know.
    pub(crate) fn is_open(&self) -> bool {
        !self.ended && self.closed_by_server.is_none()
    }
}

/// All sockets of a run.
#[derive(Default, Debug)]
pub(crate) struct Net {
    pub(crate) socks: BTreeMap<ConnId, Sock>,
    handles: BTreeMap<i32, ConnId>,
    next_handle: i32,
}

impl Net {
    /// A handle for a socket about to be opened.
    pub(crate) fn handle(&mut self) -> i32 {
        self.next_handle += 1;
        self.next_handle
    }

    pub(crate) fn add(&mut self, conn: ConnId, handle: i32, sock: Sock) {
        self.handles.insert(handle, conn);
        self.socks.insert(conn, sock);
    }

    pub(crate) fn by_handle(&self, handle: i32) -> Option<ConnId> {
        self.handles.get(&handle).copied()
    }

    pub(crate) fn get(&self, conn: ConnId) -> Option<&Sock> {
        self.socks.get(&conn)
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Sock> {
        self.socks.get_mut(&conn)
    }

    /// Open sockets of a party for a user.
    pub(crate) fn open_of(&self, party: Party, user: &str) -> Vec<ConnId> {
        self.socks
            .iter()
            .filter(|(_, sock)| sock.party == party && sock.user == user && !sock.peer_left)
            .map(|(conn, _)| *conn)
            .collect()
    }
}

/// The frames of one send. The server never fragments and never masks.
pub(crate) fn frames(pending: &Pending) -> Vec<Down> {
    let own = pending.bytes();
    let mut bytes = Vec::with_capacity(own.len());
    let mut from = 0;
    for reference in pending.references() {
        bytes.extend_from_slice(&own[from..reference.at]);
        bytes.extend_from_slice(&reference.payload);
        from = reference.at;
    }
    bytes.extend_from_slice(&own[from..]);
    let mut list = Vec::new();
    let mut rest = &bytes[..];
    while let [first, second, after @ ..] = rest {
        assert!(second & 0x80 == 0, "a server masks nothing");
        let (length, after) = match second & 0x7f {
            126 => (
                usize::from(u16::from_be_bytes([after[0], after[1]])),
                &after[2..],
            ),
            127 => (
                u64::from_be_bytes(after[..8].try_into().expect("eight bytes")) as usize,
                &after[8..],
            ),
            short => (usize::from(short), after),
        };
        let (payload, after) = after.split_at(length);
        rest = after;
        list.push(frame(first & 0x0f, payload));
    }
    list
}

fn frame(opcode: u8, payload: &[u8]) -> Down {
    let owned = Bytes::copy_from_slice(payload);
    match opcode {
        1 => Down::Text(serde_json::from_slice(payload).expect("every text sent is JSON")),
        2 => Down::Binary(owned),
        8 => match payload {
            [high, low, reason @ ..] => Down::Close(
                u16::from_be_bytes([*high, *low]),
                String::from_utf8_lossy(reason).into_owned(),
            ),
            _ => Down::Close(1005, String::new()),
        },
        9 => Down::Ping(owned),
        10 => Down::Pong,
        other => panic!("opcode {other} was sent"),
    }
}
