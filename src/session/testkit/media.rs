//! The kit for tests of sound, speech and what is seen: only the deadlines of this group are served.

use super::bench::{Bench, granted, stands_on_a_bench};
use crate::base::ids::ConnId;
use crate::base::settings::Settings;
use crate::session::effects::Effect;
use crate::session::event::{Chunk, Sdk, Sender};
use crate::session::flow::{audio, screen, sync, timers};
use crate::session::handlers::Reject;
use crate::session::managers::apps::AppState;
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::records::{AppRecord, AppType};
use bytes::Bytes;
use serde_json::{Value, json};

pub(crate) use super::direct::PHONE_CONN;

/// A session with a phone and glasses, with what it sent collected with its time.
pub(crate) struct Kit {
    bench: Bench,
    start_ms: u64,
    texts: Vec<(u64, ConnId, Value)>,
    binary: Vec<(ConnId, Bytes)>,
    pub(crate) other: Vec<Effect>,
}

stands_on_a_bench!(Kit);

/// A record with these permissions.
pub(crate) fn record(package: &str, app_type: AppType, permissions: &[&str]) -> AppRecord {
    AppRecord {
        package_name: package.to_owned(),
        name: package.to_uppercase(),
        app_type,
        permissions: granted(permissions),
        ..AppRecord::default()
    }
}

impl Kit {
    /// A phone with glasses, no app. Known apps: `main` (standard), `back`, `other` (background), all granted everything, and
    /// `poor` without any permission.
    pub(crate) fn new() -> Self {
        let records = [
            record("main", AppType::Standard, &["ALL"]),
            record("back", AppType::Background, &["ALL"]),
            record("other", AppType::Background, &["ALL"]),
            record("poor", AppType::Background, &[]),
        ];
        let bench = Bench::new(Settings::default(), records);
        let mut kit = Self {
            start_ms: bench.now.mono_ms,
            bench,
            texts: Vec::new(),
            binary: Vec::new(),
            other: Vec::new(),
        };
        kit.phone_is_there();
        kit.phone(
            &json!({"type": "glasses_connection_state", "modelName": "Even Realities G1",
            "status": "CONNECTED"}),
        );
        kit.s.timers.clear();
        kit.forget();
        kit
    }

    pub(crate) fn run<R>(&mut self, act: impl FnOnce(&mut Session, &mut Cx<'_>) -> R) -> R {
        let result = self.bench.with(act);
        self.collect();
        result
    }

    fn collect(&mut self) {
        let at_ms = self.now.mono_ms - self.start_ms;
        for effect in self.bench.fx.take() {
            match effect {
                Effect::Text { conn, range, .. } | Effect::Asked { conn, range, .. } => {
                    let text =
                        crate::wire::json::from_slice(self.bench.fx.bytes(range)).expect("JSON");
                    self.texts.push((at_ms, conn, text));
                }
                Effect::Binary { conn, data } => self.binary.push((conn, data)),
                Effect::Small { conn, range } => {
                    let data = Bytes::copy_from_slice(self.bench.fx.bytes(range));
                    self.binary.push((conn, data));
                }
                other => self.other.push(other),
            }
        }
        self.bench.fx.recycle(Vec::new());
    }

    /// An app with an open socket.
    pub(crate) fn app(&mut self, package: &str, sdk: Sdk) -> ConnId {
        let conn = ConnId(100 + self.s.m.apps.iter().count() as u64);
        self.app_is_there(package, conn, sdk);
        self.run(sync::sockets_changed);
        conn
    }

    /// Its socket is lost; it may come back.
    pub(crate) fn lose(&mut self, package: &str) {
        let app = self.s.m.apps.get_mut(package).expect("known");
        app.state = AppState::GracePeriod;
        app.conn = None;
        self.run(sync::sockets_changed);
    }

    /// It stops.
    pub(crate) fn stop(&mut self, package: &str) {
        let app = self.s.m.apps.get_mut(package).expect("known");
        app.state = AppState::Stopped;
        app.conn = None;
        self.run(|s, cx| sync::subscriptions_removed(s, package, cx));
        self.run(|s, cx| screen::app_gone(s, package, cx));
    }

    pub(crate) fn phone(&mut self, message: &Value) {
        let outcome = self.phone_says(&message.to_string());
        self.collect();
        outcome.expect("accepted");
    }

    /// What a text of the phone brings to a socket, as it goes out.
    pub(crate) fn phone_raw(&mut self, text: &str, to: ConnId) -> Vec<String> {
        self.with(|s, cx| s.on_text(Sender::Phone, PHONE_CONN, text, cx));
        let effects = self.fx.take();
        let texts = effects.into_iter().filter_map(|effect| match effect {
            Effect::Text { conn, range, .. } | Effect::Asked { conn, range, .. } if conn == to => {
                Some(String::from_utf8_lossy(self.fx.bytes(range)).into_owned())
            }
            _ => None,
        });
        let texts = texts.collect();
        self.fx.recycle(Vec::new());
        texts
    }

    pub(crate) fn app_says(&mut self, package: &str, message: &Value) -> Result<(), Reject> {
        assert!(self.s.m.apps.open_conn(package).is_some(), "{package}");
        let outcome = self.bench.app_says(package, &message.to_string());
        self.collect();
        outcome
    }

    pub(crate) fn subscribe(&mut self, package: &str, list: &[&str]) {
        let message = json!({"type": "subscription_update", "subscriptions": list});
        self.app_says(package, &message).expect("accepted");
    }

    pub(crate) fn audio(&mut self, data: &[u8]) {
        let data = Bytes::copy_from_slice(data);
        self.run(|s, cx| audio::chunk(s, PHONE_CONN, Chunk::Lent(&data), cx));
    }

    /// Moves the clock; every deadline is served at its own time.
    pub(crate) fn advance(&mut self, ms: u64) {
        let end_ms = self.now.mono_ms + ms;
        while let Some(timer) = self.next_due(end_ms) {
            if is_ours(&timer) {
                self.run(|s, cx| timers::due(s, timer, cx));
            }
        }
        self.move_to(end_ms);
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
