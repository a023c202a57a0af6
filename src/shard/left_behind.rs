//! Layer 3: what sessions leave behind. A live input at the provider of managed streams whose creation is answered when its session is
//! gone would stay there for ever, as nobody else knows of it (behaviour.md §7.6.3). And whoever waits for the stop of an app that
//! ended with its session is still owed the word that the stop is durable (behaviour.md §12.3).

use super::Shard;
use super::mailbox::{Answer, ToOutside};
use crate::base::ids::{CallId, UserId};
use crate::session::Session;
use crate::session::event::{Event, HttpOutcome, StoreOutcome};
use crate::session::flow::{answers, provider};
use crate::session::managers::apps::Waiter;
use crate::session::managers::apps::intent::Wanted;
use std::collections::VecDeque;

/// Creations remembered; of more the oldest is forgotten. Each is answered within `managed_api_timeout_ms`.
const CREATIONS_MAX: usize = 4096;
/// Stops remembered; of more the oldest is answered as one that the store did not keep.
const STOPS_MAX: usize = 4096;

/// A call of a session that is gone: user, epoch, call.
type Left = (UserId, u64, CallId);

/// A stop that waits for the store.
struct Stop {
    write: Left,
    due_ms: u64,
    waiters: Vec<Waiter>,
}

/// What sessions that are gone still wait for.
#[derive(Default)]
pub(super) struct LeftBehind {
    creations: VecDeque<Left>,
    stops: VecDeque<Stop>,
}

impl LeftBehind {
    fn note_creations(&mut self, session: &Session) {
        let left = &mut self.creations;
        for call in session.m.managed_streams.creations() {
            if left.len() == CREATIONS_MAX {
                left.pop_front();
            }
            left.push_back((session.user.clone(), session.epoch, call));
        }
    }

    /// What a session still waits for; stops beyond [`STOPS_MAX`] are returned.
    fn note(&mut self, session: &mut Session) -> Vec<Stop> {
        self.note_creations(session);
        self.note_stops(session)
    }

    fn note_stops(&mut self, session: &mut Session) -> Vec<Stop> {
        let (user, epoch) = (session.user.clone(), session.epoch);
        for ack in session.m.apps.intent.take_acks(Wanted::No) {
            self.stops.push_back(Stop {
                write: (user.clone(), epoch, ack.call),
                due_ms: ack.due_ms,
                waiters: ack.waiters,
            });
        }
        let surplus = self.stops.len().saturating_sub(STOPS_MAX);
        self.stops.drain(..surplus).collect()
    }
}

impl Shard {
    /// A session goes, whatever ended it.
    pub(super) fn remember_calls(&mut self, session: &mut Session) {
        let surplus = self.left_behind.note(session);
        self.answer_lost(&surplus);
    }

    /// Session `at` hears no answers any more.
    pub(super) fn remember_calls_of(&mut self, at: u32) {
        if let Some(entry) = self.entries.get_mut(at) {
            let surplus = self.left_behind.note(&mut entry.session);
            self.answer_lost(&surplus);
        }
    }

    /// A result for a session that is gone.
    pub(super) fn answered_too_late(&mut self, user: &UserId, epoch: u64, event: &Event) {
        let is_this = |(of, at, id): &Left, call: CallId| *id == call && *at == epoch && of == user;
        match event {
            Event::Http { call, outcome } => {
                let left = &mut self.left_behind.creations;
                if let Some(at) = left.iter().position(|left| is_this(left, *call)) {
                    left.remove(at);
                    self.made_for_nobody(user, epoch, *call, outcome);
                }
            }
            Event::Stored { call, outcome } => {
                let stops = &mut self.left_behind.stops;
                let at = stops.iter().position(|stop| is_this(&stop.write, *call));
                if let Some(stop) = at.and_then(|at| stops.remove(at)) {
                    self.answer_stop(&stop, *outcome);
                }
            }
            _ => {}
        }
    }

    fn made_for_nobody(&mut self, user: &UserId, epoch: u64, call: CallId, outcome: &HttpOutcome) {
        if let Some(call) = provider::unclaimed(&self.cfg.streaming, call, outcome) {
            let user = user.clone();
            self.tell_outside(ToOutside::Http { user, epoch, call });
        }
    }

    /// Stops that the store has not answered in time.
    pub(super) fn answer_overdue_stops(&mut self) {
        let now_ms = self.now.mono_ms;
        if self.left_behind.stops.is_empty() {
            return;
        }
        let is_overdue = |stop: &Stop| stop.due_ms <= now_ms;
        let all = std::mem::take(&mut self.left_behind.stops);
        let (overdue, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_overdue);
        self.left_behind.stops = others.into();
        self.answer_lost(&overdue);
    }

    fn answer_lost(&mut self, stops: &[Stop]) {
        for stop in stops {
            self.answer_stop(stop, StoreOutcome::Failed);
        }
    }

    fn answer_stop(&mut self, stop: &Stop, outcome: StoreOutcome) {
        for waiter in &stop.waiters {
            let answer = answers::stopped_with_session(waiter.shape, outcome);
            self.reply(waiter.reply, Answer::Whole(answer));
        }
    }
}
