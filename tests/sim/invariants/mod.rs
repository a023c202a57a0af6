//! The invariants of behaviour.md §13.1 that can be seen from outside: what was sent, asked for and stored, and the state that
//! is public. Each is one function with its number; they are looked at after every event.

mod apps;
mod arbiter;
mod beside;
mod counts;
mod datagrams;
mod deeds;
mod display;
mod end;
mod main_view;
mod media;
mod mini_apps;
mod model;
mod picture;
mod quiet;
mod records;
mod recovery;
mod reloads;
mod requests;
mod screen;
mod sessions;
mod shares;
mod sound;
mod speech;
mod stalls;
mod video;

use apps::is_standard;
pub(crate) use datagrams::Tally;
pub(crate) use main_view::ScreenTally;
pub(crate) use model::{Asked, Pair, SockView, UserView};
use quiet::{fingerprint, is_stale, must_be_quiet};
pub(crate) use records::Revised;
pub(crate) use recovery::Recovered;
pub(crate) use sound::Listened;
pub(crate) use stalls::StormTally;

use super::net::{Down, Net, Party, Up};
use super::registrar::Registrar;
use super::udp::{Mail, Packet};
use prism::base::ids::{CallId, ConnId};
use prism::base::settings::Settings;
use prism::session::effects::{HttpCall, HttpKind, StoreOp};
use prism::session::rest::Call;
use prism::session::{Session, State};
use prism::shard::Shard;
use prism::shard::mailbox::ShardReport;
use prism::wire::records::Registry;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What may be looked at.
pub(crate) struct View<'a> {
    pub(crate) shard: &'a Shard,
    pub(crate) neighbour: &'a Shard,
    pub(crate) mail: &'a Mail,
    pub(crate) registrar: &'a Registrar,
    pub(crate) net: &'a Net,
    pub(crate) apps: &'a Registry,
    pub(crate) cfg: &'a Arc<Settings>,
    pub(crate) now_ms: u64,
    /// How far the time of day is ahead of it, modulo 2^64.
    pub(crate) ahead_ms: u64,
}

impl View<'_> {
    fn session(&self, user: &str) -> Option<&Session> {
        self.shard.session(user)
    }

    /// Whether the peer reads nothing for now.
    fn is_stalled(&self, conn: ConnId) -> bool {
        let sock = self.net.get(conn);
        sock.is_some_and(|sock| sock.stalled_until_ms > self.now_ms)
    }

    /// Whether what is sent on a socket can be seen at once.
    fn is_timely(&self, conn: ConnId) -> bool {
        self.net
            .get(conn)
            .is_some_and(|sock| sock.stalled_until_ms == 0 && !sock.ended)
    }
}

/// Why the shard was called.
#[derive(Debug)]
pub(crate) enum Cause {
    Turn,
    PhoneOpened(ConnId),
    AppOpened,
    Frame(ConnId, Up),
    Ended(ConnId),
    Result(String),
    Rest(String, u64, Call),
    Datagram(Packet),
    Mail,
    Reload,
    /// The wall clock jumps.
    Clock,
    Drain,
}

/// A broken invariant.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) number: u8,
    pub(crate) name: &'static str,
    pub(crate) user: String,
    pub(crate) text: String,
}

/// What the server did.
#[derive(Debug)]
enum Seen {
    Sent(ConnId, Down),
    Http(String, String, Value),
    Store(String, StoreOp),
    Answered(u64, u16, Value),
}

