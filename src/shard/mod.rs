//! Layer 3: the sessions of one core. Applies effects, keeps outboxes and deadlines, talks to other shards and to the outside
//! thread through mailboxes. Names no driver and no runtime, opens no socket, reads no clock.
//!
//! `net/` calls in with what arrived ([`frames`]), writers ask what to send ([`writers`]), mailboxes deliver ([`inbox`]); every
//! call into a session goes through `Shard::drive`, where a panic ends that one session.

pub mod admission;
pub mod app_history;
mod app_messages;
mod apply;
mod conns;
mod datagrams;
mod deadlines;
mod entries;
pub mod frames;
mod heartbeat;
pub mod inbox;
mod latency;
mod left_behind;
pub mod live;
pub mod mailbox;
pub mod memory;
mod outbound;
pub mod outbox;
mod outside;
mod parked;
pub mod report;
pub mod rooms;
pub mod routes;
pub mod shared;
mod shares;
pub mod sockets;
#[cfg(test)]
mod tests;
mod ticks;
pub mod trail;
mod unowned;
pub mod writers;

use crate::base::clock::Now;
use crate::base::close::CloseReason;
use crate::base::ids::{Package, ShardId, UserId, home_shard};
use crate::base::metrics::{Counter, Metrics};
use crate::base::panics;
use crate::base::settings::Settings;
use crate::session::{Cx, Session, Workspace};
use crate::wire::records::Registry;
use crate::wire::speech::SpeechOrder;
use conns::Role;
use entries::Entries;
use hashbrown::HashMap;
use mailbox::{Answer, AppLink, LinkChange, Mailboxes, ToOutside};
use outbound::Outbound;
use rustc_hash::FxBuildHasher;
use shared::Shared;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use conns::PeerKind;

/// What a shard is made of.
pub struct Parts {
    /// Index of this shard.
    pub id: ShardId,
    /// Settings in force.
    pub cfg: Arc<Settings>,
    /// App records in force.
    pub apps: Arc<Registry>,
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// All shards' inboxes.
    pub mail: Mailboxes,
    /// The outside thread's inbox.
    pub outside: flume::Sender<ToOutside>,
    /// `uring` or `epoll`, for `/health`.
    pub driver: &'static str,
    /// Seed of everything random here.
    pub seed: u64,
}

/// The sessions of one core, with all that serves them. What every message touches stands first.
#[repr(C)]
pub struct Shard {
    out: Outbound,
    workspace: Workspace,
    now: Now,
    entries: Entries,
    cfg: Arc<Settings>,
    apps: Arc<Registry>,
    followups: Vec<apply::Followup>,
    id: ShardId,
    draining: bool,
    shared: Arc<Shared>,
    mail: Mailboxes,
    outside: flume::Sender<ToOutside>,
    /// The last report that was asked for.
    report_round: u64,
    users: HashMap<UserId, u32, FxBuildHasher>,
    parked: parked::ParkedHellos,
    claims: datagrams::Claims,
    rng: fastrand::Rng,
    replies: Vec<(u64, Answer)>,
    ticks: ticks::Ticks,
    owners: memory::Owners,
    /// Rooms of the whole process; used on the one shard that hosts them.
    rooms: rooms::Rooms,
    /// Apps of which a session of this shard sent a message to other users' sessions.
    app_to_app: rustc_hash::FxHashSet<Package>,
    app_users: app_messages::AppUsers,
    backlog: outside::Backlog,
    left_behind: left_behind::LeftBehind,
}

