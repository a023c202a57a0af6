//! `head_position`: the user looked up or down (protocol.md §6.11).
//!
//! Changes: on `up` the dashboard turns to the next widget and is rendered at once; phones report each movement twice, the
//! repeat counts for the dashboard only once. Sends: the message to subscribed apps, repeats too.
//!
//! `{"type":"head_position","position":"up","timestamp":1773480413589}`

use crate::session::flow;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use serde::Deserialize;
use serde_json::Value;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::HeadPosition,
    run,
};

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    position: Value,
}

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    if body.position.as_str() == Some("up") {
        flow::dashboard::head_up(s, cx);
    }
    flow::relay::phone_message(s, m.name, m.text, cx);
    Ok(())
}
