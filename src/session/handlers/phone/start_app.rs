//! `start_app`: the headless client; the phone uses REST (protocol.md §6.4).
//!
//! Changes: the app is started for the user (behaviour.md §2.3). Back: no direct answer, `app_state_change` follows.
//!
//! ```json
//! {"type":"start_app","packageName":"com.acme.scribe","timestamp":1773480413589}
//! ```

use crate::session::flow::{notices, start};
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::managers::apps::start::Origin;
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
    start::request(s, &body.package_name, Origin::User, None, cx);
    // One that runs already or was refused has no outcome that would tell the phone.
    let app = s.m.apps.get(&body.package_name);
    let will_be_told = app.is_some_and(|app| app.start.is_some());
    if !will_be_told {
        notices::app_state_changed(s, cx);
    }
    Ok(())
}
