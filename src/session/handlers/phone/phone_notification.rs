//! `phone_notification`: older phones report notifications here, newer ones by REST (protocol.md §6.24, behaviour.md §1.10).
//!
//! Changes: the dashboard's notification cache, if the message names an id. Sends: the message to subscribed apps.
//!
//! `{"type":"phone_notification","notificationId":"n-5521","app":"Mail","title":"Ines","content":"Running late"}`

use crate::session::flow;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::dates;
use crate::wire::kinds::PhoneKind;
use serde::Deserialize;
use serde_json::Value;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::PhoneNotification,
    run,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    notification_id: Value,
    #[serde(default)]
    app: Value,
    #[serde(default)]
    title: Value,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    timestamp: Value,
}

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    if let Some(id) = body.notification_id.as_str() {
        let text = [&body.app, &body.title, &body.content].map(|v| v.as_str().unwrap_or_default());
        flow::dashboard::notification(s, id, text, dates::unix_ms(&body.timestamp), cx);
    }
    flow::relay::phone_message(s, m.name, m.text, cx);
    Ok(())
}
