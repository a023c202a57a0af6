//! Layer 2, manager: the phone's sockets: the current one, superseded ones, what arrived too early, and churn figures
//! (behaviour.md §1.5–1.8, 1.12). Holds state only.

use crate::base::footprint::{Footprint, flat, owns};
use crate::base::ids::{ConnId, ReplyTo};
use crate::base::rarely::{PerSecond, Rarely};
use crate::session::event::{PhoneFlags, UdpSecret};
use crate::session::rest::Call;
use bytes::Bytes;
use std::collections::VecDeque;

flat!(PhoneFlags);
owns! { Phone: superseded, last_close_reason, held, halves, held_calls, unacked; }

impl Footprint for Held {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(_, text) => text.len(),
            Self::Audio(_, data) => data.len(),
        }
    }
}

/// What the current socket has sent since its adoption, or the last one when it is gone; decides the role swap of
/// behaviour.md §1.6 step 5.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SentSoFar {
    /// Nothing but `ping` and `pong`.
    #[default]
    OnlyPings,
    /// Anything else.
    More,
}

/// A frame that waits for the user record.
#[derive(Debug)]
pub enum Held {
    /// Text.
    Text(ConnId, Box<str>),
    /// Audio.
    Audio(ConnId, Bytes),
}

/// Most bytes of frames that wait, and of calls: what a phone says within the seconds that a store may take, many times over.
pub const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What became of a frame that was to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HoldOutcome {
    /// It waits.
    Held,
    /// It waits; older audio was dropped for it.
    DroppedAudio,
    /// It was dropped.
    DroppedNewest,
}

/// The phone's sockets. What every message touches stands first.
#[derive(Default)]
#[repr(C)]
pub struct Phone {
    /// Current socket while open.
    pub current: Option<ConnId>,
    /// `mono_ms` of the last message.
    pub last_message_ms: u64,
    /// What the current socket has sent; still what the last one sent when none is open.
    pub sent_so_far: SentSoFar,
    /// `ping`s of whichever socket was the current one, as a clock of what arrived: see [`Phone::has_got`].
    pub pings: u32,
    /// Wishes of the current socket.
    pub flags: PhoneFlags,
    /// Superseded sockets, oldest first.
    pub superseded: Vec<(ConnId, PhoneFlags)>,
    /// When the last socket closed (`mono_ms`), while none is open.
    pub disconnected_ms: Option<u64>,
    /// Returns within the grace.
    pub reconnects: u32,
    /// Code of the last close.
    pub last_close_code: Option<u16>,
    /// Its reason.
    pub last_close_reason: String,
    /// Length of the last absence (ms).
    pub last_downtime_ms: u64,
    /// `mono_ms` of the last pong, of the protocol or the application.
    pub last_pong_ms: u64,
    /// Key for encrypted UDP audio; made once per session, on the first request.
    pub udp_key: Option<UdpSecret>,
    /// Hash that the phone's audio datagrams carry, once it announced one.
    pub udp_hash: Option<u32>,
    /// Probes answered of late.
    pub udp_probes: PerSecond,
    /// Lines about hashes that are not the user's.
    pub odd_hashes: Rarely,
    /// Frames that wait for the user record.
    pub held: VecDeque<Held>,
    /// Sockets whose audio had to go in the middle of a sample before the record was there, and its first byte.
    halves: Vec<(ConnId, u8)>,
    /// REST calls that wait for it.
    held_calls: VecDeque<(ReplyTo, Call)>,
    /// Sockets adopted before the user record was there; each is owed one ack.
    pub unacked: Vec<ConnId>,
}

impl Phone {
    /// The current socket, if it is open.
    #[must_use]
    pub fn open(&self) -> Option<ConnId> {
        self.current
    }

    /// Whether the phone has what was sent on its current socket when `pings` were so many. It sends no further `ping` before it has
    /// the `pong` of the last, and drops a socket that brings none (behaviour.md §1.6): the second one after it says so.
    #[must_use]
    pub fn has_got(&self, pings: u32) -> bool {
        self.pings.wrapping_sub(pings) >= 2
    }

    /// Whether this is one of the user's superseded sockets.
    #[must_use]
    pub fn is_superseded(&self, conn: ConnId) -> bool {
        self.superseded.iter().any(|row| row.0 == conn)
    }

    /// Whether the socket is the phone's, current or superseded.
    #[must_use]
    pub fn knows(&self, conn: ConnId) -> bool {
        self.current == Some(conn) || self.is_superseded(conn)
    }

