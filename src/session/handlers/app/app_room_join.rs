//! `app_room_join`: an app enters a room of its own users, creating it at first; members hear `app_room_updated`.
//! behaviour.md §7.10, protocol.md §8.21.
//!
//! `{"type":"app_room_join","roomId":"r1","roomConfig":{"maxUsers":4,"isPrivate":true}}`

use crate::session::flow::{app_messages, gate};
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::managers::app_messages::RoomConfig;
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;
use serde_json::Value;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::AppRoomJoin,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    if !cx.cfg.messages.app_to_app_enabled {
        return Ok(());
    }
    let room_id = gate::required(&members, "roomId")?;
    let given = members.object("roomConfig");
    let member = |key: &str| given.and_then(|config| config.get(key));
    let config = RoomConfig {
        max_users: member("maxUsers").and_then(Value::as_u64),
        is_private: member("isPrivate")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        metadata: member("metadata")
            .map_or_else(|| "null".into(), |value| value.to_string().into()),
    };
    app_messages::join(s, m.package, room_id, config, cx)
}
