//! `touch_event`: a gesture on the glasses (protocol.md §6.12).
//!
//! Changes: nothing. Sends: the message once to every app with `touch_event:<gesture_name>`, `touch_event` or a wildcard; the
//! stream is named after the gesture unless only the bare name matched.
//!
//! `{"type":"touch_event","device_model":"Mentra Live","gesture_name":"double_tap","timestamp":1773480413589}`

use crate::session::flow;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use serde::Deserialize;
use serde_json::Value;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::TouchEvent,
    run,
};

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    gesture_name: Value,
}

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    match body.gesture_name.as_str() {
        Some(gesture) if !gesture.is_empty() => {
            let name = format!("{}:{gesture}", m.name);
            flow::relay::phone_message(s, &name, m.text, cx);
        }
        _ => flow::relay::phone_message(s, m.name, m.text, cx),
    }
    Ok(())
}
