//! Layer 2: everything a session can ask for, as data. The shard applies effects in order after each event.

use crate::base::close::CloseReason;
use crate::base::ids::{CallId, ConnId, Package, ReplyTo};
use crate::wire::records::StoredLocation;
use bytes::Bytes;
use std::ops::Range;

/// What happens to a message when the outbound queue of its socket is full (behaviour.md §1.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Never dropped; overflow closes the socket with 1013.
    Control,
    /// Dropped oldest first, before anything else. Binary audio only.
    Audio,
    /// Dropped second: an interim transcription that a later one replaces.
    Interim,
    /// Dropped third: a display or dashboard frame that a later one replaces.
    Display,
}

/// What becomes of a call that is no longer wanted and has been sent already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnderWay {
    /// It did its work: its answer may still come, and does not matter.
    GoesOn,
    /// Its connection is cut: another one follows, or what it asks for must not happen any more.
    Cut,
}

/// What an outbound HTTP call is for; bounds its timeout class and its metrics label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HttpKind {
    /// `session_request`.
    SessionRequest,
    /// `stop_request`.
    StopRequest,
    /// App settings.
    Settings,
    /// Tool call.
    Tool,
    /// Managed streaming provider.
    Provider,
    /// Managed streaming provider: a live input is removed. Nobody needs the answer; attempts that fail are repeated outside.
    Removal,
    /// Weather.
    Weather,
    /// Order of notifications.
    Ranking,
    /// Health of an app server (services only).
    Health,
}

/// HTTP method of an outbound call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HttpMethod {
    /// GET.
    Get,
    /// POST.
    Post,
    /// DELETE.
    Delete,
}

/// One outbound HTTP attempt. Retries are the session's business: they are timers there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpCall {
    /// Comes back in [`super::event::Event::Http`].
    pub call: CallId,
    /// Purpose.
    pub kind: HttpKind,
    /// HTTP method.
    pub method: HttpMethod,
    /// Absolute URL.
    pub url: String,
    /// Extra headers; `Content-Type: application/json` is implied for bodies.
    pub headers: Vec<(&'static str, String)>,
    /// Body; empty for none.
    pub body: Bytes,
    /// Whole attempt (ms).
    pub timeout_ms: u64,
}

/// One write to the store. Order is kept per user; equal idempotent writes may be coalesced.
#[derive(Clone, PartialEq, Debug)]
pub enum StoreOp {
    /// User intent: this app should run.
    AddRunning(Package),
    /// User intent: it should not.
    RemoveRunning(Package),
    /// `lastActiveAt` of an installed app (ms since the Unix epoch).
    TouchApp(Package, u64),
    /// Last known location.
    SetLocation(StoredLocation),
    /// A model that was connected.
    AddGlassesModel(String),
    /// Instructions were shown.
    SetOnboarded(Package),
}

/// Logs of one app for an incident of the session's user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IncidentLogs {
    /// Which, as the app names it.
    pub incident_id: String,
    /// Whose logs.
    pub package: Package,
    /// A JSON array.
    pub logs: String,
}

/// An answer to a REST call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestAnswer {
    /// HTTP status.
    pub status: u16,
    /// JSON body unless `content_type` says otherwise.
    pub body: Bytes,
    /// `application/json` by default.
    pub content_type: &'static str,
    /// `Retry-After` in seconds.
    pub retry_after_s: Option<u32>,
}

impl RestAnswer {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            content_type: "application/json",
            retry_after_s: None,
        }
    }

    /// 503 `NO_ACTIVE_SESSION`, at which phones connect again (protocol.md §18.1).
    #[must_use]
    pub fn no_session() -> Self {
        const BODY: &str =
            r#"{"error":"NO_ACTIVE_SESSION","message":"No active cloud session for this client."}"#;
        Self::json(503, BODY)
    }
}

/// What happened between an app server and a session (behaviour.md §2.14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkChange {
    /// Attached.
    Attached,
    /// Lost unexpectedly (kept for recovery).
    Lost,
    /// Lost (and kept for recovery) because nothing was heard of it any more.
    LostSilent,
    /// Stopped, released or disposed.
    Ended,
}

