//! `VAD` (upper case): the phone heard speech start or end (protocol.md §6.8, behaviour.md §8.4). Lower-case `vad` is only
//! relayed.
//!
//! Changes: whether the user speaks; anything that is neither true nor false counts as silence. Starts and ends recognisers.
//! Sends: the message to subscribed apps.
//!
//! `{"type":"VAD","status":true}`

use crate::session::flow;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use serde::Deserialize;
use serde_json::Value;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::Vad,
    run,
};

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    status: Value,
}

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let speaks = body.status == Value::Bool(true) || body.status.as_str() == Some("true");
    if speaks {
        flow::recognisers::speech_began(s, cx);
    } else {
        flow::recognisers::speech_ended(s, cx);
    }
    flow::relay::phone_message(s, m.name, m.text, cx);
    Ok(())
}