    /// Makes `conn` the current socket. Returns superseded sockets beyond `keep`, oldest first, for cutting.
    pub fn install(&mut self, conn: ConnId, flags: PhoneFlags, keep: usize) -> Vec<ConnId> {
        if let Some(old) = self.current.replace(conn) {
            self.superseded.push((old, self.flags));
        }
        self.flags = flags;
        self.sent_so_far = SentSoFar::OnlyPings;
        let surplus = self.superseded.len().saturating_sub(keep);
        self.superseded
            .drain(..surplus)
            .map(|(conn, _)| conn)
            .collect()
    }

    /// A superseded socket and the current one exchange their roles.
    pub fn swap_roles(&mut self, conn: ConnId) {
        let Some(index) = self.superseded.iter().position(|row| row.0 == conn) else {
            return;
        };
        let Some(current) = self.current.replace(conn) else {
            return;
        };
        let flags = std::mem::replace(&mut self.flags, self.superseded[index].1);
        self.superseded[index] = (current, flags);
        self.sent_so_far = SentSoFar::More;
    }

    /// Forgets a superseded socket; says whether it was one.
    pub fn drop_superseded(&mut self, conn: ConnId) -> bool {
        let before = self.superseded.len();
        self.superseded.retain(|row| row.0 != conn);
        self.unacked.retain(|row| *row != conn);
        self.halves.retain(|row| row.0 != conn);
        before != self.superseded.len()
    }

    /// The current socket is gone. What it sent before still counts.
    pub fn lose_current(&mut self, now_ms: u64) {
        if let Some(conn) = self.current.take() {
            self.unacked.retain(|row| *row != conn);
            self.halves.retain(|row| row.0 != conn);
        }
        self.disconnected_ms = Some(now_ms);
    }

    /// Keeps a frame until the user record is there; at `max` the oldest audio goes, else the newest message.
    /// So it is beyond [`HELD_BYTES_MAX`].
    pub fn hold(&mut self, frame: Held, max: usize) -> HoldOutcome {
        let is_audio = |held: &Held| matches!(held, Held::Audio(..));
        let mut bytes: usize = self.held.iter().map(Footprint::heap_bytes).sum();
        let texts = self.held.iter().filter(|held| !is_audio(held));
        let texts: usize = texts.map(Footprint::heap_bytes).sum();
        if texts + frame.heap_bytes() > HELD_BYTES_MAX {
            self.lose(&frame);
            return HoldOutcome::DroppedNewest;
        }
        let mut outcome = HoldOutcome::Held;
        while self.held.len() >= max || bytes + frame.heap_bytes() > HELD_BYTES_MAX {
            let oldest = self.held.iter().position(is_audio);
            let Some(dropped) = oldest.and_then(|index| self.held.remove(index)) else {
                self.lose(&frame);
                return HoldOutcome::DroppedNewest;
            };
            bytes -= dropped.heap_bytes();
            self.lose(&dropped);
            outcome = HoldOutcome::DroppedAudio;
        }
        self.held.push_back(frame);
        outcome
    }

    /// Keeps a REST call until the user record is there; `false`: `max` wait, or [`HELD_BYTES_MAX`]. One that is larger by itself
    /// waits alone.
    pub fn hold_call(&mut self, reply: ReplyTo, call: Call, max: usize) -> bool {
        let waiting = self.held_calls.iter().map(|(_, call)| call.heap_bytes());
        let bytes: usize = waiting.sum::<usize>() + call.heap_bytes();
        let has_room =
            self.held_calls.is_empty() || self.held_calls.len() < max && bytes <= HELD_BYTES_MAX;
        if has_room {
            self.held_calls.push_back((reply, call));
        }
        has_room
    }

    /// The next call that waited; after the last one nothing is kept for more.
    pub fn next_call(&mut self) -> Option<(ReplyTo, Call)> {
        let next = self.held_calls.pop_front();
        if next.is_none() {
            self.held_calls = VecDeque::new();
        }
        next
    }

    /// A frame that waited goes. Audio that follows must find the first half of its first sample all the same.
    fn lose(&mut self, frame: &Held) {
        let Held::Audio(conn, data) = frame else {
            return;
        };
        let Some(last) = data.last() else { return };
        let before = self.halves.len();
        self.halves.retain(|row| row.0 != *conn);
        let had_half = self.halves.len() < before;
        if had_half != (data.len() % 2 == 1) {
            self.halves.push((*conn, *last));
        }
    }

    /// What lost audio of the current socket left of a sample. Asked once, when nothing waits any longer.
    pub fn take_half(&mut self) -> Option<u8> {
        let halves = std::mem::take(&mut self.halves);
        let own = halves.iter().find(|row| Some(row.0) == self.current);
        own.map(|row| row.1)
    }
}
