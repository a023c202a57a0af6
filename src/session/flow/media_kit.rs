//! Layer 2, tests only: a session whose phone and apps are simply there, for tests of what travels between them. Messages go
//! straight to their handlers and only the deadlines of this group are served.

use super::timers;
use crate::base::clock::Now;
use crate::base::ids::{ConnId, Package, UserId};
use crate::base::metrics::Metrics;
use crate::base::settings::Settings;
use crate::session::effects::{Effect, Effects};
use crate::session::event::{Chunk, Sdk, Speaker};
use crate::session::handlers::app::APP;
use crate::session::handlers::phone::PHONE;
use crate::session::handlers::{AppMessage, PhoneMessage, Reject};
use crate::session::managers::apps::AppState;
use crate::session::timers::Timer;
use crate::session::{Cx, Session, State};
use crate::wire::json::Scratch;
use crate::wire::kinds::{AppKind, PhoneKind};
use crate::wire::records::{AppRecord, AppType, PermissionEntry, Registry};
use bytes::Bytes;
use serde_json::{Value, json};

/// The user.
pub(crate) const USER: &str = "nadia@lumen.io";
/// The phone's socket.
pub(crate) const PHONE_CONN: ConnId = ConnId(1);

pub(crate) struct Kit {
    pub s: Session,
    pub cfg: Settings,
    pub apps: Registry,
    pub now: Now,
    pub metrics: Metrics,
    fx: Effects,
    scratch: Scratch,
    start_ms: u64,
    texts: Vec<(u64, ConnId, Value)>,
    binary: Vec<(ConnId, Bytes)>,
    pub other: Vec<Effect>,
}

/// A record with these permissions.
pub(crate) fn record(package: &str, app_type: AppType, permissions: &[&str]) -> AppRecord {
    let entry = |kind: &&str| PermissionEntry {
        kind: (*kind).to_owned(),
        description: None,
    };
    AppRecord {
        package_name: package.to_owned(),
        name: package.to_uppercase(),
        app_type,
        permissions: permissions.iter().map(entry).collect(),
        ..AppRecord::default()
    }
}

