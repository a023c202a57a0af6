//! Layer 2, flow: after a subscription set or an app's reachability changed (behaviour.md §3.4).

use crate::session::{Cx, Session};

/// Recomputes what derives from subscriptions and sockets: audio targets, microphone need, location tier, replays.
/// Called after every applied update or removal, after attach and after a socket is lost. `package`: the app that changed.
pub(crate) fn subscriptions_changed(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    let _ = (s, package, cx);
}

/// An app's socket was attached or lost: only delivery targets change.
pub(crate) fn sockets_changed(s: &mut Session, cx: &mut Cx<'_>) {
    let _ = (s, cx);
}

/// Removes an app's subscriptions (stop, or grace end without resumption) and syncs.
pub(crate) fn subscriptions_removed(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    let _ = (s, package, cx);
}

/// The set of subscription strings now stored for an app, as the acks carry it: a JSON array.
pub(crate) fn subscriptions_json(s: &Session, package: &str) -> Vec<u8> {
    let _ = (s, package);
    b"[]".to_vec()
}
