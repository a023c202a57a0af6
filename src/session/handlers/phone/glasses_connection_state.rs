//! `glasses_connection_state`: the phone reports its glasses (older than REST `device/state`, same procedure). Changes device
//! state; apps get the differences, and the message itself where they subscribed. protocol.md §6.7, §17.1.
//!
//! `{"type":"glasses_connection_state","modelName":"Mentra Live","status":"CONNECTED","wifi":{"connected":true,"ssid":"Attic"}}`

use crate::session::flow::{device, relay};
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::managers::device::Source;
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use crate::wire::members::Members;
use serde_json::{Map, Value};

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::GlassesConnectionState,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let status = members.text("status");
    let connected = matches!(status, Some("CONNECTED" | "RECONNECTED"));
    let is_return = status == Some("RECONNECTED");
    let mut update = Map::new();
    update.insert("connected".to_owned(), Value::Bool(connected));
    if !connected {
        update.insert("modelName".to_owned(), Value::Null);
    } else if let Some(model) = members.get("modelName") {
        update.insert("modelName".to_owned(), model.clone());
    }
    // Absent or null is unknown and erases nothing.
    if let Some(wifi) = members.object("wifi") {
        for (from, to) in [("connected", "wifiConnected"), ("ssid", "wifiSsid")] {
            if let Some(value) = wifi.get(from).filter(|value| !value.is_null()) {
                update.insert(to.to_owned(), value.clone());
            }
        }
    }
    if let Some(timestamp) = members.get("timestamp") {
        update.insert("timestamp".to_owned(), timestamp.clone());
    }
    let microphone = device::update(s, update, Source::Glasses, cx);
    if is_return {
        device::reconnected(s, microphone, cx);
    }
    relay::phone_message(s, m.name, m.text, cx);
    Ok(())
}
