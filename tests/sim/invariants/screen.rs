//! Invariant 35, what must be on the main view: every event is told to the model in `arbiter.rs`. Where one did several things at
//! once they are followed in every order (`deeds.rs`), and what was shown tells which of them it was (`main_view.rs`).

use super::super::net::Up;
use super::arbiter::Arbiter;
use super::beside::beside;
use super::deeds::{Change, Deed, Gone, follow};
use super::picture::{Picture, Scene, Shown};
use super::{Cause, Seen, View, Watch};
use prism::base::ids::ConnId;
use prism::session::managers::apps::AppState;
use prism::session::{Session, State};
use prism::wire::records::AppType;
use serde_json::Value;
use std::collections::BTreeMap;

/// How long a start that a user asked for may wait for others.
const PATIENCE_MS: u64 = 45_000;

/// One user's screen.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    epoch: Option<u64>,
    pub(super) models: Vec<Arbiter>,
    pub(super) scene: Scene,
    conn: Option<ConnId>,
    glasses: Glasses,
    loading: bool,
    pub(super) pings: u32,
    pub(super) shown: Shown,
    /// What each socket was sent last before this event, and in it.
    sockets: BTreeMap<ConnId, Shown>,
    sent: BTreeMap<ConnId, Shown>,
    /// A socket that did not read was left: nobody knows what it was sent.
    unknown: bool,
    stalled: bool,
    /// When the last boot screen gave way.
    booted_ms: u64,
    /// Since when what is painted can be seen, and no boot screen stands before it.
    pub(super) clear_ms: u64,
    /// The latest of each app that the server read.
    pub(super) asked: BTreeMap<String, Picture>,
    /// When the newest text of each app was shown first, and until when it may be.
    pub(super) fresh: BTreeMap<String, (u64, Option<u64>)>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Glasses {
    model: Option<String>,
    connected: bool,
    there: bool,
}

impl Watch {
    /// A frame of an app is about to be read.
    pub(super) fn note_picture(&mut self, conn: ConnId, value: &Value, view: &View<'_>) {
        let Some(sock) = view.net.get(conn).filter(|sock| !sock.package.is_empty()) else {
            return;
        };
        let (user, package) = (sock.user.clone(), sock.package.clone());
        let stays = beside(view, &user, &package).contains(&conn);
        let pair = self.pair(&user, &package);
        if value["type"] != "display_event"
            || !(stays || pair.conn == Some(conn))
            || pair.state != AppState::Running
        {
            return;
        }
        let text = value["layout"]["text"].as_str().unwrap_or_default();
        let duration_ms = value["durationMs"].as_u64();
        let force = value["forceDisplay"] == true;
        let picture = Picture::new(&package, text, duration_ms, force);
        self.before.picture = Some((user, picture));
    }

    /// A main-view message was sent to a phone.
    pub(super) fn note_shown(&mut self, user: &str, conn: ConnId, message: &Value, os: &str) {
        let Some(known) = self.users.get(user) else {
            return;
        };
        let (epoch, is_current) = (known.epoch, known.current == Some(conn));
        let text = message["layout"]["text"].as_str().unwrap_or_default();
        let package = message["packageName"].as_str().unwrap_or_default();
        let shown = match (package == os, text) {
            (true, "") => Shown::Clear,
            (true, names) => Shown::Boot(names.split(", ").map(str::to_owned).collect()),
            (false, text) => Shown::Text(package.to_owned(), text.to_owned()),
        };
        let number = text.rsplit('|').next().and_then(|n| n.parse().ok());
        let is_fresh = number.is_none_or(|n: u64| n == 0 || n > self.pair(user, package).shown);
        let is_text = matches!(shown, Shown::Text(..));
        let now_ms = self.now_ms;
        let screen = self.screen(user, epoch);
        if is_text && is_fresh {
            let duration_ms = message["durationMs"].as_u64().filter(|ms| *ms > 0);
            let until_ms = duration_ms.map(|ms| now_ms + ms);
            screen.fresh.insert(package.to_owned(), (now_ms, until_ms));
        }
        screen.sent.insert(conn, shown.clone());
        // What a socket is still sent when it is no longer the phone's came before whatever its successor was.
        if !is_current {
            return;
        }
        screen.unknown = false;
        let is_news = screen.shown != shown;
        if matches!(screen.shown, Shown::Boot(_)) && is_news {
            screen.booted_ms = now_ms;
        }
        screen.shown = shown;
        self.screens_seen.news += u64::from(is_news);
        self.screens_seen.restored += u64::from(is_text && !is_fresh && is_news);
    }