/// All that was seen.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) failure: Option<Failure>,
    pub(crate) users: BTreeMap<String, UserView>,
    pub(crate) socks: BTreeMap<ConnId, SockView>,
    pub(crate) asked: BTreeMap<u64, Asked>,
    pub(crate) report: Option<Box<ShardReport>>,
    /// Display texts made so far.
    pub(crate) painted: u64,
    /// Everything sent, for scenarios: when, on which socket, what.
    pub(crate) log: Vec<(u64, ConnId, Down)>,
    /// Every webhook, for scenarios: when, user, package, `type`.
    pub(crate) webhooks: Vec<(u64, String, String, String)>,
    /// Every store write, for scenarios.
    pub(crate) stored: Vec<(u64, String, StoreOp)>,
    /// Keep the logs.
    pub(crate) logging: bool,
    /// A defect of the server is provoked in the session of this user.
    pub(crate) defective: Option<String>,
    /// The last device state of each user: when, what.
    device: BTreeMap<String, (u64, String)>,
    pub(crate) speech: speech::SpeechView,
    requests: BTreeMap<String, requests::Request>,
    /// Requests on sockets that read nothing, whose outcome nobody can tell: socket, when.
    unheard: Vec<(ConnId, u64)>,
    /// Photos for phones themselves: user, when.
    own_photos: Vec<(String, u64)>,
    pub(crate) air: datagrams::Air,
    screens: BTreeMap<String, screen::Screen>,
    pub(crate) screens_seen: ScreenTally,
    pub(crate) recovery: recovery::Recoveries,
    pub(crate) sound: sound::Sounds,
    reloads: reloads::Reloads,
    pub(crate) storms: stalls::Storms,
    seen: Vec<Seen>,
    opening: Option<String>,
    /// Every app that there ever was a record of.
    packages: BTreeSet<String>,
    pub(crate) revised: Revised,
    /// Lists of mini-apps that counted at once.
    pub(crate) mini_app_lists: u64,
    /// Whose session has just ended, and nobody has asked a second time.
    ended: Vec<String>,
    draining: bool,
    before: Before,
    now_ms: u64,
}

/// What was so before the event.
#[derive(Default)]
struct Before {
    user: String,
    fingerprint: String,
    current: Option<ConnId>,
    starting: bool,
    /// The user record was still being read: what was held then happens within one event, starts and stops together.
    loading: bool,
    /// The stored list could not be read yet: what it names may start now.
    unread: bool,
    /// A frame of a superseded phone socket that must not matter.
    stale: bool,
    /// A session is to end that has ended.
    over: bool,
    /// The request that the frame makes.
    asks: Option<String>,
    /// A list of the phone's own mini-apps, of which only the session knows whether and when it counts.
    unsure_list: bool,
    ping: Option<ConnId>,
    /// The picture that the frame asks for, and whose screen it is for.
    picture: Option<(String, picture::Picture)>,
}

impl Watch {
    fn broken(&mut self, number: u8, name: &'static str, user: &str, text: String) {
        self.failure.get_or_insert(Failure {
            number,
            name,
            user: user.to_owned(),
            text,
        });
    }

    /// A phone of this user is about to open: a session may be made.
    pub(crate) fn opening(&mut self, user: &str) {
        self.opening = Some(user.to_owned());
    }

    pub(crate) fn sent(&mut self, conn: ConnId, frame: Down) {
        self.seen.push(Seen::Sent(conn, frame));
    }

    pub(crate) fn cut(&mut self, conn: ConnId) {
        let _ = self.socks.entry(conn).or_default();
    }

    pub(crate) fn answered(&mut self, id: u64, status: u16, body: Value) {
        self.seen.push(Seen::Answered(id, status, body));
    }

    pub(crate) fn store(&mut self, user: &str, op: &StoreOp) {
        self.seen.push(Seen::Store(user.to_owned(), op.clone()));
    }

    pub(crate) fn http(&mut self, user: &str, epoch: u64, call: &HttpCall, body: &Value) {
        let id = body["sessionId"].as_str().unwrap_or_default();
        let package = id.strip_prefix(user).unwrap_or_default();
        let package = package.strip_prefix('-').unwrap_or_default().to_owned();
        self.note_webhook(user, &package, call);
        if call.kind == HttpKind::SessionRequest {
            let in_flight = self.pair(user, &package).webhooks.len();
            self.invariant_11_one_webhook_in_flight(user, &package, in_flight);
            // Nothing is answered within an event: an earlier request of it was of a start that has ended, and this is another's,
            // as when a wrong key ends what the stored list started, and the user's own start waited for the record, too.
            let earlier = self.seen.iter().any(|one| match one {
                Seen::Http(of, asked, body) => {
                    of == user && *asked == package && body["type"] == "session_request"
                }
                _ => false,
            });
            let pair = self.pair(user, &package);
            pair.ended += u64::from(earlier);
            pair.webhooks.insert((epoch, call.call));
        }
        self.seen
            .push(Seen::Http(user.to_owned(), package, body.clone()));
    }

    /// Somebody whose session has just ended.
    pub(crate) fn take_ended(&mut self) -> Option<String> {
        self.ended.pop()
    }

