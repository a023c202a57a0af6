//! The kit for tests of the device side of a session: phone, apps, REST callers and time.

use super::bench::{Bench, granted, needs, stands_on_a_bench};
use super::direct::PHONE_CONN;
use crate::base::ids::{ConnId, Origin, Package, ReplyTo, ShardId};
use crate::base::settings::Settings;
use crate::session::State;
use crate::session::effects::{Effect, Effects, HttpCall, RestAnswer};
use crate::session::event::Sdk;
use crate::session::flow::{location, returned, timers};
use crate::session::handlers::Reject;
use crate::session::managers::apps::AppState;
use crate::session::managers::subscriptions::Wish;
use crate::session::rest::{self, Call};
use crate::session::timers::Timer;
use crate::wire::records::AppRecord;
use serde_json::{Value, json};

pub(crate) const SCRIBE: &str = "com.acme.scribe";
pub(crate) const OTHER: &str = "com.acme.other";
pub(crate) const PLAIN: &str = "com.acme.plain";

/// A session of nadia@lumen.io with an open phone and two running apps: `SCRIBE` may do everything, `OTHER` has camera and
/// location, `PLAIN` (not running until asked) has no permissions.
pub(crate) struct Kit {
    bench: Bench,
}

stands_on_a_bench!(Kit);

/// A record with an address and these permissions.
pub(crate) fn record(package: &str, permissions: &[&str]) -> AppRecord {
    AppRecord {
        package_name: package.to_owned(),
        public_url: format!(
            "https://{}.dev/",
            package.rsplit('.').next().unwrap_or_default()
        ),
        permissions: granted(permissions),
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
            | Timer::LocationTier
            | Timer::StreamKeepAlive(_)
            | Timer::StreamAck(_)
            | Timer::StreamStart(_)
            | Timer::ManagedPoll
            | Timer::ManagedSweep
            | Timer::DirectMessage { .. }
    )
}

impl Kit {
    pub(crate) fn new() -> Self {
        let mut needs_display = record("com.acme.display", &[]);
        needs_display.hardware_requirements = vec![needs("DISPLAY", "REQUIRED")];
        let records = [
            record(SCRIBE, &["ALL"]),
            record(OTHER, &["CAMERA", "LOCATION"]),
            record(PLAIN, &[]),
            needs_display,
        ];
        let mut cfg = Settings::default();
        cfg.server.public_url = "https://rt.example.net".into();
        let mut kit = Self {
            bench: Bench::new(cfg, records),
        };
        kit.phone_is_there();
        kit.s.timers.clear();
        kit.fx = Effects::new();
        kit.run_app(SCRIBE, 10, Sdk::V2);
        kit.run_app(OTHER, 11, Sdk::V3);
        kit
    }

    /// The same with connected glasses that can stream.
    pub(crate) fn with_glasses() -> Self {
        let mut kit = Self::new();
        kit.device_state(r#"{"connected":true,"modelName":"Mentra Live","wifiConnected":true}"#);
        kit.fx = Effects::new();
        kit
    }

    pub(crate) fn run_app(&mut self, package: &str, conn: u64, sdk: Sdk) {
        self.app_is_there(package, ConnId(conn), sdk);
    }

    /// An app's socket is lost; it is expected back.
    pub(crate) fn app_away(&mut self, package: &str) {
        let app = self.s.m.apps.get_mut(package).expect("known");
        app.state = AppState::GracePeriod;
        app.conn = None;
    }

    pub(crate) fn phone_away(&mut self) {
        self.s.m.phone.current = None;
        self.s.state = State::Disconnected;
    }

    pub(crate) fn phone_back(&mut self) {
        self.phone_is_there();
        self.with(|s, cx| {
            returned::phone_returned(s, cx);
            location::ask_again(s, cx);
        });
    }

    pub(crate) fn subscribe(&mut self, package: &str, text: &str) {
        self.subscribe_rate(package, text, None);
    }

    pub(crate) fn subscribe_rate(&mut self, package: &str, text: &str, rate: Option<&str>) {
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

    pub(crate) fn phone(&mut self, text: &str) -> Result<(), Reject> {
        self.phone_says(text)
    }

    pub(crate) fn app(&mut self, package: &str, text: &str) -> Result<(), Reject> {
        self.app_says(package, text)
    }

    /// Code and text of a refusal.
    pub(crate) fn refused(&mut self, package: &str, text: &str) -> (String, String) {
        let reject = self.app(package, text).expect_err("must be refused");
        (reject.code.as_str().to_owned(), reject.message)
    }

    /// A call; its place in the list of replies is returned.
    pub(crate) fn call(&mut self, call: Call) -> ReplyTo {
        let reply = self.reply_to(Origin::Shard(ShardId(0)));
        self.with(|s, cx| rest::device::call(s, reply, call, cx));
        reply
    }

    /// A call that is answered at once: status and body.
    pub(crate) fn rest(&mut self, call: Call) -> (u16, String) {
        let reply = self.call(call);
        let answer = self.answer(reply).expect("answered at once");
        (
            answer.status,
            String::from_utf8(answer.body.to_vec()).expect("text"),
        )
    }

    pub(crate) fn answer(&self, to: ReplyTo) -> Option<&RestAnswer> {
        self.fx.list().iter().find_map(|effect| match effect {
            Effect::Reply { reply, answer } if *reply == to => Some(answer),
            _ => None,
        })
    }

    pub(crate) fn device_state(&mut self, body: &str) -> (u16, String) {
        self.rest(Call::DeviceState {
            body: body.to_owned().into(),
        })
    }

    /// Whether a deadline of the device side is left; the rest of the session keeps its own.
    pub(crate) fn waits(&self) -> bool {
        self.s.timers.has(is_ours)
    }

    /// Lets time pass, stopping at every deadline.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end_ms = self.now.mono_ms + ms;
        while let Some(timer) = self.next_due(end_ms) {
            if is_ours(&timer) {
                self.with(|s, cx| timers::due(s, timer, cx));
            }
        }
        self.move_to(end_ms);
    }

    /// Takes the texts that a socket got since the last look; looking at one socket keeps the others' only if taken in one go.
    pub(crate) fn sent(&mut self) -> Sent {
        let fx = std::mem::take(&mut self.fx);
        let texts = fx
            .list()
            .iter()
            .filter_map(|effect| match effect {
                Effect::Text { conn, range, .. } | Effect::Asked { conn, range, .. } => {
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
pub(crate) struct Sent {
    pub(crate) texts: Vec<(ConnId, String)>,
    pub(crate) fx: Effects,
}

impl Sent {
    pub(crate) fn to(&self, conn: u64) -> Vec<&str> {
        self.texts
            .iter()
            .filter(|(to, _)| *to == ConnId(conn))
            .map(|(_, text)| text.as_str())
            .collect()
    }

    pub(crate) fn phone(&self) -> Vec<&str> {
        self.to(PHONE_CONN.0)
    }

    pub(crate) fn scribe(&self) -> Vec<&str> {
        self.to(10)
    }

    pub(crate) fn other(&self) -> Vec<&str> {
        self.to(11)
    }

    pub(crate) fn http(&self) -> Vec<&HttpCall> {
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

pub(crate) fn types(texts: &[&str]) -> Vec<String> {
    texts
        .iter()
        .map(|text| {
            let value: Value = serde_json::from_str(text).expect("JSON");
            value["type"].as_str().unwrap_or_default().to_owned()
        })
        .collect()
}

pub(crate) fn value(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}
