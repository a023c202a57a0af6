//! `location_poll_request`: an app wants one fix, fresh enough for a tier. Needs `LOCATION`. Answered by a `location_update`
//! envelope with the `correlationId`, from the cache or the phone; forgotten silently after 30 s. protocol.md §8.14, §5.7.
//!
//! `{"type":"location_poll_request","accuracy":"high","correlationId":"poll_1773480413589_k3x"}`

use crate::session::flow::{gate, location};
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::managers::location::WEAKEST;
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;
use crate::wire::streams::Permission;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::LocationPollRequest,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    gate::permission(
        m.package,
        Permission::Location,
        "Location permission required",
        cx,
    )?;
    let id = gate::required(&members, "correlationId")?;
    let accuracy = members.filled("accuracy").unwrap_or(WEAKEST);
    location::poll(s, m.package, accuracy, id, cx);
    Ok(())
}
