//! `dashboard_mode_change`: the system dashboard switches modes (protocol.md §8.6, behaviour.md §6.2.2).
//!
//! Changes: the mode, only in `dashboard_mode: app` and only from the system dashboard; ignored otherwise. Sends:
//! `dashboard_mode_changed` (and `dashboard_always_on_changed`) to all open apps, a dashboard to the phone.
//!
//! `{"type":"dashboard_mode_change","packageName":"com.acme.scribe","sessionId":"s","mode":"expanded"}`

use crate::session::flow;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::managers::dashboard::Mode;
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use serde::Deserialize;
use serde_json::Value;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::DashboardModeChange,
    run,
};

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    mode: Value,
}

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    if let Some(mode) = body.mode.as_str().and_then(Mode::from_wire) {
        flow::dashboard::mode(s, m.package, mode, cx);
    }
    Ok(())
}
