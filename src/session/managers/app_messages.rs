//! Layer 2, manager: messages between sessions of one app (behaviour.md §7.10): what leaves, what arrives, and which direct
//! messages are unconfirmed. Routing is the shard's.

use crate::base::footprint::owns;
use crate::base::ids::{Package, UserId};
use crate::base::share;
use crate::wire::members::Members;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;

owns! {
    Unconfirmed: message_id, target;
    AppMessages: unconfirmed, users, active;
}

/// Whom a message is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum To {
    /// Every other session that runs the app.
    Everybody,
    /// One user's session.
    User(UserId),
    /// The rooms of the process decide (`shard::rooms`).
    Rooms(RoomRequest),
}

/// What is asked of the rooms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RoomRequest {
    /// Enter, creating the room at first.
    Join {
        /// Scoped by package.
        room_id: String,
        /// The creator's.
        config: RoomConfig,
    },
    /// Leave.
    Leave {
        /// Id of the room.
        room_id: String,
    },
    /// Leave all: the app is gone.
    LeaveAll,
    /// The message goes to the other members.
    Send {
        /// Id of the room.
        room_id: String,
    },
}

/// Properties of a room, given by who creates it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RoomConfig {
    /// Members at most; `None`: any number.
    pub max_users: Option<u64>,
    /// As given; without effect here.
    pub is_private: bool,
    /// JSON as given; `null` without.
    pub metadata: Arc<str>,
}

/// A message that leaves this session for others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// Whom it is for.
    pub to: To,
    /// What they get; rooms that answer make their own.
    pub message: Incoming,
}

/// A message that arrives from another session (or from the rooms). The sender's identity is the server's knowledge, never
/// the body's claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// Who sent it.
    pub from: UserId,
    /// Of which app; only this app's sessions get it.
    pub package: Package,
    /// What it says.
    pub content: Content,
}

/// What arrives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// A broadcast or a room message.
    Message(Payload),
    /// A direct message; its sender waits for a [`Content::Delivery`].
    Direct(Payload),
    /// What became of a direct message of ours.
    Delivery {
        /// Id of the message.
        message_id: String,
        /// `None`: delivered.
        error: Option<&'static str>,
    },
    /// Another user of the app became active.
    Joined,
    /// Another user of the app is no longer active.
    Left,
    /// A room of ours changed.
    Room(RoomUpdate),
    /// A room could not be entered.
    RoomRefused {
        /// For the developer.
        message: String,
    },
}

/// The payload as it was written: order of members, spelling and halves of surrogate pairs are the application's own.
#[derive(Deserialize)]
struct Carried<'a> {
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

/// Application data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// JSON as the sender wrote it; shared by all who get it.
    pub json: Arc<str>,
    /// The sender's id for it.
    pub message_id: String,
    /// The room it was sent to.
    pub room_id: Option<String>,
    /// When (ms since the Unix epoch).
    pub sent_unix_ms: u64,
}

impl Payload {
    /// What a message of this text and these members carries; sent to no room.
    pub(crate) fn of(text: &[u8], members: &Members, message_id: &str, sent_unix_ms: u64) -> Self {
        let carried = serde_json::from_slice(text).ok();
        let as_read = || members.get("payload").map(Value::to_string);
        let json = match carried.and_then(|carried: Carried<'_>| carried.payload) {
            Some(raw) => raw.get().into(),
            // None, or given twice: then the last counts.
            None => as_read().map_or_else(|| "null".into(), Into::into),
        };
        Self {
            json,
            message_id: message_id.to_owned(),
            room_id: None,
            sent_unix_ms,
        }
    }
}

/// A changed room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomUpdate {
    /// Id of the room.
    pub room_id: String,
    /// `user_joined` or `user_left`.
    pub change: &'static str,
    /// Members now.
    pub members: u64,
    /// The room's properties.
    pub config: RoomConfig,
}

