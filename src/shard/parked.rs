//! Layer 3: the deferred connection registry (behaviour.md §2.7.1): v3 app sockets whose user has no session yet. One per
//! user and package; this shard's users only.

use crate::base::footprint::Footprint as _;
use crate::base::ids::{ConnId, Package, UserId};
use crate::session::event::AppHello;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;

/// A socket that waits.
#[derive(Debug)]
pub(super) struct ParkedHello {
    pub(super) conn: ConnId,
    pub(super) hello: AppHello,
    pub(super) expires_ms: u64,
}

/// All waiting sockets of one shard.
#[derive(Default, Debug)]
pub(super) struct ParkedHellos {
    users: HashMap<UserId, SmallVec<[ParkedHello; 1]>, FxBuildHasher>,
    /// How many of each app.
    apps: HashMap<Package, usize, FxBuildHasher>,
    count: usize,
}

impl ParkedHellos {
    /// Bytes held, for the memory report.
    pub(super) fn heap_bytes(&self) -> usize {
        let held = |list: &SmallVec<[ParkedHello; 1]>| -> usize {
            list.iter()
                .map(|waiting| size_of::<ParkedHello>() + waiting.hello.heap_bytes())
                .sum()
        };
        let users = self.users.iter();
        let apps = self.apps.keys();
        users
            .map(|(user, list)| user.len() + held(list))
            .chain(apps.map(|package| package.len()))
            .sum()
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Adds a socket; the one that it replaces comes back, to be closed.
    pub(super) fn park(&mut self, user: &UserId, waiting: ParkedHello) -> Option<ConnId> {
        let list = self.users.entry(user.clone()).or_default();
        let older = list
            .iter_mut()
            .find(|other| other.hello.package == waiting.hello.package);
        match older {
            Some(slot) => Some(std::mem::replace(slot, waiting).conn),
            None => {
                *self.apps.entry(waiting.hello.package.clone()).or_insert(0) += 1;
                list.push(waiting);
                self.count += 1;
                None
            }
        }
    }

    /// Whether a socket of this app waits for this user: another one takes its place.
    pub(super) fn waits(&self, user: &UserId, package: &Package) -> bool {
        let list = self.users.get(user);
        list.is_some_and(|list| list.iter().any(|other| other.hello.package == *package))
    }

    /// The socket that gives its place to one of `package` where all are taken: of the app that has most, the one that waited longest.
    /// An app makes no room for another that has as many.
    pub(super) fn gives_way(&self, package: &Package) -> Option<ConnId> {
        let own = self.apps.get(package).copied().unwrap_or(0);
        let (most, count) = self.apps.iter().max_by_key(|(_, count)| **count)?;
        if *count <= own + 1 {
            return None;
        }
        let all = self.users.values().flatten();
        all.filter(|waiting| waiting.hello.package == *most)
            .min_by_key(|waiting| waiting.expires_ms)
            .map(|waiting| waiting.conn)
    }

    fn left(&mut self, package: &Package) {
        self.count -= 1;
        if let Some(own) = self.apps.get_mut(package) {
            *own -= 1;
            if *own == 0 {
                self.apps.remove(package);
            }
        }
    }

    /// Forgets a socket that ended, timed out or was superseded; one with another id stays.
    pub(super) fn forget(&mut self, user: &UserId, package: &Package, conn: ConnId) {
        let Some(list) = self.users.get_mut(user) else {
            return;
        };
        let before = list.len();
        list.retain(|waiting| waiting.hello.package != *package || waiting.conn != conn);
        let is_gone = list.len() < before;
        if list.is_empty() {
            self.users.remove(user);
        }
        if is_gone {
            self.left(package);
        }
    }

    /// Everything that waited for this user.
    pub(super) fn take(&mut self, user: &UserId) -> SmallVec<[ParkedHello; 1]> {
        let list = self.users.remove(user).unwrap_or_default();
        for waiting in &list {
            self.left(&waiting.hello.package);
        }
        list
    }
}
