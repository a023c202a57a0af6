//! Layer 2, manager: the managed video stream of the user: one ingest at a provider, many viewer apps
//! (behaviour.md §7.6.3). Tells nobody and calls nobody.

use crate::base::clock::Now;
use crate::base::footprint::{Footprint, owns};
use crate::base::ids::{CallId, Package, ReplyTo};
use crate::wire::members::Members;

owns! {
    Playback: hls, dash, webrtc, preview, thumbnail;
    LiveInput: uid, whip, srt, rtmp, playback;
    Output: id, url, name, error;
    Managed: id, viewers, anew, early, input, request, phone_requests, outputs;
    ManagedStreams: current, calls;
}

impl Footprint for Purpose {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Create { stream_id } | Self::Poll { stream_id } => stream_id.len(),
            Self::Delete => 0,
            Self::AddOutput { stream_id, url, .. } => stream_id.len() + url.len(),
            Self::RemoveOutput {
                stream_id,
                output_id,
                ..
            } => stream_id.len() + output_id.len(),
        }
    }
}

/// The `appId` of a managed stream towards the phone.
pub const APP_ID: &str = "MANAGED_STREAM";

/// How the glasses deliver to the provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ingest {
    /// Without restream destinations.
    Whip,
    /// With restream destinations.
    Srt,
    /// With one at `pscp.tv`, which understands nothing else.
    Rtmp,
}

impl Ingest {
    /// By the restream destinations (protocol.md §8.11).
    #[must_use]
    pub fn choose<'a>(mut destinations: impl Iterator<Item = &'a str> + Clone) -> Self {
        if destinations.clone().any(|url| url.contains("pscp.tv")) {
            Self::Rtmp
        } else if destinations.next().is_some() {
            Self::Srt
        } else {
            Self::Whip
        }
    }
}

/// What the provider made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LiveInput {
    /// The provider's id.
    pub uid: String,
    /// Where WHIP goes; empty where that is not offered, as the next two.
    pub whip: String,
    /// Where SRT goes, with stream id and passphrase in the query.
    pub srt: String,
    /// Where RTMP goes, with the stream key at its end.
    pub rtmp: String,
    /// Playback.
    pub playback: Playback,
}

impl LiveInput {
    /// The URL for the glasses.
    #[must_use]
    pub fn ingest_url(&self, ingest: Ingest) -> &str {
        match ingest {
            Ingest::Whip => &self.whip,
            Ingest::Srt => &self.srt,
            Ingest::Rtmp => &self.rtmp,
        }
    }
}

/// Where viewers watch; empty texts are not known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Playback {
    /// HLS manifest.
    pub hls: String,
    /// DASH manifest.
    pub dash: String,
    /// WebRTC (WHEP).
    pub webrtc: String,
    /// Embeddable player.
    pub preview: String,
    /// Still.
    pub thumbnail: String,
}

/// Where the start has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The live input is being made; how many attempts were made.
    Creating {
        /// Attempts so far.
        tries: u64,
    },
    /// Made; the glasses are told a little later.
    IngestWait,
    /// The glasses were told; not live before `until_ms` is an error.
    Polling {
        /// `mono_ms`.
        until_ms: u64,
    },
    /// Viewers can watch.
    Live,
}

/// One restream output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// The provider's id; empty while it is being added.
    pub id: String,
    /// `rtmp(s)://…`.
    pub url: String,
    /// Label for people.
    pub name: Option<String>,
    /// Only this app may remove it.
    pub added_by: Package,
    /// `active`, `error` or `stopped`.
    pub status: &'static str,
    /// What the provider said.
    pub error: Option<String>,
}