/// Nobody runs the app there.
pub const NOT_ACTIVE: &str = "Target user is not active";

impl Incoming {
    /// Whether it only says that a user of the app came or went.
    #[must_use]
    pub fn is_presence(&self) -> bool {
        matches!(self.content, Content::Joined | Content::Left)
    }

    /// The answer to the sender of a direct message whose target has no session: `(sender, answer)`.
    #[must_use]
    pub fn undeliverable(&self, target: &UserId) -> Option<(UserId, Self)> {
        self.delivery(target, Some(NOT_ACTIVE))
    }

    /// The answer to a direct message.
    #[must_use]
    pub fn delivery(&self, target: &UserId, error: Option<&'static str>) -> Option<(UserId, Self)> {
        let Content::Direct(payload) = &self.content else {
            return None;
        };
        let answer = Self {
            from: target.clone(),
            package: self.package.clone(),
            content: Content::Delivery {
                message_id: payload.message_id.clone(),
                error,
            },
        };
        Some((self.from.clone(), answer))
    }
}

/// A direct message that nobody confirmed yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unconfirmed {
    /// The app's id for it.
    pub message_id: String,
    /// Which app.
    pub package: Package,
    /// The user that it is for.
    pub target: UserId,
}

/// App-to-app state of the session.
#[derive(Default)]
pub struct AppMessages {
    unconfirmed: Vec<Unconfirmed>,
    users: Vec<Package>,
    active: Vec<Package>,
}

impl AppMessages {
    /// The app uses the feature since it attached, so it hears who comes and goes. `true`: it did not before.
    pub fn uses(&mut self, package: &Package) -> bool {
        let is_new = !self.users.contains(package);
        if is_new {
            self.users.push(package.clone());
        }
        is_new
    }

    /// Whether the app uses the feature.
    #[must_use]
    pub fn is_user(&self, package: &str) -> bool {
        self.users.iter().any(|user| &**user == package)
    }

    /// The app has an open socket; `true`: it had none.
    pub fn enter(&mut self, package: &Package) -> bool {
        let is_new = !self.active.contains(package);
        if is_new {
            self.active.push(package.clone());
        }
        is_new
    }

    /// Its socket is gone; `true`: it had one.
    pub fn leave(&mut self, package: &str) -> bool {
        let before = self.active.len();
        self.active.retain(|active| &**active != package);
        self.active.len() < before
    }

    /// The app attached anew or is gone.
    pub fn forget(&mut self, package: &str) {
        self.users.retain(|user| &**user != package);
    }

    /// Registers a direct message; `false`: too many of the app's wait already, or `max` in all. An app that gives the same user the
    /// same id again means the newer one, which waits in the place of the other.
    pub fn sent(&mut self, message: Unconfirmed, max: u64) -> bool {
        if self.unconfirmed.contains(&message) {
            return true;
        }
        let own = self.unconfirmed.iter();
        let own = own.filter(|known| known.package == message.package);
        let has_room = share::may_add(own.count(), self.unconfirmed.len(), max);
        if has_room {
            self.unconfirmed.push(message);
        }
        has_room
    }

    /// Takes a direct message of one app to one user by its id.
    pub fn confirmed(
        &mut self,
        package: &str,
        target: &str,
        message_id: &str,
    ) -> Option<Unconfirmed> {
        let at = self.unconfirmed.iter().position(|known| {
            &*known.package == package && &*known.target == target && known.message_id == message_id
        })?;
        Some(self.unconfirmed.remove(at))
    }

    /// Takes the direct messages of one app.
    pub fn of_app(&mut self, package: &str) -> Vec<Unconfirmed> {
        self.unconfirmed
            .extract_if(.., |known| &*known.package == package)
            .collect()
    }

    /// Takes everything.
    pub fn drain(&mut self) -> Vec<Unconfirmed> {
        std::mem::take(&mut self.unconfirmed)
    }
}
