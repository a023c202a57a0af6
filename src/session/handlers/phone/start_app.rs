//! `start_app`: a headless client starts an app; the phone uses REST (protocol.md §6.4).
//!
//! Changes: the app is started for the user (behaviour.md §2.3). Back: no direct answer, `app_state_change` follows.
//!
//! `{"type":"start_app","packageName":"com.acme.scribe","timestamp":1773480413589}`

use crate::session::flow::start;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use serde::Deserialize;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::StartApp,
    run,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    package_name: String,
}

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    start::request_of_phone(s, &body.package_name, None, cx);
    Ok(())
}
