//! `managed_stream_request`: a mini-app on the phone watches the managed stream, as `__phone__`; status comes back as
//! `phone_managed_stream_status`. protocol.md §6.21.
//!
//! `{"type":"managed_stream_request","quality":"720p","enableWebRTC":true,"restreamDestinations":[]}`

use crate::base::ids::Package;
use crate::session::flow::managed_streams;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use crate::wire::members::Members;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::ManagedStreamRequest,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let phone = Package::new(Package::PHONE);
    managed_streams::request(s, &phone, members, cx)
}
