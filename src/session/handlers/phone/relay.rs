//! Phone messages whose only effect is their delivery to subscribed apps (protocol.md §6.1, 6.10, 6.13, 6.19, 6.22–6.24),
//! and every type this server does not know.

use crate::session::flow;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;

/// The row of a relay-only type.
pub(super) const fn row(kind: PhoneKind) -> PhoneHandler {
    PhoneHandler { kind, run }
}

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    unknown(s, m.name, m.text, cx)
}

/// A message of any type, relayed under its own name.
pub(crate) fn unknown(
    s: &mut Session,
    name: &str,
    text: &[u8],
    cx: &mut Cx<'_>,
) -> Result<(), Reject> {
    flow::relay::phone_message(s, name, text, cx);
    Ok(())
}
