//! Layer 2, flow: requests and streams that an app owns: photos, polls, video, audio output, play requests.

use crate::base::ids::{CallId, ConnId, Package};
use crate::session::event::{Event, HttpOutcome};
use crate::session::managers::app_messages::Incoming;
use crate::session::{Cx, Session};
use bytes::Bytes;

/// An app stopped: its streams end, its requests are forgotten.
pub(crate) fn app_stopped(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    let _ = (s, package, cx);
}

/// An app attached: v3 gets the state of running streams (protocol.md §9.13, 9.14).
pub(crate) fn app_attached(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    let _ = (s, package, cx);
}

/// The session is being disposed: every outstanding requester gets its error, streams end.
pub(crate) fn disposing(s: &mut Session, cx: &mut Cx<'_>) {
    let _ = (s, cx);
}

/// An HTTP result that is not a webhook of the app life cycle (provider, weather, tool …). `false`: not ours.
pub(crate) fn http_result(
    s: &mut Session,
    call: CallId,
    outcome: &HttpOutcome,
    cx: &mut Cx<'_>,
) -> bool {
    let _ = (s, call, outcome, cx);
    false
}

/// The HTTP client of a streaming reply went away.
pub(crate) fn reply_gone(s: &mut Session, event: &Event, cx: &mut Cx<'_>) {
    let _ = (s, event, cx);
}

/// A binary frame of a running app: its audio output (protocol.md §10.3).
pub(crate) fn app_binary(
    s: &mut Session,
    conn: ConnId,
    package: &Package,
    data: Bytes,
    cx: &mut Cx<'_>,
) {
    let _ = (s, conn, package, data, cx);
}

/// A message of the same app in another user's session (behaviour.md §7.10).
pub(crate) fn app_message(s: &mut Session, message: Box<Incoming>, cx: &mut Cx<'_>) {
    let _ = (s, message, cx);
}
