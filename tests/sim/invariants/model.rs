//! Users, their apps and sockets as the outside may know them: what the invariants compare with.

use prism::base::ids::{CallId, ConnId};
use prism::session::event::Sdk;
use prism::session::managers::apps::AppState;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One (user, app) pair as the outside may know it.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(super) state: AppState,
    /// Before the last event.
    pub(super) previous: AppState,
    pub(super) since_ms: u64,
    /// A stop went on before the last event, and goes on after it; its webhook may outlive the socket.
    pub(super) was_stopping: bool,
    pub(super) is_stopping: bool,
    pub(super) conn: Option<ConnId>,
    pub(super) sdk: Sdk,
    pub(super) attached_ms: u64,
    /// What the app last asked for, after the guard.
    pub(super) asked: BTreeSet<String>,
    /// And what it may have of it.
    pub(super) subs: BTreeSet<String>,
    /// How exactly it wants the location: its place among the tiers.
    pub(super) rate: usize,
    /// Stopped on purpose and not started again.
    pub(super) stopped: bool,
    pub(super) started_ms: u64,
    /// Session requests of the start that goes on.
    pub(super) attempts: u64,
    /// Since when they are counted.
    pub(super) asking_ms: u64,
    /// Session requests of this event whose start has ended within it.
    pub(super) ended: u64,
    pub(super) recovered_ms: u64,
    /// The last time that somebody asked for a stop, whatever came of it.
    pub(super) stop_asked_ms: u64,
    /// Session requests in flight.
    pub(super) webhooks: BTreeSet<(u64, CallId)>,
    /// Replaced sockets and when.
    pub(super) replaced: Vec<(ConnId, u64)>,
    /// Those of them that 2.x replaced with 2.x.
    pub(super) may_stay: BTreeSet<ConnId>,
    /// The newest text of its that was shown.
    pub(super) shown: u64,
}

impl Pair {
    /// What is stored for a dormant app counts for nothing.
    pub(super) fn counts(&self) -> bool {
        self.state != AppState::Dormant
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self {
            state: AppState::Stopped,
            previous: AppState::Stopped,
            since_ms: 0,
            was_stopping: false,
            is_stopping: false,
            conn: None,
            sdk: Sdk::V2,
            attached_ms: 0,
            asked: BTreeSet::new(),
            subs: BTreeSet::new(),
            rate: 0,
            stopped: false,
            started_ms: 0,
            attempts: 0,
            asking_ms: 0,
            ended: 0,
            recovered_ms: 0,
            stop_asked_ms: 0,
            webhooks: BTreeSet::new(),
            replaced: Vec::new(),
            may_stay: BTreeSet::new(),
            shown: 0,
        }
    }
}

/// One user as the outside may know it.
#[derive(Default, Debug)]
pub(crate) struct UserView {
    /// The user record was being read after the last event.
    pub(super) loading: bool,
    pub(super) epoch: Option<u64>,
    pub(super) current: Option<ConnId>,
    pub(super) current_since_ms: u64,
    pub(super) lost_ms: u64,
    pub(super) pairs: BTreeMap<String, Pair>,
    /// Apps whose stop was going on when the last session ended.
    pub(super) stopping_at_end: BTreeSet<String>,
    pub(super) need_since_ms: u64,
    /// The last things that may send the microphone state at once.
    pub(super) forced_ms: u64,
    pub(super) mic_changes: Vec<u64>,
    pub(super) display_ms: u64,
    pub(super) video: super::video::Video,
}

/// One socket as the outside may know it.
#[derive(Default, Debug)]
pub(crate) struct SockView {
    pub(super) acks: u32,
    pub(super) inits: u32,
    pub(super) hello: bool,
    pub(super) deferred_ms: Option<u64>,
    pub(super) pongs: bool,
    /// The last sample heard, by phone.
    pub(super) samples: BTreeMap<usize, u32>,
    pub(super) mic: Option<bool>,
    /// When the probes came whose confirmations it has not been sent yet.
    pub(super) owed: Vec<u64>,
    /// When a datagram was last a sign of its life.
    pub(super) datagram_ms: u64,
    pub(super) tier: Option<String>,
    pub(super) cleared: bool,
    /// The newest text of each app that it was sent.
    pub(super) shown: BTreeMap<String, u64>,
    /// Another took its place while it did not read: what waits for it since then is older than what that one was sent.
    pub(super) behind: bool,
    /// It took a place while it did not read: it was painted anew then, and reads that later.
    pub(super) repainted: bool,
}

impl SockView {
    /// It is attached, or was.
    pub(crate) fn is_acked(&self) -> bool {
        self.acks > 0
    }
}

/// A REST call that waits.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(super) user: String,
    pub(super) asked_ms: u64,
    pub(super) answer: Option<(u16, Value)>,
}
