//! `rgb_led_control`: an app sets the LED. Forwarded with the socket's package, unchecked; nobody is answered unless the
//! phone is away. protocol.md §8.7, §7.11.
//!
//! `{"type":"rgb_led_control","requestId":"led_req_1","action":"on","color":"red","ontime":1000,"offtime":0,"count":1}`

use crate::session::flow::gate;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::RgbLedControl,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    gate::phone(s)?;
    let now = cx.now.iso();
    let _ = s.ask_phone(m.package, cx, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "rgb_led_control")
            .str("sessionId", &s.user);
        if let Some(request_id) = members.get("requestId") {
            object.value("requestId", request_id);
        }
        object.str("packageName", m.package);
        for key in ["action", "color", "ontime", "offtime", "count"] {
            if let Some(value) = members.0.get(key) {
                object.value(key, value);
            }
        }
        object.str("timestamp", now.as_str());
        object.end();
    });
    Ok(())
}
