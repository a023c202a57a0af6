//! Layer 3: rooms of app-to-app messages, one table for the process, hosted by one shard (behaviour.md §7.10). A pure state
//! machine: requests in, deliveries out. Nothing is persisted.

use crate::base::ids::{Package, UserId};
use crate::session::managers::app_messages::{
    Content, Incoming, Outgoing, RoomConfig, RoomRequest, RoomUpdate, To,
};
use std::collections::HashMap;

/// One message for one user's session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Whose session.
    pub to: UserId,
    /// The message.
    pub message: Incoming,
}

struct Room {
    config: RoomConfig,
    members: Vec<UserId>,
}

/// All rooms, by app and room id.
#[derive(Default)]
pub struct Rooms {
    rooms: HashMap<(Package, String), Room>,
}

impl Rooms {
    /// Bytes held, for the memory report.
    pub(super) fn heap_bytes(&self) -> usize {
        let room = |name: &String, room: &Room| {
            // Users are shared with their sessions.
            let members = room.members.capacity() * size_of::<UserId>();
            size_of::<((Package, String), Room)>()
                + name.len()
                + room.config.metadata.len()
                + members
        };
        self.rooms.iter().map(|(key, one)| room(&key.1, one)).sum()
    }

    /// No rooms.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many rooms; returns to 0 when all members left (invariant 48).
    #[cfg(test)]
    fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Acts on a message whose `to` is [`To::Rooms`]; others are not for rooms and yield nothing. `rooms_max` bounds the
    /// rooms of one app: beyond it a new room is refused.
    pub fn handle(&mut self, outgoing: Outgoing, rooms_max: u64) -> Vec<Delivery> {
        let Outgoing { to, message } = outgoing;
        let To::Rooms(request) = to else {
            return Vec::new();
        };
        match request {
            RoomRequest::Join { room_id, config } => {
                self.join(&message, room_id, config, rooms_max)
            }
            RoomRequest::Leave { room_id } => self.leave(&message, &room_id),
            RoomRequest::LeaveAll => self.leave_all(&message),
            RoomRequest::Send { room_id } => self.send(message, &room_id),
        }
    }

    fn join(
        &mut self,
        who: &Incoming,
        room_id: String,
        config: RoomConfig,
        rooms_max: u64,
    ) -> Vec<Delivery> {
        let key = (who.package.clone(), room_id);
        let rooms_of_app = self
            .rooms
            .keys()
            .filter(|(package, _)| *package == who.package)
            .count();
        if !self.rooms.contains_key(&key) && rooms_of_app as u64 >= rooms_max {
            return refused(who, format!("Cannot join room {}: too many rooms", key.1));
        }
        let room = self.rooms.entry(key.clone()).or_insert_with(|| Room {
            config,
            members: Vec::new(),
        });
        if room.members.contains(&who.from) {
            return Vec::new();
        }
        let is_full = room
            .config
            .max_users
            .is_some_and(|max| room.members.len() as u64 >= max);
        if is_full {
            let answer = refused(who, format!("Cannot join room {}: it is full", key.1));
            if room.members.is_empty() {
                self.rooms.remove(&key);
            }
            return answer;
        }
        room.members.push(who.from.clone());
        updates(room, who, &key.1, "user_joined")
    }

    fn leave(&mut self, who: &Incoming, room_id: &str) -> Vec<Delivery> {
        let key = (who.package.clone(), room_id.to_owned());
        let Some(room) = self.rooms.get_mut(&key) else {
            return Vec::new();
        };
        let before = room.members.len();
        room.members.retain(|member| *member != who.from);
        if room.members.len() == before {
            return Vec::new();
        }
        if room.members.is_empty() {
            self.rooms.remove(&key);
            return Vec::new();
        }
        updates(room, who, room_id, "user_left")
    }

    fn leave_all(&mut self, who: &Incoming) -> Vec<Delivery> {
        let mut rooms: Vec<String> = self
            .rooms
            .iter()
            .filter(|((package, _), room)| {
                *package == who.package && room.members.contains(&who.from)
            })
            .map(|((_, room_id), _)| room_id.clone())
            .collect();
        rooms.sort_unstable();
        rooms
            .iter()
            .flat_map(|room_id| self.leave(who, room_id))
            .collect()
    }

    fn send(&self, message: Incoming, room_id: &str) -> Vec<Delivery> {
        let key = (message.package.clone(), room_id.to_owned());
        let members = self.rooms.get(&key).map_or(&[][..], |room| &room.members);
        if !members.contains(&message.from) {
            return refused(&message, format!("Not a member of room {room_id}"));
        }
        members
            .iter()
            .filter(|member| **member != message.from)
            .map(|member| Delivery {
                to: member.clone(),
                message: message.clone(),
            })
            .collect()
    }
}