impl Kit {
    /// A phone with glasses, no app. Known apps: `main` (standard), `back`, `other` (background), all granted everything, and
    /// `poor` without any permission.
    pub(crate) fn new() -> Self {
        let cfg = Settings::default();
        let apps = Registry::new(
            [
                record("main", AppType::Standard, &["ALL"]),
                record("back", AppType::Background, &["ALL"]),
                record("other", AppType::Background, &["ALL"]),
                record("poor", AppType::Background, &[]),
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
            start_ms: now.mono_ms,
            texts: Vec::new(),
            binary: Vec::new(),
            other: Vec::new(),
        };
        kit.s.state = State::Connected;
        kit.s.m.phone.current = Some(PHONE_CONN);
        kit.phone(
            &json!({"type": "glasses_connection_state", "modelName": "Even Realities G1",
            "status": "CONNECTED"}),
        );
        kit.s.timers.clear();
        kit.forget();
        kit
    }

    fn parts(&mut self) -> (&mut Session, Cx<'_>) {
        let cx = Cx {
            now: self.now,
            cfg: &self.cfg,
            apps: &self.apps,
            fx: &mut self.fx,
            scratch: &mut self.scratch,
            metrics: &mut self.metrics,
        };
        (&mut self.s, cx)
    }

    pub(crate) fn run<R>(&mut self, act: impl FnOnce(&mut Session, &mut Cx<'_>) -> R) -> R {
        let (s, mut cx) = self.parts();
        let result = act(s, &mut cx);
        let at_ms = self.now.mono_ms - self.start_ms;
        for effect in self.fx.take() {
            match effect {
                Effect::Text { conn, range, .. } => {
                    let text = serde_json::from_slice(self.fx.bytes(range)).expect("JSON");
                    self.texts.push((at_ms, conn, text));
                }
                Effect::Binary { conn, data } => self.binary.push((conn, data)),
                Effect::Small { conn, range } => {
                    let data = Bytes::copy_from_slice(self.fx.bytes(range));
                    self.binary.push((conn, data));
                }
                other => self.other.push(other),
            }
        }
        self.fx.recycle(Vec::new());
        result
    }

    /// An app with an open socket.
    pub(crate) fn app(&mut self, package: &str, sdk: Sdk) -> ConnId {
        let conn = ConnId(100 + self.s.m.apps.iter().count() as u64);
        let now_ms = self.now.mono_ms;
        let app = self.s.m.apps.ensure(&Package::new(package));
        app.state = AppState::Running;
        app.conn = Some(conn);
        app.sdk = sdk;
        app.attached_ms = now_ms;
        self.run(super::sync::sockets_changed);
        conn
    }

    /// Its socket is lost; it may come back.
    pub(crate) fn lose(&mut self, package: &str) {
        let app = self.s.m.apps.get_mut(package).expect("known");
        app.state = AppState::GracePeriod;
        app.conn = None;
        self.run(super::sync::sockets_changed);
    }

    /// It stops.
    pub(crate) fn stop(&mut self, package: &str) {
        let app = self.s.m.apps.get_mut(package).expect("known");
        app.state = AppState::Stopped;
        app.conn = None;
        self.run(|s, cx| super::sync::subscriptions_removed(s, package, cx));
        self.run(|s, cx| super::screen::app_gone(s, package, cx));
    }

    pub(crate) fn phone(&mut self, message: &Value) {
        let name = message["type"].as_str().expect("typed").to_owned();
        let text = message.to_string();
        self.run(|s, cx| {
            let m = PhoneMessage {
                conn: PHONE_CONN,
                name: &name,
                text: text.as_bytes(),
            };
            match PhoneKind::from_wire(&name) {
                Some(kind) => (PHONE[kind as usize].run)(s, &m, cx),
                None => {
                    super::relay::phone_message(s, &name, text.as_bytes(), cx);
                    Ok(())
                }
            }
        })
        .expect("accepted");
    }

    /// What a text of the phone brings to a socket, as it goes out.
    pub(crate) fn phone_raw(&mut self, text: &str, to: ConnId) -> Vec<String> {
        let (s, mut cx) = self.parts();
        s.on_text(Speaker::Phone, PHONE_CONN, text.as_bytes(), &mut cx);
        let effects = self.fx.take();
        let texts = effects.into_iter().filter_map(|effect| match effect {
            Effect::Text { conn, range, .. } if conn == to => {
                Some(String::from_utf8_lossy(self.fx.bytes(range)).into_owned())
            }
            _ => None,
        });
        let texts = texts.collect();
        self.fx.recycle(Vec::new());
        texts
    }

    pub(crate) fn app_says(&mut self, package: &str, message: &Value) -> Result<(), Reject> {
        let name = message["type"].as_str().expect("typed");
        let kind = AppKind::from_wire(name).expect("a known type");
        let conn = self.s.m.apps.open_conn(package).expect("open");
        let (package, text) = (Package::new(package), message.to_string());
        self.run(|s, cx| {
            let m = AppMessage {
                conn,
                package: &package,
                text: text.as_bytes(),
            };
            (APP[kind as usize].run)(s, &m, cx)
        })
    }

    pub(crate) fn subscribe(&mut self, package: &str, list: &[&str]) {
        let message = json!({"type": "subscription_update", "subscriptions": list});
        self.app_says(package, &message).expect("accepted");
    }

    pub(crate) fn audio(&mut self, data: &[u8]) {
        let data = Bytes::copy_from_slice(data);
        self.run(|s, cx| super::audio::chunk(s, PHONE_CONN, Chunk::Lent(&data), cx));
    }

    /// Moves the clock; every deadline is served at its own time.
    pub(crate) fn advance(&mut self, ms: u64) {
        let end_ms = self.now.mono_ms + ms;
        while self.s.timers.next_ms() <= end_ms {
            let next_ms = self.s.timers.next_ms().max(self.now.mono_ms);
            self.now = self.now.plus(next_ms - self.now.mono_ms);
            let (_, timer) = self.s.timers.pop_due(next_ms).expect("due");
            if is_ours(&timer) {
                self.run(|s, cx| timers::due(s, timer, cx));
            }
        }
        self.now = self.now.plus(end_ms - self.now.mono_ms);
    }

    /// Texts to a socket so far, with their time since the start.
    pub(crate) fn texts(&mut self, conn: ConnId) -> Vec<(u64, Value)> {
        let (own, rest) = std::mem::take(&mut self.texts)
            .into_iter()
            .partition(|(_, to, _)| *to == conn);
        self.texts = rest;
        own.into_iter().map(|(at, _, text)| (at, text)).collect()
    }

    /// Messages of one type to the phone so far, with their time.
    pub(crate) fn phone_got(&mut self, kind: &str) -> Vec<(u64, Value)> {
        let mut all = self.texts(PHONE_CONN);
        all.retain(|(_, text)| text["type"] == kind);
        all
    }

    pub(crate) fn binary(&mut self) -> Vec<(ConnId, Bytes)> {
        std::mem::take(&mut self.binary)
    }

    pub(crate) fn forget(&mut self) {
        self.texts.clear();
        self.binary.clear();
        self.other.clear();
    }
}

fn is_ours(timer: &Timer) -> bool {
    matches!(
        timer,
        Timer::PhoneResync
            | Timer::MicSubscriptions
            | Timer::MicSend
            | Timer::MicHold
            | Timer::MicKeepAlive
            | Timer::AudioGap
            | Timer::UdpHole
            | Timer::DisplayRelease
            | Timer::DisplayExpiry
            | Timer::DisplayBoot(_)
            | Timer::DisplayLock
            | Timer::Onboarding
            | Timer::DashboardRender
            | Timer::DashboardHeartbeat
            | Timer::Weather(_)
            | Timer::Ranking(_)
            | Timer::SpeechStart
            | Timer::SpeechRetry
            | Timer::SpeechLinger
            | Timer::SpeechGap
            | Timer::SpeechHealth
    )
}
