//! `stream_request`: a mini-app on the phone streams video to a URL, as `__phone__`. Failures are only logged; status comes back
//! as `phone_stream_status`. protocol.md §6.21.
//!
//! `{"type":"stream_request","streamUrl":"rtmp://ingest.acme.dev/live/k9"}`

use crate::base::ids::Package;
use crate::session::flow::streams;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::managers::streams::StatusName;
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use crate::wire::members::Members;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::StreamRequest,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let phone = Package::new(Package::PHONE);
    streams::start(s, &phone, StatusName::Stream, &members, cx)
}
