//! The engine: simulated phones, app servers and a webhook receiver, on one thread and one epoll.
//! Speaks only the public protocol; shares no code with any server.

mod abuse;
mod app;
mod bring_up;
mod bystander;
mod conn;
mod faults;
mod greeting;
mod io;
pub(crate) mod lc3;
mod phase;
mod phone;
mod provider;
mod rest;
mod sample;
mod stats;
mod timers;
mod traffic;
pub(crate) mod udp;
mod user;
mod visitor;
mod webhook;

use std::net::{Ipv4Addr, SocketAddrV4};

pub(crate) use phase::{Measured, ServerUse};
pub(crate) use sample::Second;

use crate::clock;
use crate::interrupt;
use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::schedule::Schedule;
use crate::sys::Epoll;
use crate::token::Mint;
use conn::{Slab, Token};
use stats::{Causes, Stats};
use timers::{Timer, Timers};
use traffic::StreamState;
use user::User;

/// Size of the one read buffer, bytes.
const READ_BUFFER: usize = 256 * 1024;
/// Timers handled per turn, so that reading is never put off for long.
const TIMERS_PER_TURN: usize = 512;

/// What kind of server is under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The whole protocol: tokens, webhooks, subscriptions.
    Prism {
        /// Secret of the core tokens.
        jwt_secret: String,
        /// API key of every `load.appN`.
        api_key: String,
        /// Port of our webhook receiver; 0 takes a free one.
        webhook_port: u16,
        /// Port of our recognisers, where the scenario has speech; 0 takes a free one.
        provider_port: u16,
        /// Install each app before it is started.
        install: bool,
    },
    /// A plain relay: same paths, subscriptions in the query, nothing else.
    Relay,
}

/// Everything about a run that is not the scenario.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The server.
    pub(crate) address: SocketAddrV4,
    /// Its name and port, as requests name it.
    pub(crate) host: String,
    /// Its kind.
    pub(crate) target: Target,
    /// Process to watch.
    pub(crate) server_pid: Option<i32>,
    /// File to read the pid from again after a restart.
    pub(crate) pid_file: Option<std::path::PathBuf>,
    /// Shell command of the restart fault.
    pub(crate) restart_command: Option<String>,
    /// Never sleep: the server pays no wake-ups for us, and due times are met exactly.
    pub(crate) busy_poll: bool,
    /// First part of every e-mail; a new one makes new sessions.
    pub(crate) user_prefix: String,
    /// Seed of phases and jitter.
    pub(crate) seed: u64,
    /// Whether progress goes to standard error.
    pub(crate) progress: bool,
}

impl Settings {
    /// Where to listen for what the server opens: for a server elsewhere, on every address.
    fn listening(&self, port: u16) -> SocketAddrV4 {
        let ip = if self.address.ip().is_loopback() {
            Ipv4Addr::LOCALHOST
        } else {
            Ipv4Addr::UNSPECIFIED
        };
        SocketAddrV4::new(ip, port)
    }
}

/// Periodic things that every user does besides the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Background {
    Ping,
    DeviceState,
    Location,
    AppPing,
    Churn,
}

/// Time that the generator had to spare.
#[derive(Debug, Default, Clone, Copy)]
struct Spare {
    /// Nanoseconds spent waiting or in turns that found nothing to do.
    idle_ns: u64,
}

/// The engine.
pub(crate) struct Engine {
    settings: Settings,
    scenario: Scenario,
    epoll: Epoll,
    conns: Slab,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    rng: Rng,
    mint: Option<Mint>,
    users: Vec<User>,
    streams: Vec<StreamState>,
    background: Vec<(Background, Schedule)>,
    timers: Timers,
    rest: rest::Pool,
    stats: Stats,
    hooks: webhook::Receiver,
    udp: udp::Udp,
    recogniser_port: u16,
    abuser: abuse::Abuser,
    visitors: u32,
    visits: u64,
    visitor_tokens: Vec<String>,
    app_server_gone: bool,
    /// Number of the traffic phase; in every tag.
    phase: u8,
    /// Whether open streams send and closed streams go on.
    generating: bool,
    /// Measured window (monotonic nanoseconds); empty outside phases.
    window: (u64, u64),
    spare: Spare,
    sampler: sample::Sampler,
    /// Errors and closes by the server while users were brought up.
    pub(crate) bring_up_errors: Causes,
    unreached: u64,
    interrupted_s: Option<f64>,
    /// The watched server process ended and nothing will start another: there is nothing left to measure.
    server_ended: bool,
}

