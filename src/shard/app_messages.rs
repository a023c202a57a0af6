//! Layer 3: app-to-app messages between sessions (behaviour.md §7.10). Everything goes by mail, the shard's own included: a
//! session is never called into while another one's effects are being applied.

use super::Shard;
use super::mailbox::ToShard;
use crate::base::ids::{Package, ShardId, UserId};
use crate::base::metrics::Counter;
use crate::session::event::Event;
use crate::session::managers::app_messages::{Content, Incoming, Outgoing, To};
use rustc_hash::{FxHashMap, FxHashSet};

/// The shard that hosts the rooms of the process.
const ROOMS_HOST: ShardId = ShardId(0);

impl Shard {
    /// Sends what a session has for others.
    pub(super) fn app_message(&mut self, outgoing: Outgoing) {
        if outgoing.to == To::Everybody {
            self.app_users.note(&outgoing.message);
        }
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
            None => self.others_with(message),
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

    /// The other sessions of this shard whose app has an open socket. Asking every session would make one app's message cost as
    /// much as there are users.
    fn others_with(&self, message: &Incoming) -> Vec<u32> {
        let runs = |at: u32| {
            self.entries.get(at).is_some_and(|entry| {
                let open = entry.session.m.apps.open_conn(&message.package);
                entry.session.user != message.from && open.is_some()
            })
        };
        let everybody = || self.users.values().copied().filter(|at| runs(*at));
        let Some(known) = self.app_users.of(&message.package) else {
            return everybody().collect();
        };
        let found: Vec<u32> = known
            .filter_map(|user| self.users.get(user).copied())
            .filter(|at| runs(*at))
            .collect();
        debug_assert_eq!(found.len(), everybody().count(), "of {}", message.package);
        found
    }
}

/// Whose app has an open socket, as the sessions of this shard say when it comes and goes. Behind the times for a session that
/// ended by a defect, so it is asked where to look and not believed.
#[derive(Debug)]
pub(super) struct AppUsers {
    users: FxHashMap<Package, FxHashSet<UserId>>,
    /// The sessions have always said it: the feature was never off.
    complete: bool,
}

impl AppUsers {
    pub(super) fn new(enabled: bool) -> Self {
        Self {
            users: FxHashMap::default(),
            complete: enabled,
        }
    }

    /// The settings changed: while the feature is off nobody says who comes and goes.
    pub(super) fn settings_changed(&mut self, enabled: bool) {
        if !enabled {
            *self = Self::new(false);
        }
    }

    fn note(&mut self, message: &Incoming) {
        match message.content {
            Content::Joined if self.complete => {
                let users = self.users.entry(message.package.clone()).or_default();
                users.insert(message.from.clone());
            }
            Content::Left => {
                if let Some(users) = self.users.get_mut(&message.package) {
                    users.remove(&message.from);
                    if users.is_empty() {
                        self.users.remove(&message.package);
                    }
                }
            }
            _ => {}
        }
    }

    /// `None`: ask every session.
    fn of(&self, package: &Package) -> Option<impl Iterator<Item = &UserId>> {
        self.complete
            .then(|| self.users.get(package).into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An app's message must not cost as much as there are users without it.
    #[test]
    fn only_those_who_run_an_app_are_asked_while_all_have_always_said_so() {
        let mut users = AppUsers::new(true);
        let mut say = |user: &str, package: &str, content: Content| {
            users.note(&Incoming {
                from: UserId::new(user),
                package: Package::new(package),
                content,
            });
        };
        say("a@x.io", "com.acme.x", Content::Joined);
        say("a@x.io", "com.acme.x", Content::Joined);
        say("b@x.io", "com.acme.x", Content::Joined);
        say("b@x.io", "com.acme.y", Content::Joined);
        say("c@x.io", "com.acme.x", Content::Joined);
        say("c@x.io", "com.acme.x", Content::Left);
        say("b@x.io", "com.acme.y", Content::Left);
        let of = |users: &AppUsers, package: &str| {
            let package = Package::new(package);
            let mut known: Vec<String> = users.of(&package)?.map(ToString::to_string).collect();
            known.sort_unstable();
            Some(known)
        };
        let both = vec!["a@x.io".to_owned(), "b@x.io".to_owned()];
        assert_eq!(of(&users, "com.acme.x"), Some(both));
        assert_eq!(of(&users, "com.acme.y"), Some(Vec::new()));
        assert_eq!(
            users.users.len(),
            1,
            "nothing is kept of an app that nobody runs"
        );
        users.settings_changed(true);
        assert!(of(&users, "com.acme.x").is_some());
        users.settings_changed(false);
        users.settings_changed(true);
        assert_eq!(
            of(&users, "com.acme.x"),
            None,
            "somebody may have come unseen"
        );
    }
}
