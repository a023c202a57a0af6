//! Layer 2, flow: messages between sessions of one app (behaviour.md §7.10, protocol.md §8.21, 9.19).

use crate::base::clock::IsoTime;
use crate::base::ids::{Package, UserId};
use crate::base::metrics::Counter;
use crate::session::effects::{Class, Effect};
use crate::session::handlers::{ErrorCode, Reject};
use crate::session::managers::app_messages::{
    Content, Incoming, NOT_ACTIVE, Outgoing, Payload, RoomConfig, RoomRequest, RoomUpdate, To,
    Unconfirmed,
};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use serde_json::json;

const TOO_MANY: &str = "Too many messages to other users";

fn send(s: &Session, package: &Package, to: To, content: Content, cx: &mut Cx<'_>) {
    let message = Incoming {
        from: s.user.clone(),
        package: package.clone(),
        content,
    };
    cx.fx
        .push(Effect::AppMessage(Box::new(Outgoing { to, message })));
}

/// Whether the app may send one more to others of late: each of them costs a message, and all their users' sessions.
fn may_send(s: &mut Session, package: &str, cx: &mut Cx<'_>) -> bool {
    let max = cx.cfg.messages.app_messages_per_s;
    let may =
        s.m.apps
            .get_mut(package)
            .is_none_or(|app| app.to_others.may(cx.now.mono_ms, max));
    if !may {
        cx.metrics.inc(Counter::AppToAppRefused);
    }
    may
}

fn admit(s: &mut Session, package: &str, cx: &mut Cx<'_>) -> Result<(), Reject> {
    match may_send(s, package, cx) {
        true => Ok(()),
        false => Err(Reject::new(ErrorCode::Refused, TOO_MANY)),
    }
}

/// To every other active user of the app, or to the other members of a room.
///
/// # Errors
/// Too many of late.
pub(crate) fn broadcast(
    s: &mut Session,
    package: &Package,
    payload: Payload,
    cx: &mut Cx<'_>,
) -> Result<(), Reject> {
    admit(s, package, cx)?;
    s.m.app_messages.uses(package);
    let to = match &payload.room_id {
        Some(room_id) => To::Rooms(RoomRequest::Send {
            room_id: room_id.clone(),
        }),
        None => To::Everybody,
    };
    send(s, package, to, Content::Message(payload), cx);
    Ok(())
}

/// To one user; the sender gets exactly one answer.
pub(crate) fn direct(
    s: &mut Session,
    package: &Package,
    target: UserId,
    payload: Payload,
    cx: &mut Cx<'_>,
) {
    s.m.app_messages.uses(package);
    let message = Unconfirmed {
        message_id: payload.message_id.clone(),
        package: package.clone(),
        target: target.clone(),
    };
    if !may_send(s, package, cx) {
        answer(s, &message, Some(TOO_MANY), cx);
        return;
    }
    if !s
        .m
        .app_messages
        .sent(message.clone(), cx.cfg.messages.direct_messages_max)
    {
        answer(s, &message, Some("Too many unconfirmed messages"), cx);
        return;
    }
    let due_ms = cx.now.mono_ms + cx.cfg.messages.direct_message_timeout_ms;
    s.timers.set(late(message), due_ms);
    send(s, package, To::User(target), Content::Direct(payload), cx);
}

/// The deadline of a direct message.
fn late(message: Unconfirmed) -> Timer {
    Timer::DirectMessage {
        package: message.package,
        target: message.target,
        message_id: message.message_id,
    }
}

/// Enters a room.
///
/// # Errors
/// Too many of late.
pub(crate) fn join(
    s: &mut Session,
    package: &Package,
    room_id: &str,
    config: RoomConfig,
    cx: &mut Cx<'_>,
) -> Result<(), Reject> {
    admit(s, package, cx)?;
    s.m.app_messages.uses(package);
    let room_id = room_id.to_owned();
    let to = To::Rooms(RoomRequest::Join { room_id, config });
    send(s, package, to, Content::Joined, cx);
    Ok(())
}

/// Leaves a room.
pub(crate) fn leave(s: &mut Session, package: &Package, room_id: &str, cx: &mut Cx<'_>) {
    s.m.app_messages.uses(package);
    let room_id = room_id.to_owned();
    let to = To::Rooms(RoomRequest::Leave { room_id });
    send(s, package, to, Content::Left, cx);
}

/// The app is active: others that use the feature hear of it; on this socket it has not used it yet, and is in no room.
pub(crate) fn app_attached(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    let package = Package::new(package);
    let is_new = s.m.app_messages.enter(&package);
    leave_rooms(s, &package, cx);
    if is_new && cx.cfg.messages.app_to_app_enabled {
        send(s, &package, To::Everybody, Content::Joined, cx);
    }
}

/// The app is not active any more, if it was.
pub(crate) fn app_gone(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    for message in s.m.app_messages.of_app(package) {
        s.timers.cancel(&late(message));
    }
    let package = Package::new(package);
    leave_rooms(s, &package, cx);
    if s.m.app_messages.leave(&package) && cx.cfg.messages.app_to_app_enabled {
        send(s, &package, To::Everybody, Content::Left, cx);
    }
}

/// Membership ends with the socket that entered.
fn leave_rooms(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    if s.m.app_messages.is_user(package) && cx.cfg.messages.app_to_app_enabled {
        let to = To::Rooms(RoomRequest::LeaveAll);
        send(s, package, to, Content::Left, cx);
    }
    s.m.app_messages.forget(package);
}

