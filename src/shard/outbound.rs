//! Layer 3: the way out. Frames go from the session's arena straight into the outbox of their connection; overflow and close
//! are decided here. It marks connections for their writers and never waits for one.

use super::conns::{Conns, Marked, PeerKind};
use super::deadlines::{Deadlines, Due};
use super::latency::Records;
use super::outbox::{Frame, Pending, Pool, Pushed};
use super::trail::Trail;
use crate::base::close::CloseReason;
use crate::base::ids::{ConnId, ShardId};
use crate::base::metrics::{Counter, Metrics, Side};
use crate::session::effects::Class;
use crate::wire::frame::Opcode;
use crate::wire::sent_kinds;
use bytes::Bytes;

/// Connections with what they need to be written to. What every message touches stands first.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Outbound {
    pub(super) now_ms: u64,
    pub(super) zero_copy_min: usize,
    pool: Pool,
    /// Connections whose writers have something to do.
    pub(super) marked: Vec<Marked>,
    /// Sockets whose control messages no longer fitted; their sessions are told after the current effects.
    pub(super) overflowed: Vec<ConnId>,
    /// The trail of the turn that goes on.
    pub(super) trail: Trail,
    pub(super) records: Records,
    pub(super) conns: Conns,
    pub(super) deadlines: Deadlines,
    /// Handles to be cut by `net/`.
    pub(super) cuts: Vec<i32>,
    pub(super) handshake_ms: u64,
}

impl Outbound {
    pub(super) fn new(shard: ShardId) -> Self {
        Self {
            conns: Conns::new(shard),
            deadlines: Deadlines::default(),
            records: Records::new(),
            trail: Trail::default(),
            pool: Pool::default(),
            marked: Vec::new(),
            overflowed: Vec::new(),
            cuts: Vec::new(),
            now_ms: 0,
            zero_copy_min: 0,
            handshake_ms: 0,
        }
    }

    /// Queues bytes that stand before all frames: the upgrade's answer. The session exists before they are sent.
    pub(super) fn preface(&mut self, id: ConnId, bytes: &[u8]) {
        if let Some(conn) = self.conns.get(id).filter(|_| !bytes.is_empty()) {
            conn.outbox.preface(bytes, &mut self.pool);
            conn.mark(&mut self.marked);
        }
    }

    /// Queues one frame, copied.
    #[inline]
    pub(super) fn send(
        &mut self,
        id: ConnId,
        op: Opcode,
        class: Class,
        payload: &[u8],
        mark: u32,
        metrics: &mut Metrics,
    ) {
        let Some(conn) = self.conns.get(id) else {
            metrics.inc(Counter::DroppedClosed);
            return;
        };
        let frame = Frame {
            op,
            class,
            payload,
            mark,
        };
        let pushed = conn.outbox.push(frame, &mut self.pool);
        let kind = SentKind::of(conn.kind, op, payload);
        match pushed {
            Pushed::Queued {
                shed: [0, 0, 0],
                marked,
            } => {
                self.trail.note(conn, 1);
                if conn.mark(&mut self.marked) {
                    self.trail
                        .note(std::ptr::without_provenance::<u8>(conn.place), 1);
                }
                if marked {
                    self.records.write_added(mark);
                }
                kind.count(metrics);
            }
            other => self.settle(id, kind, class, other, mark, metrics),
        }
    }

    /// Queues what the app at `by` asks of a phone. `false`: it was refused, and its session is to know.
    #[inline(never)]
    pub(super) fn ask(
        &mut self,
        id: ConnId,
        by: ConnId,
        payload: &[u8],
        mark: u32,
        metrics: &mut Metrics,
    ) -> bool {
        let Some(conn) = self.conns.get(id) else {
            metrics.inc(Counter::DroppedClosed);
            return true;
        };
        let class = Class::Control;
        let frame = Frame {
            op: Opcode::Text,
            class,
            payload,
            mark,
        };
        let asked = conn.outbox.ask(frame, by, &mut self.pool);
        let kind = SentKind::of(conn.kind, Opcode::Text, payload);
        match asked {
            Ok(pushed) => self.settle(id, kind, class, pushed, mark, metrics),
            Err(shed) => {
                count_shed(shed, metrics);
                metrics.inc(Counter::DroppedAsked);
            }
        }
        asked.is_ok()
    }

    /// Queues one frame, referenced when it is large.
    #[inline]
    pub(super) fn send_shared(
        &mut self,
        id: ConnId,
        op: Opcode,
        class: Class,
        payload: &Bytes,
        mark: u32,
        metrics: &mut Metrics,
    ) {
        if payload.len() < self.zero_copy_min {
            return self.send(id, op, class, payload, mark, metrics);
        }
        let Some(conn) = self.conns.get(id) else {
            metrics.inc(Counter::DroppedClosed);
            return;
        };
        let frame = Frame {
            op,
            class,
            payload: &[],
            mark,
        };
        let pushed = conn.outbox.push_reference(frame, payload, &mut self.pool);
        let kind = SentKind::of(conn.kind, op, payload);
        self.settle(id, kind, class, pushed, mark, metrics);
    }