/// Why the engine cannot go on.
#[derive(Debug)]
pub(crate) enum EngineError {
    /// The kernel refused something that everything depends on.
    Io(std::io::Error),
    /// The port of a receiver cannot be had.
    Port(String),
    /// Tokens cannot be made.
    Token(String),
    /// Not all users came up; the text says what is missing and why.
    BringUp(String),
    /// The other testers did not come.
    Meeting(String),
    /// Somebody pressed Ctrl-C before there was a result.
    Interrupted,
    /// The server process ended before there was a result.
    ServerEnded,
}

impl std::fmt::Display for EngineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "input/output: {error}"),
            Self::Port(text) | Self::Meeting(text) => f.write_str(text),
            Self::Token(text) => write!(f, "cannot mint a token: {text}"),
            Self::BringUp(text) => write!(f, "bring-up failed: {text}"),
            Self::ServerEnded => f.write_str("the server process ended before there was a result"),
            Self::Interrupted => f.write_str("interrupted before there was a result"),
        }
    }
}

impl From<std::io::Error> for EngineError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl Engine {
    /// An engine with all its users, none of them connected.
    pub(crate) fn new(settings: Settings, scenario: Scenario) -> Result<Self, EngineError> {
        let mint = match &settings.target {
            Target::Prism { jwt_secret, .. } => {
                Some(Mint::new(jwt_secret, clock::wall_ms() / 1000))
            }
            Target::Relay => None,
        };
        let streams: Vec<StreamState> = scenario.streams.iter().map(StreamState::new).collect();
        let mut own = Self {
            rng: Rng::new(settings.seed),
            epoll: Epoll::new()?,
            conns: Slab::default(),
            buffer: vec![0; READ_BUFFER],
            scratch: Vec::new(),
            mint,
            users: Vec::new(),
            streams,
            background: Vec::new(),
            timers: Timers::default(),
            rest: rest::Pool::default(),
            stats: Stats::new(),
            hooks: webhook::Receiver::default(),
            udp: udp::Udp::default(),
            recogniser_port: 0,
            abuser: abuse::Abuser::default(),
            visitors: 0,
            visits: 0,
            visitor_tokens: Vec::new(),
            app_server_gone: false,
            phase: 0,
            generating: false,
            window: (0, 0),
            spare: Spare::default(),
            sampler: sample::Sampler::default(),
            bring_up_errors: Causes::default(),
            unreached: 0,
            interrupted_s: None,
            server_ended: false,
            settings,
            scenario,
        };
        own.create_users()?;
        if matches!(own.settings.target, Target::Prism { .. }) {
            own.start_hooks()?;
            own.start_recognisers()?;
        }
        Ok(own)
    }

    fn create_users(&mut self) -> Result<(), EngineError> {
        for index in 0..self.scenario.users {
            let (email, token) = self.identity("u", index)?;
            self.users.push(User::new(
                email,
                token,
                self.scenario.apps_per_user,
                self.streams.len(),
            ));
        }
        if let Some(connects) = self.scenario.connects {
            for index in 0..connects.identities.max(1) {
                let (email, token) = self.identity("v", index)?;
                let name = if self.mint.is_some() { token } else { email };
                self.visitor_tokens.push(name);
            }
        }
        Ok(())
    }

    /// E-mail and token of a simulated person.
    fn identity(&self, kind: &str, index: u32) -> Result<(String, String), EngineError> {
        let email = format!("{}-{kind}{index}@load.test", self.settings.user_prefix);
        let token = match &self.mint {
            Some(mint) => mint
                .token(&email)
                .map_err(|error| EngineError::Token(error.to_string()))?,
            None => String::new(),
        };
        Ok((email, token))
    }