/// The session ends: who waits is answered, who used the feature leaves.
pub(crate) fn disposing(s: &mut Session, cx: &mut Cx<'_>) {
    for message in s.m.app_messages.drain() {
        answer(s, &message, Some("User session ended"), cx);
    }
    let active: Vec<Package> =
        s.m.apps
            .open()
            .map(|(app, _)| app.package.clone())
            .collect();
    for package in active {
        app_gone(s, &package, cx);
    }
}

/// Nobody confirmed a direct message in time.
pub(crate) fn unanswered(
    s: &mut Session,
    package: &str,
    target: &str,
    message_id: &str,
    cx: &mut Cx<'_>,
) {
    if let Some(message) = s.m.app_messages.confirmed(package, target, message_id) {
        answer(s, &message, Some("Delivery was not confirmed in time"), cx);
    }
}

/// Something arrives from another session.
pub(crate) fn arrived(s: &mut Session, incoming: &Incoming, cx: &mut Cx<'_>) {
    if !cx.cfg.messages.app_to_app_enabled {
        return;
    }
    let package = incoming.package.clone();
    let is_own = incoming.from == s.user;
    match &incoming.content {
        Content::Message(_) if is_own => {}
        Content::Message(payload) => {
            deliver(s, incoming, payload, cx);
        }
        Content::Direct(payload) => {
            let error = (!deliver(s, incoming, payload, cx)).then_some(NOT_ACTIVE);
            if let Some((sender, message)) = incoming.delivery(&s.user, error) {
                let to = To::User(sender);
                cx.fx
                    .push(Effect::AppMessage(Box::new(Outgoing { to, message })));
            }
        }
        Content::Delivery { message_id, error } => {
            let known =
                s.m.app_messages
                    .confirmed(&package, &incoming.from, message_id);
            if let Some(message) = known {
                answer(s, &message, *error, cx);
                s.timers.cancel(&late(message));
            }
        }
        Content::Joined if !is_own => presence(s, incoming, "app_user_joined", "joinedAt", cx),
        Content::Left if !is_own => presence(s, incoming, "app_user_left", "leftAt", cx),
        Content::Joined | Content::Left => {}
        Content::Room(update) => room_updated(s, &package, update, cx),
        Content::RoomRefused { message } => {
            let now = cx.now.iso();
            to_open_app(s, &package, cx, |out| {
                let mut object = ObjectWriter::begin(out);
                object
                    .str("type", "tpa_connection_error")
                    .str("code", "INTERNAL_ERROR")
                    .str("message", message)
                    .str("timestamp", now.as_str());
                object.end();
            });
        }
    }
}

/// `app_message_received`; `false`: the app is not active here.
fn deliver(s: &Session, incoming: &Incoming, payload: &Payload, cx: &mut Cx<'_>) -> bool {
    let session_id = crate::wire::ids::app_session_id(&incoming.from, &incoming.package);
    let sent = IsoTime::from_unix_ms(payload.sent_unix_ms);
    to_open_app(s, &incoming.package, cx, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "app_message_received")
            .raw("payload", payload.json.as_bytes())
            .str("messageId", &payload.message_id)
            .str("senderUserId", &incoming.from)
            .str("senderSessionId", &session_id)
            .str("timestamp", sent.as_str());
        if let Some(room_id) = &payload.room_id {
            object.str("roomId", room_id);
        }
        object.end();
    })
}

fn presence(s: &Session, incoming: &Incoming, kind: &str, when: &str, cx: &mut Cx<'_>) {
    if !s.m.app_messages.is_user(&incoming.package) {
        return;
    }
    let session_id = crate::wire::ids::app_session_id(&incoming.from, &incoming.package);
    let now = cx.now.iso();
    to_open_app(s, &incoming.package, cx, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", kind)
            .str("userId", &incoming.from)
            .str("sessionId", &session_id)
            .str(when, now.as_str())
            .str("timestamp", now.as_str());
        object.end();
    });
}

fn room_updated(s: &Session, package: &str, update: &RoomUpdate, cx: &mut Cx<'_>) {
    let metadata: serde_json::Value =
        serde_json::from_str(&update.config.metadata).unwrap_or_default();
    let data = json!({
        "memberCount": update.members, "maxUsers": update.config.max_users,
        "isPrivate": update.config.is_private, "metadata": metadata,
    });
    let now = cx.now.iso();
    to_open_app(s, package, cx, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "app_room_updated")
            .str("roomId", &update.room_id)
            .str("updateType", update.change)
            .value("roomData", &data)
            .str("timestamp", now.as_str());
        object.end();
    });
}

/// `app_direct_message_response`.
fn answer(s: &Session, message: &Unconfirmed, error: Option<&str>, cx: &mut Cx<'_>) {
    to_open_app(s, &message.package, cx, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "app_direct_message_response")
            .str("messageId", &message.message_id)
            .bool("success", error.is_none());
        if let Some(error) = error {
            object.str("error", error);
        }
        object.str("targetUserId", &message.target);
        object.end();
    });
}

/// Broadcasts reach sessions that do not run the app: that is no dropped message.
fn to_open_app(
    s: &Session,
    package: &str,
    cx: &mut Cx<'_>,
    write: impl FnOnce(&mut Vec<u8>),
) -> bool {
    let conn = s.m.apps.open_conn(package);
    if let Some(conn) = conn {
        cx.fx.text(conn, Class::Control, write);
    }
    conn.is_some()
}
