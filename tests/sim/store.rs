//! The store of the simulation: slow, failing or silent when it is told to be; writes of one user stay in order.

use prism::base::ids::UserId;
use prism::services::store::Change;
use prism::services::store::changes::Edit;
use prism::session::effects::StoreOp;
use prism::wire::records::UserRecord;
use std::collections::BTreeMap;

/// How the store behaves at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// Milliseconds.
    Quick,
    /// Seconds, within the time limit.
    Slow,
    /// Reads fail, writes are made good later.
    Failing,
    /// Answers nothing at all.
    Mute,
}

/// What is stored.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) mood: Mood,
    users: BTreeMap<String, UserRecord>,
    /// When the last write of a user lands.
    busy_until_ms: BTreeMap<String, u64>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            mood: Mood::Quick,
            users: BTreeMap::new(),
            busy_until_ms: BTreeMap::new(),
        }
    }
}

impl Store {
    /// The record of a user, made if there is none.
    pub(crate) fn record(&mut self, user: &str) -> &mut UserRecord {
        self.users.entry(user.to_owned()).or_default()
    }

    /// What a read gives now, and after how long; `None`: never.
    pub(crate) fn read(&mut self, user: &str, draw_ms: u64) -> Option<(u64, Option<UserRecord>)> {
        let record = self.record(user).clone();
        match self.mood {
            Mood::Quick => Some((draw_ms % 40, Some(record))),
            Mood::Slow => Some((500 + draw_ms % 4000, Some(record))),
            Mood::Failing => Some((5000, None)),
            Mood::Mute => None,
        }
    }

    /// Applies a write; says when it is durable and whether it is so in time.
    pub(crate) fn write(
        &mut self,
        user: &str,
        op: &StoreOp,
        now_ms: u64,
        draw_ms: u64,
    ) -> (u64, bool) {
        self.apply(user, op);
        let (delay_ms, in_time) = match self.mood {
            Mood::Quick => (draw_ms % 250, true),
            Mood::Slow => (500 + draw_ms % 4000, true),
            Mood::Failing | Mood::Mute => (5000, false),
        };
        let busy = self.busy_until_ms.entry(user.to_owned()).or_default();
        *busy = (*busy).max(now_ms + delay_ms);
        (*busy, in_time)
    }

    /// By the code that every backend uses.
    fn apply(&mut self, user: &str, op: &StoreOp) {
        let change = Change::Session(UserId::new(user), op.clone());
        let record = self.record(user);
        let document = serde_json::to_vec(record).expect("a record serialises");
        if let (Edit::Put(document), _) = change.apply(Some(&document)) {
            *record = serde_json::from_slice(&document).expect("a record");
        }
    }

    /// The stored running list.
    pub(crate) fn running(&mut self, user: &str) -> Vec<String> {
        self.record(user).running_apps.clone()
    }
}
