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
        self.users
            .iter()
            .map(|(user, list)| user.len() + held(list))
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
                list.push(waiting);
                self.count += 1;
                None
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
        self.count -= before - list.len();
        if list.is_empty() {
            self.users.remove(user);
        }
    }

    /// Everything that waited for this user.
    pub(super) fn take(&mut self, user: &UserId) -> SmallVec<[ParkedHello; 1]> {
        let list = self.users.remove(user).unwrap_or_default();
        self.count -= list.len();
        list
    }
}
