//! Layer 2, tests only: one session on a simulated clock, with everything it asked for collected. Deadlines are delivered
//! one by one, at their own time, as the shard would.

use super::effects::{Effect, Effects, HttpCall, HttpKind, StoreOp};
use super::event::StoreOutcome;
use super::event::{AppHello, CloseInfo, Event, HelloKind, HttpOutcome, PhoneFlags, Sdk, Speaker};
use super::managers::apps::AppState;
use super::rest::{Call, Shape};
use super::{Cx, Session, State};
use crate::base::clock::Now;
use crate::base::ids::{CallId, ConnId, Origin, Package, ReplyTo, UserId};
use crate::base::metrics::Metrics;
use crate::base::settings::Settings;
use crate::wire::auth::sha256_hex;
use crate::wire::json::Scratch;
use crate::wire::kinds::{AppKind, PhoneKind};
use crate::wire::records::{AppRecord, AppType, PermissionEntry, Registry, UserRecord};
use bytes::Bytes;
use serde_json::Value;

/// The user of every kit.
pub const USER: &str = "nadia@lumen.io";
/// A background app of every kit.
pub const SCRIBE: &str = "com.acme.scribe";
/// A standard app of every kit.
pub const MAPS: &str = "com.acme.maps";
/// Another standard app of every kit.
pub const CHESS: &str = "com.acme.chess";
/// The API key of all apps.
pub const KEY: &str = "demo-key-1";

/// Messages that managers of features add at their own moments; tests of the life cycle look past them.
pub const FEATURES: [&str; 7] = [
    "display_event",
    "microphone_state_change",
    "set_location_tier",
    "device_state_update",
    "keep_stream_alive",
    "stream_status",
    "data_stream",
];

fn is_feature(value: &Value) -> bool {
    FEATURES.iter().any(|name| value["type"] == *name)
}

/// A session with its surroundings.
pub struct Kit {
    /// The session under test.
    pub s: Session,
    /// Settings; change them before the event that looks at them.
    pub cfg: Settings,
    /// App records; replace them freely.
    pub apps: Registry,
    /// The simulated instant.
    pub now: Now,
    /// Counters.
    pub metrics: Metrics,
    /// The effects buffer.
    pub fx: Effects,
    scratch: Scratch,
    /// Texts per socket, in order, not yet taken.
    sent: Vec<(ConnId, Value)>,
    /// Closes not yet taken.
    closed: Vec<(ConnId, u16, &'static str)>,
    /// All other effects not yet taken.
    other: Vec<Effect>,
    next_conn: u64,
    next_reply: u64,
}

/// A record of the kit's kind: key [`KEY`], a public URL of its own.
#[must_use]
pub fn record(package: &str, app_type: AppType) -> AppRecord {
    AppRecord {
        package_name: package.to_owned(),
        app_type,
        public_url: format!("http://{package}/"),
        key_sha256: sha256_hex(KEY),
        ..AppRecord::default()
    }
}

/// The same, allowed everything.
#[must_use]
pub fn trusted(package: &str, app_type: AppType) -> AppRecord {
    let mut record = record(package, app_type);
    record.permissions.push(PermissionEntry {
        kind: "ALL".to_owned(),
        description: None,
    });
    record
}

/// A right hello.
#[must_use]
pub fn hello(kind: HelloKind, package: &str, sdk: Sdk) -> AppHello {
    AppHello {
        kind,
        package: Package::new(package),
        api_key: Some(KEY.to_owned()),
        session_id: Some(format!("{USER}-{package}")),
        sdk,
        address: None,
    }
}

impl Default for Kit {
    fn default() -> Self {
        Self::new()
    }
}

impl Kit {
    /// A session that has just been created; no phone yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    /// The same with these settings.
    #[must_use]
    pub fn with(cfg: Settings) -> Self {
        let apps = Registry::new(
            [
                record(SCRIBE, AppType::Background),
                record(MAPS, AppType::Standard),
                record(CHESS, AppType::Standard),
            ],
            1,
        );
        let now = Now {
            mono_ms: 1_000_000,
            unix_ms: 1_773_480_413_589,
        };
        let (mut fx, mut scratch) = (Effects::new(), Scratch::new());
        let mut metrics = Metrics::new(PhoneKind::COUNT, AppKind::COUNT);
        let mut cx = Cx {
            now,
            cfg: &cfg,
            apps: &apps,
            fx: &mut fx,
            scratch: &mut scratch,
            metrics: &mut metrics,
        };
        let s = Session::new(UserId::new(USER), 7, &mut cx);
        let mut kit = Self {
            s,
            cfg,
            apps,
            now,
            metrics,
            fx,
            scratch,
            sent: Vec::new(),
            closed: Vec::new(),
            other: Vec::new(),
            next_conn: 1,
            next_reply: 1,
        };
        kit.collect();
        kit
    }