/// The stream.
#[derive(Debug)]
pub struct Managed {
    /// `m` and ten characters.
    pub id: String,
    /// Who watches; may contain `__phone__`.
    pub viewers: Vec<Package>,
    /// Those of them that are told nothing until they ask again: a 2.x app that was started anew would take what it hears for
    /// a stream of its own and refuse to start others (behaviour.md §2.6 step 8).
    pub anew: Vec<Package>,
    /// Those of them that asked between the making of the input and the start and heard `active`: no step back for them.
    pub early: Vec<Package>,
    /// Progress.
    pub stage: Stage,
    /// Once it is made.
    pub input: Option<LiveInput>,
    /// The first request, for the phone.
    pub request: Members,
    /// The phone's words for its requests, one of each mini-app that watches; the newest last.
    pub phone_requests: Vec<String>,
    /// How the glasses deliver.
    pub ingest: Ingest,
    /// Restream outputs.
    pub outputs: Vec<Output>,
    /// The glasses said that they send video.
    pub flows: bool,
    /// When it was asked for.
    pub created: Now,
    /// `mono_ms` of the last sign of life.
    pub active_ms: u64,
}

/// Mini-apps of one phone whose requests are known; the oldest gives way.
const PHONE_REQUESTS_MAX: usize = 8;

impl Managed {
    /// Another mini-app of the phone watches.
    pub fn phone_asked(&mut self, request_id: &str) {
        self.phone_requests.retain(|known| known != request_id);
        if self.phone_requests.len() == PHONE_REQUESTS_MAX {
            self.phone_requests.remove(0);
        }
        self.phone_requests.push(request_id.to_owned());
    }

    /// Whose request it is until the glasses are told: who watches longest.
    pub fn asker(&self) -> Package {
        let first = self.viewers.first().cloned();
        first.unwrap_or_else(|| Package::new(Package::PHONE))
    }

    /// A viewer is one no more.
    pub fn left(&mut self, viewer: &str) {
        self.viewers.retain(|known| &**known != viewer);
        if viewer == Package::PHONE {
            self.phone_requests.clear();
        }
    }
}

/// What a provider call was for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Make the live input of this stream.
    Create {
        /// Id of the stream.
        stream_id: String,
    },
    /// Is it live?
    Poll {
        /// Id of the stream.
        stream_id: String,
    },
    /// Clean up; the answer does not matter.
    Delete,
    /// Add an output; a REST caller may wait.
    AddOutput {
        /// Id of the stream.
        stream_id: String,
        /// URL of the output.
        url: String,
        /// Who waits.
        reply: Option<ReplyTo>,
    },
    /// Remove an output.
    RemoveOutput {
        /// Id of the stream.
        stream_id: String,
        /// Id of the output.
        output_id: String,
        /// Who waits.
        reply: ReplyTo,
    },
}

impl Purpose {
    fn is_creation(&self) -> bool {
        matches!(self, Self::Create { .. })
    }
}

/// Managed streaming of the session.
#[derive(Default)]
pub struct ManagedStreams {
    /// At most one.
    pub current: Option<Managed>,
    calls: Vec<(CallId, Purpose)>,
}

impl ManagedStreams {
    /// The current stream, if it has this id.
    pub fn by_id(&mut self, id: &str) -> Option<&mut Managed> {
        self.current.as_mut().filter(|stream| stream.id == id)
    }

    /// A call left.
    pub fn called(&mut self, call: CallId, purpose: Purpose) {
        self.calls.push((call, purpose));
    }

    /// A call came back.
    pub fn answered(&mut self, call: CallId) -> Option<Purpose> {
        let at = self.calls.iter().position(|(id, _)| *id == call)?;
        Some(self.calls.remove(at).1)
    }

    /// Takes all calls that are under way but those of [`ManagedStreams::creations`].
    pub fn drain_calls(&mut self) -> Vec<(CallId, Purpose)> {
        let is_creation = |(_, purpose): &(CallId, Purpose)| purpose.is_creation();
        let all = std::mem::take(&mut self.calls);
        let (creations, others) = all.into_iter().partition(is_creation);
        self.calls = creations;
        others
    }

    /// Calls under way that make a live input: when the session is gone, somebody else must remove it.
    pub fn creations(&self) -> impl Iterator<Item = CallId> {
        let creations = self
            .calls
            .iter()
            .filter(|(_, purpose)| purpose.is_creation());
        creations.map(|(call, _)| *call)
    }
}
