//! The historical defects of behaviour.md §13.2 that concern a session, each as a fixed script that fails when the defect is
//! put back. Every script also runs under all invariants.

mod apps;
mod display;
mod isolation;
mod lists;
mod memory;
mod phones;
mod proxies;
mod recognisers;
mod records;
mod settings;
mod sound;
mod speech;
mod store;
mod storms;
mod streams;
mod video;
mod words;

use super::app::Manners;
use super::net::Down;
use super::runs::{APPS, world, world_with};
use super::world::World;
use prism::base::ids::ConnId;
use prism::base::settings::Settings;
use prism::session::event::Sdk;
use prism::session::managers::apps::AppState;
use serde_json::Value;

/// The user of the scripts.
const USER: &str = "jean-luc@north-star.co";
/// Servers of the scripts, by their place in [`APPS`].
const SCRIBE: usize = 0;
const MAPS: usize = 1;
const CHESS: usize = 2;
const NOTES: usize = 3;

/// A world of well-behaved servers of one generation and a connected phone (number 0).
fn quiet(sdk: Sdk) -> World {
    let mut w = world(7, [sdk; 4]);
    w.watch.logging = true;
    w.add_phone(USER, 0);
    w.run(1500);
    w.sound();
    w
}

/// The same, with this app running.
fn running(sdk: Sdk, app: usize) -> World {
    let mut w = quiet(sdk);
    w.runs(app);
    w.sound();
    w
}

/// The same with these apps, and with recognisers that behave as `set` says.
fn hearing(sdk: Sdk, apps: &[usize], mut cfg: Settings, set: impl FnOnce(&mut World)) -> World {
    cfg.speech.soniox_api_key = "key".to_owned();
    let mut w = world_with(7, [sdk; 4], cfg);
    w.watch.logging = true;
    set(&mut w);
    w.add_phone(USER, 0);
    w.run(1500);
    for app in apps {
        w.runs(*app);
    }
    w.sound();
    w
}

fn package(app: usize) -> &'static str {
    APPS[app].0
}

impl World {
    /// No invariant is broken.
    #[track_caller]
    fn sound(&self) {
        if let Some(failure) = self.failure() {
            panic!(
                "invariant {} ({}) after {} ms: {}",
                failure.number,
                failure.name,
                self.t(),
                failure.text
            );
        }
    }

    /// The phone starts an app, and its server comes.
    #[track_caller]
    fn runs(&mut self, app: usize) {
        self.start(USER, app);
        self.run(3000);
        assert_eq!(self.state(app), AppState::Running, "the script's app runs");
    }

    fn state(&self, app: usize) -> AppState {
        self.session(USER)
            .and_then(|session| session.m.apps.get(package(app)))
            .map_or(AppState::Stopped, |app| app.state)
    }

    /// The stored set of an app, sorted.
    fn set_of(&self, app: usize) -> Vec<String> {
        let Some(session) = self.session(USER) else {
            return Vec::new();
        };
        let subscriber = session.m.subscriptions.get(package(app));
        let list = subscriber.map(|one| one.list()).unwrap_or_default();
        let mut names: Vec<String> = list.iter().map(|one| one.text.to_string()).collect();
        names.sort();
        names
    }

    fn phone_conn(&self, phone: usize) -> ConnId {
        self.phones[phone].conn.expect("the phone is connected")
    }

    fn conn_of(&self, app: usize) -> ConnId {
        self.app_conn(app, USER).expect("the app is connected")
    }

    /// Texts of a kind sent on a socket since `from_ms` after the start: when, what.
    fn texts(&self, conn: ConnId, kind: &str, from_ms: u64) -> Vec<(u64, Value)> {
        let start_ms = super::world::START_MS;
        self.watch
            .log
            .iter()
            .filter(|(at, to, frame)| {
                *to == conn && frame.kind() == kind && *at >= start_ms + from_ms
            })
            .filter_map(|(at, _, frame)| match frame {
                Down::Text(value) => Some((at - start_ms, value.clone())),
                _ => None,
            })
            .collect()
    }

    /// Main-view texts a phone socket was sent since `from_ms`, in order.
    fn shown(&self, conn: ConnId, from_ms: u64) -> Vec<String> {
        self.texts(conn, "display_event", from_ms)
            .into_iter()
            .filter(|(_, event)| event["view"] == "main")
            .map(|(_, event)| {
                event["layout"]["text"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }

    /// Webhooks of a kind to an app since `from_ms`.
    fn asked(&self, app: usize, kind: &str, from_ms: u64) -> usize {
        let from_ms = super::world::START_MS + from_ms;
        let rows = self.watch.webhooks.iter();
        rows.filter(|(at, _, to, what)| *at >= from_ms && to == package(app) && what == kind)
            .count()
    }

    fn closes(&self, conn: ConnId) -> Vec<(u16, String)> {
        let frames = self.watch.log.iter().filter(|row| row.1 == conn);
        frames
            .filter_map(|(_, _, frame)| match frame {
                Down::Close(code, reason) => Some((*code, reason.clone())),
                _ => None,
            })
            .collect()
    }

    fn manners(&mut self, app: usize, manners: Manners) {
        self.servers[app].manners = manners;
    }

    /// The phone is switched off without a word, and stays off.
    fn phone_off(&mut self, phone: usize) {
        let conn = self.phone_conn(phone);
        self.phones[phone].on = false;
        self.phones[phone].conn = None;
        self.hang_up(conn);
    }
}
