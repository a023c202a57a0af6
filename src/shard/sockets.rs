//! Layer 3: sockets that begin: a phone's goes to its session (made on the spot), an app's waits until it names itself, and
//! then to its session, to the registry of parked ones, or to another shard.

use super::Shard;
use super::admission::{self, Candidate, HelloStep};
pub use super::conns::{LinkRef, Marked};
use super::conns::{PeerKind, Role};
use super::frames::ReadStep;
use super::unowned::{self, Unowned};
use crate::base::close::CloseReason;
use crate::base::ids::{ConnId, UserId};
use crate::base::metrics::{Counter, Side};
use crate::session::event::{AppHello, Event, HelloKind, PhoneFlags};
use crate::session::lines::Line;
use crate::wire::frame::Utf8Bytes;
use crate::wire::kinds::AppKind;

/// Whether a phone may have a session now (behaviour.md §10.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PhoneAdmission {
    /// Yes.
    Admitted,
    /// No: 503 with `Retry-After: 5`.
    Refused,
}

/// A socket that becomes a WebSocket connection.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// What [`Shard::cuts`] will name.
    pub handle: i32,
    /// What [`Shard::take_marked`] will name.
    pub link: LinkRef,
    /// The 101 response; empty when it was sent before (a handed-over socket).
    pub switch: &'a [u8],
}

impl Shard {
    /// Whether a phone of `user` may connect. A user with a live session always may.
    #[must_use]
    pub fn admission(&self, user: &str) -> PhoneAdmission {
        if self.has_session(user) {
            return PhoneAdmission::Admitted;
        }
        let max = self.cfg.server.max_sessions;
        let full = max > 0 && self.shared.live.len() as u64 >= max;
        let late = self.cfg.server.shed_load_enabled && self.shared.is_overloaded();
        if full || late {
            PhoneAdmission::Refused
        } else {
            PhoneAdmission::Admitted
        }
    }

    /// A phone is upgraded here, at its user's home; `opening` holds the socket's handle (what `cuts` will name) and the 101
    /// that is sent before any frame. `None`: no room.
    pub fn open_phone(
        &mut self,
        user: &UserId,
        flags: PhoneFlags,
        opening: Opening<'_>,
    ) -> Option<ConnId> {
        assert!(self.is_home(user), "phones are adopted at home");
        let (at, new) = self.session_for(user)?;
        let id = self.out.conns.insert(
            PeerKind::Phone,
            Role::Session(at),
            (opening.handle, opening.link),
            self.now.mono_ms,
            &self.cfg,
        )?;
        self.out.preface(id, opening.switch);
        self.workspace.metrics.inc(Counter::PhoneOpened);
        self.own(at, id);
        self.drive(at, |session, cx| {
            session.on_event(Event::PhoneConnected { conn: id, flags }, cx);
        });
        if new {
            self.unpark_all(user);
        }
        Some(id)
    }

    /// An app server finished its upgrade here. One with a verified token must be at its user's home.
    pub fn open_app(&mut self, candidate: Candidate, opening: Opening<'_>) -> Option<ConnId> {
        let hello = candidate.token_hello();
        let id = self.out.conns.insert(
            PeerKind::App,
            Role::Fresh(Box::new(candidate)),
            (opening.handle, opening.link),
            self.now.mono_ms,
            &self.cfg,
        )?;
        self.out.preface(id, opening.switch);
        // A socket that comes after its first message was counted on the shard that upgraded it.
        if !opening.switch.is_empty() {
            self.workspace.metrics.inc(Counter::AppOpened);
        }
        let limit = self.now.mono_ms + self.cfg.connections.app_init_timeout_ms;
        self.out.watch(id, limit);
        if let Some((user, hello)) = hello {
            assert!(self.is_home(&user), "named apps are adopted at home");
            self.hello(id, &user, hello);
        }
        Some(id)
    }

    /// A conformance suite.
    pub fn open_echo(&mut self, opening: Opening<'_>) -> Option<ConnId> {
        let now_ms = self.now.mono_ms;
        let id = self.out.conns.insert(
            PeerKind::Echo,
            Role::Echo,
            (opening.handle, opening.link),
            now_ms,
            &self.cfg,
        )?;
        self.out.preface(id, opening.switch);
        Some(id)
    }

