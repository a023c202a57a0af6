//! Layer 2, flow: data_stream delivery of an event to subscribed apps (behaviour.md §1.10, protocol.md §5.4, 5.9).

use super::device_hooks;
use crate::session::effects::Class;
use crate::session::{Cx, Session};
use crate::wire::json::{JsonError, ObjectWriter};

/// Relays a phone message verbatim as stream `name` to every subscribed app with an open socket; the text is validated once,
/// only when somebody gets it.
///
/// # Errors
/// The text is not JSON.
pub(crate) fn phone_message(
    s: &mut Session,
    name: &str,
    text: &[u8],
    cx: &mut Cx<'_>,
) -> Result<(), JsonError> {
    cx.scratch.validate(text)?;
    server_event(s, name, text, cx);
    Ok(())
}

/// Delivers server-made data as stream `name` to every subscribed app (and to `__phone__` where protocol.md §5.9 says so).
pub(crate) fn server_event(s: &mut Session, name: &str, data: &[u8], cx: &mut Cx<'_>) {
    for (package, stream_type) in device_hooks::subscribers(s, name) {
        to_app(s, &package, &stream_type, data, cx);
    }
}

/// One envelope to one app, whatever it subscribed to (replays, poll answers).
pub(crate) fn to_app(
    s: &mut Session,
    package: &str,
    stream_type: &str,
    data: &[u8],
    cx: &mut Cx<'_>,
) {
    let id = s.app_session_id(package);
    let now = cx.now.iso();
    let _ = s.send_app(package, cx, Class::Control, |out| {
        let mut envelope = ObjectWriter::begin(out);
        envelope
            .str("type", "data_stream")
            .str("sessionId", &id)
            .str("streamType", stream_type)
            .raw("data", data)
            .str("timestamp", now.as_str());
        envelope.end();
    });
}