    /// A call was answered or taken back.
    pub(crate) fn http_over(&mut self, user: &str, epoch: u64, call: CallId) {
        if let Some(view) = self.users.get_mut(user) {
            for pair in view.pairs.values_mut() {
                pair.webhooks.remove(&(epoch, call));
            }
        }
    }

    fn pair(&mut self, user: &str, package: &str) -> &mut Pair {
        let view = self.users.entry(user.to_owned()).or_default();
        view.pairs.entry(package.to_owned()).or_default()
    }

    pub(crate) fn before(&mut self, cause: &Cause, view: &View<'_>) {
        self.now_ms = view.now_ms;
        self.storms.note_clock(view);
        self.note_settings(view);
        let user = match cause {
            Cause::Frame(conn, _) | Cause::Ended(conn) => {
                view.net.get(*conn).map(|sock| sock.user.clone())
            }
            Cause::Rest(user, ..) | Cause::Result(user) => Some(user.clone()),
            _ => None,
        };
        let user = user.unwrap_or_default();
        let session = view.session(&user);
        self.before = Before {
            fingerprint: session
                .filter(|_| must_be_quiet(cause, view))
                .map(fingerprint)
                .unwrap_or_default(),
            current: session.and_then(|session| session.m.phone.open()),
            starting: session
                .is_some_and(|session| session.m.apps.iter().any(|app| app.start.is_some())),
            loading: session.is_some_and(|session| session.state == State::Initializing),
            user,
            unread: session.is_some_and(|session| session.m.apps.intent.unread.is_some()),
            stale: matches!(cause, Cause::Frame(conn, _) if is_stale(*conn, view)),
            over: session.is_none() && matches!(cause, Cause::Rest(_, _, Call::Dispose)),
            asks: None,
            unsure_list: false,
            ping: None,
            picture: None,
        };
        match cause {
            Cause::Frame(conn, frame) => self.before_frame(*conn, frame, view),
            Cause::Rest(user, id, call) => {
                let asked = Asked {
                    user: user.clone(),
                    asked_ms: view.now_ms,
                    answer: None,
                };
                self.asked.insert(*id, asked);
                self.before_recovery(user, *id, call, view);
                self.note_own_photo(user, cause);
                match call {
                    Call::StartApp { package, .. } => self.wants_start(user, package),
                    Call::StopApp { package, .. }
                    | Call::InstallChanged {
                        package,
                        installed: None,
                    } => {
                        self.pair(user, package).stop_asked_ms = view.now_ms;
                    }
                    Call::DeviceState { .. } | Call::UserSettings { .. } => self.forced(user),
                    Call::Recover { package, .. } => {
                        self.pair(user, package).recovered_ms = view.now_ms;
                    }
                    _ => {}
                }
            }
            Cause::Drain => self.draining = true,
            Cause::Datagram(packet) => self.before_datagram(packet, view),
            _ => {}
        }
    }

    fn forced(&mut self, user: &str) {
        if let Some(view) = self.users.get_mut(user) {
            view.forced_ms = self.now_ms;
        }
    }

    fn wants_start(&mut self, user: &str, package: &str) {
        let now_ms = self.now_ms;
        let pair = self.pair(user, package);
        pair.stopped = false;
        pair.started_ms = now_ms;
    }

    fn before_frame(&mut self, conn: ConnId, frame: &Up, view: &View<'_>) {
        let Some(sock) = view.net.get(conn) else {
            return;
        };
        let own = self.socks.entry(conn).or_default();
        let text = match frame {
            Up::Text(text) => text,
            Up::Pong(_) => {
                own.pongs = true;
                return;
            }
            Up::Binary(_) => return self.forced(&sock.user),
            _ => return,
        };
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let kind = value["type"].as_str().unwrap_or_default();
        match kind {
            "ping" => {
                own.pongs = true;
                // 12 goes before 7: a socket that is being stopped gets `app_stopped` and nothing else.
                let leaving = view.session(&sock.user).is_some_and(|session| {
                    let mut stops = session.m.apps.iter().filter_map(|app| app.stop.as_ref());
                    stops.any(|stop| stop.conn == Some(conn))
                });
                if sock.is_open() && sock.stalled_until_ms == 0 && !leaving {
                    self.before.ping = Some(conn);
                }
            }
            "connection_init" if sock.package.is_empty() => own.inits += 1,
            "tpa_connection_init" | "connection_init" | "reconnect" => own.hello = true,
            _ => {}
        }
        if let Party::Phone(_) = sock.party {
            match kind {
                "ping" => self.note_ping(&sock.user, conn, view),
                "start_app" => {
                    let package = value["packageName"].as_str().unwrap_or_default();
                    self.wants_start(&sock.user, package);
                }
                "stop_app" => {
                    let package = value["packageName"].as_str().unwrap_or_default();
                    self.pair(&sock.user, package).stop_asked_ms = view.now_ms;
                }
                "glasses_connection_state" | "connection_init" => self.forced(&sock.user),
                _ => {}
            }
        }
        if kind == "subscription_update" {
            self.model_subscriptions(conn, &value, view);
        }
        if sock.package.is_empty() {
            let user = sock.user.clone();
            self.note_video(&user, &value);
            self.note_mini_apps(conn, &value, view);
        }
        self.note_picture(conn, &value, view);
        self.note_request(conn, &value, view);
    }

