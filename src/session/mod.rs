//! Layer 2: one user's world as a synchronous, pure state machine: events and time in, effects out. Never does I/O, never
//! reads a clock, never spawns. `managers/` hold state (one file each, none imports another), `flow/` is where managers
//! meet, `handlers/` holds one file per message type plus one row in a table, `rest/` one file per family of REST calls.

pub mod correlation;
pub mod effects;
pub mod event;
pub mod flow;
pub mod handlers;
pub mod lines;
pub mod managers;
pub mod memory;
pub mod rest;
mod send;
#[cfg(test)]
pub mod testkit;
#[cfg(test)]
mod tests;
pub mod timers;

use crate::base::clock::{IsoMemo, IsoTime, Now};
use crate::base::ids::{CallId, ConnId, UserId};
use crate::base::metrics::Metrics;
use crate::base::settings::Settings;
use crate::wire::json::Scratch;
use crate::wire::kinds::{AppKind, PhoneKind};
use crate::wire::records::Registry;
use correlation::Correlation;
use effects::Effects;
use event::{Chunk, Event, Sender};
use lines::Lines;
use managers::Managers;
use timers::Timers;

pub use send::{Payer, SendOutcome};

/// Everything a session may look at or write to while it handles one event.
pub struct Cx<'a> {
    /// The instant of this batch.
    pub now: Now,
    /// Settings in force.
    pub cfg: &'a Settings,
    /// App records in force.
    pub apps: &'a Registry,
    /// Where effects go.
    pub fx: &'a mut Effects,
    /// Parse buffers of this shard.
    pub scratch: &'a mut Scratch,
    /// Counters of this shard.
    pub metrics: &'a mut Metrics,
    /// Log lines of this shard's sessions that are not told each time.
    pub lines: &'a mut Lines,
    stamp: &'a mut IsoMemo,
}

impl Cx<'_> {
    /// [`Now::iso`] of this instant, for what is written often.
    #[inline]
    pub fn stamp(&mut self) -> IsoTime {
        self.stamp.of(self.now)
    }
}

/// Buffers and counters of one shard, lent to its sessions one after the other. What every message touches stands together.
#[repr(C)]
pub struct Workspace {
    /// Parse buffers.
    pub scratch: Scratch,
    /// Log lines that are not told each time.
    pub lines: Lines,
    stamp: IsoMemo,
    /// Where effects go.
    pub fx: Effects,
    /// Counters.
    pub metrics: Metrics,
}

impl Workspace {
    /// Empty buffers, nothing counted.
    #[must_use]
    pub fn new() -> Self {
        Self {
            fx: Effects::new(),
            scratch: Scratch::new(),
            metrics: Metrics::new(PhoneKind::COUNT, AppKind::COUNT),
            lines: Lines::default(),
            stamp: IsoMemo::default(),
        }
    }

    /// The context for one event.
    #[inline]
    pub fn cx<'a>(&'a mut self, now: Now, cfg: &'a Settings, apps: &'a Registry) -> Cx<'a> {
        Cx {
            now,
            cfg,
            apps,
            fx: &mut self.fx,
            scratch: &mut self.scratch,
            metrics: &mut self.metrics,
            lines: &mut self.lines,
            stamp: &mut self.stamp,
        }
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

/// Session states of behaviour.md §1.3; DISCONNECTED is the recoverable grace state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Stored record being read; phone frames other than `ping` wait.
    Initializing,
    /// Record read, `connection_ack` not yet sent.
    Connecting,
    /// Normal operation.
    Connected,
    /// No phone; grace runs.
    Disconnected,
    /// Disposal runs or is done; nothing has an effect any more.
    Disposed,
}

/// One user's session. As in [`Managers`], what every message touches stands first.
#[repr(C)]
pub struct Session {
    /// Life cycle.
    pub state: State,
    messages: u64,
    /// Deadlines.
    pub timers: Timers,
    /// All managers. They are reached by field, so that handlers can borrow several at once.
    pub m: Managers,
    /// Owner; also the session id on the wire.
    pub user: UserId,
    /// Random; tells this session from earlier ones of the same user in logs and stale results.
    pub epoch: u64,
    /// When it was created (`mono_ms`).
    pub created_ms: u64,
    next_call: u64,
    rng: fastrand::Rng,
}

impl Session {
    /// A session about to load its user; the caller delivers `PhoneConnected` next. `seed` makes all its random choices.
    #[must_use]
    pub fn new(user: UserId, seed: u64, cx: &mut Cx<'_>) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let epoch = rng.u64(..);
        let mut session = Self {
            user,
            epoch,
            state: State::Initializing,
            created_ms: cx.now.mono_ms,
            timers: Timers::new(),
            m: Managers::default(),
            next_call: 0,
            messages: 0,
            rng,
        };
        flow::lifecycle::created(&mut session, cx);
        session
    }

