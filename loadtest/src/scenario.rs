//! Scenarios: what the users do, for how long, and what goes wrong. Read from YAML; unknown keys are errors.

mod faults;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::hist::Class;
pub(crate) use faults::{Abuse, AppServerGone, Fault, Herd, Restart, StuckReaders};

/// Most apps a user can have; the apps file declares that many packages.
pub(crate) const APPS_MAX: usize = 5;

/// A whole scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Short name; also names the result.
    pub(crate) name: String,
    /// What it shows, in a sentence.
    #[serde(default)]
    pub(crate) about: String,
    /// Simulated users; `--scale` multiplies it.
    pub(crate) users: u32,
    /// Apps of each user, 0 to 5, all subscribed to what the streams need.
    #[serde(default)]
    pub(crate) apps_per_user: usize,
    /// Users brought up per second.
    #[serde(default = "defaults::ramp")]
    pub(crate) ramp_users_per_s: f64,
    /// Pause between bring-up and traffic, seconds (boot screens end, subscriptions take effect).
    #[serde(default = "defaults::settle")]
    pub(crate) settle_s: f64,
    /// Traffic that is not measured, seconds.
    #[serde(default = "defaults::warmup")]
    pub(crate) warmup_s: f64,
    /// Measured traffic, seconds.
    pub(crate) duration_s: f64,
    /// Wait for what is still under way, seconds.
    #[serde(default = "defaults::drain")]
    pub(crate) drain_s: f64,
    /// The traffic.
    #[serde(default)]
    pub(crate) streams: Vec<Stream>,
    /// Background REST calls of each user.
    #[serde(default)]
    pub(crate) rest: RestLoad,
    /// Sockets opened and closed for the sake of it.
    #[serde(default)]
    pub(crate) connects: Option<Connects>,
    /// Sockets at `/app-ws` that never say who they are; servers end them after 30 s. `--scale` multiplies it.
    #[serde(default)]
    pub(crate) bystanders: u32,
    /// What goes wrong, and when.
    #[serde(default)]
    pub(crate) faults: Vec<Fault>,
    /// What must hold for the run to pass.
    #[serde(default)]
    pub(crate) expect: Expect,
}

/// What a stream consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Binary frames, phone to every app.
    Audio,
    /// Binary frames of LC3 (ten of 60 bytes), phone to the server, which every app hears as samples.
    Lc3,
    /// `button_press` texts, phone to every app in the envelope.
    Event,
    /// `local_transcription` texts, what a recogniser on the phone hears, to every app in the envelope.
    Transcript,
    /// The golden phone messages in turn, phone to every app in the envelope. They keep their natural size.
    Mix,
    /// `display_event` texts, first app to the phone.
    Display,
    /// Binary frames, phone to a recogniser; what it answers goes to every app as `transcription:en-US`.
    Speech,
}

impl Kind {
    /// What its messages are counted as.
    pub(crate) fn class(self) -> Class {
        match self {
            Self::Audio | Self::Lc3 => Class::Audio,
            Self::Speech => Class::Speech,
            Self::Event | Self::Transcript | Self::Mix => Class::Event,
            Self::Display => Class::Display,
        }
    }
}

/// How audio leaves the phone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Transport {
    /// Binary frames.
    #[default]
    Websocket,
    /// Packets, where the server offers it.
    Udp,
    /// Packets sealed with the key that the server gives to phones that ask for one.
    UdpSealed,
}

impl Transport {
    /// Whether it is by packets.
    pub(crate) fn is_udp(self) -> bool {
        self != Self::Websocket
    }
}

/// One kind of traffic. Exactly one of `in_flight`, `per_user_per_s` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stream {
    /// What it consists of.
    pub(crate) kind: Kind,
    /// Size of a message, bytes; absent for a mix and LC3.
    #[serde(default)]
    pub(crate) bytes: usize,
    /// Closed loop: so many messages of each user are under way at any time.
    #[serde(default)]
    pub(crate) in_flight: Option<u32>,
    /// Open loop: each user sends so many per second, whatever the server does.
    #[serde(default)]
    pub(crate) per_user_per_s: Option<f64>,
    /// Spacing of an open loop.
    #[serde(default)]
    pub(crate) arrivals: Arrivals,
    /// Share of the users that take part, 0 to 1.
    #[serde(default = "defaults::one")]
    pub(crate) share: f64,
    /// Audio only: how it leaves the phone.
    #[serde(default)]
    pub(crate) transport: Transport,
    /// Speech only: the recogniser answers once per so many bytes of audio.
    #[serde(default = "defaults::answer_bytes")]
    pub(crate) answer_bytes: usize,
    /// Display only: ask the server not to throttle.
    #[serde(default)]
    pub(crate) force: bool,
}