    pub(crate) fn after(&mut self, cause: &Cause, view: &View<'_>) {
        if self.failure.is_some() {
            return;
        }
        self.now_ms = view.now_ms;
        let seen = std::mem::take(&mut self.seen);
        let (late, seen) = self.late_ones(seen);
        self.look_at_reload(cause, &seen);
        self.look_at_recoveries(cause, &seen, view);
        self.look_at_sound(cause, &seen, view);
        self.invariant_05_ended_once(&seen);
        self.invariant_07_pings_are_answered(&seen);
        for user in self.users.keys().cloned().collect::<Vec<_>>() {
            self.look_at_session(&user, cause, view);
            self.look_at_apps(&user, view);
        }
        self.opening = None;
        for one in &seen {
            match one {
                Seen::Sent(conn, frame) => self.look_at_frame(*conn, frame, view),
                Seen::Http(user, package, body) => self.look_at_webhook(user, package, body, view),
                Seen::Store(user, op) => self.invariant_18_stored_list(user, op, view),
                Seen::Answered(id, status, body) => {
                    self.invariant_19_answered_once(*id, *status, body);
                }
            }
        }
        self.look_at_cause(cause, &seen, view);
        self.look_at_datagrams(cause, view);
        self.look_at_speech(&seen, view);
        self.invariant_19_nobody_waits_for_ever();
        self.look_at_sockets(view);
        self.invariant_42_shares(&seen, view);
        self.look_at_stalls(cause, &seen, &late, view);
        self.invariant_42_requests_end(view);
        for user in self.users.keys().cloned().collect::<Vec<_>>() {
            self.invariant_25_mini_apps(&user, view);
            self.look_at_media(&user, view);
            self.look_at_video(&user, view);
            self.look_at_main_view(&user, cause, &seen, view);
        }
        if self.logging {
            self.keep(seen);
            self.keep(late);
        }
    }

    fn keep(&mut self, seen: Vec<Seen>) {
        for one in seen {
            match one {
                Seen::Sent(conn, frame) => self.log.push((self.now_ms, conn, frame)),
                Seen::Http(user, package, body) => {
                    let kind = body["type"].as_str().unwrap_or_default().to_owned();
                    self.webhooks.push((self.now_ms, user, package, kind));
                }
                Seen::Store(user, op) => self.stored.push((self.now_ms, user, op)),
                Seen::Answered(..) => {}
            }
        }
    }

    fn look_at_frame(&mut self, conn: ConnId, frame: &Down, view: &View<'_>) {
        let Some(sock) = view.net.get(conn) else {
            return;
        };
        if let Down::Close(code, reason) = frame {
            self.invariant_22_close_codes(conn, *code, reason, view);
        }
        if sock.package.is_empty() {
            self.invariant_06_ack_first(conn, frame, &sock.user);
            self.look_at_screen(conn, frame, view);
            self.note_microphone(conn, frame, view);
            self.note_tier(conn, frame);
            self.invariant_45_keep_alives(conn, frame, view);
            self.invariant_33_probes(conn, frame, view);
        } else {
            self.look_at_app_frame(conn, frame, view);
            self.invariant_42_one_outcome(conn, frame);
        }
    }

    /// The answer of a REST call, once it is there.
    pub(crate) fn answer(&self, id: u64) -> Option<&(u16, Value)> {
        self.asked.get(&id)?.answer.as_ref()
    }
}