    /// One turn: what is due, then what is ready. Returns after at most `until`.
    fn turn(&mut self, until: u64) -> Result<(), EngineError> {
        let now = clock::mono_ns();
        let mut acted = self.fire_timers(now);
        acted |= self.fire_background(now);
        if self.generating {
            acted |= self.fire_streams(now);
        }
        let before = clock::mono_ns();
        let due = self.next_due().map_or(until, |due| due.min(until));
        let timeout = if self.settings.busy_poll {
            0
        } else {
            due.saturating_sub(before)
        };
        let count = self.epoll.wait(timeout)?;
        if timeout > 0 {
            self.spare.idle_ns += clock::mono_ns() - before;
        }
        for index in 0..count {
            let ready = self.epoll.ready(index);
            self.on_ready(ready);
        }
        if self.settings.busy_poll && count == 0 && !acted {
            self.spare.idle_ns += clock::mono_ns() - now;
        }
        Ok(())
    }

    /// Whether to stop at once: Ctrl-C was pressed, or the server is no more.
    fn ends(&self) -> bool {
        self.server_ended || interrupt::wanted()
    }

    /// Turns until the clock shows `until`, or it ends before.
    fn turn_until(&mut self, until: u64) -> Result<(), EngineError> {
        while clock::mono_ns() < until && !self.ends() {
            self.turn(until)?;
        }
        Ok(())
    }

    fn next_due(&self) -> Option<u64> {
        let streams = self
            .streams
            .iter()
            .filter(|_| self.generating)
            .filter_map(|stream| stream.schedule.as_ref()?.next_due());
        let background = self
            .background
            .iter()
            .filter_map(|(_, schedule)| schedule.next_due());
        self.timers
            .next_due()
            .into_iter()
            .chain(streams)
            .chain(background)
            .min()
    }

    fn fire_timers(&mut self, now: u64) -> bool {
        for fired in 0..TIMERS_PER_TURN {
            let Some((due, timer)) = self.timers.pop_due(now) else {
                return fired > 0;
            };
            match timer {
                Timer::PhoneConnect(user) => self.connect_phone(user, due),
                Timer::AppDial(user, app) => self.dial_app(user, app, due),
                Timer::AppStart(user, app) => self.request_start(user, app),
                Timer::CutPhone(user) => self.cut_phone(user),
                Timer::DropApp(user, app) => self.drop_app(user, app),
                Timer::Fault(index, step) => self.fire_fault(index, step, due),
                Timer::UdpProbe(user, number) => self.probe_udp(user, number, due),
                Timer::Bystander => self.open_bystander(due),
                Timer::Visit => self.visit(due),
                Timer::Abuse(kind, until) => self.abuse(kind, until, due),
                Timer::Sample => self.sample(due),
                Timer::Sweep => self.sweep(now),
            }
        }
        true
    }

    fn fire_background(&mut self, now: u64) -> bool {
        let mut acted = false;
        for index in 0..self.background.len() {
            for _ in 0..TIMERS_PER_TURN {
                let (kind, schedule) = &mut self.background[index];
                let kind = *kind;
                let Some((due, user)) = schedule.pop_due(now) else {
                    break;
                };
                acted = true;
                match kind {
                    Background::Ping => self.ping(user, due, now),
                    Background::DeviceState => self.post_device_state(user, due),
                    Background::Location => self.post_location(user, due),
                    Background::AppPing => self.ping_apps(user),
                    // After the window everyone may come back.
                    Background::Churn if self.generating => self.drop_phone(user),
                    Background::Churn => {}
                }
            }
        }
        acted
    }

    /// Whether a latency measured at `time` belongs to the window.
    fn in_window(&self, time: u64) -> bool {
        self.window.0 <= time && time < self.window.1
    }

    fn user_conn(&self, user: u32) -> Option<Token> {
        self.users.get(user as usize)?.phone
    }
}

#[cfg(test)]
mod tests;
