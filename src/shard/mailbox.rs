//! Layer 3: every message that crosses a thread, as two closed lists. All channels are bounded and sending never blocks;
//! each variant says who recovers when it is refused.

mod requests;

pub use requests::{ForUpstream, OutsideRequest, OutsideRoute, RESTART_MS, TOOL_PAUSE_MS};

use super::memory::Owner;
use crate::base::ids::{CallId, Package, ReplyTo, ShardId, UserId};
use crate::base::metrics::Metrics;
use crate::base::settings::Settings;
use crate::session::effects::{HttpCall, IncidentLogs, RestAnswer, StoreOp};
pub use crate::session::effects::{LinkChange, UnderWay};
use crate::session::event::Event;
use crate::session::managers::app_messages::Incoming;
use crate::session::managers::apps::AppState;
use crate::session::rest::Call;
use crate::wire::records::Registry;
use crate::wire::speech::SpeechOrder;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use std::any::Any;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// To a shard.
pub enum ToShard {
    /// A connection for its home shard: file descriptor, leftover bytes, identity. `net/` defines the content; boxed as
    /// `Any` so that this layer names no socket.
    ///
    /// If dropped: the descriptor closes and the peer reconnects.
    Handoff(Box<dyn Any + Send>),
    /// A REST call for a user of this shard; without a session it is answered 503 `NO_ACTIVE_SESSION`.
    ///
    /// If dropped: the caller's own time limit answers 503.
    Call {
        /// Whose session.
        user: UserId,
        /// Where the answer goes.
        reply: ReplyTo,
        /// What is asked.
        call: Call,
    },
    /// The answer for an HTTP connection of this shard.
    ///
    /// If dropped: the connection's time limit answers 503.
    Reply {
        /// `ReplyTo::id`.
        id: u64,
        /// The answer.
        answer: Answer,
    },
    /// The HTTP client of a streaming answer went away.
    ///
    /// If dropped: the stream ends by its own time limits.
    ReplyGone {
        /// Whose session.
        user: UserId,
        /// Which answer.
        reply: ReplyTo,
    },
    /// A result for one session; ignored (and counted) when user and epoch no longer match.
    ///
    /// If dropped: the session's own timer for that call fires.
    Result {
        /// User of the session.
        user: UserId,
        /// Which session of the user.
        epoch: u64,
        /// `Http`, `Stored`, `UserLoaded` or `Speech`.
        event: Event,
    },
    /// An app-to-app message for every session of this shard that runs the app, or for one user.
    ///
    /// If dropped: counted; app-to-app messages are best effort.
    AppMessage {
        /// Only this user; `None`: all.
        to: Option<UserId>,
        /// The message.
        message: Box<Incoming>,
    },
    /// For the shard that hosts the rooms (shard 0).
    ///
    /// If dropped: counted; rooms are best effort.
    AppRooms(Box<crate::session::managers::app_messages::Outgoing>),
    /// A session's phone announced a hash for its audio datagrams that this shard decides about (protocol.md §11.3).
    ///
    /// If dropped: the phone's probes stay unanswered, and it registers again.
    UdpClaim {
        /// As announced.
        hash: u32,
        /// Whose session.
        user: UserId,
        /// Which session of the user.
        epoch: u64,
        /// Where it lives.
        shard: ShardId,
    },
    /// A session has given up its hash.
    ///
    /// If dropped: its datagrams are dropped where the session was; another user gets the hash once the session's has none.
    UdpRelease {
        /// As announced.
        hash: u32,
        /// Whose session.
        user: UserId,
        /// Which session of the user.
        epoch: u64,
    },
    /// A datagram for a session of this shard, or for the shard that decides about its hash.
    ///
    /// If dropped: counted; datagrams get lost.
    Datagram {
        /// User and epoch of the session, once that is decided.
        to: Option<(UserId, u64)>,
        /// As it came.
        bytes: Box<[u8]>,
    },
    /// Many sockets of an app were lost at once: this session's restart of it is delayed (behaviour.md §2.14).
    ///
    /// If dropped: that one restarts without delay.
    MassDisconnect {
        /// Whose session.
        user: UserId,
        /// Which app.
        package: Package,
        /// By how much.
        jitter_ms: u64,
    },
    /// New app records.
    ///
    /// If dropped: they are sent again a second later. Older ones than there are count for nothing.
    Registry(Arc<Registry>),
    /// New settings (those that need no restart).
    ///
    /// If dropped: logged; the operator reloads again.
    Settings(Arc<Settings>),
    /// Somebody reads the figures: report at once, naming this round.
    ///
    /// If dropped: the reader waits its 50 ms and takes the last report.
    ReportNow(u64),
    /// Shutdown: close every socket 1001 and accept nothing; [`Shared::is_drained`](super::shared::Shared::is_drained) is true
    /// once every shard has no socket left.
    ///
    /// If dropped: the shutdown budget ends the process.
    Drain,
}

