//! Layer 3: what arrives on a connection. One turn per read; the frames of a turn go to the connection's owner in order.

use super::conns::{PeerKind, Role};
use super::entries::SESSION_LINES;
use super::latency::What;
use super::trail::Trail;
use super::{Shard, admission};
use crate::base::clock::Now;
use crate::base::close::CloseReason;
use crate::base::ids::{ConnId, UserId};
use crate::base::metrics::{Counter, Timing};
use crate::session::effects::Class;
use crate::session::event::{Chunk, CloseInfo, Event, Sender};
use crate::wire::frame::{Lent, Message, Opcode, ProtocolError, Utf8Bytes};
use crate::wire::json;
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the reader does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadStep {
    /// Goes on.
    Continue,
    /// Goes on reading, but throws away what comes: the connection is being closed.
    Discard,
    /// Stops reading.
    Stop,
    /// Hands the connection, this message and what is behind it to the home shard of this user.
    Leave(UserId, Utf8Bytes),
}

impl Shard {
    /// A read brought bytes: `now_ns` is the one clock reading of this turn.
    #[inline]
    pub fn begin_turn(&mut self, id: ConnId, now: Now, now_ns: u64) {
        self.at(now);
        self.out.records.begin(now_ns);
        self.out.trail.clear();
        if let Some(conn) = self.out.conns.get(id) {
            conn.last_rx_ms = now.mono_ms;
            self.out.trail.note(conn, 2);
        }
    }

    /// The turn is over; says where it went. `now_ns` is called only if the turn handled more than audio.
    #[inline]
    pub fn end_turn(&mut self, id: ConnId, now_ns: impl FnOnce() -> u64) -> &Trail {
        if let Some(took_ns) = self.out.records.end(&mut self.workspace.metrics, now_ns) {
            self.workspace.metrics.time(Timing::TurnLength, took_ns);
            if let Some(kinds) = self.out.records.take_slow_turn(took_ns) {
                self.tell_slow(id, took_ns / 1_000_000, &kinds);
            }
        }
        &self.out.trail
    }

    /// A turn with text took long: whose it was and what it brought (behaviour.md §10.4).
    #[cold]
    fn tell_slow(&mut self, id: ConnId, ms: u64, kinds: &[What]) {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        let kinds = names.join(" ");
        let at = match self.out.conns.get(id).map(|conn| &conn.role) {
            Some(Role::Session(at)) => Some(*at),
            // It named itself, was closed or has no session: nobody's.
            _ => None,
        };
        let shard = self.id.0;
        match at.and_then(|at| self.entries.get(at)) {
            Some(entry) => {
                let session = &entry.session;
                let correlation_id = session.correlation(self.now);
                tracing::warn!(user = session.user.log_tag(), %correlation_id, conn = %id.tag(), shard, kinds, ms, "slow message");
            }
            None => tracing::warn!(conn = %id.tag(), shard, kinds, ms, "slow message"),
        }
    }

    /// Whether nobody knows yet who this is.
    #[must_use]
    pub fn is_stranger(&mut self, id: ConnId) -> bool {
        let conn = self.out.conns.get(id);
        conn.is_some_and(|conn| matches!(conn.role, Role::Fresh(_)))
    }

    /// Whether messages of this connection may be lent to [`Shard::lent`]: texts all, binary ones below so many bytes.
    #[inline]
    pub fn lends(&mut self, id: ConnId) -> Option<usize> {
        let below = self.out.zero_copy_min;
        match self.out.conns.get(id) {
            Some(conn) if matches!(conn.role, Role::Session(_)) => Some(match conn.kind {
                PeerKind::Phone => below,
                PeerKind::App | PeerKind::Echo => 0,
            }),
            _ => None,
        }
    }

    /// Handles one message of a connection for which [`Shard::lends`] just said so: its bytes stay where they are.
    #[inline]
    pub fn lent(&mut self, id: ConnId, message: Lent<'_>) {
        let Some(conn) = self.out.conns.get(id) else {
            return;
        };
        let Role::Session(at) = conn.role else {
            return;
        };
        let kind = conn.kind;
        self.count_in(kind);
        match message {
            Lent::Text(text) => self.text(at, id, kind, text),
            Lent::Binary(data) => self.audio(at, id, Chunk::Lent(data)),
        }
    }

    #[inline]
    fn count_in(&mut self, kind: PeerKind) {
        self.workspace.metrics.inc(match kind {
            PeerKind::Phone => Counter::PhoneMessagesIn,
            PeerKind::App | PeerKind::Echo => Counter::AppMessagesIn,
        });
    }

    /// A text for the session.
    #[inline]
    fn text(&mut self, at: u32, id: ConnId, kind: PeerKind, text: &str) {
        let from = match kind {
            PeerKind::Phone => Sender::Phone,
            PeerKind::App | PeerKind::Echo => Sender::App,
        };
        self.drive(at, |session, cx| session.on_text(from, id, text, cx));
    }

