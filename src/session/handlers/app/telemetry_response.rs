//! `telemetry_response` (3.x): logs for an incident. The SDKs that exist upload them by HTTP (protocol.md §18.10), where the
//! incident is; over the socket the message is only noted. protocol.md §8.21, behaviour.md §2.19.
//!
//! `{"type":"telemetry_response","incidentId":"inc-1","logs":[{"timestamp":1773480413589,"level":"info","message":"ready"}]}`

use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::TelemetryResponse,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    tracing::debug!(
        user = %s.user, correlation_id = %s.correlation(cx.now),
        package = %m.package,
        incident_id = members.text("incidentId").unwrap_or_default(),
        lines = members.list("logs").map_or(0, Vec::len),
        "telemetry over the app socket"
    );
    Ok(())
}