/// An answer to an HTTP request, whole or streamed.
#[derive(Debug)]
pub enum Answer {
    /// The whole answer.
    Whole(RestAnswer),
    /// A whole answer with headers of its own (services, proxy).
    WithHeaders(RestAnswer, Vec<(String, String)>),
    /// Chunked: head.
    StreamHead {
        /// Status.
        status: u16,
        /// Headers.
        headers: Vec<(String, String)>,
    },
    /// Chunked: more.
    StreamChunk(Bytes),
    /// Chunked: end.
    StreamEnd,
    /// Chunked: broken off, so that the client does not take what it has for the whole.
    StreamAbort,
}

/// To the outside thread.
pub enum ToOutside {
    /// Read a user record (creating the user); answered by `Result(UserLoaded)` within `db_timeout_ms`.
    ///
    /// If dropped: the shard answers `UserLoaded { record: None }` itself.
    LoadUser {
        /// User of the session.
        user: UserId,
        /// Epoch of the session.
        epoch: u64,
    },
    /// One store write, in order per user.
    ///
    /// If dropped: counted; with `ack` the shard answers `Failed` itself.
    Store {
        /// User of the session.
        user: UserId,
        /// Epoch of the session.
        epoch: u64,
        /// The write.
        op: StoreOp,
        /// Wanted acknowledgement.
        ack: Option<CallId>,
    },
    /// One outbound HTTP attempt; answered by `Result(Http)`.
    ///
    /// If dropped: the shard answers `Failed` itself.
    Http {
        /// User of the session.
        user: UserId,
        /// Epoch of the session.
        epoch: u64,
        /// The attempt to make.
        call: HttpCall,
    },
    /// Forget that call.
    ///
    /// If dropped: its result is ignored by the session.
    CancelHttp {
        /// User of the session.
        user: UserId,
        /// Epoch of the session.
        epoch: u64,
        /// Id of the call.
        call: CallId,
        /// If it has started.
        under_way: UnderWay,
    },
    /// A REST request that a service answers.
    ///
    /// If dropped: the shard answers 503.
    Request(Box<OutsideRequest>),
    /// The answer to a call that a service made to a session.
    ///
    /// If dropped: the service's time limit.
    Reply {
        /// `ReplyTo::id`.
        id: u64,
        /// The answer.
        answer: Answer,
    },
    /// Figures of one shard, every `metrics_interval_ms`.
    ///
    /// If dropped: the next one brings the counters; one interval of histograms is lost.
    Report(Box<ShardReport>),
    /// An app server's socket attached or was lost, for registrations and mass-disconnect detection (behaviour.md §2.14).
    ///
    /// If dropped: recovery may miss one session.
    AppLink(Box<AppLink>),
    /// Logs of an app for an incident of the user.
    ///
    /// If dropped: counted; the incident lacks them.
    IncidentLogs {
        /// Whose incident it must be.
        user: UserId,
        /// The logs.
        logs: Box<IncidentLogs>,
    },
    /// A word to the recognisers of a session, in order; they report by `Result(Speech)`.
    ///
    /// If dropped: an `Open` is answered `Failed` by the shard; anything else is counted. Audio is dropped from half of the
    /// inbox on.
    Speech {
        /// User of the session.
        user: UserId,
        /// Epoch of the session.
        epoch: u64,
        /// The order.
        order: SpeechOrder,
    },
    /// A request for the fallback upstream, with its connection.
    ///
    /// If dropped: the connection closes; clients try again.
    Upstream(Box<ForUpstream>),
}

/// Gauges and counters of one shard.
#[derive(Clone, Debug)]
pub struct ShardReport {
    /// The shard that reports.
    pub shard: ShardId,
    /// `mono_ms` of the report.
    pub at_ms: u64,
    /// The last [`ToShard::ReportNow`] that the shard had seen.
    pub round: u64,
    /// Live user sessions.
    pub sessions: u64,
    /// Open phone sockets.
    pub phones: u64,
    /// Attached app sockets.
    pub apps: u64,
    /// App sockets without init, and parked ones.
    pub pending_apps: u64,
    /// Plain HTTP connections.
    pub http: u64,
    /// App sessions by state, in the order of [`AppState::ALL`].
    pub app_states: [u64; AppState::ALL.len()],
    /// Sessions whose microphone is on.
    pub mic_active: u64,
    /// Sessions whose phone registered for UDP audio.
    pub udp_sessions: u64,
    /// Recognisers that run: for transcription, and for translation.
    pub speech_streams: [u64; 2],
    /// Bytes in outboxes.
    pub outbound_bytes: u64,
    /// Bytes of receive buffers, and of frames that are not whole.
    pub inbound_bytes: u64,
    /// The last memory report; empty before the first.
    pub owners: Vec<Owner>,
    /// Counters since start; histograms since the last report.
    pub metrics: Metrics,
}

