//! Layer 3: the connections of one shard: who owns each, what waits on it, and when the shard itself must act on it.
//! It holds no socket: `handle` is a number that `net/` understands.

use super::admission::Candidate;
use super::outbox::{Outbox, Pending};
use crate::base::ids::{ConnId, Package, ShardId, UserId};
use crate::base::settings::Settings;
use std::collections::VecDeque;

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerKind {
    /// A phone.
    Phone,
    /// An app server.
    App,
    /// A conformance suite.
    Echo,
}

/// To whom its frames go.
#[derive(Debug)]
pub(super) enum Role {
    /// A session, by slot.
    Session(u32),
    /// An app socket that has not named itself.
    Fresh(Box<Candidate>),
    /// An app socket that waits for its user.
    Parked(Box<ParkedSocket>),
    /// Back to the sender.
    Echo,
    /// Nobody: it is being closed.
    Detached,
}

/// A parked socket: where it waits ([`super::parked`]).
#[derive(Debug)]
pub(super) struct ParkedSocket {
    pub(super) user: UserId,
    pub(super) package: Package,
    /// Unparsable messages in a row.
    pub(super) invalid_json: u32,
}

/// One connection. The first 64 bytes are all that a relayed message touches of sender and receiver.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) role: Role,
    pub(super) outbox: Outbox,
    /// [`LinkRef::place`].
    pub(super) place: usize,
    /// [`LinkRef::token`].
    pub(super) token: u32,
    /// Bytes sent that are not yet added to `sent`, which lies on another cache line.
    fresh_bytes: u32,
    fresh_messages: u16,
    /// Stands in the list of connections whose writers have something to do.
    pub(super) marked: bool,
    pub(super) kind: PeerKind,
    pub(super) reader_alive: bool,
    /// Broke the protocol: what is queued goes out, then our side ends at once; the peer's is only drained.
    pub(super) failed: bool,
    pub(super) writer_alive: bool,
    /// The writer must leave the socket open: it goes to another shard.
    pub(super) leaving: bool,
    pub(super) last_rx_ms: u64,
    /// When the shard acts on it: init or hand-shake time limit; `u64::MAX` for never.
    pub(super) deadline_ms: u64,
    /// What went to its writer before.
    sent: Sent,
    pub(super) handle: i32,
    /// Close code for the counters: ours, the peer's or 1006.
    pub(super) code: u16,
    /// For the liveness rule of [`super::heartbeat`].
    pub(super) proof: Proof,
}

/// Whether an app socket that waits has shown that its peer answers pings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Proof {
    /// Not yet.
    None,
    /// It has.
    Proven,
    /// Its silence was reported since.
    Reported,
}

const _: () = assert!(std::mem::offset_of!(Conn, last_rx_ms) <= 64);

impl Conn {
    /// An app socket that no session owns.
    pub(super) fn waits(&self) -> bool {
        matches!(self.role, Role::Fresh(_) | Role::Parked(_))
    }

    /// Puts the connection on the list of those whose writers have something to do after this turn; `false`: it stood there already.
    #[inline]
    pub(super) fn mark(&mut self, marked: &mut Vec<Marked>) -> bool {
        if std::mem::replace(&mut self.marked, true) {
            return false;
        }
        marked.push(Marked {
            id: self.id,
            token: self.token,
        });
        true
    }

    /// Its writer took these frames.
    #[inline]
    pub(super) fn count(&mut self, pending: &Pending) {
        let (messages, bytes) = (pending.frames(), pending.frame_bytes());
        let more = (u16::try_from(messages).ok(), u32::try_from(bytes).ok());
        if let (Some(messages), Some(bytes)) = more
            && let Some(messages) = self.fresh_messages.checked_add(messages)
            && let Some(bytes) = self.fresh_bytes.checked_add(bytes)
        {
            (self.fresh_messages, self.fresh_bytes) = (messages, bytes);
            return;
        }
        self.sent = self.sent();
        (self.fresh_messages, self.fresh_bytes) = (0, 0);
        self.sent.messages += messages as u64;
        self.sent.bytes += bytes as u64;
    }

    /// What went to its writer so far.
    pub(super) fn sent(&self) -> Sent {
        Sent {
            messages: self.sent.messages + u64::from(self.fresh_messages),
            bytes: self.sent.bytes + u64::from(self.fresh_bytes),
        }
    }
}

/// Frames of every kind and their bytes, headers included.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Sent {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// Where `net/` keeps its side of a connection.
#[derive(Clone, Copy, Default, Debug)]
pub struct LinkRef {
    /// Its number.
    pub token: u32,
    /// Address of what a writer reads first, to be fetched ahead; 0 for none. Nothing is read through it.
    pub place: usize,
}

