//! Layer 3: messages to the outside thread, and what becomes of those that find its inbox full. Most are answered or counted at
//! once; the order to end a recogniser is kept and tried again at every tick, since nobody else would repeat it and its connection
//! to the provider would live on until the rule for idle recognisers ends it.

use super::Shard;
use super::mailbox::ToOutside;
use crate::base::metrics::Counter;
use crate::wire::speech::SpeechOrder;
use std::collections::VecDeque;

/// Orders to end a recogniser that may wait; further ones are counted and left to the rule for idle recognisers.
const WAITING_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Backlog(VecDeque<ToOutside>);

impl Shard {
    /// Sends a message; `false`: it was lost, as the inbox is full and the message is not one that is tried again.
    pub(super) fn tell_outside(&mut self, message: ToOutside) -> bool {
        let Err(full) = self.outside.try_send(message) else {
            return true;
        };
        let message = full.into_inner();
        let order = match &message {
            ToOutside::Speech { order, .. } => Some(order),
            _ => None,
        };
        match order {
            Some(SpeechOrder::Close(_) | SpeechOrder::Abandon)
                if self.backlog.0.len() < WAITING_MAX =>
            {
                self.backlog.0.push_back(message);
                return true;
            }
            Some(SpeechOrder::Audio { .. }) => self.workspace.metrics.inc(Counter::SpeechAudioLost),
            _ => self.workspace.metrics.inc(Counter::MailboxFull),
        }
        false
    }

    /// Sends what waits, in order, as far as the inbox has room.
    pub(super) fn send_backlog(&mut self) {
        while let Some(message) = self.backlog.0.pop_front() {
            if let Err(full) = self.outside.try_send(message) {
                self.backlog.0.push_front(full.into_inner());
                return;
            }
        }
    }
}
