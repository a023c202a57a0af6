//! `dashboard_content_update`: an app sets its line in the dashboard (protocol.md §8.6, behaviour.md §6.2).
//!
//! Changes: the app's widget, if `modes` has `main`; with `dashboard_mode: app` its content of every listed mode. Sends: a
//! dashboard to the phone after the debounce. `timestamp` says whose is the newest.
//!
//! `{"type":"dashboard_content_update","packageName":"com.acme.scribe","content":"3 notes today","modes":["main"]}`

use crate::session::flow;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::managers::dashboard::Mode;
use crate::session::{Cx, Session};
use crate::wire::dates;
use crate::wire::kinds::AppKind;
use serde::Deserialize;
use serde_json::Value;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::DashboardContentUpdate,
    run,
};

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    content: Value,
    #[serde(default)]
    modes: Value,
    #[serde(default)]
    timestamp: Value,
}

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let listed = body.modes.as_array().map(Vec::as_slice).unwrap_or_default();
    let modes: Vec<Mode> = Mode::ALL
        .into_iter()
        .filter(|mode| listed.iter().any(|one| one.as_str() == Some(mode.as_str())))
        .collect();
    if !modes.is_empty() {
        let unix_ms = dates::unix_ms(&body.timestamp);
        flow::dashboard::content(s, m.package, &body.content, unix_ms, &modes, cx);
    }
    Ok(())
}