    /// A session with a loaded (empty) user and a connected phone, everything sent so far taken.
    #[must_use]
    pub fn connected() -> (Self, ConnId) {
        Self::connected_with(UserRecord::default())
    }

    /// The same with this user record.
    #[must_use]
    pub fn connected_with(record: UserRecord) -> (Self, ConnId) {
        let mut kit = Self::new();
        let phone = kit.phone();
        kit.load(record);
        kit.forget();
        (kit, phone)
    }

    /// Runs something against the session and collects its effects.
    pub fn run<R>(&mut self, act: impl FnOnce(&mut Session, &mut Cx<'_>) -> R) -> R {
        let mut cx = Cx {
            now: self.now,
            cfg: &self.cfg,
            apps: &self.apps,
            fx: &mut self.fx,
            scratch: &mut self.scratch,
            metrics: &mut self.metrics,
        };
        let result = act(&mut self.s, &mut cx);
        self.collect();
        result
    }

    /// Delivers one event.
    pub fn event(&mut self, event: Event) {
        self.run(|s, cx| s.on_event(event, cx));
    }

    fn collect(&mut self) {
        for effect in self.fx.take() {
            match effect {
                Effect::Text { conn, range, .. } => {
                    let text = self.fx.bytes(range);
                    let value = serde_json::from_slice(text).expect("the session sends JSON");
                    self.sent.push((conn, value));
                }
                Effect::Close { conn, reason } => {
                    self.closed.push((conn, reason.code(), reason.text()));
                }
                other => self.other.push(other),
            }
        }
        self.fx.recycle(Vec::new());
    }

    /// Moves the clock, delivering a tick at every deadline on the way and at the end.
    pub fn advance(&mut self, ms: u64) {
        let end_ms = self.now.mono_ms + ms;
        for _ in 0..100_000 {
            let next_ms = self.s.next_deadline_ms();
            if next_ms > end_ms || self.s.state == State::Disposed {
                break;
            }
            self.now = self.now.plus(next_ms.saturating_sub(self.now.mono_ms));
            self.event(Event::Tick);
        }
        self.now = self.now.plus(end_ms - self.now.mono_ms);
    }

    /// Forgets everything sent and asked for so far.
    pub fn forget(&mut self) {
        self.sent.clear();
        self.closed.clear();
        self.other.clear();
    }

    /// A fresh socket id.
    pub fn conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }

    /// Connects a phone.
    pub fn phone(&mut self) -> ConnId {
        self.phone_with(PhoneFlags::default())
    }

    /// Connects a phone with wishes.
    pub fn phone_with(&mut self, flags: PhoneFlags) -> ConnId {
        let conn = self.conn();
        self.event(Event::PhoneConnected { conn, flags });
        conn
    }

    /// The store's answer.
    pub fn load(&mut self, record: UserRecord) {
        let record = Some(Box::new(record));
        self.event(Event::UserLoaded { record });
    }