/// A connection whose writer has something to do ([`super::Shard::next_write`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marked {
    /// The connection.
    pub id: ConnId,
    /// Its [`LinkRef::token`].
    pub token: u32,
}

const SLOT_BITS: u32 = 20;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const GENERATION_MASK: u32 = (1 << 28) - 1;
/// This many other slots are freed before a freed slot is used again, so that stale ids stay recognisable for long.
const RESTING_SLOTS: usize = 64;

/// The table. An id holds slot and generation, so that a look-up is an index and a comparison.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Conns {
    slots: Vec<Option<Conn>>,
    generations: Vec<u32>,
    free: VecDeque<u32>,
    live: usize,
    shard: ShardId,
}

impl Conns {
    pub(super) fn new(shard: ShardId) -> Self {
        Self {
            shard,
            slots: Vec::new(),
            generations: Vec::new(),
            free: VecDeque::new(),
            live: 0,
        }
    }

    /// A new connection; `None` when the table is full (2^20 sockets on one shard).
    pub(super) fn insert(
        &mut self,
        kind: PeerKind,
        role: Role,
        (handle, link): (i32, LinkRef),
        now_ms: u64,
        cfg: &Settings,
    ) -> Option<ConnId> {
        let at = if self.free.len() > RESTING_SLOTS {
            self.free.pop_front()?
        } else if (self.slots.len() as u64) <= SLOT_MASK {
            self.slots.push(None);
            self.generations.push(0);
            (self.slots.len() - 1) as u32
        } else {
            self.free.pop_front()?
        };
        let generation = &mut self.generations[at as usize];
        *generation = (*generation + 1) & GENERATION_MASK;
        let number = u64::from(*generation) << SLOT_BITS | u64::from(at);
        let id = ConnId::new(self.shard, number);
        let limit = match kind {
            PeerKind::Phone => cfg.connections.ws_send_queue_bytes_phone,
            PeerKind::App => cfg.connections.ws_send_queue_bytes_app,
            PeerKind::Echo => cfg.connections.ws_max_message_bytes.saturating_mul(4),
        };
        self.slots[at as usize] = Some(Conn {
            id,
            kind,
            role,
            outbox: Outbox::new(limit as usize),
            place: link.place,
            token: link.token,
            fresh_bytes: 0,
            fresh_messages: 0,
            marked: false,
            sent: Sent::default(),
            handle,
            last_rx_ms: now_ms,
            deadline_ms: u64::MAX,
            reader_alive: true,
            failed: false,
            writer_alive: true,
            leaving: false,
            code: 1006,
            proof: Proof::None,
        });
        self.live += 1;
        Some(id)
    }

    #[inline]
    pub(super) fn get(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slots
            .get_mut((id.0 & SLOT_MASK) as usize)?
            .as_mut()
            .filter(|conn| conn.id == id)
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        self.get(id)?;
        let at = (id.0 & SLOT_MASK) as usize;
        let conn = self.slots[at].take()?;
        self.free.push_back(at as u32);
        self.live -= 1;
        Some(conn)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Conn> {
        self.slots.iter().filter_map(Option::as_ref)
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::Pool;
    use super::*;

    #[test]
    fn what_went_out_is_counted_beyond_the_small_counters() {
        let cfg = Settings::default();
        let mut conns = Conns::new(ShardId(0));
        let place = (0, LinkRef::default());
        let id = conns.insert(PeerKind::App, Role::Echo, place, 1, &cfg);
        let conn = conns.get(id.expect("room")).expect("there");
        let mut pool = Pool::default();
        conn.outbox.preface(b"101", &mut pool);
        conn.outbox.close(Some((1000, "")), &mut pool);
        let pending = conn.outbox.take().expect("a close frame");
        for _ in 0..200_000 {
            conn.count(&pending);
        }
        let sent = Sent {
            messages: 200_000,
            bytes: 800_000,
        };
        assert_eq!(conn.sent(), sent);
    }

    #[test]
    fn an_id_of_a_closed_connection_finds_nobody_else() {
        let cfg = Settings::default();
        let mut conns = Conns::new(ShardId(3));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..500 {
            let id = conns
                .insert(PeerKind::App, Role::Echo, (0, LinkRef::default()), 1, &cfg)
                .expect("room");
            assert!(seen.insert(id), "{id:?} was given twice");
            assert!(conns.get(id).is_some());
            assert!(conns.remove(id).is_some());
            assert!(conns.get(id).is_none());
        }
        assert_eq!(conns.len(), 0);
        assert!(
            conns.slots.len() <= RESTING_SLOTS + 2,
            "slots are used again"
        );
    }
}
