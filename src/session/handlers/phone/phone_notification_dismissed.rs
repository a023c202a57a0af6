//! `phone_notification_dismissed`: the user dismissed a notification (protocol.md §6.24, behaviour.md §1.10).
//!
//! Changes: it leaves the dashboard. Sends: the message to subscribed apps.
//!
//! `{"type":"phone_notification_dismissed","notificationId":"n-5521","notificationKey":"0|com.example.mail|7"}`

use crate::session::flow;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use serde::Deserialize;
use serde_json::Value;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::PhoneNotificationDismissed,
    run,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    notification_id: Value,
}

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    if let Some(id) = body.notification_id.as_str() {
        flow::dashboard::notification_dismissed(s, id, cx);
    }
    flow::relay::phone_message(s, m.name, m.text, cx);
    Ok(())
}