/// One request of the session to the world.
#[derive(Debug)]
pub enum Effect {
    /// A text frame; its bytes are `range` of the effects' arena.
    Text {
        /// Receiver.
        conn: ConnId,
        /// Overflow behaviour.
        class: Class,
        /// Payload, within [`Effects::bytes`].
        range: Range<usize>,
    },
    /// A control message that an app asks of the phone. It may fill its share of what waits for the phone and no more:
    /// [`super::event::Event::PhoneFull`] says that it was dropped.
    Asked {
        /// The phone.
        conn: ConnId,
        /// The app's socket.
        by: ConnId,
        /// Payload, within [`Effects::bytes`].
        range: Range<usize>,
    },
    /// A small binary frame (microphone audio to apps); its bytes are `range` of the effects' arena.
    Small {
        /// Receiver.
        conn: ConnId,
        /// Where its bytes are.
        range: Range<usize>,
    },
    /// A binary frame, referenced, not copied (microphone audio to apps).
    Binary {
        /// Receiver.
        conn: ConnId,
        /// Payload.
        data: Bytes,
    },
    /// A protocol ping with the 8-character id of behaviour.md §9.3.
    Ping {
        /// Receiver.
        conn: ConnId,
        /// Payload.
        id: [u8; 8],
    },
    /// Start a close handshake; everything queued before is still sent. The session forgets the socket now and ignores what
    /// still comes from it.
    Close {
        /// Socket.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// Cut the TCP connection without a close frame.
    Terminate {
        /// Socket.
        conn: ConnId,
    },
    /// A parked socket outlives the session: it stays open, and from now on the shard keeps it parked.
    ReturnParked {
        /// Socket.
        conn: ConnId,
        /// Its hello.
        hello: super::event::AppHello,
        /// `mono_ms` of its rejection.
        expires_ms: u64,
    },
    /// Read the user record; answered by `UserLoaded`. Sent at creation, and again while the store fails.
    LoadUser,
    /// One HTTP attempt.
    Http(HttpCall),
    /// The result of this call is no longer wanted; if it has not started it must not start.
    CancelHttp {
        /// Id of the call.
        call: CallId,
        /// If it has started.
        under_way: UnderWay,
    },
    /// One store write.
    Store {
        /// The write.
        op: StoreOp,
        /// Wanted acknowledgement: `Stored` with this id once durable (or failed in `db_timeout_ms`).
        ack: Option<CallId>,
    },
    /// The one answer to a REST call.
    Reply {
        /// Whom the answer is for.
        reply: ReplyTo,
        /// The answer.
        answer: RestAnswer,
    },
    /// Opens a chunked answer instead of [`Effect::Reply`].
    ReplyStream {
        /// Whom the answer is for.
        reply: ReplyTo,
        /// `Content-Type`.
        content_type: String,
    },
    /// Appends to a chunked answer.
    ReplyChunk {
        /// Whom the answer is for.
        reply: ReplyTo,
        /// Bytes.
        data: Bytes,
    },
    /// Ends a chunked answer.
    ReplyEnd {
        /// Whom the answer is for.
        reply: ReplyTo,
    },
    /// Breaks a chunked answer off, so that its reader sees that more was to come.
    ReplyAbort {
        /// Whom the answer is for.
        reply: ReplyTo,
    },
    /// An app socket attached, was lost or ended; the shard reports it for registrations and mass-disconnect detection.
    AppLink {
        /// Which app.
        package: Package,
        /// SHA-256 of its API key; empty unless attached.
        key_sha256: String,
        /// Change.
        change: LinkChange,
    },
    /// A message for other users' sessions of the same app (behaviour.md §7.10); the shard routes it.
    AppMessage(Box<super::managers::app_messages::Outgoing>),
    /// Logs that an app sent over its socket for an incident (protocol.md §8.21); nobody is answered.
    IncidentLogs(Box<IncidentLogs>),
    /// Datagrams with this user id hash are this session's, unless they are another's already (protocol.md §11.3).
    UdpRegister {
        /// As the phone announced it.
        hash: u32,
    },
    /// Datagrams with this user id hash are nobody's any more.
    UdpUnregister {
        /// As the phone announced it.
        hash: u32,
    },
    /// A word to the recognisers. An `Open` that cannot be passed on is answered by `Failed` with class `Resource`; audio then
    /// is lost and counted.
    Speech(crate::wire::speech::SpeechOrder),
    /// The session is over; the shard drops it after applying what stands before.
    Disposed,
}

/// The reused buffer that a session writes its effects into: no allocation in steady state.
#[derive(Default, Debug)]
pub struct Effects {
    list: Vec<Effect>,
    arena: Vec<u8>,
    /// Sockets closed as dead since the shard last set this to 0; bounded by `timeout_batch_max`.
    pub liveness_closes: u64,
}

impl Effects {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds any effect.
    pub fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    /// Adds a text frame whose JSON `write` appends to the buffer it is handed.
    #[inline]
    pub fn text(&mut self, conn: ConnId, class: Class, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        write(&mut self.arena);
        self.list.push(Effect::Text {
            conn,
            class,
            range: start..self.arena.len(),
        });
    }

    /// Adds a text frame to the phone for which the app at `by` asked.
    pub fn asked(&mut self, conn: ConnId, by: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        write(&mut self.arena);
        let range = start..self.arena.len();
        self.list.push(Effect::Asked { conn, by, range });
    }

    /// The same frame to several sockets, written once.
    pub fn text_to_all(
        &mut self,
        conns: impl IntoIterator<Item = ConnId>,
        class: Class,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.arena.len();
        write(&mut self.arena);
        let range = start..self.arena.len();
        self.list.extend(conns.into_iter().map(|conn| Effect::Text {
            conn,
            class,
            range: range.clone(),
        }));
    }

    /// A small binary frame to several sockets, kept once.
    pub fn small_to_all(&mut self, conns: &[ConnId], data: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(data);
        let range = start..self.arena.len();
        self.list.extend(conns.iter().map(|conn| Effect::Small {
            conn: *conn,
            range: range.clone(),
        }));
    }

    /// Closes a socket.
    pub fn close(&mut self, conn: ConnId, reason: CloseReason) {
        self.list.push(Effect::Close { conn, reason });
    }

    /// Answers a REST call.
    pub fn reply(&mut self, reply: ReplyTo, answer: RestAnswer) {
        self.list.push(Effect::Reply { reply, answer });
    }

    /// Everything asked for, in order.
    #[cfg(test)]
    pub(crate) fn list(&self) -> &[Effect] {
        &self.list
    }

    /// Payload of an [`Effect::Text`], [`Effect::Asked`] or [`Effect::Small`].
    #[must_use]
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.arena[range]
    }

    /// Takes the list out for applying; give it back with [`Effects::recycle`].
    #[must_use]
    pub fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.list)
    }

    /// Returns an applied list and forgets all payloads. Buffers grown by a rare large message shrink again.
    pub fn recycle(&mut self, mut list: Vec<Effect>) {
        list.clear();
        self.list = list;
        self.arena.clear();
        if self.arena.capacity() > 1 << 20 {
            self.arena = Vec::new();
        }
    }

    /// Whether nothing was asked for.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
