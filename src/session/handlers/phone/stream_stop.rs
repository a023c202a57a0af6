//! `stream_stop`: the phone ends its own stream, or anybody's that it names. protocol.md §6.21, §8.10.
//!
//! `{"type":"stream_stop","streamId":"sk2f9ab81qz"}`

use crate::base::ids::Package;
use crate::session::flow::streams;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use crate::wire::members::Members;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::StreamStop,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let phone = Package::new(Package::PHONE);
    streams::stop(s, &phone, members.filled("streamId"), cx)
}