    fn own(&mut self, at: u32, id: ConnId) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.conns.push(id);
        }
    }

    /// A text message of an un-initialised app socket.
    pub(super) fn fresh(&mut self, id: ConnId, text: Utf8Bytes) -> ReadStep {
        let Some(conn) = self.out.conns.get(id) else {
            return ReadStep::Stop;
        };
        let Role::Fresh(candidate) = &mut conn.role else {
            return ReadStep::Continue;
        };
        let live = &self.shared.live;
        let step = admission::judge(
            &text,
            candidate,
            self.cfg.connections.invalid_json_before_close,
            &mut self.workspace.scratch,
            |user| live.contains(user),
        );
        match step {
            HelloStep::Hello(user, _) if !self.is_home(&user) => ReadStep::Leave(user, text),
            step => {
                if let HelloStep::Answer(admission::MALFORMED)
                | HelloStep::Close(Some(admission::MALFORMED), _) = step
                {
                    self.workspace.metrics.inc(Counter::AppBadJson);
                }
                self.execute(id, step);
                ReadStep::Continue
            }
        }
    }

    fn execute(&mut self, id: ConnId, step: HelloStep) {
        match step {
            HelloStep::Ignore => {}
            HelloStep::Answer(answer) => {
                if answer == admission::Notice::Pong {
                    self.prove(id);
                }
                self.say(id, answer);
            }
            HelloStep::Close(answer, reason) => {
                if let Some(answer) = answer {
                    self.say(id, answer);
                }
                self.refuse(id, reason);
            }
            HelloStep::Linger(answer, reason) => {
                self.say(id, answer);
                let linger_ms = self.cfg.connections.reject_linger_ms;
                let mut is_due = false;
                if let Some(conn) = self.out.conns.get(id)
                    && let Role::Fresh(candidate) = &mut conn.role
                {
                    is_due = candidate.rejected.is_some();
                    candidate.rejected.get_or_insert(reason);
                }
                // A second rejection does not postpone the close.
                if !is_due {
                    self.out.watch(id, self.now.mono_ms + linger_ms);
                }
            }
            HelloStep::Hello(user, hello) => {
                let kind = match hello.kind {
                    HelloKind::Init => AppKind::TpaConnectionInit,
                    HelloKind::Reconnect => AppKind::Reconnect,
                };
                self.workspace.metrics.message(Side::App, kind as usize);
                self.hello(id, &user, hello);
                // Where there is no session, nobody took it.
                self.workspace.metrics.take_last_message();
            }
        }
    }

    /// An app socket named itself, at its user's home.
    fn hello(&mut self, id: ConnId, user: &UserId, hello: AppHello) {
        let Some(at) = self.users.get(user).copied() else {
            let addresses = self.cfg.apps.app_ip_validation_enabled;
            match unowned::without_session(&hello, &self.apps, addresses) {
                Unowned::Refuse(step) => {
                    if matches!(step, HelloStep::Close(_, CloseReason::AddressNotAllowed)) {
                        self.workspace.metrics.inc(Counter::AppAddressRefused);
                        let lines = &mut self.workspace.lines;
                        if let Some(more) = lines.may(Line::AddressRefused, self.now.mono_ms) {
                            tracing::warn!(user = user.log_tag(), package = %hello.package, conn = %id.tag(), address = ?hello.address, more, "app address not allowed");
                        }
                    }
                    self.execute(id, step);
                }
                Unowned::Park => self.park_new(id, user, hello),
            }
            return;
        };
        let Some(conn) = self.out.conns.get(id) else {
            return;
        };
        conn.role = Role::Session(at);
        conn.deadline_ms = u64::MAX;
        self.own(at, id);
        self.drive(at, |session, cx| {
            session.on_event(Event::AppHello { conn: id, hello }, cx);
        });
    }

    fn park_new(&mut self, id: ConnId, user: &UserId, hello: AppHello) {
        let is_full = self.parked.len() as u64 >= self.cfg.apps.deferred_max;
        if is_full && !self.parked.waits(user, &hello.package) {
            // Any app may name any number of users: one that does must not keep others from waiting.
            let refused = self.parked.gives_way(&hello.package).unwrap_or(id);
            let full = admission::Notice::Rejected(
                "SESSION_NOT_FOUND",
                "Too many deferred connections; initialise again later",
            );
            let step = HelloStep::Close(Some(full), CloseReason::Overloaded);
            self.execute(refused, step);
            if refused == id {
                return;
            }
        }
        let timeout_ms = self.cfg.apps.deferred_timeout_ms;
        self.say(id, admission::Notice::Deferred(timeout_ms));
        self.park(user, id, hello, self.now.mono_ms + timeout_ms);
    }

    /// Everything that waited for `user` goes to the new session.
    fn unpark_all(&mut self, user: &UserId) {
        for waiting in self.parked.take(user) {
            let Some(at) = self.users.get(user).copied() else {
                return self.refuse(waiting.conn, CloseReason::SessionEnded);
            };
            let Some(conn) = self.out.conns.get(waiting.conn) else {
                continue;
            };
            conn.role = Role::Session(at);
            conn.deadline_ms = u64::MAX;
            self.own(at, waiting.conn);
            self.drive(at, |session, cx| {
                let event = Event::AppParked {
                    conn: waiting.conn,
                    hello: waiting.hello,
                    expires_ms: waiting.expires_ms,
                };
                session.on_event(event, cx);
            });
        }
    }

    /// [`ReadStep::Leave`]: takes the candidate out; the writer flushes and goes; [`Shard::left`] ends it here.
    pub fn leave(&mut self, id: ConnId) -> Option<Candidate> {
        let conn = self.out.conns.get(id)?;
        let Role::Fresh(candidate) = std::mem::replace(&mut conn.role, Role::Detached) else {
            return None;
        };
        conn.leaving = true;
        conn.deadline_ms = u64::MAX;
        conn.mark(&mut self.out.marked);
        self.workspace.metrics.inc(Counter::HandoffsOut);
        Some(*candidate)
    }
}