    /// Handles one event. Effects are appended to `cx.fx`; the shard applies them right after.
    pub fn on_event(&mut self, event: Event, cx: &mut Cx<'_>) {
        self.next_message();
        if self.state == State::Disposed {
            flow::lifecycle::after_disposal(&event, cx);
            return;
        }
        flow::dispatch::event(self, event, cx);
    }

    /// One text frame of a phone socket (current or superseded), or of an app socket that said hello to this session: not yet
    /// looked at. What must last is copied.
    pub fn on_text(&mut self, from: Sender, conn: ConnId, text: &str, cx: &mut Cx<'_>) {
        self.next_message();
        match from {
            _ if self.state == State::Disposed => {}
            Sender::Phone => flow::phone_in::text(self, conn, text, cx),
            Sender::App => flow::app_in::text(self, conn, text, cx),
        }
    }

    /// The hot path: one chunk of microphone audio of a phone socket, as the phone sent it (PCM or LC3). Fans out to
    /// [`managers::audio::Audio::targets`] as [`effects::Effect::Small`] or [`effects::Effect::Binary`] and feeds the
    /// microphone's evidence rule. Allocates nothing in steady state.
    pub fn on_audio(&mut self, conn: ConnId, data: Chunk<'_>, cx: &mut Cx<'_>) {
        self.next_message();
        if flow::phone_in::audio(self, conn, &data, cx) {
            flow::audio::chunk(self, conn, data, cx);
        }
    }

    /// A probe of the phone arrived by UDP.
    pub fn on_udp_probe(&mut self, cx: &mut Cx<'_>) {
        self.next_message();
        if self.state != State::Disposed {
            flow::udp::probed(self, cx);
        }
    }

    /// An audio datagram arrived, sealed or not; it is opened in its place.
    pub fn on_udp_audio(&mut self, sequence: u16, payload: &mut [u8], cx: &mut Cx<'_>) {
        self.next_message();
        if self.state != State::Disposed {
            flow::udp::packet(self, sequence, payload, cx);
        }
    }

    /// Where a message looks beside the beginning, and how many cache lines there matter: for the shard, which fetches them
    /// beforehand.
    #[must_use]
    #[inline]
    pub fn place(&self) -> (*const u8, usize) {
        (self.m.health.place(), 2)
    }

    /// Where else a relayed event looks.
    #[must_use]
    #[inline]
    pub fn event_places(&self) -> [(*const u8, usize); 2] {
        self.m.routes.places()
    }

    /// Whether the next tick looks for silent sockets.
    #[must_use]
    pub fn judges_silence(&self, now: Now) -> bool {
        let beat = self.timers.at(&timers::Timer::Heartbeat);
        beat.is_some_and(|at_ms| at_ms <= now.mono_ms)
    }

    /// When bytes came last on a socket (`mono_ms`), whether or not they were a whole frame.
    pub fn bytes_came(&mut self, conn: ConnId, at_ms: u64) {
        self.m.health.bytes_came(conn, at_ms);
    }

    /// So many messages and bytes went out on a socket since it was opened: told before anybody looks (behaviour.md §9.1).
    pub fn bytes_went(&mut self, conn: ConnId, messages: u64, bytes: u64) {
        self.m.health.bytes_went(conn, messages, bytes);
    }

    /// The process goes away. The session does not end, but its last location would be lost with it (behaviour.md §10.6), and
    /// nobody else knows of its live input.
    pub fn process_ends(&mut self, cx: &mut Cx<'_>) {
        flow::device::save_location(self, cx);
        flow::managed_streams::process_ends(self, cx);
    }

    /// The earliest deadline (`mono_ms`), `u64::MAX` for none. The shard sends `Tick` at or after it.
    #[must_use]
    pub fn next_deadline_ms(&self) -> u64 {
        self.timers.next_ms()
    }

    /// A fresh id for a call that leaves the session.
    pub fn call_id(&mut self) -> CallId {
        self.next_call += 1;
        CallId(self.next_call)
    }

    /// What follows belongs to another inbound message.
    pub(crate) fn next_message(&mut self) {
        self.messages = self.messages.wrapping_add(1);
    }

    /// The name of the message that is being handled, for log lines. Costs nothing until it is written.
    #[must_use]
    pub fn correlation(&self, now: Now) -> Correlation {
        Correlation {
            user: self.user.hash32(),
            unix_ms: now.unix_ms,
            epoch: self.epoch,
            message: self.messages,
        }
    }

    /// Random choices of this session; seeded, so that a simulation repeats.
    pub fn rng(&mut self) -> &mut fastrand::Rng {
        &mut self.rng
    }

    /// `<user>-<package>`.
    #[must_use]
    pub fn app_session_id(&self, package: &str) -> String {
        crate::wire::ids::app_session_id(&self.user, package)
    }
}
