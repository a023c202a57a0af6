//! Layer 2, flow: one audio chunk: fan-out and microphone evidence (behaviour.md §5.2).

use crate::base::ids::ConnId;
use crate::session::{Cx, Session};
use bytes::Bytes;

/// The hot path.
pub(crate) fn chunk(s: &mut Session, conn: ConnId, data: Bytes, cx: &mut Cx<'_>) {
    let _ = (s, conn, data, cx);
}
