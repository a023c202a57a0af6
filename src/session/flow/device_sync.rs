//! Layer 2, flow: what device-side managers do when a subscription set changed. OWNER H5.

use crate::session::{Cx, Session};

/// The set of `package` was replaced or removed: location tier, and replays of what it newly has (behaviour.md §3.4 steps 2–3).
pub(crate) fn subscriptions_changed(
    s: &mut Session,
    package: &str,
    newly_location: bool,
    newly_calendar: bool,
    cx: &mut Cx<'_>,
) {
    let _ = (s, package, newly_location, newly_calendar, cx);
}
