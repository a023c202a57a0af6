//! The kit for tests of the session as a whole: everything by way of its events. Deadlines are delivered one by one, at their own
//! time, as the shard would.

use super::bench::{Bench, USER, granted, stands_on_a_bench};
use crate::base::ids::{CallId, ConnId, Origin, Package, ReplyTo};
use crate::base::settings::Settings;
use crate::session::effects::{Effect, StoreOp};
use crate::session::event::{
    AppHello, CloseInfo, Event, HelloKind, HttpOutcome, PhoneFlags, Sdk, Sender, StoreOutcome,
};
use crate::session::managers::apps::AppState;
use crate::session::rest::{Call, Shape};
use crate::session::{Cx, Session, State};
use crate::wire::auth::sha256_hex;
use crate::wire::records::{AppRecord, AppType, UserRecord};
use bytes::Bytes;
use serde_json::Value;

/// A background app of every kit.
pub(crate) const SCRIBE: &str = "com.acme.scribe";
/// A standard app of every kit.
pub(crate) const MAPS: &str = "com.acme.maps";
/// Another standard app of every kit.
pub(crate) const CHESS: &str = "com.acme.chess";
/// The API key of all apps.
pub(crate) const KEY: &str = "demo-key-1";

/// A session, with everything it asked for collected.
pub(crate) struct Kit {
    pub(super) bench: Bench,
    /// Texts per socket, in order, not yet taken.
    pub(super) sent: Vec<(ConnId, Value)>,
    /// Closes not yet taken.
    pub(super) closed: Vec<(ConnId, u16, &'static str)>,
    /// All other effects not yet taken.
    pub(super) other: Vec<Effect>,
    next_conn: u64,
}

stands_on_a_bench!(Kit);

/// A record of the kit's kind: key [`KEY`], a public URL of its own.
#[must_use]
pub(crate) fn record(package: &str, app_type: AppType) -> AppRecord {
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
pub(crate) fn trusted(package: &str, app_type: AppType) -> AppRecord {
    let mut record = record(package, app_type);
    record.permissions = granted(&["ALL"]);
    record
}

/// A right hello.
#[must_use]
pub(crate) fn hello(kind: HelloKind, package: &str, sdk: Sdk) -> AppHello {
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
    pub(crate) fn new() -> Self {
        let records = [
            record(SCRIBE, AppType::Background),
            record(MAPS, AppType::Standard),
            record(CHESS, AppType::Standard),
        ];
        let mut kit = Self {
            bench: Bench::new(Settings::default(), records),
            sent: Vec::new(),
            closed: Vec::new(),
            other: Vec::new(),
            next_conn: 1,
        };
        kit.collect();
        kit
    }

    /// A session with a loaded (empty) user and a connected phone, everything sent so far taken.
    #[must_use]
    pub(crate) fn connected() -> (Self, ConnId) {
        Self::connected_with(UserRecord::default())
    }

    /// The same with this user record.
    #[must_use]
    pub(crate) fn connected_with(record: UserRecord) -> (Self, ConnId) {
        let mut kit = Self::new();
        let phone = kit.phone();
        kit.load(record);
        kit.forget();
        (kit, phone)
    }

    /// Runs something against the session and collects its effects.
    pub(crate) fn run<R>(&mut self, act: impl FnOnce(&mut Session, &mut Cx<'_>) -> R) -> R {
        let result = self.bench.with(act);
        self.collect();
        result
    }

    /// Delivers one event.
    pub(crate) fn event(&mut self, event: Event) {
        self.run(|s, cx| s.on_event(event, cx));
    }

    /// Moves the clock, delivering a tick at every deadline on the way and at the end.
    pub(crate) fn advance(&mut self, ms: u64) {
        let end_ms = self.now.mono_ms + ms;
        for _ in 0..100_000 {
            let next_ms = self.s.next_deadline_ms();
            if next_ms > end_ms || self.s.state == State::Disposed {
                break;
            }
            self.move_to(next_ms);
            self.event(Event::Tick);
        }
        self.move_to(end_ms);
    }

    /// A fresh socket id.
    pub(crate) fn conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }

    /// Connects a phone.
    pub(crate) fn phone(&mut self) -> ConnId {
        self.phone_with(PhoneFlags::default())
    }

    /// Connects a phone with wishes.
    pub(crate) fn phone_with(&mut self, flags: PhoneFlags) -> ConnId {
        let conn = self.conn();
        self.event(Event::PhoneConnected { conn, flags });
        conn
    }

    /// The store's answer.
    pub(crate) fn load(&mut self, record: UserRecord) {
        let record = Some(Box::new(record));
        self.event(Event::UserLoaded { record });
    }

    /// A text frame of a phone.
    pub(crate) fn phone_text(&mut self, conn: ConnId, text: &str) {
        self.run(|s, cx| s.on_text(Sender::Phone, conn, text, cx));
    }

    /// A phone socket breaks.
    pub(crate) fn phone_closes(&mut self, conn: ConnId) {
        let info = broken();
        self.event(Event::PhoneClosed { conn, info });
    }

    /// An app socket says this on a fresh socket.
    pub(crate) fn hello(&mut self, hello: AppHello) -> ConnId {
        let conn = self.conn();
        self.event(Event::AppHello { conn, hello });
        conn
    }

    /// A right init on a fresh socket.
    pub(crate) fn init(&mut self, package: &str, sdk: Sdk) -> ConnId {
        self.hello(hello(HelloKind::Init, package, sdk))
    }

    /// A right reconnect on a fresh socket.
    pub(crate) fn reconnect(&mut self, package: &str) -> ConnId {
        self.hello(hello(HelloKind::Reconnect, package, Sdk::V3))
    }

    /// A text frame of an app.
    pub(crate) fn app_text(&mut self, conn: ConnId, text: &str) {
        self.run(|s, cx| s.on_text(Sender::App, conn, text, cx));
    }

    /// An app socket breaks.
    pub(crate) fn app_closes(&mut self, conn: ConnId) {
        let info = broken();
        self.event(Event::AppClosed { conn, info });
    }

    /// The user starts an app and its server connects; everything sent so far is taken.
    pub(crate) fn running(&mut self, package: &str, sdk: Sdk) -> ConnId {
        self.start(package);
        let conn = self.init(package, sdk);
        assert_eq!(self.state(package), AppState::Running);
        self.stored_all();
        self.forget();
        conn
    }

    /// REST start of the phone.
    pub(crate) fn start(&mut self, package: &str) -> ReplyTo {
        self.rest(Call::StartApp {
            package: package.to_owned(),
            shape: Shape::Phone,
        })
    }

    /// REST stop of the phone.
    pub(crate) fn stop(&mut self, package: &str) -> ReplyTo {
        self.rest(Call::StopApp {
            package: package.to_owned(),
            shape: Shape::Phone,
        })
    }

    /// Any REST call.
    pub(crate) fn rest(&mut self, call: Call) -> ReplyTo {
        let reply = self.reply_to(Origin::Outside);
        self.event(Event::Rest { reply, call });
        reply
    }

    /// State of an app.
    #[must_use]
    pub(crate) fn state(&self, package: &str) -> AppState {
        self.s.m.apps.state(package)
    }

    /// An app server answers a webhook.
    pub(crate) fn answer_webhook(&mut self, call: CallId, status: u16) {
        let body = Bytes::new();
        let outcome = HttpOutcome::Answer {
            status,
            body,
            retry_after_s: None,
        };
        self.event(Event::Http { call, outcome });
    }

    /// Confirms every write that wants it; returns all writes.
    pub(crate) fn stored_all(&mut self) -> Vec<StoreOp> {
        let writes = self.writes();
        for call in writes.iter().filter_map(|(_, ack)| *ack) {
            let outcome = StoreOutcome::Done;
            self.event(Event::Stored { call, outcome });
        }
        writes.into_iter().map(|(op, _)| op).collect()
    }
}

/// A connection that broke without a close frame.
fn broken() -> CloseInfo {
    CloseInfo {
        code: 1006,
        reason: String::new(),
    }
}

/// A user with these apps on the running list.
#[must_use]
pub(crate) fn user_running(packages: &[&str]) -> UserRecord {
    UserRecord {
        running_apps: packages.iter().map(|name| (*name).to_owned()).collect(),
        ..UserRecord::default()
    }
}
