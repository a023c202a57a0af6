//! Layer 3: who has a live session, process-wide. Written at creation and disposal only; read at the edges of a
//! connection's life (first message of a v2 app, admission), never per frame.

use crate::base::ids::UserId;
use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

/// The directory.
#[derive(Default, Debug)]
pub struct LiveUsers(RwLock<HashSet<UserId>>);

impl LiveUsers {
    /// Whether `user` (in lower case) has a live session on any shard.
    #[must_use]
    pub fn contains(&self, user: &str) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(user)
    }

    /// How many sessions live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everybody, for rare rounds.
    #[must_use]
    pub fn all(&self) -> Vec<UserId> {
        let users = self.0.read().unwrap_or_else(PoisonError::into_inner);
        users.iter().cloned().collect()
    }

    /// As a shard does, for tests of other layers.
    #[cfg(test)]
    pub(crate) fn enter(&self, user: UserId) {
        self.insert(user);
    }

    pub(super) fn insert(&self, user: UserId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(user);
    }

    pub(super) fn remove(&self, user: &UserId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(user);
    }
}