    /// Handles one frame.
    #[inline]
    pub fn message(&mut self, id: ConnId, message: Message) -> ReadStep {
        let Some(conn) = self.out.conns.get(id) else {
            return ReadStep::Stop;
        };
        match (&conn.role, conn.kind) {
            (Role::Session(at), kind) => {
                let at = *at;
                self.count_in(kind);
                match message {
                    Message::Text(text) => self.text(at, id, kind, &text),
                    Message::Binary(data) if kind == PeerKind::Phone => {
                        self.audio(at, id, Chunk::Own(data));
                    }
                    Message::Binary(data) => match as_json(&data) {
                        Some(text) => self.text(at, id, kind, text),
                        None => self.drive(at, |session, cx| {
                            session.on_event(Event::AppBinary { conn: id, data }, cx);
                        }),
                    },
                    other => return self.control(id, Some(at), other),
                }
                ReadStep::Continue
            }
            (Role::Fresh(_), _) => {
                self.workspace.metrics.inc(Counter::AppMessagesIn);
                match message {
                    Message::Text(text) => self.fresh(id, text),
                    // Only JSON can name a socket; `{` may come in a binary frame (protocol.md §0.2).
                    Message::Binary(data) if data.first() == Some(&b'{') => {
                        match Utf8Bytes::try_from(data) {
                            Ok(text) => self.fresh(id, text),
                            Err(_) => {
                                self.refuse(id, CloseReason::InvalidUtf8);
                                ReadStep::Discard
                            }
                        }
                    }
                    Message::Binary(_) => ReadStep::Continue,
                    other => self.control(id, None, other),
                }
            }
            (Role::Parked(..), _) => {
                self.workspace.metrics.inc(Counter::AppMessagesIn);
                match message {
                    Message::Text(text) => self.parked_says(id, &text),
                    Message::Binary(data) => match as_json(&data) {
                        Some(text) => self.parked_says(id, text),
                        None => ReadStep::Continue,
                    },
                    other => self.control(id, None, other),
                }
            }
            (Role::Echo, _) => self.echo(id, message),
            (Role::Detached, _) => match message {
                Message::Close(_) => ReadStep::Stop,
                _ => ReadStep::Continue,
            },
        }
    }

    /// The hot path: one chunk of microphone audio.
    #[inline]
    fn audio(&mut self, at: u32, id: ConnId, data: Chunk<'_>) {
        if data.is_empty() {
            return;
        }
        self.workspace
            .metrics
            .add(Counter::AudioBytesWs, data.len() as u64);
        let Some(entry) = self.entries.boxed_mut(at) else {
            return;
        };
        let mut cx = self.workspace.cx(self.now, &self.cfg, &self.apps);
        let trail = &mut self.out.trail;
        trail.note(&raw const *entry, 1);
        trail.note(&raw const **entry, SESSION_LINES);
        let session = &mut entry.session;
        // Unwind safety: as in `Shard::drive`.
        let outcome = catch_unwind(AssertUnwindSafe(|| session.on_audio(id, data, &mut cx)));
        match outcome {
            Ok(()) => {
                let mark = self.out.records.message(What::Audio);
                self.apply_marked(at, mark);
            }
            Err(panic) => self.drop_panicked(at, &*panic),
        }
    }

    /// Control frames: the transport answers, the session hears of it.
    fn control(&mut self, id: ConnId, at: Option<u32>, message: Message) -> ReadStep {
        match message {
            Message::Ping(payload) => {
                let metrics = &mut self.workspace.metrics;
                self.out
                    .send(id, Opcode::Pong, Class::Control, &payload, 0, metrics);
                if let Some(at) = at {
                    self.drive(at, |session, cx| {
                        session.on_event(Event::Activity { conn: id }, cx);
                    });
                }
                ReadStep::Continue
            }
            Message::Pong(payload) => {
                match at {
                    Some(at) => self.drive(at, |session, cx| {
                        session.on_event(Event::Pong { conn: id, payload }, cx);
                    }),
                    None => self.prove(id),
                }
                ReadStep::Continue
            }
            Message::Close(close) => {
                let (code, reason) = close.unwrap_or((1005, Bytes::new()));
                self.out.answer_close(id, (code != 1005).then_some(code));
                self.detach(
                    id,
                    CloseInfo {
                        code,
                        reason: String::from_utf8_lossy(&reason).into_owned(),
                    },
                );
                ReadStep::Stop
            }
            Message::Text(_) | Message::Binary(_) => ReadStep::Continue,
        }
    }

