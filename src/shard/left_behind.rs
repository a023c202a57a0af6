//! Layer 3: what sessions leave behind at the provider of managed streams. A live input whose creation is answered when its session
//! is gone would stay there for ever, as nobody else knows of it (behaviour.md §7.6.3).

use super::Shard;
use super::mailbox::ToOutside;
use crate::base::ids::{CallId, UserId};
use crate::session::Session;
use crate::session::event::Event;
use crate::session::flow::provider;
use std::collections::VecDeque;

/// Creations remembered; of more the oldest is forgotten. Each is answered within `managed_api_timeout_ms`.
const CREATIONS_MAX: usize = 4096;

/// Creations of sessions that are gone: user, epoch, call.
#[derive(Default)]
pub(super) struct LeftBehind(VecDeque<(UserId, u64, CallId)>);

impl LeftBehind {
    fn note(&mut self, session: &Session) {
        let left = &mut self.0;
        for call in session.m.managed_streams.creations() {
            if left.len() == CREATIONS_MAX {
                left.pop_front();
            }
            left.push_back((session.user.clone(), session.epoch, call));
        }
    }
}

impl Shard {
    /// A session goes, whatever ended it.
    pub(super) fn remember_creations(&mut self, session: &Session) {
        self.left_behind.note(session);
    }

    /// Session `at` hears no answers any more.
    pub(super) fn remember_creations_of(&mut self, at: u32) {
        if let Some(entry) = self.entries.get(at) {
            self.left_behind.note(&entry.session);
        }
    }

    /// A result for a session that is gone.
    pub(super) fn answered_too_late(&mut self, user: &UserId, epoch: u64, event: &Event) {
        let Event::Http { call, outcome } = event else {
            return;
        };
        let left = &mut self.left_behind.0;
        let is_this =
            |(of, at, id): &(UserId, u64, CallId)| id == call && *at == epoch && of == user;
        let Some(at) = left.iter().position(is_this) else {
            return;
        };
        left.remove(at);
        if let Some(call) = provider::unclaimed(&self.cfg.streaming, *call, outcome) {
            let user = user.clone();
            self.tell_outside(ToOutside::Http { user, epoch, call });
        }
    }
}
