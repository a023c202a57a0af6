//! `request_wifi_setup`: an app asks the phone to show its Wi-Fi dialog; dropped silently when the phone is away.
//! protocol.md §8.19, §7.13.
//!
//! `{"type":"request_wifi_setup","reason":"Streaming needs Wi-Fi"}`

use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::RequestWifiSetup,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    if s.m.phone.open().is_none() {
        return Ok(());
    }
    let now = cx.now.iso();
    let _ = s.ask_phone(m.package, cx, |out| {
        let mut object = ObjectWriter::begin(out);
        object.str("type", "show_wifi_setup");
        if let Some(reason) = members.text("reason") {
            object.str("reason", reason);
        }
        object.str("appPackageName", m.package);
        object.str("timestamp", now.as_str());
        object.end();
    });
    Ok(())
}
