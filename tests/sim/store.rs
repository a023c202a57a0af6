//! The store of the simulation: slow, failing or silent when it is told to be; writes of one user stay in order. What the server reads
//! holds what it wrote, but only what has landed outlives its process.

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
    /// The last record of a user that has landed, and each later one with the time when it lands.
    landing: BTreeMap<String, Vec<(u64, UserRecord)>>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            mood: Mood::Quick,
            users: BTreeMap::new(),
            busy_until_ms: BTreeMap::new(),
            landing: BTreeMap::new(),
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
        self.forget_older(user, now_ms);
        self.apply(user, op);
        let (delay_ms, in_time) = match self.mood {
            Mood::Quick => (draw_ms % 250, true),
            Mood::Slow => (500 + draw_ms % 4000, true),
            Mood::Failing | Mood::Mute => (5000, false),
        };
        let busy = self.busy_until_ms.entry(user.to_owned()).or_default();
        *busy = (*busy).max(now_ms + delay_ms);
        let busy_ms = *busy;
        let record = self.record(user).clone();
        self.landing
            .entry(user.to_owned())
            .or_default()
            .push((busy_ms, record));
        (busy_ms, in_time)
    }

    /// Only the last record that has landed matters of those that have.
    fn forget_older(&mut self, user: &str, now_ms: u64) {
        let record = self.record(user).clone();
        let rows = self.landing.entry(user.to_owned()).or_default();
        if rows.is_empty() {
            rows.push((0, record));
        }
        let landed = rows.iter().filter(|row| row.0 <= now_ms).count();
        rows.drain(..landed.saturating_sub(1));
    }

    /// Whether another process would find the app on the list, or not on it, whenever this one ends.
    pub(crate) fn keeps(&mut self, user: &str, package: &str, wanted: bool, now_ms: u64) -> bool {
        self.forget_older(user, now_ms);
        let mut rows = self.landing[user].iter();
        rows.all(|(_, record)| record.running_apps.iter().any(|one| one == package) == wanted)
    }

    /// The server's process ends: what has not landed is lost.
    pub(crate) fn writer_dies(&mut self, now_ms: u64) {
        let users: Vec<String> = self.landing.keys().cloned().collect();
        for user in users {
            self.forget_older(&user, now_ms);
            let record = self.landing[&user][0].1.clone();
            self.users.insert(user, record);
        }
        self.landing.clear();
        self.busy_until_ms.clear();
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
