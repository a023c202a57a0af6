//! Layer 2, manager: the unmanaged video stream of the user, the keep-alives of any stream, and which status each app heard
//! last (behaviour.md §7.6).

use crate::base::clock::Now;
use crate::base::footprint::owns;
use crate::base::ids::{ConnId, Package};

owns! {
    Stream: id, url, request_id;
    KeepAlive: stream_id, ack_id;
    OwedStop: app_id, id;
    Streams: current, alive, told, owed_stop;
}

/// What apps see of an unmanaged stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Asked for, connecting or reconnecting.
    Initializing,
    /// Video flows.
    Active,
    /// About to end.
    Stopping,
    /// Over.
    Stopped,
    /// Over: the glasses did not answer or never started.
    Timeout,
}

impl Status {
    /// From the glasses' word (protocol.md §9.13).
    #[must_use]
    pub fn from_glasses(word: &str) -> Self {
        match word {
            "initializing" | "connecting" | "reconnecting" => Self::Initializing,
            "active" | "streaming" | "reconnected" => Self::Active,
            "stopping" => Self::Stopping,
            "timeout" => Self::Timeout,
            _ => Self::Stopped,
        }
    }

    /// On the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Active => "active",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Timeout => "timeout",
        }
    }

    /// Whether tracking ends.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Timeout)
    }
}

/// The name under which the owner hears of its stream: that of its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusName {
    /// `stream_request` → `stream_status`.
    Stream,
    /// `rtmp_stream_request` → `rtmp_stream_status`.
    Rtmp,
}

impl StatusName {
    /// On the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream_status",
            Self::Rtmp => "rtmp_stream_status",
        }
    }
}

/// The stream that the glasses send directly to a URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stream {
    /// `s` and ten characters.
    pub id: String,
    /// Who asked for it; may be `__phone__`.
    pub owner: Package,
    /// Where it goes.
    pub url: String,
    /// The phone's word for its request, if it is the phone's.
    pub request_id: Option<String>,
    /// Latest.
    pub status: Status,
    /// The glasses said something of it.
    pub reported: bool,
    /// How the owner is told.
    pub name: StatusName,
    /// When it was asked for.
    pub created: Now,
}

/// A stop that the phone must hear, perhaps once more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwedStop {
    /// The name of its app.
    pub app_id: String,
    /// The stream's id.
    pub id: String,
    /// On which socket it was sent, and how often the phone had pinged then; `None`: it was away.
    pub sent: Option<(ConnId, u32)>,
}

#[derive(Debug)]
struct KeepAlive {
    stream_id: String,
    missed: u64,
    ack_id: Option<String>,
}

/// Streams of the session.
#[derive(Default)]
pub struct Streams {
    /// At most one: a new one replaces it on the glasses.
    pub current: Option<Stream>,
    /// What the phone was told to stop last, unless it was away or has been told to start since.
    pub owed_stop: Option<OwedStop>,
    alive: Vec<KeepAlive>,
    told: Vec<(String, Package, String)>,
}

impl Streams {
    /// The current stream, if it has this id.
    pub fn by_id(&mut self, id: &str) -> Option<&mut Stream> {
        self.current.as_mut().filter(|stream| stream.id == id)
    }

    /// Starts keep-alives; `false`: they run already.
    pub fn watch(&mut self, stream_id: &str) -> bool {
        if self.alive.iter().any(|row| row.stream_id == stream_id) {
            return false;
        }
        self.alive.push(KeepAlive {
            stream_id: stream_id.to_owned(),
            missed: 0,
            ack_id: None,
        });
        true
    }

    /// Whether keep-alives run for this stream.
    #[must_use]
    pub fn is_watched(&self, stream_id: &str) -> bool {
        self.alive.iter().any(|row| row.stream_id == stream_id)
    }

    /// Ends keep-alives.
    pub fn unwatch(&mut self, stream_id: &str) {
        self.alive.retain(|row| row.stream_id != stream_id);
    }

    /// Ends keep-alives and forgets what was told.
    pub fn forget(&mut self, stream_id: &str) {
        self.unwatch(stream_id);
        self.told.retain(|(stream, _, _)| stream != stream_id);
    }

    /// Whether a keep-alive waits for its ack.
    #[must_use]
    pub fn awaits_ack(&self, stream_id: &str) -> bool {
        self.alive
            .iter()
            .any(|row| row.stream_id == stream_id && row.ack_id.is_some())
    }

    /// A keep-alive was sent.
    pub fn sent(&mut self, stream_id: &str, ack_id: String) {
        if let Some(row) = self.row(stream_id) {
            row.ack_id = Some(ack_id);
        }
    }

    /// An ack arrived; `false`: not the one awaited.
    pub fn acked(&mut self, stream_id: &str, ack_id: &str) -> bool {
        match self.row(stream_id) {
            Some(row) if row.ack_id.as_deref() == Some(ack_id) => {
                row.ack_id = None;
                row.missed = 0;
                true
            }
            _ => false,
        }
    }

    /// Any other sign of life.
    pub fn active(&mut self, stream_id: &str) {
        if let Some(row) = self.row(stream_id) {
            row.ack_id = None;
            row.missed = 0;
        }
    }

    /// No ack is awaited any more, and none was missed.
    pub fn excuse(&mut self, stream_id: &str) {
        if let Some(row) = self.row(stream_id) {
            row.ack_id = None;
        }
    }

    /// An ack is missing; returns how many in a row.
    pub fn missed(&mut self, stream_id: &str) -> u64 {
        self.row(stream_id).map_or(0, |row| {
            row.ack_id = None;
            row.missed += 1;
            row.missed
        })
    }

    /// Ids of all streams with keep-alives.
    #[must_use]
    pub fn watched(&self) -> Vec<String> {
        self.alive.iter().map(|row| row.stream_id.clone()).collect()
    }

    /// Notes what an app is told of a stream; `false`: it heard exactly that last.
    pub fn is_news(&mut self, stream_id: &str, package: &str, content: &str) -> bool {
        let known = self
            .told
            .iter_mut()
            .find(|(stream, app, _)| stream == stream_id && &**app == package);
        match known {
            Some((_, _, last)) if last == content => false,
            Some((_, _, last)) => {
                content.clone_into(last);
                true
            }
            None => {
                let row = (
                    stream_id.to_owned(),
                    Package::new(package),
                    content.to_owned(),
                );
                self.told.push(row);
                true
            }
        }
    }

    /// Whether an app was told anything of a stream that still counts.
    #[must_use]
    pub fn was_told(&self, stream_id: &str, package: &str) -> bool {
        let mut told = self.told.iter();
        told.any(|(stream, app, _)| stream == stream_id && &**app == package)
    }

    /// An app did not get it, reconnected or stopped: the next status is news again.
    pub fn forget_app(&mut self, package: &str) {
        self.told.retain(|(_, app, _)| &**app != package);
    }

    fn row(&mut self, stream_id: &str) -> Option<&mut KeepAlive> {
        self.alive.iter_mut().find(|row| row.stream_id == stream_id)
    }
}
