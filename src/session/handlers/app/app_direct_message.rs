//! `app_direct_message`: an app sends to one user who runs it; answered exactly once by `app_direct_message_response`.
//! behaviour.md §7.10, protocol.md §8.21.
//!
//! `{"type":"app_direct_message","targetUserId":"ben@lumen.io","payload":{"t":"hi"},"messageId":"m2"}`

use crate::base::ids::UserId;
use crate::session::flow::{app_messages, gate};
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::managers::app_messages::Payload;
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::AppDirectMessage,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    if !cx.cfg.messages.app_to_app_enabled {
        return Ok(());
    }
    let message_id = gate::required(&members, "messageId")?;
    let target = gate::required(&members, "targetUserId")?;
    let payload = Payload::of(m.text, &members, message_id, cx.now.unix_ms);
    app_messages::direct(s, m.package, UserId::new(target), payload, cx);
    Ok(())
}
