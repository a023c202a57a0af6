//! Layer 3: app-to-app messages between sessions (behaviour.md §7.10). Everything goes by mail, the shard's own included: a
//! session is never called into while another one's effects are being applied.

use super::Shard;
use super::mailbox::ToShard;
use crate::base::ids::{ShardId, UserId};
use crate::base::metrics::Counter;
use crate::session::event::Event;
use crate::session::managers::app_messages::{Incoming, Outgoing, To};

/// The shard that hosts the rooms of the process.
const ROOMS_HOST: ShardId = ShardId(0);

impl Shard {
    /// Sends what a session has for others.
    pub(super) fn app_message(&mut self, outgoing: Outgoing) {
        let keep = self.cfg.messages.app_msg_history;
        self.shared.app_history.note(&outgoing, keep);
        if outgoing.to != To::Everybody || !outgoing.message.is_presence() {
            self.app_to_app.insert(outgoing.message.package.clone());
        }
        match outgoing.to {
            To::Everybody => {
                for shard in 0..self.mail.shards() {
                    let message = ToShard::AppMessage {
                        to: None,
                        message: Box::new(outgoing.message.clone()),
                    };
                    self.post(ShardId(shard), message);
                }
            }
            To::User(user) => self.app_message_to(user, outgoing.message),
            To::Rooms(_) => self.post(ROOMS_HOST, ToShard::AppRooms(Box::new(outgoing))),
        }
    }

    fn app_message_to(&mut self, user: UserId, message: Incoming) {
        let home = crate::base::ids::home_shard(&user, self.mail.shards());
        let message = ToShard::AppMessage {
            to: Some(user),
            message: Box::new(message),
        };
        self.post(home, message);
    }

    fn post(&mut self, shard: ShardId, message: ToShard) {
        if self.mail.send(shard, message).is_err() {
            self.workspace.metrics.inc(Counter::MailboxFull);
        }
    }

    /// The rooms answer.
    pub(super) fn rooms(&mut self, outgoing: Outgoing) {
        let rooms_max = self.cfg.messages.app_rooms_max;
        for delivery in self.rooms.handle(outgoing, rooms_max) {
            self.app_message_to(delivery.to, delivery.message);
        }
    }

    /// A message for one session of this shard, or for all but the sender's.
    pub(super) fn app_message_arrived(&mut self, to: Option<UserId>, message: &Incoming) {
        // Who comes and goes concerns only apps that ever sent a message here; asking every session would cost as much as the
        // sessions there are, for every app socket.
        if message.is_presence() && !self.app_to_app.contains(&message.package) {
            return;
        }
        let receivers: Vec<u32> = match &to {
            Some(user) => self.users.get(user).copied().into_iter().collect(),
            None => self
                .users
                .iter()
                .filter(|(user, _)| **user != message.from)
                .map(|(_, at)| *at)
                .collect(),
        };
        if let Some(user) = to
            && receivers.is_empty()
            && let Some((sender, answer)) = message.undeliverable(&user)
        {
            self.app_message_to(sender, answer);
        }
        for at in receivers {
            let message = Box::new(message.clone());
            self.drive(at, |session, cx| {
                session.on_event(Event::AppMessage { message }, cx);
            });
        }
    }
}