impl Shard {
    /// A shard without sessions.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        if let Some(beat) = parts.shared.beats.get(usize::from(parts.id.0)) {
            beat.runs_on(parts.driver);
        }
        let mut shard = Self {
            id: parts.id,
            out: Outbound::new(parts.id),
            app_users: app_messages::AppUsers::new(parts.cfg.messages.app_to_app_enabled),
            cfg: parts.cfg,
            apps: parts.apps,
            shared: parts.shared,
            mail: parts.mail,
            outside: parts.outside,
            report_round: 0,
            users: HashMap::default(),
            entries: Entries::default(),
            parked: parked::ParkedHellos::default(),
            claims: datagrams::Claims::default(),
            workspace: Workspace::new(),
            rng: fastrand::Rng::with_seed(parts.seed),
            now: Now::default(),
            replies: Vec::new(),
            followups: Vec::new(),
            ticks: ticks::Ticks::default(),
            owners: memory::Owners::default(),
            rooms: rooms::Rooms::new(),
            app_to_app: rustc_hash::FxHashSet::default(),
            backlog: outside::Backlog::default(),
            left_behind: left_behind::LeftBehind::default(),
            draining: false,
        };
        shard.settings_changed();
        shard
    }

    /// Which shard this is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Settings in force.
    #[must_use]
    pub fn cfg(&self) -> &Arc<Settings> {
        &self.cfg
    }

    /// App records in force.
    #[must_use]
    pub fn apps(&self) -> &Arc<Registry> {
        &self.apps
    }

    /// Counters of this shard, for what `net/` counts.
    pub fn metrics(&mut self) -> &mut Metrics {
        &mut self.workspace.metrics
    }

    /// Whether `user` lives here.
    #[must_use]
    pub fn is_home(&self, user: &UserId) -> bool {
        home_shard(user, self.mail.shards()) == self.id
    }

    /// Whether `user` has a session here.
    #[must_use]
    pub fn has_session(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// The live session of `user`, only to look at: diagnostics and the simulator's invariants.
    #[must_use]
    pub fn session(&self, user: &str) -> Option<&Session> {
        let entry = self.entries.get(*self.users.get(user)?)?;
        Some(&entry.session)
    }

    /// Sets the instant of everything that follows.
    #[inline]
    pub fn at(&mut self, now: Now) {
        self.now = now;
        self.out.now_ms = now.mono_ms;
    }

    /// Handles of sockets that must be cut now (shut down both ways). To be emptied after every call into the shard.
    pub fn cuts(&mut self) -> &mut Vec<i32> {
        &mut self.out.cuts
    }

    /// Answers for HTTP connections of this shard: the waiter's number and what it gets. To be emptied after every call.
    pub fn replies(&mut self) -> &mut Vec<(u64, Answer)> {
        &mut self.replies
    }

    /// Calls into one session and applies what it asks for. A panic ends that session alone (behaviour.md §10.5).
    #[inline]
    fn drive(&mut self, at: u32, call: impl FnOnce(&mut Session, &mut Cx<'_>)) {
        let Some(entry) = self.entries.boxed_mut(at) else {
            self.workspace.metrics.inc(Counter::CorrelationOrphans);
            return;
        };
        let mut cx = self.workspace.cx(self.now, &self.cfg, &self.apps);
        self.out.trail.note(&raw const *entry, 1);
        self.out.trail.note(&raw const **entry, 1);
        let session = &mut entry.session;
        // Unwind safety: a session that panicked is dropped unseen; effects and scratch buffers are emptied before reuse.
        let outcome = catch_unwind(AssertUnwindSafe(|| call(session, &mut cx)));
        match outcome {
            Ok(()) => {
                let (place, lines) = session.place();
                self.out.trail.note(place, lines);
                for (place, lines) in session.event_places() {
                    self.out.trail.note(place, lines);
                }
                self.apply(at);
            }
            Err(panic) => self.drop_panicked(at, &*panic),
        }
    }

    /// The session of `user`, created if there is none; says whether it is new.
    fn session_for(&mut self, user: &UserId) -> Option<(u32, bool)> {
        if let Some(at) = self.users.get(user) {
            return Some((*at, false));
        }
        let seed = self.rng.u64(..);
        let mut cx = self.workspace.cx(self.now, &self.cfg, &self.apps);
        let made = catch_unwind(AssertUnwindSafe(|| {
            Session::new(user.clone(), seed, &mut cx)
        }));
        let Ok(session) = made else {
            self.workspace.metrics.inc(Counter::SessionPanics);
            self.forget_effects();
            return None;
        };
        let at = self.entries.insert(session);
        // Findable before anything else happens (protocol.md §2.1).
        self.users.insert(user.clone(), at);
        self.shared.live.insert(user.clone());
        self.workspace.metrics.inc(Counter::SessionsCreated);
        self.apply(at);
        Some((at, true))
    }

    /// Drops a session whose code panicked: its sockets close 1011 and may come back.
    #[cold]
    fn drop_panicked(&mut self, at: u32, panic: &(dyn std::any::Any + Send)) {
        self.workspace.metrics.inc(Counter::SessionPanics);
        self.forget_effects();
        if let Some(entry) = self.entries.get(at) {
            tracing::error!(
                user = entry.session.user.log_tag(),
                epoch = entry.session.epoch,
                shard = self.id.0,
                panic = panics::text(panic),
                "a session was ended by a defect"
            );
        }
        self.tell_phones_failed(at);
        self.remove_session(at, CloseReason::Internal);
    }

    /// The session cannot speak for itself any more: its phones hear why they are closed (behaviour.md §1.5).
    fn tell_phones_failed(&mut self, at: u32) {
        let Some(entry) = self.entries.get(at) else {
            return;
        };
        let conns = entry.conns.clone();
        for id in conns {
            let is_phone = self
                .out
                .conns
                .get(id)
                .is_some_and(|c| c.kind == PeerKind::Phone);
            if is_phone {
                self.say(id, admission::Notice::PhoneFailed);
            }
        }
    }

    fn forget_effects(&mut self) {
        let list = self.workspace.fx.take();
        self.workspace.fx.recycle(list);
    }

    /// Removes a session; sockets that it did not close itself are closed with `reason`.
    fn remove_session(&mut self, at: u32, reason: CloseReason) {
        let Some(mut entry) = self.entries.remove(at) else {
            return;
        };
        let user = entry.session.user.clone();
        // One that could not say so itself: a disposed session has let go of its hash.
        if let Some(hash) = entry.session.m.phone.udp_hash {
            self.udp_released(hash, user.clone(), entry.session.epoch);
        }
        if entry.session.m.speech.holds_any() {
            self.abandon_speech(&entry.session);
        }
        self.abandon_apps(&entry.session);
        self.remember_calls(&mut entry.session);
        for conn in &entry.conns {
            if let Some(conn) = self.out.conns.get(*conn) {
                conn.role = Role::Detached;
            }
            self.out.close(*conn, reason);
        }
        self.users.remove(&user);
        self.shared.live.remove(&user);
        self.workspace.metrics.inc(Counter::SessionsDisposed);
        // Dropping state that a panic left half-changed may panic again.
        if catch_unwind(AssertUnwindSafe(|| drop(entry))).is_err() {
            self.workspace.metrics.inc(Counter::SessionPanics);
        }
    }

    /// A session that could not say so itself leaves recognisers behind.
    fn abandon_speech(&mut self, session: &Session) {
        let message = ToOutside::Speech {
            user: session.user.clone(),
            epoch: session.epoch,
            order: SpeechOrder::Abandon,
        };
        self.tell_outside(message);
    }

    /// A session that could not say so itself leaves its apps behind, which a disposed one has none of.
    fn abandon_apps(&mut self, session: &Session) {
        for app in session.m.apps.iter().filter(|app| app.is_active()) {
            self.tell_outside(ToOutside::AppLink(Box::new(AppLink {
                user: session.user.clone(),
                package: app.package.clone(),
                key_sha256: String::new(),
                change: LinkChange::Ended,
            })));
        }
    }

    fn settings_changed(&mut self) {
        self.out.zero_copy_min = match self.cfg.connections.zero_copy_min_bytes {
            0 => 1,
            bytes => bytes as usize,
        };
        self.out.handshake_ms = self.cfg.health.close_handshake_timeout_ms;
        self.out.records.set_limits(&self.cfg);
        let enabled = self.cfg.messages.app_to_app_enabled;
        self.app_users.settings_changed(enabled);
    }
}
