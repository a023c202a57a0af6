//! REST calls to the server, as phones make them, over a bounded pool of kept-alive connections.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use super::conn::{Role, Stage, Token};
use super::io::End;
use super::timers::Timer;
use super::user::package;
use super::{Engine, Target};
use crate::clock::{self, SECOND};
use crate::hist::Class;
use crate::http;
use crate::scenario::Kind;

/// Most connections at a time.
const CONNECTIONS_MAX: usize = 128;
/// Most calls that wait for a connection; further ones are dropped and counted.
const QUEUE_MAX: usize = 100_000;
/// A report that is not answered within this time has failed.
const ANSWER_WITHIN: u64 = 10 * SECOND;
/// Start requests per app during bring-up before it counts as failed.
const STARTS_MAX: u32 = 3;

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Install an app of a user, then start it.
    Install(u32, u8),
    /// Start an app of a user.
    Start(u32, u8),
    /// Nothing waits for the answer.
    Report,
    /// The same, by the misbehaving client.
    Abuse,
}

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) purpose: Purpose,
    pub(super) path: String,
    pub(super) token: std::rc::Rc<str>,
    /// Empty: it is a `GET`.
    pub(super) body: &'static str,
    asked: u64,
    /// When it went out, the last time.
    sent: u64,
    retried: bool,
}

/// The pool.
#[derive(Debug, Default)]
pub(super) struct Pool {
    queue: VecDeque<Call>,
    busy: BTreeMap<Token, Call>,
    idle: Vec<Token>,
}

#[cfg(test)]
impl Pool {
    /// Calls without an answer.
    pub(super) fn under_way(&self) -> usize {
        self.queue.len() + self.busy.len()
    }
}

impl Engine {
    /// Makes a call that was meant to be made at `asked`, or queues it.
    pub(super) fn call(
        &mut self,
        purpose: Purpose,
        path: String,
        token: std::rc::Rc<str>,
        body: &'static str,
        asked: u64,
    ) {
        if self.rest.queue.len() >= QUEUE_MAX {
            self.stats.errors.add("rest queue full");
            self.stats.calls_failed += u64::from(purpose == Purpose::Report);
            return;
        }
        self.rest.queue.push_back(Call {
            purpose,
            path,
            token,
            body,
            asked,
            sent: 0,
            retried: false,
        });
        self.pump_rest();
    }

    fn pump_rest(&mut self) {
        while let Some(mut call) = self.rest.queue.pop_front() {
            let request = self.request_bytes(&call);
            call.sent = clock::mono_ns();
            if let Some(token) = self.rest.idle.pop() {
                self.rest.busy.insert(token, call);
                self.send_bytes(token, &request);
            } else if self.rest.busy.len() < CONNECTIONS_MAX {
                let (to, now) = (self.settings.address, call.sent);
                match self.open_tcp(Role::Rest, to, request, now, None) {
                    Some(token) => {
                        self.rest.busy.insert(token, call);
                    }
                    // Counted by open_tcp; the call's owner sees a missing effect.
                    None => self.on_rest_failure(&call),
                }
            } else {
                self.rest.queue.push_front(call);
                return;
            }
        }
    }

    fn request_bytes(&self, call: &Call) -> Vec<u8> {
        let mut head = String::with_capacity(512);
        let _ = write!(
            head,
            "{} {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
            if call.body.is_empty() { "GET" } else { "POST" },
            call.path,
            self.settings.host,
            call.token,
            call.body.len(),
            call.body
        );
        head.into_bytes()
    }

