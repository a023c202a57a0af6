//! Layer 2: everything that can happen to a session, as one closed list. Time is not in here: it is an argument.

use crate::base::close::CloseReason;
use crate::base::ids::{CallId, ConnId, Package, ReplyTo};
use crate::wire::records::UserRecord;
use bytes::Bytes;

/// SDK generation of an app connection: v3 when the declared version's integer before the first dot is ≥ 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sdk {
    /// 2.x, or no version declared.
    #[default]
    V2,
    /// 3.x.
    V3,
}

impl Sdk {
    /// The v3 test of protocol.md §0.1.
    #[must_use]
    pub fn from_version(version: Option<&str>) -> Self {
        let major = version.and_then(|text| text.split('.').next());
        // As `parseInt` reads it: `3-beta` is 3.
        let major = major.map(str::trim_start).unwrap_or_default();
        let major = major.strip_prefix('+').unwrap_or(major);
        let end = major.find(|c: char| !c.is_ascii_digit());
        let major = major[..end.unwrap_or(major.len())].trim_start_matches('0');
        if major.len() > 1 || major >= "3" {
            Self::V3
        } else {
            Self::V2
        }
    }
}

/// A chunk of microphone audio.
#[derive(Debug)]
pub enum Chunk<'a> {
    /// Still in the read buffer: what is small is cheaper to copy than to count references to.
    Lent(&'a [u8]),
    /// Shared with whoever holds it.
    Own(Bytes),
}

impl Chunk<'_> {
    /// The first `len` bytes.
    #[must_use]
    pub fn cut(self, len: usize) -> Self {
        match self {
            Self::Lent(bytes) => Self::Lent(&bytes[..len]),
            Self::Own(bytes) => Self::Own(bytes.slice(..len)),
        }
    }

    /// To be kept.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Lent(bytes) => Bytes::copy_from_slice(bytes),
            Self::Own(bytes) => bytes.clone(),
        }
    }
}

impl std::ops::Deref for Chunk<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

/// 32 bytes from the operating system's random source, drawn by the transport per phone upgrade; a session makes its UDP key
/// of the first that asked for encryption. All zero (the default) means none was drawn: encryption is then not offered.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct UdpSecret(pub [u8; 32]);

impl UdpSecret {
    /// Whether it may serve as a key.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.0 != [0; 32]
    }
}

impl std::fmt::Debug for UdpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UdpSecret(..)")
    }
}

/// What a phone asked for in its upgrade.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PhoneFlags {
    /// `udpEncryption=true`.
    pub udp_encryption: bool,
    /// `livekit=true`; recorded, without effect.
    pub livekit: bool,
    /// Fresh key material.
    pub secret: UdpSecret,
}

/// The first identifying message of an app socket, or the upgrade JWT that stands for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppHello {
    /// Init or reconnect.
    pub kind: HelloKind,
    /// Package; the shard closes sockets that name none.
    pub package: Package,
    /// Plain API key; `None` only in a reconnect without one.
    pub api_key: Option<String>,
    /// The session id that the peer named.
    pub session_id: Option<String>,
    /// SDK generation.
    pub sdk: Sdk,
    /// Effective client address (behind trusted proxies the forwarded one), for `allowedIps`.
    pub address: Option<std::net::IpAddr>,
}

/// Which of the two messages a hello is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HelloKind {
    /// `tpa_connection_init`, `connection_init` or an upgrade JWT.
    Init,
    /// `reconnect`.
    Reconnect,
}

/// How a socket ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CloseInfo {
    /// Close code; 1006 when the connection broke without one.
    pub code: u16,
    /// Peer's reason text.
    pub reason: String,
}

impl CloseInfo {
    /// `reason` of a socket that the transport cut because nothing at all came from it.
    pub const IDLE: &'static str = "idle timeout";
}

/// The outcome of an HTTP call that the session asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HttpOutcome {
    /// An answer arrived, whatever its status.
    Answer {
        /// HTTP status.
        status: u16,
        /// Body, cut at 256 KiB.
        body: Bytes,
        /// `Retry-After` in seconds; a date counts as absent.
        retry_after_s: Option<u64>,
    },
    /// No answer: refused, timed out, unresolvable, blocked.
    Failed {
        /// Human-readable cause.
        error: String,
    },
}

impl HttpOutcome {
    /// Whether another attempt may succeed: there was no answer, or the server is busy or broken.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Failed { .. }
                | Self::Answer {
                    status: 429 | 500..=599,
                    ..
                }
        )
    }

    /// 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(
            self,
            Self::Answer {
                status: 200..=299,
                ..
            }
        )
    }
}