    /// What follows a boot screen does so at once (§6.1.4).
    pub(super) fn is_after_boot(&self, user: &str) -> bool {
        let screen = self.screens.get(user);
        screen.is_some_and(|screen| screen.booted_ms == self.now_ms)
    }

    pub(super) fn screen(&mut self, user: &str, epoch: Option<u64>) -> &mut Screen {
        let screen = self.screens.entry(user.to_owned()).or_default();
        if screen.epoch != epoch {
            *screen = Screen {
                epoch,
                models: vec![Arbiter::default()],
                ..Screen::default()
            };
        }
        screen
    }

    /// After every event.
    pub(super) fn look_at_main_view(
        &mut self,
        user: &str,
        cause: &Cause,
        seen: &[Seen],
        view: &View<'_>,
    ) {
        let Some(session) = view.session(user).filter(|_| !self.draining) else {
            self.screens.remove(user);
            return;
        };
        let mut scene = self.scene(session, view);
        let changes = self.changes(user, seen, view);
        let pairs = self
            .users
            .get(user)
            .into_iter()
            .flat_map(|known| &known.pairs);
        let lost = pairs.filter(|(_, pair)| {
            pair.previous == AppState::Running
                && matches!(pair.state, AppState::GracePeriod | AppState::TransportDown)
        });
        let lost: Vec<String> = lost.map(|row| row.0.clone()).collect();
        let screen = self.screen(user, Some(session.epoch));
        scene.pings = screen.pings;
        let had_glasses = screen.glasses.there;
        let deeds = self.deeds(user, cause, session, &changes);
        let picture = self.before.picture.take_if(|row| row.0 == user);
        let screen = self.screen(user, Some(session.epoch));
        let mut earlier = std::mem::replace(&mut screen.scene, scene.clone());
        earlier.now_ms = scene.now_ms;
        let mut ways = vec![(scene.clone(), scene.clone())];
        // Glasses that went in the same event may have been there for the rest of it, or for a part.
        if had_glasses && !screen.glasses.there {
            let mut sooner = scene.clone();
            sooner.reachable = true;
            ways.push((sooner.clone(), sooner.clone()));
            ways.push((sooner, scene.clone()));
        }
        // An app that was lost by this event, as one that does not read, may have been there when the screen was painted anew.
        if !lost.is_empty() {
            let mut sooner = scene.clone();
            sooner.running.extend(lost);
            ways.push((sooner, scene.clone()));
        }
        screen.models = follow(&screen.models, &deeds, &changes, &earlier, &ways);
        if let Some((_, mut picture)) = picture {
            screen
                .models
                .iter_mut()
                .for_each(|m| m.asked(&picture, &scene));
            picture.from_ms = scene.now_ms;
            let duration_ms = picture.duration_ms.filter(|ms| *ms > 0);
            picture.until_ms = duration_ms.map(|ms| scene.now_ms + ms);
            screen.asked.insert(picture.package.clone(), picture);
        }
        screen.note_phone(session, view);
        let sent = std::mem::take(&mut screen.sent);
        screen.sockets.extend(sent);
        // A plain start, too: what is left of an earlier run counts no more.
        for change in changes.iter().filter(|change| change.gone != Gone::No) {
            screen.asked.remove(&change.package);
        }
        self.invariant_35_the_winner_is_on_the_screen(user);
        self.invariant_35_nothing_stale_is_on_the_screen(user);
        self.invariant_38_a_hold_has_an_end(user);
    }

    fn scene(&self, session: &Session, view: &View<'_>) -> Scene {
        let is_standard = |package: &str| {
            let record = view.apps.last_known(package);
            record.is_some_and(|record| record.app_type == AppType::Standard)
        };
        let apps = || session.m.apps.iter();
        let main = apps()
            .filter(|app| is_standard(&app.package) && app.state.is_expected())
            .max_by_key(|app| (app.state == AppState::Running, app.attached_ms));
        let running = apps().filter(|app| app.state == AppState::Running);
        Scene {
            pace: view.cfg.display.clone(),
            now_ms: view.now_ms,
            reachable: session.m.phone.open().is_some() && session.m.device.has_glasses(),
            pings: 0,
            main: main.map(|app| app.package.to_string()),
            running: running.map(|app| app.package.to_string()).collect(),
        }
    }

