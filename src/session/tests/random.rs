//! Invariants 5, 9, 10, 13, 14, 19 and 48 of behaviour.md §13.1 under random histories of one session.

use crate::base::ids::{ConnId, Package, ReplyTo};
use crate::session::effects::{Effect, HttpCall, HttpKind};
use crate::session::event::{Event, HelloKind, Sdk};
use crate::session::flow::{self, stop};
use crate::session::managers::apps::AppState;
use crate::session::managers::apps::intent::Wanted;
use crate::session::rest::Call;
use crate::session::testkit::{CHESS, Kit, MAPS, SCRIBE, hello, trusted, user_running};
use crate::session::{Session, State};
use crate::wire::records::{AppType, Registry};
use std::collections::{HashMap, HashSet};

const PACKAGES: [&str; 3] = [SCRIBE, MAPS, CHESS];

/// One random history: the sockets that the outside believes open, and the calls it waits for.
struct History {
    kit: Kit,
    rng: fastrand::Rng,
    phones: Vec<ConnId>,
    apps: Vec<ConnId>,
    calls: Vec<HttpCall>,
    replies: HashMap<ReplyTo, u32>,
    opened: HashSet<ConnId>,
    gone: HashSet<ConnId>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut kit = Kit::new();
        kit.apps = Registry::new(
            [
                trusted(SCRIBE, AppType::Background),
                trusted(MAPS, AppType::Standard),
                trusted(CHESS, AppType::Standard),
            ],
            1,
        );
        let phone = kit.phone();
        if rng.bool() {
            kit.load(user_running(&PACKAGES[..rng.usize(0..3)]));
        }
        let mut history = Self {
            kit,
            rng,
            phones: vec![phone],
            apps: Vec::new(),
            calls: Vec::new(),
            replies: HashMap::new(),
            opened: HashSet::from([phone]),
            gone: HashSet::new(),
        };
        history.observe();
        history
    }

    fn step(&mut self) {
        let package = PACKAGES[self.rng.usize(0..PACKAGES.len())];
        let sdk = if self.rng.bool() { Sdk::V2 } else { Sdk::V3 };
        match self.rng.u8(0..21) {
            0 => {
                let reply = self.kit.start(package);
                self.replies.insert(reply, 0);
            }
            1 => {
                let reply = self.kit.stop(package);
                self.replies.insert(reply, 0);
            }
            2..=4 => {
                let conn = self.kit.init(package, sdk);
                self.apps.push(conn);
                self.opened.insert(conn);
            }
            5 => {
                let conn = self.kit.reconnect(package);
                self.apps.push(conn);
                self.opened.insert(conn);
            }
            6 | 7 => {
                if let Some(conn) = pick(&mut self.rng, &mut self.apps) {
                    self.peer_left(conn);
                    self.kit.app_closes(conn);
                }
            }
            8 => {
                if let Some(conn) = pick(&mut self.rng, &mut self.phones) {
                    self.peer_left(conn);
                    self.kit.phone_closes(conn);
                }
            }
            9 => {
                let phone = self.kit.phone();
                self.phones.push(phone);
                self.opened.insert(phone);
            }
            10 => {
                if let Some(call) = pick(&mut self.rng, &mut self.calls) {
                    let status = if self.rng.bool() { 200 } else { 500 };
                    self.kit.answer_webhook(call.call, status);
                }
            }
            11 => {
                self.kit.stored_all();
            }
            12 => self.kit.load(user_running(&[package])),
            13..=17 => self.rare_step(package),
            18 | 19 => self.ask(),
            _ => {
                let ms = self.rng.u64(0..4_000);
                self.kit.advance(ms);
            }
        }
        self.observe();
    }

    /// An app uses its socket.
    fn ask(&mut self) {
        const TEXTS: [&str; 5] = [
            r#"{"type":"subscription_update","subscriptions":["audio_chunk"]}"#,
            r#"{"type":"subscription_update","subscriptions":["transcription:en-US"]}"#,
            r#"{"type":"subscription_update","subscriptions":[]}"#,
            r#"{"type":"display_event","view":"main","layout":{"layoutType":"text_wall","text":"x"}}"#,
            r#"{"type":"audio_play_request","requestId":"a1","audioUrl":"https://x.example.net/a"}"#,
        ];
        let open: Vec<ConnId> = self.kit.s.m.apps.open().map(|(_, conn)| conn).collect();
        if !open.is_empty() {
            let conn = open[self.rng.usize(0..open.len())];
            let text = TEXTS[self.rng.usize(0..TEXTS.len())];
            self.kit.app_text(conn, text);
        }
    }

    /// What administrators, the store and other servers do.
    fn rare_step(&mut self, package: &'static str) {
        match self.rng.u8(0..5) {
            0 => {
                let reply = self.kit.rest(Call::Recover {
                    package: package.into(),
                    webhook_url: format!("http://{package}/webhook"),
                    ws_base: String::new(),
                });
                self.replies.insert(reply, 0);
            }
            1 => {
                let reply = self.kit.rest(Call::InstallChanged {
                    package: package.into(),
                    installed: None,
                });
                self.replies.insert(reply, 0);
            }
            2 => {
                self.kit.run(|s, cx| stop::incompatible(s, package, cx));
            }
            3 => self.park(package),
            _ => self.speak(package),
        }
    }

    /// A socket closed by its peer may have been closed by us before.
    fn peer_left(&mut self, conn: ConnId) {
        self.opened.remove(&conn);
        self.gone.insert(conn);
    }

    fn park(&mut self, package: &str) {
        let conn = self.kit.conn();
        let hello = hello(HelloKind::Reconnect, package, Sdk::V3);
        let expires_ms = self.kit.now.mono_ms + self.rng.u64(0..30_000);
        self.kit.event(Event::AppParked {
            conn,
            hello,
            expires_ms,
        });
        self.apps.push(conn);
        self.opened.insert(conn);
    }

    /// Something comes in on a socket, whatever has become of it.
    fn speak(&mut self, package: &str) {
        let mut wrong = hello(HelloKind::Init, package, Sdk::V2);
        wrong.api_key = None;
        match self.rng.u8(0..4) {
            0 => {
                let conn = self.kit.hello(wrong);
                self.apps.push(conn);
                self.opened.insert(conn);
            }
            1 => {
                let package = Package::new(package);
                let jitter_ms = 500;
                self.kit.event(Event::MassDisconnect { package, jitter_ms });
            }
            _ => {
                let texts = [
                    r#"{"type":"ownership_release"}"#,
                    r#"{"type":"tpa_connection_init"}"#,
                    r#"{"type":"reconnect"}"#,
                    "{",
                ];
                let text = texts[self.rng.usize(0..texts.len())];
                if !self.apps.is_empty() {
                    let conn = self.apps[self.rng.usize(0..self.apps.len())];
                    self.kit.app_text(conn, text);
                }
            }
        }
    }

    fn observe(&mut self) {
        self.calls.extend(self.kit.webhooks(HttpKind::StopRequest));
        for call in self.kit.webhooks(HttpKind::SessionRequest) {
            self.calls.push(call);
        }
        for effect in self.kit.effects(|e| matches!(e, Effect::Reply { .. })) {
            if let Effect::Reply { reply, .. } = effect {
                *self
                    .replies
                    .get_mut(&reply)
                    .expect("only asked calls are answered") += 1;
            }
        }
        let (sent, gone) = self.kit.traffic();
        for conn in sent {
            assert!(
                !self.gone.contains(&conn),
                "{conn:?} is gone and still written to"
            );
        }
        for conn in gone {
            assert!(self.gone.insert(conn), "{conn:?} is closed once");
        }
        check(&self.kit.s);
    }

    fn finish(mut self) {
        let reply = self.kit.rest(Call::Dispose);
        self.replies.insert(reply, 0);
        self.observe();
        // Stops are answered by the shard once they are durable.
        for owed in self.kit.s.m.apps.intent.take_acks(Wanted::No) {
            for waiter in owed.waiters {
                *self.replies.get_mut(&waiter.reply).expect("asked") += 1;
            }
        }
        assert!(self.replies.values().all(|count| *count == 1));
        assert_eq!(self.kit.s.state, State::Disposed);
        assert!(self.kit.s.timers.is_empty());
        assert!(self.kit.s.m.health.rows().is_empty());
        let left_open: Vec<_> = self.opened.difference(&self.gone).collect();
        assert!(left_open.is_empty(), "{left_open:?} outlive the session");
        let apps = &self.kit.s.m.apps;
        assert!(
            apps.iter()
                .all(|app| app.start.is_none() && app.stop.is_none())
        );
        assert_eq!(apps.open().count(), 0);
        assert!(apps.intent.acks.is_empty());
    }
}

