//! `ownership_release`: an SDK that moves to another cloud or shuts down (behaviour.md §2.12, protocol.md §8.20).
//!
//! Changes: the next close of this socket makes the app dormant: no grace, no restart while the phone is away, the stored
//! running list untouched. The next attach clears the mark. Back: nothing. The reason is only logged.
//!
//! `{"type":"ownership_release","packageName":"com.acme.scribe","reason":"clean_shutdown"}`

use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::OwnershipRelease,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    if let Some(app) = s.m.apps.get_mut(m.package)
        && app.conn == Some(m.conn)
    {
        let before = std::mem::replace(&mut app.released, true);
        if before {
            // Once for a socket, however often it says so.
            return Ok(());
        }
        tracing::info!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %m.package, conn = %m.conn.tag(), "ownership released");
    }
    Ok(())
}
