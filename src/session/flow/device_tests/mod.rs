//! Tests of the device side of a session: a kit that plays phone, apps, REST callers and time.

mod audio;
mod control;
mod location;
mod managed;
mod messages;
mod photos;
mod state;
mod streams;

use super::{returned, timers};
use crate::base::clock::Now;
use crate::base::ids::{ConnId, Origin, Package, ReplyTo, ShardId, UserId};
use crate::base::metrics::Metrics;
use crate::base::settings::Settings;
use crate::session::effects::{Effect, Effects, HttpCall, RestAnswer};
use crate::session::event::Sdk;
use crate::session::handlers::app::APP;
use crate::session::handlers::phone::PHONE;
use crate::session::handlers::{AppMessage, PhoneMessage, Reject};
use crate::session::managers::apps::AppState;
use crate::session::managers::subscriptions::Wish;
use crate::session::rest::{self, Call};
use crate::session::timers::Timer;
use crate::session::{Cx, Session, State};
use crate::wire::json::Scratch;
use crate::wire::kinds::{AppKind, PhoneKind};
use crate::wire::records::{AppRecord, HardwareRequirement, PermissionEntry, Registry};
use serde_json::{Value, json};

const PHONE_CONN: ConnId = ConnId(1);
const SCRIBE: &str = "com.acme.scribe";
const OTHER: &str = "com.acme.other";
const PLAIN: &str = "com.acme.plain";

/// A session of nadia@lumen.io with an open phone and two running apps: `SCRIBE` may do everything, `OTHER` has camera and
/// location, `PLAIN` (not running until asked) has no permissions.
struct Kit {
    s: Session,
    fx: Effects,
    scratch: Scratch,
    metrics: Metrics,
    cfg: Settings,
    apps: Registry,
    now: Now,
    next_reply: u64,
}

fn record(package: &str, permissions: &[&str]) -> AppRecord {
    AppRecord {
        package_name: package.to_owned(),
        public_url: format!(
            "https://{}.dev/",
            package.rsplit('.').next().unwrap_or_default()
        ),
        permissions: permissions
            .iter()
            .map(|kind| PermissionEntry {
                kind: (*kind).to_owned(),
                description: None,
            })
            .collect(),
        ..AppRecord::default()
    }
}

/// Deadlines of photos, streams, sounds, locations and messages: the others are not served here.
fn is_ours(timer: &Timer) -> bool {
    matches!(
        timer,
        Timer::LocationPoll(_)
            | Timer::Photo(_)
            | Timer::AudioPlay(_)
            | Timer::AudioOut(..)
            | Timer::StreamKeepAlive(_)
            | Timer::StreamAck(_)
            | Timer::StreamStart(_)
            | Timer::ManagedPoll
            | Timer::ManagedSweep
            | Timer::DirectMessage { .. }
    )
}

impl Kit {
    fn new() -> Self {
        let mut needs_display = record("com.acme.display", &[]);
        needs_display.hardware_requirements = vec![HardwareRequirement {
            kind: "DISPLAY".into(),
            level: "REQUIRED".into(),
            description: None,
        }];
        let apps = Registry::new(
            [
                record(SCRIBE, &["ALL"]),
                record(OTHER, &["CAMERA", "LOCATION"]),
                record(PLAIN, &[]),
                needs_display,
            ],
            1,
        );
        let mut cfg = Settings::default();
        cfg.server.public_url = "https://rt.example.net".into();
        let now = Now {
            mono_ms: 1_000_000,
            unix_ms: 1_773_480_413_589,
        };
        let mut fx = Effects::new();
        let mut scratch = Scratch::new();
        let mut metrics = Metrics::new(PhoneKind::COUNT, AppKind::COUNT);
        let mut cx = Cx {
            now,
            cfg: &cfg,
            apps: &apps,
            fx: &mut fx,
            scratch: &mut scratch,
            metrics: &mut metrics,
        };
        let mut s = Session::new(UserId::new("nadia@lumen.io"), 7, &mut cx);
        s.state = State::Connected;
        s.m.phone.current = Some(PHONE_CONN);
        s.timers.clear();
        let mut kit = Self {
            s,
            fx: Effects::new(),
            scratch,
            metrics,
            cfg,
            apps,
            now,
            next_reply: 0,
        };
        kit.run_app(SCRIBE, 10, Sdk::V2);
        kit.run_app(OTHER, 11, Sdk::V3);
        kit
    }

