//! Layer 2, flow: display and dashboard meet apps and device (behaviour.md §6).

use crate::session::{Cx, Session};

/// An app's start passed its checks: boot screen.
pub(crate) fn app_starting(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    let _ = (s, package, cx);
}

/// An app stopped, failed to start, went dormant or released: display and dashboard content goes.
pub(crate) fn app_gone(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    let _ = (s, package, cx);
}

/// The phone or the glasses (re)appeared: repaint.
pub(crate) fn repaint(s: &mut Session, cx: &mut Cx<'_>) {
    let _ = (s, cx);
}

/// Calendar, notifications, weather or a widget changed: schedule a dashboard render.
pub(crate) fn dashboard_input_changed(s: &mut Session, cx: &mut Cx<'_>) {
    let _ = (s, cx);
}
