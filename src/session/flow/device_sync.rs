//! Layer 2, flow: what location and calendar owe to a changed subscription set (behaviour.md §3.4, §7.1, §7.2).

use super::{calendar, location};
use crate::session::{Cx, Session};

/// The subscriptions of `package` changed. The flags say whether it newly has `location_stream` or `location_update`, and
/// `calendar_event`; an app whose set was only removed has neither.
pub(crate) fn subscriptions_changed(
    s: &mut Session,
    package: &str,
    newly_location: bool,
    newly_calendar: bool,
    cx: &mut Cx<'_>,
) {
    location::sync_tier(s, cx);
    if newly_location {
        location::replay(s, package, cx);
    }
    if newly_calendar {
        calendar::replay(s, package, cx);
    }
}