/// What the outside thread learns of app sockets.
#[derive(Clone, Debug)]
pub struct AppLink {
    /// User of the session.
    pub user: UserId,
    /// Package of the app.
    pub package: Package,
    /// `SHA-256` of the API key it used (empty when lost).
    pub key_sha256: String,
    /// Change.
    pub change: LinkChange,
}

/// Senders to all shards.
#[derive(Clone)]
pub struct Mailboxes {
    inboxes: Arc<[(flume::Sender<ToShard>, Bell)]>,
}

/// Wakes a shard that waits for mail. Not the channel's own future: that one remembers having been woken and wakes itself
/// again and again once another reader of the same inbox took the message.
#[derive(Clone, Default)]
pub struct Bell(Arc<AtomicWaker>);

impl Bell {
    /// Ready as soon as `look` finds something; otherwise `waker` is woken by the next message.
    pub fn poll<T>(&self, waker: &Waker, mut look: impl FnMut() -> Option<T>) -> Poll<T> {
        if let Some(found) = look() {
            return Poll::Ready(found);
        }
        self.0.register(waker);
        // What came before the registration rang for nobody.
        look().map_or(Poll::Pending, Poll::Ready)
    }

    fn ring(&self) {
        self.0.wake();
    }
}

/// The receiver's inbox is full (or it is gone); the message comes back.
pub struct Undelivered(pub ToShard);

impl Mailboxes {
    /// One sender per shard, in shard order.
    #[must_use]
    pub fn new(inboxes: Vec<flume::Sender<ToShard>>) -> Self {
        Self {
            inboxes: inboxes
                .into_iter()
                .map(|inbox| (inbox, Bell::default()))
                .collect(),
        }
    }

    /// What rings when `shard` gets mail.
    #[must_use]
    pub fn bell(&self, shard: ShardId) -> Bell {
        self.inboxes[usize::from(shard.0)].1.clone()
    }

    /// How many shards.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.inboxes.len() as u16
    }

    /// Sends without blocking.
    ///
    /// # Errors
    /// The message, when the inbox is full; the variant's doc says who recovers.
    #[expect(clippy::result_large_err, reason = "the message must come back whole")]
    pub fn send(&self, shard: ShardId, message: ToShard) -> Result<(), Undelivered> {
        let (inbox, bell) = &self.inboxes[usize::from(shard.0)];
        let sent = inbox
            .try_send(message)
            .map_err(|error| Undelivered(error.into_inner()));
        bell.ring();
        sent
    }

    /// Sends to the shard that owns `user`.
    ///
    /// # Errors
    /// As [`Mailboxes::send`].
    #[expect(clippy::result_large_err, reason = "the message must come back whole")]
    pub fn send_home(&self, user: &UserId, message: ToShard) -> Result<(), Undelivered> {
        self.send(crate::base::ids::home_shard(user, self.shards()), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn mail() -> (Mailboxes, flume::Receiver<ToShard>, Bell) {
        let (sender, inbox) = flume::bounded(4);
        let mail = Mailboxes::new(vec![sender]);
        let bell = mail.bell(ShardId(0));
        (mail, inbox, bell)
    }

    #[test]
    fn a_message_wakes_the_shard_that_waits_once() {
        let (mail, inbox, bell) = mail();
        let woken = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(bell.poll(&waker, || inbox.try_recv().ok()).is_pending());
        assert!(mail.send(ShardId(0), ToShard::Drain).is_ok());
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(bell.poll(&waker, || inbox.try_recv().ok()).is_ready());
    }

    /// The tick drains the inbox too; a woken waiter that finds nothing must sleep again, not spin.
    #[test]
    fn a_waiter_whose_message_another_took_sleeps_again() {
        let (mail, inbox, bell) = mail();
        let woken = Arc::new(Count::default());
        // A new waker each time, as a runtime may hand out.
        let waker = || Waker::from(Arc::clone(&woken));
        assert!(bell.poll(&waker(), || inbox.try_recv().ok()).is_pending());
        assert!(mail.send(ShardId(0), ToShard::Drain).is_ok());
        assert!(inbox.try_recv().is_ok());
        let before = woken.0.load(Ordering::Relaxed);
        for _ in 0..3 {
            assert!(bell.poll(&waker(), || inbox.try_recv().ok()).is_pending());
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), before);
    }
}
