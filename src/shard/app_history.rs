//! Layer 3: the last app-to-app messages of every app, process-wide (behaviour.md §7.10), for administrators. Written once per
//! message that an app sends to others of its kind, never on the way of a phone's. What a message says is not kept.

use crate::base::ids::{Package, UserId};
use crate::session::managers::app_messages::{Content, Outgoing, RoomRequest, To};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Apps remembered; beyond it the one that has been silent longest is forgotten.
const APPS_MAX: usize = 1024;
/// Most that is kept of an id that an app made up (characters).
const ID_CHARS_MAX: usize = 128;

/// Whom a message went to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Went {
    /// Every other user of the app.
    Everybody,
    /// One user.
    User(UserId),
    /// The other members of a room.
    Room(String),
}

/// One message that was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Past {
    /// Whose session sent it.
    pub from: UserId,
    /// Where to.
    pub to: Went,
    /// The sender's id for it.
    pub message_id: String,
    /// Size of its payload as JSON.
    pub bytes: usize,
    /// When (ms since the Unix epoch).
    pub sent_unix_ms: u64,
}

/// The rings.
#[derive(Default, Debug)]
pub struct AppHistory(Mutex<HashMap<Package, VecDeque<Past>>>);

impl AppHistory {
    /// Up to the configured number of an app's messages, oldest first.
    #[must_use]
    pub fn of(&self, package: &str) -> Vec<Past> {
        let rings = self.rings();
        let ring = rings.iter().find(|(app, _)| app.as_str() == package);
        ring.map(|(_, ring)| ring.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Remembers what a session sends, if it is a message; `keep` per app, the oldest give way.
    pub(super) fn note(&self, outgoing: &Outgoing, keep: u64) {
        let Some(past) = past(outgoing) else { return };
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let package = &outgoing.message.package;
        let mut rings = self.rings();
        if keep == 0 {
            rings.remove(package);
            return;
        }
        if rings.len() >= APPS_MAX && !rings.contains_key(package) {
            forget_one(&mut rings);
        }
        let ring = rings.entry(package.clone()).or_default();
        while ring.len() >= keep {
            ring.pop_front();
        }
        ring.push_back(past);
    }

    fn rings(&self) -> MutexGuard<'_, HashMap<Package, VecDeque<Past>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn past(outgoing: &Outgoing) -> Option<Past> {
    let (Content::Message(payload) | Content::Direct(payload)) = &outgoing.message.content else {
        return None;
    };
    let to = match &outgoing.to {
        To::Everybody => Went::Everybody,
        To::User(user) => Went::User(user.clone()),
        To::Rooms(RoomRequest::Send { room_id }) => Went::Room(cut(room_id)),
        To::Rooms(_) => return None,
    };
    Some(Past {
        from: outgoing.message.from.clone(),
        to,
        message_id: cut(&payload.message_id),
        bytes: payload.json.len(),
        sent_unix_ms: payload.sent_unix_ms,
    })
}

fn cut(id: &str) -> String {
    id.chars().take(ID_CHARS_MAX).collect()
}

fn forget_one(rings: &mut HashMap<Package, VecDeque<Past>>) {
    let last = |ring: &VecDeque<Past>| ring.back().map_or(0, |past| past.sent_unix_ms);
    let silent = rings.iter().min_by_key(|(_, ring)| last(ring));
    if let Some(package) = silent.map(|(package, _)| package.clone()) {
        rings.remove(&package);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::managers::app_messages::{Incoming, Payload};

    fn send(history: &AppHistory, package: &str, id: &str, at: u64, keep: u64) {
        let payload = Payload {
            json: r#"{"move":"e4"}"#.into(),
            message_id: id.into(),
            room_id: None,
            sent_unix_ms: at,
        };
        let message = Incoming {
            from: UserId::new("ada@lumen.io"),
            package: Package::new(package),
            content: Content::Message(payload),
        };
        let to = To::Everybody;
        history.note(&Outgoing { to, message }, keep);
    }

    fn ids(history: &AppHistory, package: &str) -> Vec<String> {
        let past = history.of(package).into_iter();
        past.map(|past| past.message_id).collect()
    }

    #[test]
    fn the_last_messages_of_each_app_are_kept() {
        let history = AppHistory::default();
        for at in 1..=5 {
            send(&history, "com.acme.chess", &format!("m{at}"), at, 3);
        }
        send(&history, "com.acme.chat", "hello", 6, 3);
        assert_eq!(ids(&history, "com.acme.chess"), ["m3", "m4", "m5"]);
        assert_eq!(ids(&history, "com.acme.chat"), ["hello"]);
        assert!(history.of("com.acme.other").is_empty());
    }

    #[test]
    fn a_smaller_bound_holds_from_the_next_message_on_and_none_forgets() {
        let history = AppHistory::default();
        for at in 1..=5 {
            send(&history, "com.acme.chess", &format!("m{at}"), at, 5);
        }
        send(&history, "com.acme.chess", "m6", 6, 2);
        assert_eq!(ids(&history, "com.acme.chess"), ["m5", "m6"]);
        send(&history, "com.acme.chess", "m7", 7, 0);
        assert!(ids(&history, "com.acme.chess").is_empty());
    }

    #[test]
    fn ids_that_apps_make_up_and_apps_themselves_are_bounded() {
        let history = AppHistory::default();
        for app in 0..APPS_MAX as u64 {
            send(&history, &format!("com.acme.app{app}"), "m", 10 + app, 1);
        }
        send(&history, "com.acme.late", &"x".repeat(5000), 9000, 1);
        assert_eq!(ids(&history, "com.acme.late"), ["x".repeat(ID_CHARS_MAX)]);
        assert!(ids(&history, "com.acme.app0").is_empty());
        assert_eq!(ids(&history, "com.acme.app1").len(), 1);
    }

    #[test]
    fn who_comes_and_goes_is_no_message() {
        let history = AppHistory::default();
        let message = Incoming {
            from: UserId::new("ada@lumen.io"),
            package: Package::new("com.acme.chess"),
            content: Content::Joined,
        };
        let to = To::Everybody;
        history.note(&Outgoing { to, message }, 3);
        assert!(history.of("com.acme.chess").is_empty());
    }
}