fn pick<T>(rng: &mut fastrand::Rng, list: &mut Vec<T>) -> Option<T> {
    if list.is_empty() {
        return None;
    }
    let index = rng.usize(0..list.len());
    Some(list.swap_remove(index))
}

fn check(s: &Session) {
    let mut foreground = 0;
    for app in s.m.apps.iter() {
        let running = app.state == AppState::Running;
        assert_eq!(app.conn.is_some(), running, "{app:?}");
        if app.state == AppState::Connecting {
            assert!(app.start.is_some(), "someone waits for {}", app.package);
        }
        if app.state == AppState::Stopping {
            assert!(app.stop.is_some(), "{} is being stopped", app.package);
        }
        let active = matches!(
            app.state,
            AppState::Connecting
                | AppState::Running
                | AppState::GracePeriod
                | AppState::TransportDown
                | AppState::Resurrecting
        );
        if active && [MAPS, CHESS].contains(&app.package.as_str()) {
            foreground += 1;
        }
    }
    assert!(foreground <= 1, "one standard app at a time");
    if s.state != State::Disposed {
        assert_eq!(s.m.microphone.need(), flow::sync::need(s), "invariant 26");
        let attached = |conn| s.m.apps.open().any(|(_, open)| open == conn);
        assert!(
            s.m.audio.targets.iter().all(|conn| attached(*conn)),
            "audio goes to attached sockets only"
        );
    }
    let tracked = s.m.health.rows().len();
    let phones = s.m.phone.current.iter().count() + s.m.phone.superseded.len();
    let beside = s.m.apps.sockets.replaced.iter().filter(|row| row.stays);
    assert_eq!(tracked, phones + s.m.apps.open().count() + beside.count());
}

#[test]
fn invariants_hold_under_random_histories() {
    for seed in 0..300 {
        let mut history = History::new(seed);
        for _ in 0..200 {
            history.step();
            if history.kit.s.state == State::Disposed {
                break;
            }
        }
        history.finish();
    }
}
