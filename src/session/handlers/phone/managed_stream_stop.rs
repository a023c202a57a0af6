//! `managed_stream_stop`: a mini-app on the phone no longer watches. protocol.md §6.21.
//!
//! `{"type":"managed_stream_stop"}`

use crate::base::ids::Package;
use crate::session::flow::managed_streams;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::ManagedStreamStop,
    run,
};

fn run(s: &mut Session, _: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    managed_streams::stop(s, &Package::new(Package::PHONE), cx);
    Ok(())
}