    /// The same with connected glasses that can stream.
    fn with_glasses() -> Self {
        let mut kit = Self::new();
        kit.device_state(r#"{"connected":true,"modelName":"Mentra Live","wifiConnected":true}"#);
        kit.fx = Effects::new();
        kit
    }

    fn run_app(&mut self, package: &str, conn: u64, sdk: Sdk) {
        let app = self.s.m.apps.ensure(&Package::new(package));
        app.state = AppState::Running;
        app.conn = Some(ConnId(conn));
        app.sdk = sdk;
    }

    fn phone_away(&mut self) {
        self.s.m.phone.current = None;
        self.s.state = State::Disconnected;
    }

    fn phone_back(&mut self) {
        self.s.m.phone.current = Some(PHONE_CONN);
        self.s.state = State::Connected;
        self.with(|s, cx| {
            returned::phone_returned(s, cx);
            super::location::ask_again(s, cx);
        });
    }

    fn subscribe(&mut self, package: &str, text: &str) {
        self.subscribe_rate(package, text, None);
    }

    fn subscribe_rate(&mut self, package: &str, text: &str, rate: Option<&str>) {
        let package = Package::new(package);
        let known = self.s.m.subscriptions.get(&package);
        let mut list: Vec<Value> = known
            .map(|one| one.list().iter().map(|own| json!(&*own.text)).collect())
            .unwrap_or_default();
        list.push(if text == "location_stream" {
            json!({ "stream": text, "rate": rate })
        } else {
            json!(text)
        });
        let user = self.s.user.clone();
        let wish = Wish::read(&list, 256);
        self.s.m.subscriptions.apply(&user, &package, wish, 0, 0);
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Session, &mut Cx<'_>) -> T) -> T {
        let mut cx = Cx {
            now: self.now,
            cfg: &self.cfg,
            apps: &self.apps,
            fx: &mut self.fx,
            scratch: &mut self.scratch,
            metrics: &mut self.metrics,
        };
        act(&mut self.s, &mut cx)
    }

    fn phone(&mut self, text: &str) -> Result<(), Reject> {
        let name = crate::wire::json::kind(text.as_bytes())
            .expect("typed")
            .into_owned();
        let kind = PhoneKind::from_wire(&name).expect("known");
        self.with(|s, cx| {
            let message = PhoneMessage {
                conn: PHONE_CONN,
                name: &name,
                text: text.as_bytes(),
            };
            (PHONE[kind as usize].run)(s, &message, cx)
        })
    }

    fn app(&mut self, package: &str, text: &str) -> Result<(), Reject> {
        let name = crate::wire::json::kind(text.as_bytes())
            .expect("typed")
            .into_owned();
        let kind = AppKind::from_wire(&name).expect("known");
        let package = Package::new(package);
        let conn = self.s.m.apps.open_conn(&package).unwrap_or(ConnId(99));
        self.with(|s, cx| {
            let message = AppMessage {
                conn,
                package: &package,
                text: text.as_bytes(),
            };
            (APP[kind as usize].run)(s, &message, cx)
        })
    }

    /// Code and text of a refusal.
    fn refused(&mut self, package: &str, text: &str) -> (String, String) {
        let reject = self.app(package, text).expect_err("must be refused");
        (reject.code.as_str().to_owned(), reject.message)
    }

    /// A call; its place in the list of replies is returned.
    fn call(&mut self, call: Call) -> ReplyTo {
        self.next_reply += 1;
        let reply = ReplyTo {
            origin: Origin::Shard(ShardId(0)),
            id: self.next_reply,
        };
        self.with(|s, cx| rest::device::call(s, reply, call, cx));
        reply
    }

    /// A call that is answered at once: status and body.
    fn rest(&mut self, call: Call) -> (u16, String) {
        let reply = self.call(call);
        let answer = self.answer(reply).expect("answered at once");
        (
            answer.status,
            String::from_utf8(answer.body.to_vec()).expect("text"),
        )
    }

    fn answer(&self, to: ReplyTo) -> Option<&RestAnswer> {
        self.fx.list().iter().find_map(|effect| match effect {
            Effect::Reply { reply, answer } if *reply == to => Some(answer),
            _ => None,
        })
    }

    fn device_state(&mut self, body: &str) -> (u16, String) {
        self.rest(Call::DeviceState {
            body: body.to_owned().into(),
        })
    }

    /// Whether a deadline of the device side is left; the rest of the session keeps its own.
    fn waits(&self) -> bool {
        self.s.timers.has(is_ours)
    }

    /// Lets time pass, stopping at every deadline.
    fn pass(&mut self, ms: u64) {
        let end = self.now.plus(ms);
        while self.s.next_deadline_ms() <= end.mono_ms {
            let step = self.s.next_deadline_ms().saturating_sub(self.now.mono_ms);
            self.now = self.now.plus(step);
            while let Some((_, timer)) = self.s.timers.pop_due(self.now.mono_ms) {
                if is_ours(&timer) {
                    self.with(|s, cx| timers::due(s, timer, cx));
                }
            }
        }
        self.now = end;
    }

    /// Takes the texts that a socket got since the last look; looking at one socket keeps the others' only if taken in one go.
    fn sent(&mut self) -> Sent {
        let fx = std::mem::take(&mut self.fx);
        let texts = fx
            .list()
            .iter()
            .filter_map(|effect| match effect {
                Effect::Text { conn, range, .. } => {
                    let text = String::from_utf8(fx.bytes(range.clone()).to_vec()).expect("text");
                    serde_json::from_str::<Value>(&text).expect("every frame is JSON");
                    Some((*conn, text))
                }
                _ => None,
            })
            .collect();
        Sent { texts, fx }
    }
}

/// What left the session.
struct Sent {
    texts: Vec<(ConnId, String)>,
    fx: Effects,
}

impl Sent {
    fn to(&self, conn: u64) -> Vec<&str> {
        self.texts
            .iter()
            .filter(|(to, _)| *to == ConnId(conn))
            .map(|(_, text)| text.as_str())
            .collect()
    }

    fn phone(&self) -> Vec<&str> {
        self.to(PHONE_CONN.0)
    }

    fn scribe(&self) -> Vec<&str> {
        self.to(10)
    }

    fn other(&self) -> Vec<&str> {
        self.to(11)
    }

    fn http(&self) -> Vec<&HttpCall> {
        self.fx
            .list()
            .iter()
            .filter_map(|effect| match effect {
                Effect::Http(call) => Some(call),
                _ => None,
            })
            .collect()
    }
}

fn types(texts: &[&str]) -> Vec<String> {
    texts
        .iter()
        .map(|text| {
            let value: Value = serde_json::from_str(text).expect("JSON");
            value["type"].as_str().unwrap_or_default().to_owned()
        })
        .collect()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}
