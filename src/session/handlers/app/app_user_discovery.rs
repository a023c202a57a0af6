//! `app_user_discovery`: declared by SDKs, never sent; ignored. behaviour.md §7.10.
//!
//! `{"type":"app_user_discovery","includeUserProfiles":false}`

use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::AppUserDiscovery,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let _ = (s, m, cx);
    Ok(())
}
