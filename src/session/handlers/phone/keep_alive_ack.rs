//! `keep_alive_ack`: the glasses answer a keep-alive of a stream. Never answered. protocol.md §6.17, §7.10.
//!
//! `{"type":"keep_alive_ack","streamId":"sk2f9ab81qz","ackId":"a9x2qe"}`

use crate::session::flow::{gate, keep_alive, managed_streams};
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use crate::wire::members::Members;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::KeepAliveAck,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let (Some(stream_id), Some(ack_id)) = (members.text("streamId"), members.text("ackId")) else {
        return Err(gate::malformed("streamId and ackId are required"));
    };
    if keep_alive::acked(s, stream_id, ack_id, cx) && s.m.managed_streams.by_id(stream_id).is_some()
    {
        managed_streams::touch(s, cx);
    }
    Ok(())
}
