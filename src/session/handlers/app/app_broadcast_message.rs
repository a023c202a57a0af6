//! `app_broadcast_message`: an app sends to its other active users, or to the other members of a room. Identity fields of the
//! body are not believed. behaviour.md §7.10, protocol.md §8.21.
//!
//! `{"type":"app_broadcast_message","payload":{"t":"hi"},"messageId":"m1","roomId":"r1"}`

use crate::session::flow::{app_messages, gate};
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::managers::app_messages::Payload;
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::AppBroadcastMessage,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    if !cx.cfg.messages.app_to_app_enabled {
        return Ok(());
    }
    let message_id = gate::required(&members, "messageId")?;
    let payload = Payload {
        room_id: members.filled("roomId").map(str::to_owned),
        ..Payload::of(m.text, &members, message_id, cx.now.unix_ms)
    };
    app_messages::broadcast(s, m.package, payload, cx)
}