    /// A parked app socket waits for its user: `ping` is answered, what is no JSON is refused and counted.
    fn parked_says(&mut self, id: ConnId, text: &str) -> ReadStep {
        let kind = json::kind(text).ok();
        let Some(Role::Parked(parked)) = self.out.conns.get(id).map(|conn| &mut conn.role) else {
            return ReadStep::Continue;
        };
        parked.invalid_json = match kind {
            Some(_) => 0,
            None => parked.invalid_json + 1,
        };
        let invalid_json = u64::from(parked.invalid_json);
        match kind {
            Some(kind) if kind == "ping" => {
                self.prove(id);
                self.say(id, admission::Notice::Pong);
            }
            Some(_) => {}
            None => {
                self.workspace.metrics.inc(Counter::AppBadJson);
                self.say(id, admission::MALFORMED);
                if invalid_json >= self.cfg.connections.invalid_json_before_close {
                    self.refuse(id, CloseReason::InvalidJson);
                }
            }
        }
        ReadStep::Continue
    }

    fn echo(&mut self, id: ConnId, message: Message) -> ReadStep {
        let metrics = &mut self.workspace.metrics;
        let (op, payload) = match message {
            Message::Text(text) => (Opcode::Text, text.into()),
            Message::Binary(data) => (Opcode::Binary, data),
            other => return self.control(id, None, other),
        };
        self.out
            .send_shared(id, op, Class::Control, &payload, 0, metrics);
        ReadStep::Continue
    }

    /// The stream broke RFC 6455 or the size limit: close with the code that says so; the reader discards what follows.
    pub fn protocol_error(&mut self, id: ConnId, error: ProtocolError) -> ReadStep {
        self.workspace.metrics.inc(Counter::ProtocolErrors);
        self.give_up(id, error.close_reason(), error.to_string());
        ReadStep::Discard
    }

    /// The connection's unfinished message is more than this shard has room for; the reader discards what follows.
    pub fn no_room(&mut self, id: ConnId) {
        self.workspace.metrics.inc(Counter::NoRoom);
        let words = "no room for its message".to_owned();
        self.give_up(id, CloseReason::Overloaded, words);
    }

    /// Closes a connection on which nothing more is understood; its owner hears why in these words.
    fn give_up(&mut self, id: ConnId, close: CloseReason, reason: String) {
        self.out.close(id, close);
        if let Some(conn) = self.out.conns.get(id) {
            conn.failed = true;
            conn.mark(&mut self.out.marked);
        }
        let code = close.code();
        self.detach(id, CloseInfo { code, reason });
    }

    /// Nothing more comes: end of stream, a broken connection, or after [`ReadStep::Stop`].
    pub fn read_ended(&mut self, id: ConnId, now: Now, now_ns: u64) {
        self.at(now);
        let Some(conn) = self.out.conns.get(id) else {
            return;
        };
        conn.reader_alive = false;
        conn.mark(&mut self.out.marked);
        let (writer_alive, handshake_ms) = (conn.writer_alive, self.out.handshake_ms);
        self.detach(
            id,
            CloseInfo {
                code: 1006,
                reason: String::new(),
            },
        );
        if writer_alive {
            // What is queued may still go out, but not for ever.
            self.out.watch(id, now.mono_ms + handshake_ms);
        } else {
            self.out.release(id, now_ns, &mut self.workspace.metrics);
        }
    }

    /// Takes a connection from its owner, who hears how it ended. Does nothing when the owner let go of it before.
    pub(super) fn detach(&mut self, id: ConnId, info: CloseInfo) {
        let Some(conn) = self.out.conns.get(id) else {
            return;
        };
        let kind = conn.kind;
        match std::mem::replace(&mut conn.role, Role::Detached) {
            Role::Session(at) => {
                if let Some(entry) = self.entries.get_mut(at) {
                    entry.conns.retain(|other| *other != id);
                }
                let event = match kind {
                    PeerKind::Phone => Event::PhoneClosed { conn: id, info },
                    PeerKind::App | PeerKind::Echo => Event::AppClosed { conn: id, info },
                };
                if !self.draining {
                    self.drive(at, |session, cx| session.on_event(event, cx));
                }
            }
            Role::Parked(whose) => self.parked.forget(&whose.user, &whose.package, id),
            Role::Fresh(_) | Role::Echo | Role::Detached => {}
        }
    }

    /// Closes a socket that no session owns.
    pub(super) fn refuse(&mut self, id: ConnId, reason: CloseReason) {
        self.detach(id, reason.into());
        self.out.close(id, reason);
    }

    /// Sends an answer of the shard itself.
    pub(super) fn say(&mut self, id: ConnId, answer: admission::Notice) {
        let mut text = Vec::with_capacity(192);
        answer.write(self.now, &mut text);
        let metrics = &mut self.workspace.metrics;
        self.out
            .send(id, Opcode::Text, Class::Control, &text, 0, metrics);
    }
}

/// A binary frame that begins with `{` is JSON, if it is text at all (protocol.md §0.2).
fn as_json(data: &[u8]) -> Option<&str> {
    match data.first() {
        Some(b'{') => simdutf8::basic::from_utf8(data).ok(),
        _ => None,
    }
}
