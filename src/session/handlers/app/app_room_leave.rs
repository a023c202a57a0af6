//! `app_room_leave`: an app leaves a room; the others hear `app_room_updated`. behaviour.md §7.10, protocol.md §8.21.
//!
//! `{"type":"app_room_leave","roomId":"r1"}`

use crate::session::flow::{app_messages, gate};
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::AppRoomLeave,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    if !cx.cfg.messages.app_to_app_enabled {
        return Ok(());
    }
    let room_id = gate::required(&members, "roomId")?;
    app_messages::leave(s, m.package, room_id, cx);
    Ok(())
}
