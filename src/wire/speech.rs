//! Layer 1: the messages between sessions and recognisers (behaviour.md §8.6), the same for every provider. Plain data: the session
//! decides which recognisers run and when they are tried again; the outside thread holds their connections.

use super::streams::{LanguageOptions, Sub};
use bytes::Bytes;
use smallvec::SmallVec;

/// One recogniser of one session. Ids are never used twice in a session, so a late word of an old recogniser cannot be taken
/// for one of its successor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SpeechId(pub u32);

/// From a session to the outside thread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SpeechOrder {
    /// Start a recogniser. Audio may follow at once: it is kept until the recogniser is ready.
    Open(Box<SpeechOpen>),
    /// Microphone audio for these recognisers: signed 16-bit little-endian samples, 16 kHz, mono.
    Audio {
        /// Recognisers that it is for.
        ids: SmallVec<[SpeechId; 4]>,
        /// Whole samples.
        pcm: Bytes,
    },
    /// No audio for a while: make what is pending final and keep the connection alive. The next audio resumes.
    Pause(SpeechId),
    /// Make what is pending final, report it, then end; the last report is [`SpeechReport::Closed`].
    Close(SpeechId),
    /// The session is gone: end all its recognisers and report nothing any more.
    Abandon,
}

/// Which recogniser to start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpeechOpen {
    /// Its id.
    pub id: SpeechId,
    /// [`Sub::Transcription`] or [`Sub::Translation`].
    pub stream: Sub,
    /// Options of all its subscribers together.
    pub options: LanguageOptions,
    /// The one that was not ready in time, in whose place it comes: audio that waits for that one is for this one.
    pub instead_of: Option<SpeechId>,
}

/// From a recogniser to its session. After [`SpeechReport::Failed`] or [`SpeechReport::Closed`] nothing more comes under its id, and
/// exactly one of them comes, unless the session abandoned it.
#[derive(Clone, PartialEq, Debug)]
pub enum SpeechReport {
    /// Audio is taken now.
    Ready,
    /// Something was recognised.
    Heard(Box<Utterance>),
    /// It ended by a failure, while starting or later.
    Failed(SpeechFailure),
    /// It ended otherwise; `None` and 1000 mean as intended.
    Closed(Option<u16>),
}

/// What went wrong, as far as the session acts on it (behaviour.md §8.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpeechFailure {
    /// Decides whether and when it is tried again.
    pub class: SpeechFailureClass,
    /// For the log: never a key, never what was said.
    pub cause: String,
    /// Not before this (ms from now); 0 = the class's own delay.
    pub retry_after_ms: u64,
}

/// Classes of failures.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SpeechFailureClass {
    /// No provider takes this language: the stream is skipped with a warning.
    Unsupported,
    /// Trying again is of no use: credentials, invalid request, no provider.
    Permanent,
    /// This process runs as many recognisers as it may, or lacks memory.
    Resource,
    /// The provider ended a session that had become too long.
    SessionLength,
    /// Rate, quota or concurrency.
    Capacity,
    /// The provider or the start took too long.
    Timeout,
    /// The provider's own failure (5xx).
    Server,
    /// Connection refused, reset, unresolvable; anything unknown.
    Transport,
}

/// A transcription or translation of one utterance.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Utterance {
    /// The whole text of the utterance so far: translated, for a translation.
    pub text: String,
    /// What was said, for a translation.
    pub original: Option<String>,
    /// No later text of this utterance follows.
    pub is_final: bool,
    /// The same from the first interim text to the final one.
    pub utterance_id: String,
    /// Who speaks, as the provider tells voices apart.
    pub speaker: Option<String>,
    /// 0 to 1.
    pub confidence: Option<f64>,
    /// Begin within the recogniser's audio (ms).
    pub start_ms: u64,
    /// End (ms).
    pub end_ms: u64,
    /// Language that was recognised, as the provider names it (`en`).
    pub detected: Option<String>,
    /// False when what was said was in the target language already.
    pub did_translate: bool,
    /// Name of the provider.
    pub provider: &'static str,
    /// The last tokens, at most [`Utterance::TOKENS_MAX`].
    pub tokens: Vec<SpeechToken>,
}

impl Utterance {
    /// Tokens passed on with an event.
    pub const TOKENS_MAX: usize = 10;
}

/// One token of a recogniser.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SpeechToken {
    /// With its leading space, if any.
    pub text: String,
    /// Begin (ms).
    pub start_ms: Option<u64>,
    /// End (ms).
    pub end_ms: Option<u64>,
    /// 0 to 1.
    pub confidence: Option<f64>,
    /// Whether the provider may still change it.
    pub is_final: bool,
    /// Who speaks.
    pub speaker: Option<String>,
}
