//! Layer 2, manager: which apps run for the user and through which sockets (behaviour.md §2). Holds state and answers
//! questions about it; every transition is made by a flow.

pub mod intent;
pub mod sockets;
pub mod start;

use crate::base::footprint::{flat, owns};
use crate::base::ids::{CallId, ConnId, Package, ReplyTo};
use crate::base::rarely::{PerMinute, PerSecond, Rarely};
use crate::session::event::{AppHello, Sdk};
use crate::session::rest::Shape;
use intent::Intent;
use sockets::Sockets;
use start::{RefusedRequest, Start};
use std::collections::VecDeque;

flat!(Waiter);
owns! {
    Stop: waiters;
    AppSession: start, refused, stop, hello, failures;
    Apps: list, sockets, intent, restart_queue, restarting, unknown_types;
}

/// App session states of behaviour.md §2.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppState {
    /// Not expected to run.
    Stopped,
    /// Start requested, waiting for its socket.
    Connecting,
    /// Authenticated socket attached.
    Running,
    /// v2 socket lost; waiting.
    GracePeriod,
    /// v3 socket lost; waiting.
    TransportDown,
    /// The server is restarting it.
    Resurrecting,
    /// Lost or released while the server may not restart it.
    Dormant,
    /// Deliberate stop in progress.
    Stopping,
}

impl AppState {
    /// All of them, in declaration order.
    pub const ALL: [Self; 8] = [
        Self::Stopped,
        Self::Connecting,
        Self::Running,
        Self::GracePeriod,
        Self::TransportDown,
        Self::Resurrecting,
        Self::Dormant,
        Self::Stopping,
    ];

    /// The word of protocol.md §3.5, for logs, figures and admin answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Connecting => "connecting",
            Self::Running => "running",
            Self::GracePeriod => "grace_period",
            Self::TransportDown => "transport_down",
            Self::Resurrecting => "resurrecting",
            Self::Dormant => "dormant",
            Self::Stopping => "stopping",
        }
    }

    /// States in which a lost app is expected back.
    #[must_use]
    pub fn awaits_return(self) -> bool {
        matches!(
            self,
            Self::GracePeriod | Self::TransportDown | Self::Resurrecting | Self::Dormant
        )
    }

    /// States of an app that runs, or is about to.
    #[must_use]
    pub fn is_expected(self) -> bool {
        !matches!(self, Self::Stopped | Self::Stopping | Self::Dormant)
    }

    /// States in which an init is accepted (protocol.md §3.2 step 5).
    #[must_use]
    pub fn accepts_socket(self) -> bool {
        !matches!(self, Self::Stopped | Self::Stopping)
    }
}

/// Why an app is being stopped (behaviour.md §2.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopWhy {
    /// The user, or an assistant app for the user.
    User,
    /// Another standard app starts.
    Foreground,
    /// The connected glasses lack required hardware; the user's intent is kept.
    Incompatible,
    /// The app was uninstalled.
    Uninstall,
}

/// A REST call that waits for a start or stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiter {
    /// Where the answer goes.
    pub reply: ReplyTo,
    /// Form of the answer.
    pub shape: AnswerShape,
}

/// Body of the answer a waiter gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerShape {
    /// protocol.md §18.3, §18.16.
    Rest(Shape),
    /// 200 `{}`.
    Empty,
}

/// A deliberate stop in progress, or the stop webhook of a v2 restart (then `why` is `None`).
#[derive(Debug)]
pub struct Stop {
    /// Cause; `None` for the restart variant.
    pub why: Option<StopWhy>,
    /// The stop webhook while unanswered.
    pub call: Option<CallId>,
    /// The socket that still gets `app_stopped` and its close.
    pub conn: Option<ConnId>,
    /// Callers.
    pub waiters: Vec<Waiter>,
}

