//! Layer 2, flow: device state: updates, capabilities, snapshots (behaviour.md §7.3, protocol.md §17).

use crate::base::ids::ConnId;
use crate::session::{Cx, Session};
use crate::wire::records::{AppRecord, UserRecord};

/// Loads what device, location, settings and calendar managers take from the stored user (behaviour.md §1.4 steps 3–4).
pub(crate) fn user_loaded(s: &mut Session, record: &UserRecord, cx: &mut Cx<'_>) {
    let _ = (s, record, cx);
}

/// `device_state_update` with `fullSnapshot: true` to one app socket, after its ack.
pub(crate) fn send_snapshot(s: &mut Session, package: &str, conn: ConnId, cx: &mut Cx<'_>) {
    let _ = (s, package, conn, cx);
}

/// Capabilities of the current model as JSON, or `null` (protocol.md §17.2).
pub(crate) fn capabilities_json(s: &Session) -> Vec<u8> {
    let _ = s;
    b"null".to_vec()
}

/// `mentraosSettings` of the acks (protocol.md §9.1.1).
pub(crate) fn mentraos_settings_json(s: &Session) -> Vec<u8> {
    let _ = s;
    b"{}".to_vec()
}

/// `settings` of the acks: one `{key, value, …}` per non-group setting (behaviour.md §2.6 step 4).
pub(crate) fn app_settings_json(s: &Session, record: &AppRecord) -> Vec<u8> {
    let _ = (s, record);
    b"[]".to_vec()
}

/// Missing REQUIRED hardware of an app on the current model; empty = compatible (protocol.md §17.4).
pub(crate) fn missing_hardware(s: &Session, record: &AppRecord) -> Vec<String> {
    let _ = (s, record);
    Vec::new()
}

/// Whether display, photo and stream requests have glasses to go to (protocol.md §17.3).
pub(crate) fn glasses_connected(s: &Session) -> bool {
    let _ = s;
    true
}

/// Saves the last location at disposal.
pub(crate) fn save_location(s: &mut Session, cx: &mut Cx<'_>) {
    let _ = (s, cx);
}