impl Stream {
    /// Messages that each receiver gets of `sent` ones: all, or what the recogniser answers.
    pub(crate) fn answers(&self, sent: u64) -> u64 {
        if self.kind != Kind::Speech {
            return sent;
        }
        sent / (self.answer_bytes / self.bytes.max(1)).max(1) as u64
    }
}

/// Spacing of open-loop messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Arrivals {
    /// Every user at a fixed period and a random phase: microphones.
    #[default]
    Even,
    /// Independent arrivals: people.
    Poisson,
}

/// Calls in the background, per user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestLoad {
    /// `POST /api/client/device/state` per user and minute.
    #[serde(default)]
    pub(crate) device_state_per_min: f64,
    /// `POST /api/client/location` per user and minute.
    #[serde(default)]
    pub(crate) location_per_min: f64,
    /// What a phone asks and tells on every `connection_ack`: its list of apps, its audio format, its way by UDP where the
    /// server offers one (whether audio goes there or not).
    #[serde(default)]
    pub(crate) on_ack: bool,
    /// JSON `ping` of every app, per minute: SDK 3.x sends four.
    #[serde(default)]
    pub(crate) app_pings_per_min: f64,
}

/// Connect, authenticate, leave: at a rate, beside the scenario's own users.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connects {
    /// Attempts per second (open loop); `--scale` multiplies it.
    pub(crate) per_s: f64,
    /// Different users among them; each new user is a new session on the server.
    pub(crate) identities: u32,
    /// Most attempts under way; beyond it an attempt is skipped and counted.
    pub(crate) concurrent_max: u32,
}

/// What must hold. Absent: not checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// Most messages lost at connected receivers.
    pub(crate) lost_max: Option<u64>,
    /// The same as a share of those that had to arrive, where some may be lost: UDP.
    pub(crate) lost_share_max: Option<f64>,
    /// Most messages out of order, twice, damaged or misrouted together.
    pub(crate) disorder_max: Option<u64>,
    /// Slowest pong, milliseconds.
    pub(crate) ping_max_ms: Option<f64>,
    /// 99th percentile of audio and events, milliseconds.
    pub(crate) p99_max_ms: Option<f64>,
    /// Most resident memory that the server may gain between beginning and end of the window, MB.
    pub(crate) memory_growth_max_mb: Option<f64>,
    /// Most calls of phones (`rest`) that fail: another status than 200, or no answer.
    pub(crate) calls_failed_max: Option<u64>,
    /// Least share of the visitors (`connects`) that are acknowledged, of those who tried.
    pub(crate) visits_min: Option<f64>,
    /// Share of phones connected at the end.
    pub(crate) phones_alive_min: Option<f64>,
    /// Share of apps attached at the end.
    pub(crate) apps_alive_min: Option<f64>,
}

/// Why a scenario cannot be run.
#[derive(Debug)]
pub(crate) enum ScenarioError {
    /// The file cannot be read.
    Unreadable(String),
    /// Not YAML of this shape; the text names line and key.
    Syntax(String),
    /// A value outside its bounds.
    Value(String),
}

impl std::fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(text) | Self::Syntax(text) | Self::Value(text) => f.write_str(text),
        }
    }
}