    pub(super) fn on_rest_bytes(&mut self, token: Token, now: u64) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let message = match http::message(&conn.rx) {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(_) => {
                self.end(token, End::Broken("answer: not HTTP".into()));
                return;
            }
        };
        conn.rx.drain(..message.length);
        conn.stage = Stage::Http;
        let Some(call) = self.rest.busy.remove(&token) else {
            return;
        };
        if message.keep_alive {
            self.rest.idle.push(token);
        } else {
            self.end(token, End::Ours);
        }
        self.on_answer(&call, &message, now);
        self.pump_rest();
    }

    fn on_answer(&mut self, call: &Call, message: &http::Message, now: u64) {
        let status = message.status();
        let class = match call.purpose {
            Purpose::Start(..) => Class::AppStart,
            Purpose::Install(..) | Purpose::Report | Purpose::Abuse => Class::Rest,
        };
        if call.purpose != Purpose::Abuse {
            // Apps are started before there is a window.
            let counts = class == Class::AppStart || self.in_window(now);
            self.stats
                .latency(class, now.saturating_sub(call.asked), counts);
        }
        match call.purpose {
            // Already installed is what we want as well.
            Purpose::Install(user, app) => {
                if status != 200 && status != 400 {
                    self.stats.errors.add(&format!("install: status {status}"));
                }
                self.request_start(user, app);
            }
            Purpose::Start(user, app) => {
                if status != 200 || !started(&message.body) {
                    self.stats.errors.add(&start_failure(status, &message.body));
                    self.retry_start(user, app, now);
                }
            }
            Purpose::Report if status != 200 => {
                let path = call.path.as_str();
                self.stats.errors.add(&format!("{path}: status {status}"));
                self.stats.calls_failed += 1;
            }
            Purpose::Abuse if status != 200 => {
                self.stats.errors.add(&format!("abuser: status {status}"));
            }
            Purpose::Report | Purpose::Abuse => {}
        }
    }

    pub(super) fn on_rest_end(&mut self, token: Token, end: &End) {
        self.rest.idle.retain(|idle| *idle != token);
        let Some(mut call) = self.rest.busy.remove(&token) else {
            return;
        };
        // A kept-alive connection may close as we use it: one more try.
        if !call.retried && matches!(end, End::Broken(_)) {
            call.retried = true;
            self.rest.queue.push_back(call);
        } else {
            let cause = match end {
                End::Broken(cause) => cause.as_str(),
                _ => "ended",
            };
            self.stats.errors.add(&format!("rest {cause}"));
            self.on_rest_failure(&call);
        }
        self.pump_rest();
    }

    /// Ends the calls that were not answered in time; how long an app may take to start is the server's to say.
    pub(super) fn end_unanswered(&mut self, now: u64) {
        let is_late = |call: &Call| {
            let reports = matches!(call.purpose, Purpose::Report | Purpose::Abuse);
            reports && call.sent + ANSWER_WITHIN < now
        };
        let busy = self.rest.busy.iter().filter(|(_, call)| is_late(call));
        let late: Vec<Token> = busy.map(|(token, _)| *token).collect();
        for token in late {
            self.end(token, End::Broken("answer: none in 10 s".to_owned()));
        }
    }

    fn on_rest_failure(&mut self, call: &Call) {
        self.stats.calls_failed += u64::from(call.purpose == Purpose::Report);
        if let Purpose::Start(user, app) | Purpose::Install(user, app) = call.purpose {
            self.retry_start(user, app, clock::mono_ns());
        }
    }

    fn retry_start(&mut self, user: u32, app: u8, now: u64) {
        let link = &self.users[user as usize].apps[usize::from(app)];
        if !link.ready && link.starts < STARTS_MAX {
            self.timers.at(now + SECOND, Timer::AppStart(user, app));
        }
    }

    /// Asks the server to start an app.
    pub(super) fn request_start(&mut self, user: u32, app: u8) {
        let own = &mut self.users[user as usize];
        own.apps[usize::from(app)].starts += 1;
        let token = own.token.clone();
        let path = format!("/apps/{}/start", package(usize::from(app)));
        self.call(
            Purpose::Start(user, app),
            path,
            token,
            "{}",
            clock::mono_ns(),
        );
    }

    /// Installs the app first where that is asked for, then starts it.
    pub(super) fn request_app(&mut self, user: u32, app: u8) {
        let Target::Prism { install, .. } = &self.settings.target else {
            return;
        };
        if !install {
            self.request_start(user, app);
            return;
        }
        let token = self.users[user as usize].token.clone();
        let path = format!("/api/apps/install/{}", package(usize::from(app)));
        self.call(
            Purpose::Install(user, app),
            path,
            token,
            "{}",
            clock::mono_ns(),
        );
    }

    /// What the phone reports on every open and on every change.
    pub(super) fn post_device_state(&mut self, user: u32, due: u64) {
        const BODY: &str = r#"{"connected":true,"modelName":"Simulated Glasses","batteryLevel":71,"charging":false,"wifiConnected":true,"wifiSsid":"Attic"}"#;
        self.report(user, "/api/client/device/state", BODY, due);
    }

    /// What the phone asks and tells on every `connection_ack`; the server takes audio for PCM until it is told otherwise.
    pub(super) fn ask_on_ack(&mut self, user: u32, now: u64) {
        const PCM: &str = r#"{"format":"pcm","lc3Config":null}"#;
        let lc3 = self.scenario.has(Kind::Lc3);
        if self.scenario.rest.on_ack {
            self.report(user, "/api/client/apps", "", now);
        }
        if self.scenario.rest.on_ack || lc3 {
            let format = if lc3 { super::lc3::FORMAT } else { PCM };
            self.report(user, "/api/client/audio/configure", format, now);
        }
    }

    /// Where the phone is.
    pub(super) fn post_location(&mut self, user: u32, due: u64) {
        const BODY: &str = r#"{"coords":{"latitude":38.7169,"longitude":-9.1399,"accuracy":12.5}}"#;
        self.report(user, "/api/client/location", BODY, due);
    }

    fn report(&mut self, user: u32, path: &str, body: &'static str, due: u64) {
        let own = &self.users[user as usize];
        if self.settings.target == Target::Relay || own.phone.is_none() {
            return;
        }
        let token = own.token.clone();
        self.call(Purpose::Report, path.to_owned(), token, body, due);
    }
}

fn started(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body)
        .is_ok_and(|value| value["data"]["isRunning"] == true)
}

fn start_failure(status: u16, body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let stage = value["data"]["error"]["stage"].as_str();
    let text = stage
        .or_else(|| value["message"].as_str())
        .or_else(|| value["error"].as_str());
    format!("start: status {status} {}", text.unwrap_or("not running"))
}