fn updates(room: &Room, who: &Incoming, room_id: &str, change: &'static str) -> Vec<Delivery> {
    let update = RoomUpdate {
        room_id: room_id.to_owned(),
        change,
        members: room.members.len() as u64,
        config: room.config.clone(),
    };
    room.members
        .iter()
        .map(|member| Delivery {
            to: member.clone(),
            message: Incoming {
                from: who.from.clone(),
                package: who.package.clone(),
                content: Content::Room(update.clone()),
            },
        })
        .collect()
}

fn refused(who: &Incoming, message: String) -> Vec<Delivery> {
    vec![Delivery {
        to: who.from.clone(),
        message: Incoming {
            from: who.from.clone(),
            package: who.package.clone(),
            content: Content::RoomRefused { message },
        },
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::managers::app_messages::Payload;

    fn ask(rooms: &mut Rooms, user: &str, request: RoomRequest) -> Vec<Delivery> {
        let message = Incoming {
            from: UserId::new(user),
            package: Package::new("com.acme.chat"),
            content: Content::Message(Payload {
                json: "1".into(),
                message_id: "m".into(),
                room_id: None,
                sent_unix_ms: 0,
            }),
        };
        let to = To::Rooms(request);
        rooms.handle(Outgoing { to, message }, 2)
    }

    fn join(rooms: &mut Rooms, user: &str, room_id: &str, max: u64) -> Vec<Delivery> {
        let config = RoomConfig {
            max_users: Some(max),
            ..RoomConfig::default()
        };
        let room_id = room_id.to_owned();
        ask(rooms, user, RoomRequest::Join { room_id, config })
    }

    fn told(deliveries: &[Delivery]) -> Vec<(String, String)> {
        deliveries
            .iter()
            .map(|delivery| {
                let what = match &delivery.message.content {
                    Content::Room(update) => format!("{} {}", update.change, update.members),
                    Content::RoomRefused { message } => message.clone(),
                    _ => "message".to_owned(),
                };
                (delivery.to.to_string(), what)
            })
            .collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    }

    #[test]
    fn members_hear_who_comes_and_goes_and_the_last_one_closes_the_room() {
        let mut rooms = Rooms::new();
        join(&mut rooms, "a@x.io", "r", 4);
        let joined = join(&mut rooms, "b@x.io", "r", 4);
        assert_eq!(
            told(&joined),
            pairs(&[("a@x.io", "user_joined 2"), ("b@x.io", "user_joined 2")])
        );
        assert!(join(&mut rooms, "b@x.io", "r", 4).is_empty());
        let left = ask(
            &mut rooms,
            "a@x.io",
            RoomRequest::Leave {
                room_id: "r".into(),
            },
        );
        assert_eq!(told(&left), pairs(&[("b@x.io", "user_left 1")]));
        ask(&mut rooms, "b@x.io", RoomRequest::LeaveAll);
        assert_eq!(rooms.len(), 0);
    }

    #[test]
    fn the_creators_capacity_holds() {
        let mut rooms = Rooms::new();
        join(&mut rooms, "a@x.io", "r", 1);
        let refused = join(&mut rooms, "b@x.io", "r", 9);
        assert_eq!(
            told(&refused),
            pairs(&[("b@x.io", "Cannot join room r: it is full")])
        );
    }

    #[test]
    fn an_app_has_only_so_many_rooms() {
        let mut rooms = Rooms::new();
        join(&mut rooms, "a@x.io", "r1", 9);
        join(&mut rooms, "a@x.io", "r2", 9);
        let refused = join(&mut rooms, "a@x.io", "r3", 9);
        assert_eq!(
            told(&refused),
            pairs(&[("a@x.io", "Cannot join room r3: too many rooms")])
        );
        assert_eq!(rooms.len(), 2);
    }

    #[test]
    fn only_members_send_and_only_the_others_receive() {
        let mut rooms = Rooms::new();
        join(&mut rooms, "a@x.io", "r", 9);
        join(&mut rooms, "b@x.io", "r", 9);
        let send = || RoomRequest::Send {
            room_id: "r".into(),
        };
        assert_eq!(
            told(&ask(&mut rooms, "a@x.io", send())),
            pairs(&[("b@x.io", "message")])
        );
        assert_eq!(
            told(&ask(&mut rooms, "c@x.io", send())),
            pairs(&[("c@x.io", "Not a member of room r")])
        );
    }
}