impl Scenario {
    /// Reads and checks a scenario file.
    pub(crate) fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ScenarioError::Unreadable(format!("{}: {error}", path.display())))?;
        Self::parse(&text).map_err(|error| match error {
            ScenarioError::Syntax(text) => {
                ScenarioError::Syntax(format!("{}: {text}", path.display()))
            }
            other => other,
        })
    }

    /// Reads and checks the text of a scenario.
    pub(crate) fn parse(text: &str) -> Result<Self, ScenarioError> {
        let own: Self = serde_saphyr::from_str(text)
            .map_err(|error| ScenarioError::Syntax(error.without_snippet().to_string()))?;
        own.check()?;
        Ok(own)
    }

    /// Multiplies everything that counts users by `factor`.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.users = (f64::from(self.users) * factor).ceil() as u32;
        self.bystanders = (f64::from(self.bystanders) * factor).ceil() as u32;
        self.ramp_users_per_s *= factor.max(1.0);
        if let Some(connects) = &mut self.connects {
            connects.per_s *= factor;
            connects.identities = (f64::from(connects.identities) * factor).ceil() as u32;
        }
    }

    /// Whether some stream is of `kind`.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.streams.iter().any(|stream| stream.kind == kind)
    }

    /// Whether the server is restarted on purpose.
    pub(crate) fn restarts(&self) -> bool {
        (self.faults.iter()).any(|fault| matches!(fault, Fault::Restart(_)))
    }

    /// Sockets that the generator needs, as a lower bound.
    pub(crate) fn sockets(&self) -> u64 {
        let apps = self.apps_per_user as u64;
        u64::from(self.users) * (1 + apps) + u64::from(self.bystanders)
    }

    /// Whether some stream goes by UDP.
    pub(crate) fn by_udp(&self) -> bool {
        self.streams.iter().any(|stream| stream.transport.is_udp())
    }

    /// Whether phones ask for a key to seal their packets with. Phones seal all or none.
    pub(crate) fn seals(&self) -> bool {
        self.streams
            .iter()
            .any(|stream| stream.transport == Transport::UdpSealed)
    }
}

/// What a key that is left out means.
mod defaults {
    pub(super) fn ramp() -> f64 {
        200.0
    }
    pub(super) fn settle() -> f64 {
        2.0
    }
    pub(super) fn warmup() -> f64 {
        3.0
    }
    pub(super) fn drain() -> f64 {
        2.0
    }
    pub(super) fn one() -> f64 {
        1.0
    }
    /// Results of a recogniser come about five times a second.
    pub(super) fn answer_bytes() -> usize {
        6400
    }
}

#[cfg(test)]
pub(crate) mod sample {
    use super::Scenario;

    /// A scenario's head, for tests that add to it and spoil it.
    pub(crate) const HEAD: &str = "
name: small
users: 10
apps_per_user: 2
duration_s: 5
streams:
  - { kind: audio, bytes: 100, in_flight: 1 }
  - { kind: event, bytes: 200, per_user_per_s: 0.5, arrivals: poisson, share: 0.3 }
";

    /// Why it is refused.
    pub(crate) fn error(text: &str) -> String {
        Scenario::parse(text).unwrap_err().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::sample::{HEAD, error};

    const REST: &str = "\
faults:
  - herd: { at_s: 1 }
  - restart: { at_s: 2, times: 3, every_s: 10 }
expect: { lost_max: 0 }
";

    fn good() -> String {
        [HEAD, REST].concat()
    }

    #[test]
    fn a_scenario_is_read_with_its_defaults() {
        let own = Scenario::parse(&good()).unwrap();
        assert_eq!((own.users, own.streams.len(), own.faults.len()), (10, 2, 2));
        assert_eq!(own.streams[1].arrivals, Arrivals::Poisson);
        let Fault::Herd(herd) = &own.faults[0] else {
            panic!("the first fault is a herd");
        };
        assert_eq!((herd.return_s, herd.times), ([5.0, 6.3], 1));
    }

    #[test]
    fn unknown_keys_are_errors_at_every_depth_and_are_named() {
        for (from, to, key) in [
            ("users: 10", "users: 10\nuser: 3", "user"),
            ("bytes: 100", "byts: 100", "byts"),
            ("at_s: 1 }", "at_s: 1, whithin_s: 2 }", "whithin_s"),
            ("- herd:", "- hurd:", "hurd"),
            ("lost_max", "lost_maximum", "lost_maximum"),
        ] {
            let text = error(&good().replace(from, to));
            assert!(text.contains(key), "{key} is not named in: {text}");
        }
    }

    #[test]
    fn one_number_scales_a_scenario() {
        let mut own = Scenario::parse(&good()).unwrap();
        own.scale(2.5);
        assert_eq!((own.users, own.sockets()), (25, 75));
        own.scale(0.01);
        assert_eq!(own.users, 1);
    }

    #[test]
    fn every_scenario_that_is_shipped_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let own = Scenario::load(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            assert_eq!(own.name, path.file_stem().unwrap().to_str().unwrap());
            count += 1;
        }
        assert!(count >= 12, "only {count} scenarios");
    }
}