    /// Does what follows from what became of a frame: counts it, marks the connection for its writer, or closes one whose control
    /// messages no longer fit.
    fn settle(
        &mut self,
        id: ConnId,
        kind: SentKind,
        class: Class,
        pushed: Pushed,
        mark: u32,
        metrics: &mut Metrics,
    ) {
        match pushed {
            Pushed::Queued { shed, marked } => {
                count_shed(shed, metrics);
                if marked {
                    self.records.write_added(mark);
                }
                kind.count(metrics);
                self.mark(id);
            }
            Pushed::Dropped(shed) => {
                count_shed(shed, metrics);
                metrics.inc(match class {
                    Class::Audio | Class::Control => Counter::DroppedAudio,
                    Class::Interim => Counter::DroppedInterim,
                    Class::Display => Counter::DroppedDisplay,
                });
            }
            Pushed::Overflow(shed) => {
                count_shed(shed, metrics);
                metrics.inc(Counter::Overloaded);
                self.close(id, CloseReason::Overloaded);
                self.overflowed.push(id);
            }
            Pushed::Closed => metrics.inc(Counter::DroppedClosed),
        }
    }

    /// Starts a close handshake; what is queued before still goes out. The peer has `close_handshake_timeout_ms` to play its
    /// part.
    pub(super) fn close(&mut self, id: ConnId, reason: CloseReason) {
        self.close_frame(id, Some((reason.code(), reason.text())));
    }

    /// Answers the peer's close with the code that it came with, if it had one.
    pub(super) fn answer_close(&mut self, id: ConnId, code: Option<u16>) {
        self.close_frame(id, code.map(|code| (code, "")));
    }

    fn close_frame(&mut self, id: ConnId, close: Option<(u16, &str)>) {
        let at = self.now_ms + self.handshake_ms;
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        if conn.outbox.is_closed() {
            return;
        }
        conn.code = close.map_or(1005, |(code, _)| code);
        conn.outbox.close(close, &mut self.pool);
        conn.mark(&mut self.marked);
        self.watch(id, at);
    }

    /// Wakes the writer of a connection, after this turn.
    pub(super) fn mark(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get(id) {
            conn.mark(&mut self.marked);
        }
    }

    /// Sets the moment at which the shard acts on a connection.
    pub(super) fn watch(&mut self, id: ConnId, at_ms: u64) {
        if let Some(conn) = self.conns.get(id) {
            conn.deadline_ms = at_ms;
            self.deadlines.set(at_ms, Due::Conn(id));
        }
    }

    /// Cuts the TCP connection; its reader and writer then end by themselves.
    pub(super) fn cut(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get(id) {
            conn.deadline_ms = u64::MAX;
            self.cuts.push(conn.handle);
        }
    }

    /// A send is over: settles latency records and takes the buffers back.
    #[inline]
    pub(super) fn sent(&mut self, pending: Box<Pending>, now_ns: u64, metrics: &mut Metrics) {
        self.records.sent(pending.marks(), now_ns, metrics);
        self.pool.put(pending);
    }

    /// Removes a connection whose reader and writer are gone.
    pub(super) fn release(&mut self, id: ConnId, now_ns: u64, metrics: &mut Metrics) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let (kind, code) = (conn.kind, conn.code);
        let (left, moved) = (conn.outbox.take(), conn.leaving);
        if let Some(pending) = left {
            self.sent(pending, now_ns, metrics);
        }
        if !moved && let Some(counter) = closed_counter(kind, code) {
            metrics.inc(counter);
        }
        self.conns.remove(id);
    }
}

fn count_shed(shed: [u32; 3], metrics: &mut Metrics) {
    metrics.add(Counter::DroppedAudio, u64::from(shed[0]));
    metrics.add(Counter::DroppedInterim, u64::from(shed[1]));
    metrics.add(Counter::DroppedDisplay, u64::from(shed[2]));
}

/// Under which side and message type a sent frame is counted.
#[derive(Clone, Copy)]
struct SentKind {
    side: Side,
    place: usize,
}

impl SentKind {
    #[inline]
    fn of(peer: PeerKind, op: Opcode, payload: &[u8]) -> Self {
        let (side, place) = match peer {
            PeerKind::Phone => (Side::Phone, sent_kinds::to_phone(op, payload)),
            PeerKind::App | PeerKind::Echo => (Side::App, sent_kinds::to_app(op, payload)),
        };
        Self { side, place }
    }

    #[inline]
    fn count(self, metrics: &mut Metrics) {
        metrics.frame_sent(self.side, self.place);
    }
}

fn closed_counter(kind: PeerKind, code: u16) -> Option<Counter> {
    Some(match (kind, code) {
        (PeerKind::Echo, _) => return None,
        (PeerKind::Phone, 1000) => Counter::PhoneClosed1000,
        (PeerKind::Phone, 1001) => Counter::PhoneClosed1001,
        (PeerKind::Phone, 1006) => Counter::PhoneClosed1006,
        (PeerKind::Phone, _) => Counter::PhoneClosedOther,
        (PeerKind::App, 1000) => Counter::AppClosed1000,
        (PeerKind::App, 1001) => Counter::AppClosed1001,
        (PeerKind::App, 1006) => Counter::AppClosed1006,
        (PeerKind::App, 1008) => Counter::AppClosed1008,
        (PeerKind::App, _) => Counter::AppClosedOther,
    })
}