/// The outcome of a store call that the session asked an acknowledgement for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreOutcome {
    /// Durable.
    Done,
    /// Not durable in time; it is retried behind the session's back.
    Failed,
}

/// Why a session ends. One whose code failed is dropped by its shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DisposeCause {
    /// Phone grace ran out.
    GraceTimeout,
    /// The phone's goodbye, or an administrator.
    Explicit,
}

/// Which kind of peer sent a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// The phone.
    Phone,
    /// An app server.
    App,
}

/// One thing that happened. Text and audio are not among them: their bytes are lent to [`super::Session`] directly.
#[derive(Debug)]
pub enum Event {
    /// A phone socket finished its upgrade on this shard.
    PhoneConnected {
        /// Socket.
        conn: ConnId,
        /// Its wishes.
        flags: PhoneFlags,
    },
    /// A phone socket is gone.
    PhoneClosed {
        /// Socket.
        conn: ConnId,
        /// How it ended.
        info: CloseInfo,
    },
    /// An app socket named itself for this user; the shard already found user and package, nothing else is checked.
    AppHello {
        /// Socket.
        conn: ConnId,
        /// What it said.
        hello: AppHello,
    },
    /// A socket that waited (parked) before this session existed now belongs to it.
    AppParked {
        /// Socket.
        conn: ConnId,
        /// Its `reconnect`, key already checked.
        hello: AppHello,
        /// `mono_ms` at which it must be rejected with `BOOT_TIMEOUT`.
        expires_ms: u64,
    },
    /// A binary frame, not of JSON, of an app socket that said hello to this session.
    AppBinary {
        /// Socket.
        conn: ConnId,
        /// Payload.
        data: Bytes,
    },
    /// An app socket that said hello to this session is gone.
    AppClosed {
        /// Socket.
        conn: ConnId,
        /// How it ended.
        info: CloseInfo,
    },
    /// A protocol pong arrived (any socket of this session).
    Pong {
        /// Socket.
        conn: ConnId,
        /// Echoed payload.
        payload: Bytes,
    },
    /// A protocol ping arrived; the transport answered it.
    Activity {
        /// Socket.
        conn: ConnId,
    },
    /// The stored user record, asked for by [`super::effects::Effect::LoadUser`]. `None`: the store failed; go on with defaults.
    UserLoaded {
        /// The record.
        record: Option<Box<UserRecord>>,
    },
    /// Result of an [`super::effects::HttpCall`].
    Http {
        /// Which call.
        call: CallId,
        /// Result.
        outcome: HttpOutcome,
    },
    /// Result of a store write that asked for one.
    Stored {
        /// Which call.
        call: CallId,
        /// Result.
        outcome: StoreOutcome,
    },
    /// A recogniser reports.
    Speech {
        /// Which; one that is not known any more is ignored.
        id: crate::wire::speech::SpeechId,
        /// The report.
        report: crate::wire::speech::SpeechReport,
    },
    /// A REST call addressed to this session; answered exactly once through [`super::effects::Effect::Reply`].
    Rest {
        /// Where the answer goes.
        reply: ReplyTo,
        /// What is asked.
        call: super::rest::Call,
    },
    /// The HTTP client of an open streaming reply went away.
    ReplyGone {
        /// Which reply.
        reply: ReplyTo,
    },
    /// A message of the same app in another user's session (behaviour.md §7.10).
    AppMessage {
        /// The message.
        message: Box<super::managers::app_messages::Incoming>,
    },
    /// The app registry was replaced; the new one is in the context.
    RegistryChanged,
    /// The settings of speech are others; the new ones are in the context.
    SpeechSettingsChanged,
    /// Many sockets of this app were lost at once (behaviour.md §2.14): a restart of it waits this much longer.
    MassDisconnect {
        /// Which app.
        package: Package,
        /// Drawn per session from `0..=mass_disconnect_jitter_ms`.
        jitter_ms: u64,
    },
    /// Timers are due; the session pops them itself.
    Tick,
    /// The outbound queue of a socket overflowed with control messages; the transport is closing it.
    Overloaded {
        /// Socket.
        conn: ConnId,
    },
    /// What the app at this socket asked of the phone was dropped: its share of what waits for the phone is used up.
    PhoneFull {
        /// The app's socket.
        by: ConnId,
    },
}

/// The end of a socket that we close ourselves, told to whom it belonged.
impl From<CloseReason> for CloseInfo {
    fn from(reason: CloseReason) -> Self {
        Self {
            code: reason.code(),
            reason: reason.text().to_owned(),
        }
    }
}