/// One (user, app) pair.
#[derive(Debug)]
pub struct AppSession {
    /// Package.
    pub package: Package,
    /// State.
    pub state: AppState,
    /// Attached socket; set exactly while `Running`.
    pub conn: Option<ConnId>,
    /// Generation of the attached (or last) SDK.
    pub sdk: Sdk,
    /// The attached socket came for a session request that no user made: its SDK may hold an older session that still tries to return.
    pub restarted: bool,
    /// `mono_ms` of the last attach; 0 = never in this session.
    pub attached_ms: u64,
    /// `mono_ms` since when the app is wanted; reset by a stop.
    pub wanted_since_ms: Option<u64>,
    /// Set by a deliberate stop, cleared only by a deliberate start (behaviour.md §2.1).
    pub user_stopped: bool,
    /// `mono_ms` of the unexpected loss of its socket, until it returns.
    pub lost_ms: Option<u64>,
    /// `ownership_release` came on the current socket.
    pub released: bool,
    /// A start in progress, from its reservation to its outcome.
    pub start: Option<Start>,
    /// The session request of a start that succeeded before its answer came: servers answer when they have connected.
    pub answering: Option<CallId>,
    /// Its server refused the session request, and yet it came.
    pub refused: Option<Box<RefusedRequest>>,
    /// A stop in progress.
    pub stop: Option<Stop>,
    /// Extra wait before a restart, drawn after a mass disconnect (ms).
    pub restart_jitter_ms: u64,
    /// What the attached socket said of itself.
    pub hello: Option<Box<AppHello>>,
    /// Unparsable messages in a row on the attached socket.
    pub bad_json: u32,
    /// A body on the attached socket named another app, and that was warned of.
    pub named_another: bool,
    /// `mono_ms` when the attached socket was last told that the phone takes no more of what it asks.
    pub told_full_ms: Option<u64>,
    /// What it sent to other users of late.
    pub to_others: PerSecond,
    /// `mono_ms` of recent handler failures on the attached socket.
    pub failures: VecDeque<u64>,
}

impl AppSession {
    fn new(package: Package) -> Self {
        Self {
            package,
            state: AppState::Stopped,
            conn: None,
            sdk: Sdk::V2,
            restarted: false,
            attached_ms: 0,
            wanted_since_ms: None,
            user_stopped: false,
            lost_ms: None,
            released: false,
            start: None,
            answering: None,
            refused: None,
            stop: None,
            restart_jitter_ms: 0,
            hello: None,
            bad_json: 0,
            named_another: false,
            told_full_ms: None,
            to_others: PerSecond::default(),
            failures: VecDeque::new(),
        }
    }

    /// Whether the foreground rule must stop it: not stopped, or about to start.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state != AppState::Stopped || self.start.is_some() || self.stop.is_some()
    }
}

/// All app sessions of the user, the app sockets that belong to none of them, and the stored intent.
#[derive(Default)]
pub struct Apps {
    list: Vec<AppSession>,
    /// Sockets that are parked, lingering, replaced or waiting.
    pub sockets: Sockets,
    /// What the store is known to hold of running and installed apps.
    pub intent: Intent,
    /// Dormant apps that wait for their restart after a phone returned.
    pub restart_queue: VecDeque<Package>,
    /// Those of the queue whose restart runs.
    pub restarting: Vec<Package>,
    /// Pause before the next try of the system dashboard app (ms); 0 = none failed yet.
    pub dashboard_backoff_ms: u64,
    /// Lines about starts that were refused.
    pub refused_starts: Rarely,
    /// Lines about apps that come, go, start and stop.
    life_lines: PerMinute,
    /// Unknown message types that were warned of.
    unknown_types: Vec<(Package, Box<str>)>,
}

/// Unknown message types remembered per session; what comes beyond them is only counted.
const UNKNOWN_TYPES_MAX: usize = 32;

/// Lines a minute about the life of a user's apps, far more than people and app servers cause.
const LIFE_LINES_MAX: u64 = 200;

