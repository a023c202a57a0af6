//! `stop_app`: a headless client stops an app; the phone uses REST (protocol.md §6.5).
//!
//! Changes: the app is stopped deliberately (behaviour.md §2.8). Back: no direct answer, `app_state_change` follows.
//!
//! `{"type":"stop_app","packageName":"com.acme.scribe","timestamp":1773480413589}`

use crate::session::flow::{notices, stop};
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::managers::apps::StopWhy;
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use serde::Deserialize;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::StopApp,
    run,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    package_name: String,
}

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    stop::stop(s, &body.package_name, StopWhy::User, None, cx);
    // One that does not run has no outcome that would tell the phone.
    if !stop::in_progress(s, &body.package_name) {
        notices::app_state_changed(s, cx);
    }
    Ok(())
}
