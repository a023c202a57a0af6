//! Layer 3: what the outside thread is told, and what it had no room for. The end of a recogniser is said again, tick by tick and in
//! order: its session waits for no answer, and a lost one keeps the provider's connection until the rule for idle ones ends it.

use super::Shard;
use super::mailbox::ToOutside;
use crate::base::metrics::Counter;
use crate::wire::speech::SpeechOrder;
use std::collections::VecDeque;

/// Ends that wait; one more is lost to the rule for idle recognisers, and counted.
const WAITING_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Unsaid(VecDeque<ToOutside>);

impl Shard {
    /// Whether the outside thread will hear of it.
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
                if self.unsaid.0.len() < WAITING_MAX =>
            {
                self.unsaid.0.push_back(message);
                return true;
            }
            Some(SpeechOrder::Audio { .. }) => self.workspace.metrics.inc(Counter::SpeechAudioLost),
            _ => self.workspace.metrics.inc(Counter::MailboxFull),
        }
        false
    }

    /// Tries again, as far as there is room.
    pub(super) fn say_unsaid(&mut self) {
        while let Some(message) = self.unsaid.0.pop_front() {
            if let Err(full) = self.outside.try_send(message) {
                self.unsaid.0.push_front(full.into_inner());
                return;
            }
        }
    }
}
