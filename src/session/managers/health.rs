//! Layer 2, manager: liveness of the session's sockets (behaviour.md §9): who was heard when, pings and their answers.
//! Decides who is dead; the heartbeat flow does the rest.

use crate::base::footprint::{flat, owns};
use crate::base::ids::{ConnId, Package};
use crate::session::event::CloseInfo;
use std::collections::VecDeque;

flat!(Peer);
owns! {
    Row: latencies;
    Ended: peer;
    Health: rows, ended;
}

/// Whose socket it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peer {
    /// The phone's.
    Phone,
    /// An app server's.
    App(Package),
}

/// Whether a socket has shown that its peer answers pings or sends them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Not yet: it gets the transport's idle limit only.
    None,
    /// A protocol pong or an application-level ping came.
    Proven,
}

/// Why a connection ended, for diagnostics (behaviour.md §9.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndReason {
    /// 1000 or no code.
    NormalClosure,
    /// The transport's idle limit.
    Timeout,
    /// 1006.
    NetworkError,
    /// 1001 from the peer.
    PeerGoing,
    /// The liveness rule.
    HealthMonitor,
    /// A deliberate stop.
    ExplicitStop,
    /// A newer socket took its place.
    Superseded,
    /// Anything else.
    Unknown,
}

impl EndReason {
    /// The word of behaviour.md §9.5.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NormalClosure => "normal_closure",
            Self::Timeout => "timeout",
            Self::NetworkError => "network_error",
            Self::PeerGoing => "server_restart",
            Self::HealthMonitor => "health_monitor",
            Self::ExplicitStop => "explicit_stop",
            Self::Superseded => "superseded",
            Self::Unknown => "unknown",
        }
    }

    /// From the end of a socket.
    #[must_use]
    pub fn from_close(info: &CloseInfo) -> Self {
        match info.code {
            1000 | 1005 => Self::NormalClosure,
            1001 => Self::PeerGoing,
            1006 if info.reason == CloseInfo::IDLE => Self::Timeout,
            1006 => Self::NetworkError,
            _ => Self::Unknown,
        }
    }
}

/// One tracked socket.
#[derive(Debug)]
pub struct Row {
    /// Socket.
    pub conn: ConnId,
    /// The peer at its other end.
    pub peer: Peer,
    /// `mono_ms` of the last inbound anything.
    pub last_seen_ms: u64,
    /// Capability of its peer.
    pub proof: Proof,
    /// `mono_ms` of its registration.
    pub connected_ms: u64,
    /// `mono_ms` of the last matching pong; 0 = none.
    pub last_pong_ms: u64,
    /// Pings without a matching pong since the last one.
    pub missed: u32,
    /// Inbound messages.
    pub messages_in: u64,
    /// Their payload bytes.
    pub bytes_in: u64,
    /// Frames sent, and their bytes: as the shard said last, which is before anybody looks.
    pub sent: (u64, u64),
    /// Already reported in mode `observe`.
    pub reported: bool,
    ping: Option<([u8; 8], u64)>,
    latencies: VecDeque<u32>,
}

impl Row {
    /// Mean round trip of the kept samples (ms).
    #[must_use]
    pub fn latency_ms(&self) -> Option<u64> {
        let count = self.latencies.len() as u64;
        let sum: u64 = self.latencies.iter().map(|ms| u64::from(*ms)).sum();
        (count > 0).then(|| sum / count)
    }

    /// Largest of the kept samples (ms).
    #[must_use]
    pub fn latency_max_ms(&self) -> Option<u64> {
        self.latencies.iter().max().map(|ms| u64::from(*ms))
    }
}

/// A socket that is tracked no longer.
#[derive(Debug)]
pub struct Ended {
    /// Socket.
    pub conn: ConnId,
    /// The peer at its other end.
    pub peer: Peer,
    /// Why.
    pub reason: EndReason,
    /// How long it lived (ms).
    pub lived_ms: u64,
    /// `mono_ms` of its end.
    pub ended_ms: u64,
}

/// Messages of the socket heard last that are not in its row yet.
#[derive(Default)]
struct Heard {
    conn: Option<ConnId>,
    last_ms: u64,
    messages: u64,
    bytes: u64,
}

/// All tracked sockets of the session. What every message touches stands last, beside that of its neighbours (`Managers`).
#[derive(Default)]
#[repr(C)]
pub struct Health {
    rows: Vec<Row>,
    /// `mono_ms` of the last check; 0 = none yet.
    pub last_check_ms: u64,
    /// Sockets found dead.
    pub timeouts: u64,
    ended: VecDeque<Ended>,
    /// A socket often sends several messages in a row, and its row lies on another cache line: [`Health::settle`] writes them.
    heard: Heard,
}

/// Disconnects remembered for diagnostics.
const ENDED_MAX: usize = 10;

impl Health {
    /// Starts tracking a socket.
    pub fn register(&mut self, conn: ConnId, peer: Peer, now_ms: u64) {
        self.settle();
        self.rows.retain(|row| row.conn != conn);
        self.rows.push(Row {
            conn,
            peer,
            last_seen_ms: now_ms,
            proof: Proof::None,
            connected_ms: now_ms,
            last_pong_ms: 0,
            missed: 0,
            messages_in: 0,
            bytes_in: 0,
            sent: (0, 0),
            reported: false,
            ping: None,
            latencies: VecDeque::new(),
        });
    }

