//! `telemetry_response` (3.x): logs for an incident, which the SDKs that exist upload by HTTP (protocol.md §18.10). Over the
//! socket they are stored with the incident too, if the user has it. Never answered. protocol.md §8.21, behaviour.md §2.19.
//!
//! `{"type":"telemetry_response","incidentId":"inc-1","logs":[{"timestamp":1773480413589,"level":"info","message":"ready"}]}`

use crate::session::effects::{Effect, IncidentLogs};
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::TelemetryResponse,
    run,
};

fn run(_: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    if let (Some(incident_id), Some(logs)) = (members.filled("incidentId"), members.list("logs")) {
        cx.fx.push(Effect::IncidentLogs(Box::new(IncidentLogs {
            incident_id: incident_id.to_owned(),
            package: m.package.clone(),
            logs: serde_json::Value::from(logs.clone()).to_string(),
        })));
    }
    Ok(())
}
