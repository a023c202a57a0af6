//! `dashboard_system_update`: the system dashboard fills a corner (protocol.md §8.6, behaviour.md §6.2.2).
//!
//! Changes: one section, only in `dashboard_mode: app` and only from the system dashboard; ignored otherwise. Sends: a
//! dashboard to the phone after the debounce.
//!
//! `{"type":"dashboard_system_update","packageName":"com.acme.scribe","sessionId":"s","section":"topLeft","content":"hi"}`

use crate::session::flow;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::managers::dashboard::{Section, content_text};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use serde::Deserialize;
use serde_json::Value;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::DashboardSystemUpdate,
    run,
};

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    section: Value,
    #[serde(default)]
    content: Value,
}

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    if let Some(section) = body.section.as_str().and_then(Section::from_wire) {
        let text = content_text(&body.content);
        flow::dashboard::section(s, m.package, section, text, cx);
    }
    Ok(())
}