    /// Stops tracking a socket.
    pub fn unregister(&mut self, conn: ConnId, reason: EndReason, now_ms: u64) {
        if let Some(index) = self.rows.iter().position(|row| row.conn == conn) {
            let row = self.rows.remove(index);
            if self.ended.len() == ENDED_MAX {
                self.ended.pop_front();
            }
            self.ended.push_back(Ended {
                conn,
                peer: row.peer,
                reason,
                lived_ms: now_ms.saturating_sub(row.connected_ms),
                ended_ms: now_ms,
            });
        }
    }

    /// Where every message looks.
    #[must_use]
    pub fn place(&self) -> *const u8 {
        (&raw const self.heard).cast()
    }

    /// A message or control frame arrived on a socket, with this many bytes of payload.
    #[inline]
    pub fn seen(&mut self, conn: ConnId, now_ms: u64, bytes: usize) {
        if self.heard.conn != Some(conn) {
            self.settle();
            self.heard.conn = Some(conn);
        }
        self.heard.last_ms = now_ms;
        self.heard.messages += 1;
        self.heard.bytes += bytes as u64;
    }

    /// Bytes arrived on a socket, perhaps less than a whole frame.
    pub fn bytes_came(&mut self, conn: ConnId, at_ms: u64) {
        if let Some(row) = self.row_mut(conn)
            && row.last_seen_ms < at_ms
        {
            row.last_seen_ms = at_ms;
            row.reported = false;
        }
    }

    /// Sets the messages and bytes sent on a socket since it was opened.
    pub fn bytes_went(&mut self, conn: ConnId, messages: u64, bytes: u64) {
        if let Some(row) = self.row_mut(conn) {
            row.sent = (messages, bytes);
        }
    }

    /// Writes what was heard last into its row.
    pub fn settle(&mut self) {
        let Heard {
            conn,
            last_ms,
            messages,
            bytes,
        } = std::mem::take(&mut self.heard);
        let row = self.rows.iter_mut().find(|row| Some(row.conn) == conn);
        if let Some(row) = row.filter(|_| messages > 0) {
            row.last_seen_ms = last_ms;
            row.messages_in += messages;
            row.bytes_in += bytes;
            row.reported = false;
        }
    }

    /// An application-level ping came.
    pub fn prove(&mut self, conn: ConnId) {
        if let Some(row) = self.row_mut(conn) {
            row.proof = Proof::Proven;
        }
    }

    /// A protocol pong; the round trip in ms when it answers the last ping.
    pub fn pong(&mut self, conn: ConnId, payload: &[u8], now_ms: u64, ring: usize) -> Option<u64> {
        let row = self.row_mut(conn)?;
        let (id, sent_ms) = row.ping?;
        if id != *payload {
            return None;
        }
        let latency = now_ms.saturating_sub(sent_ms);
        row.ping = None;
        row.proof = Proof::Proven;
        row.missed = 0;
        row.last_pong_ms = now_ms;
        if row.latencies.len() >= ring {
            row.latencies.pop_front();
        }
        row.latencies
            .push_back(latency.min(u64::from(u32::MAX)) as u32);
        Some(latency)
    }

    /// A ping is being sent.
    pub fn pinged(&mut self, conn: ConnId, id: [u8; 8], now_ms: u64) {
        if let Some(row) = self.row_mut(conn)
            && row.ping.replace((id, now_ms)).is_some()
        {
            row.missed += 1;
        }
    }

    /// All rows. Call [`Health::settle`] before reading their figures.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// One row, to change.
    pub fn row_mut(&mut self, conn: ConnId) -> Option<&mut Row> {
        self.settle();
        self.rows.iter_mut().find(|row| row.conn == conn)
    }

    /// Sockets silent for longer than `limit` gives for them (`None` = no limit), with their silence (ms).
    #[must_use]
    pub fn silent(
        &mut self,
        now_ms: u64,
        limit: impl Fn(&Row) -> Option<u64>,
    ) -> Vec<(ConnId, u64)> {
        self.settle();
        self.rows
            .iter()
            .filter_map(|row| {
                let silence = now_ms.saturating_sub(row.last_seen_ms);
                (silence > limit(row)?).then_some((row.conn, silence))
            })
            .collect()
    }

    /// For how long nothing at all came from a socket (ms); `None` for one that is not tracked.
    #[must_use]
    pub fn silence_ms(&self, conn: ConnId, now_ms: u64) -> Option<u64> {
        let row = self.rows.iter().find(|row| row.conn == conn)?;
        let heard_ms = match self.heard.conn {
            Some(speaker) if speaker == conn => self.heard.last_ms.max(row.last_seen_ms),
            _ => row.last_seen_ms,
        };
        Some(now_ms.saturating_sub(heard_ms))
    }

    /// The last disconnects, oldest first.
    pub fn ended(&self) -> impl Iterator<Item = &Ended> {
        self.ended.iter()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.settle();
        self.rows.clear();
    }
}