    /// A text frame of a phone.
    pub fn phone_text(&mut self, conn: ConnId, text: &str) {
        self.run(|s, cx| s.on_text(Speaker::Phone, conn, text.as_bytes(), cx));
    }

    /// A phone socket breaks.
    pub fn phone_closes(&mut self, conn: ConnId) {
        let info = broken();
        self.event(Event::PhoneClosed { conn, info });
    }

    /// An app socket says this on a fresh socket.
    pub fn hello(&mut self, hello: AppHello) -> ConnId {
        let conn = self.conn();
        self.event(Event::AppHello { conn, hello });
        conn
    }

    /// A right init on a fresh socket.
    pub fn init(&mut self, package: &str, sdk: Sdk) -> ConnId {
        self.hello(hello(HelloKind::Init, package, sdk))
    }

    /// A right reconnect on a fresh socket.
    pub fn reconnect(&mut self, package: &str) -> ConnId {
        self.hello(hello(HelloKind::Reconnect, package, Sdk::V3))
    }

    /// A text frame of an app.
    pub fn app_text(&mut self, conn: ConnId, text: &str) {
        self.run(|s, cx| s.on_text(Speaker::App, conn, text.as_bytes(), cx));
    }

    /// An app socket breaks.
    pub fn app_closes(&mut self, conn: ConnId) {
        let info = broken();
        self.event(Event::AppClosed { conn, info });
    }

    /// The user starts an app and its server connects; everything sent so far is taken.
    pub fn running(&mut self, package: &str, sdk: Sdk) -> ConnId {
        self.start(package);
        let conn = self.init(package, sdk);
        assert_eq!(self.state(package), AppState::Running);
        self.stored_all();
        self.forget();
        conn
    }

    /// REST start of the phone.
    pub fn start(&mut self, package: &str) -> ReplyTo {
        self.rest(Call::StartApp {
            package: package.to_owned(),
            shape: Shape::Phone,
        })
    }

    /// REST stop of the phone.
    pub fn stop(&mut self, package: &str) -> ReplyTo {
        self.rest(Call::StopApp {
            package: package.to_owned(),
            shape: Shape::Phone,
        })
    }

    /// Any REST call.
    pub fn rest(&mut self, call: Call) -> ReplyTo {
        self.next_reply += 1;
        let reply = ReplyTo {
            origin: Origin::Outside,
            id: self.next_reply,
        };
        self.event(Event::Rest { reply, call });
        reply
    }

    /// State of an app.
    #[must_use]
    pub fn state(&self, package: &str) -> AppState {
        self.s.m.apps.state(package)
    }

    /// Takes the texts sent to one socket.
    pub fn texts(&mut self, conn: ConnId) -> Vec<Value> {
        let (mine, rest) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition(|(to, _)| *to == conn);
        self.sent = rest;
        let mine: Vec<(ConnId, Value)> = mine;
        mine.into_iter().map(|(_, value)| value).collect()
    }

    /// Takes the texts sent to one socket; only their `type` (and `code`, after a space), without [`FEATURES`].
    pub fn types(&mut self, conn: ConnId) -> Vec<String> {
        let name = |value: &Value| {
            let kind = value["type"].as_str().unwrap_or("?");
            match value["code"].as_str() {
                Some(code) => format!("{kind} {code}"),
                None => kind.to_owned(),
            }
        };
        self.texts(conn)
            .iter()
            .filter(|value| !is_feature(value))
            .map(name)
            .collect()
    }

    /// Takes the close of one socket.
    pub fn close_of(&mut self, conn: ConnId) -> Option<(u16, &'static str)> {
        let index = self.closed.iter().position(|row| row.0 == conn)?;
        let (_, code, text) = self.closed.remove(index);
        Some((code, text))
    }