    /// Which apps began to start, and which are gone.
    fn changes(&self, user: &str, seen: &[Seen], view: &View<'_>) -> Vec<Change> {
        use AppState::{
            Connecting, Dormant, GracePeriod, Resurrecting, Running, Stopped, Stopping,
        };
        let Some(known) = self.users.get(user) else {
            return Vec::new();
        };
        // Whose server was asked to come: without that a start finds a socket that waits, and has no boot screen (§2.3 step 7).
        let is_called = |package: &str| {
            seen.iter().any(|one| match one {
                Seen::Http(of, called, body) => {
                    of == user && called == package && body["type"] == "session_request"
                }
                _ => false,
            })
        };
        // A start may end within the event, as one that a wrong key waited for.
        let moved = known.pairs.iter().filter(|(package, p)| {
            p.previous != p.state || (p.state == Stopped && is_called(package))
        });
        let changes = moved.map(|(package, pair)| {
            let recovered = pair.recovered_ms == view.now_ms;
            let asked = view.now_ms - pair.started_ms <= PATIENCE_MS;
            let gone = match (pair.previous, pair.state) {
                (_, GracePeriod | AppState::TransportDown)
                | (Stopping, Stopped)
                | (Stopped, Dormant) => Gone::No,
                (_, Stopping | Stopped | Dormant) => Gone::Yes,
                (_, Resurrecting | Connecting) if recovered => Gone::No,
                (_, Resurrecting) => Gone::Yes,
                (GracePeriod | AppState::TransportDown, Connecting) if !asked => Gone::Yes,
                (GracePeriod | AppState::TransportDown | Dormant, Connecting)
                | (Dormant, Running) => Gone::Perhaps,
                (_, Connecting | Running) => Gone::No,
            };
            let record = view.apps.last_known(package);
            // Its start and what came of it within one event, as when a session begins whose apps are there already.
            let began = matches!(pair.previous, Stopped | Dormant) && is_called(package);
            Change {
                package: package.clone(),
                name: record
                    .map_or(package.as_str(), |r| r.display_name())
                    .to_owned(),
                gone,
                starts: pair.state == Connecting || (began && pair.state == Running),
                passed: began && matches!(pair.state, Stopping | Stopped),
            }
        });
        changes
            .filter(|change| change.starts || change.gone != Gone::No)
            .collect()
    }

    fn deeds(
        &mut self,
        user: &str,
        cause: &Cause,
        session: &Session,
        changes: &[Change],
    ) -> Vec<Deed> {
        let screen = self.screen(user, Some(session.epoch));
        let device = &session.m.device;
        let glasses = Glasses {
            model: device.model().map(str::to_owned),
            connected: device.is_connected(),
            there: device.has_glasses(),
        };
        let loading = session.state == State::Initializing;
        let was_loading = std::mem::replace(&mut screen.loading, loading);
        let before = std::mem::replace(&mut screen.glasses, glasses.clone());
        let conn = session.m.phone.open();
        let again = match cause {
            Cause::Frame(from, Up::Text(text)) => {
                Some(*from) == conn && text.contains("connection_init")
            }
            _ => false,
        };
        let mut deeds = Vec::new();
        if matches!(cause, Cause::Turn) {
            deeds.push(Deed::Time);
        }
        if !changes.is_empty() {
            deeds.push(Deed::Apps);
        }
        if !loading {
            let gone = before.there && before.connected && !glasses.connected;
            // Only what it says brings a superseded socket back.
            let earlier = conn.filter(|conn| {
                Some(*conn) != screen.conn && matches!(cause, Cause::Frame(from, _) if from == conn)
            });
            if let Some(earlier) = earlier.filter(|_| !was_loading) {
                let showed = screen.sockets.get(&earlier).cloned().unwrap_or_default();
                let now = screen.sent.get(&earlier).unwrap_or(&showed);
                screen.shown = now.clone();
                deeds.push(Deed::BackOn(showed));
            } else if was_loading || again {
                deeds.push(Deed::Back);
                if was_loading && !(glasses.there && glasses.connected) {
                    deeds.push(Deed::Glimpsed);
                }
            } else if conn.is_some() && conn != screen.conn {
                deeds.push(Deed::BackOnNew);
            } else if glasses != before && glasses.there && !gone {
                deeds.push(Deed::MayBeBack);
            }
        }
        deeds
    }
}

impl Screen {
    fn note_phone(&mut self, session: &Session, view: &View<'_>) {
        let conn = session.m.phone.open();
        if conn != self.conn {
            self.unknown |= self.stalled;
        }
        let sock = conn.and_then(|conn| view.net.get(conn));
        self.stalled = sock.is_some_and(|sock| sock.stalled_until_ms > view.now_ms);
        let boots = self.models.iter().any(Arbiter::boots);
        if conn != self.conn || self.stalled || boots || !self.scene.reachable {
            self.clear_ms = view.now_ms;
        }
        self.conn = conn;
    }

    /// Whether everything that was sent until now has been seen.
    pub(super) fn is_known(&self) -> bool {
        !self.stalled && !self.unknown
    }
}