impl Apps {
    /// Whether a line about the life of an app may be told, and how many were not since the last one.
    pub fn may_tell(&mut self, now_ms: u64) -> Option<u64> {
        self.life_lines.may(now_ms, LIFE_LINES_MAX)
    }

    /// By package.
    #[must_use]
    pub fn get(&self, package: &str) -> Option<&AppSession> {
        self.list.iter().find(|app| &*app.package == package)
    }

    /// By package, to change.
    pub fn get_mut(&mut self, package: &str) -> Option<&mut AppSession> {
        self.list.iter_mut().find(|app| &*app.package == package)
    }

    /// By attached socket.
    #[must_use]
    pub fn by_conn(&self, conn: ConnId) -> Option<&AppSession> {
        self.list.iter().find(|app| app.conn == Some(conn))
    }

    /// By the socket that a stop is about to close.
    pub fn stopping_by_conn(&mut self, conn: ConnId) -> Option<&mut AppSession> {
        self.list.iter_mut().find(|app| {
            app.stop
                .as_ref()
                .is_some_and(|stop| stop.conn == Some(conn))
        })
    }

    /// The attached socket of a running app.
    #[must_use]
    pub fn open_conn(&self, package: &str) -> Option<ConnId> {
        self.get(package).and_then(|app| app.conn)
    }

    /// Whether the app is `Running`.
    #[must_use]
    pub fn is_running(&self, package: &str) -> bool {
        self.open_conn(package).is_some()
    }

    /// State of the app; `Stopped` when nothing is known of it.
    #[must_use]
    pub fn state(&self, package: &str) -> AppState {
        self.get(package).map_or(AppState::Stopped, |app| app.state)
    }

    /// All app sessions.
    pub fn iter(&self) -> impl Iterator<Item = &AppSession> {
        self.list.iter()
    }

    /// All app sessions, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut AppSession> {
        self.list.iter_mut()
    }

    /// All apps with an attached socket.
    pub fn open(&self) -> impl Iterator<Item = (&AppSession, ConnId)> {
        self.list.iter().filter_map(|app| Some((app, app.conn?)))
    }

    /// Adds an app session in state `Stopped` (or returns the one there). For flows and for tests of other managers.
    pub fn ensure(&mut self, package: &Package) -> &mut AppSession {
        if let Some(index) = self.list.iter().position(|app| app.package == *package) {
            return &mut self.list[index];
        }
        self.list.push(AppSession::new(package.clone()));
        self.list.last_mut().expect("just pushed")
    }

    /// Notes a message type that nobody knows; `true` for the first of an app's kind, which is worth a warning.
    pub fn note_unknown(&mut self, package: &Package, kind: &str) -> bool {
        let is_known = |(of, known): &(Package, Box<str>)| of == package && **known == *kind;
        if self.unknown_types.len() == UNKNOWN_TYPES_MAX || self.unknown_types.iter().any(is_known)
        {
            return false;
        }
        self.unknown_types.push((package.clone(), kind.into()));
        true
    }

    /// The app whose session request is `call`.
    pub fn by_start_call(&self, call: CallId) -> Option<&Package> {
        let wanted = |app: &&AppSession| app.start.as_ref().is_some_and(|s| s.call == Some(call));
        self.list.iter().find(wanted).map(|app| &app.package)
    }

    /// Whether `call` is the session request of an app that is there already; its answer is no news.
    pub fn answered(&mut self, call: CallId) -> bool {
        let mut list = self.list.iter_mut();
        list.any(|app| app.answering.take_if(|asked| *asked == call).is_some())
    }

    /// The app whose stop webhook is `call`.
    pub fn by_stop_call(&self, call: CallId) -> Option<&Package> {
        let wanted = |app: &&AppSession| app.stop.as_ref().is_some_and(|s| s.call == Some(call));
        self.list.iter().find(wanted).map(|app| &app.package)
    }
}