    /// Takes the receivers of everything sent, and the sockets that were closed, cut or given back.
    pub fn traffic(&mut self) -> (Vec<ConnId>, Vec<ConnId>) {
        let sent = self.sent.drain(..).map(|row| row.0).collect();
        let mut gone: Vec<ConnId> = self.closed.drain(..).map(|row| row.0).collect();
        self.other.retain(|effect| match effect {
            Effect::Terminate { conn } | Effect::Unpark { conn, .. } => {
                gone.push(*conn);
                false
            }
            _ => true,
        });
        (sent, gone)
    }

    /// Takes the answer to a REST call: status and body.
    pub fn answer(&mut self, to: ReplyTo) -> Option<(u16, Value)> {
        let found = self
            .other
            .iter()
            .position(|effect| matches!(effect, Effect::Reply { reply, .. } if *reply == to))?;
        let Effect::Reply { answer, .. } = self.other.remove(found) else {
            return None;
        };
        let body = serde_json::from_slice(&answer.body).expect("answers are JSON");
        Some((answer.status, body))
    }

    /// Takes all webhooks of one kind.
    pub fn webhooks(&mut self, kind: HttpKind) -> Vec<HttpCall> {
        let mut calls = Vec::new();
        self.other.retain(|effect| match effect {
            Effect::Http(call) if call.kind == kind => {
                calls.push(call.clone());
                false
            }
            _ => true,
        });
        calls
    }

    /// Takes the one webhook of a kind.
    pub fn webhook(&mut self, kind: HttpKind) -> HttpCall {
        let mut calls = self.webhooks(kind);
        assert_eq!(calls.len(), 1, "exactly one webhook of {kind:?}");
        calls.remove(0)
    }

    /// An app server answers a webhook.
    pub fn answer_webhook(&mut self, call: CallId, status: u16) {
        let body = Bytes::new();
        let outcome = HttpOutcome::Answer {
            status,
            body,
            retry_after_s: None,
        };
        self.event(Event::Http { call, outcome });
    }

    /// Takes all store writes, without `TouchApp`.
    pub fn writes(&mut self) -> Vec<(StoreOp, Option<CallId>)> {
        let mut writes = Vec::new();
        self.other.retain(|effect| match effect {
            Effect::Store { op, ack } => {
                if !matches!(op, StoreOp::TouchApp(..)) {
                    writes.push((op.clone(), *ack));
                }
                false
            }
            _ => true,
        });
        writes
    }

    /// Confirms every write that wants it; returns all writes.
    pub fn stored_all(&mut self) -> Vec<StoreOp> {
        let writes = self.writes();
        for call in writes.iter().filter_map(|(_, ack)| *ack) {
            let outcome = StoreOutcome::Done;
            self.event(Event::Stored { call, outcome });
        }
        writes.into_iter().map(|(op, _)| op).collect()
    }

    /// Takes every other effect that `which` selects.
    pub fn effects(&mut self, which: impl Fn(&Effect) -> bool) -> Vec<Effect> {
        let (mine, rest) = std::mem::take(&mut self.other).into_iter().partition(which);
        self.other = rest;
        mine
    }

    /// Whether nothing (but [`FEATURES`]) was sent, closed or asked for since the last take.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.sent.iter().all(|(_, value)| is_feature(value))
            && self.closed.is_empty()
            && self.other.is_empty()
    }

    /// What is left over, for messages of failed assertions.
    #[must_use]
    pub fn leftovers(&self) -> String {
        format!("{:?} {:?} {:?}", self.sent, self.closed, self.other)
    }
}

/// A connection that broke without a close frame.
#[must_use]
pub fn broken() -> CloseInfo {
    CloseInfo {
        code: 1006,
        reason: String::new(),
    }
}

/// A user with these apps on the running list.
#[must_use]
pub fn user_running(packages: &[&str]) -> UserRecord {
    UserRecord {
        running_apps: packages.iter().map(|name| (*name).to_owned()).collect(),
        ..UserRecord::default()
    }
}
