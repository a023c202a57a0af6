//! `managed_stream_stop`. OWNER H5: write the card (who sends it, what changes, what goes back, spec section, one sample).

use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::ManagedStreamStop,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let _ = (s, m, cx);
    Ok(())
}
