//! Layer 2, REST calls of the media family.

use crate::base::ids::ReplyTo;
use crate::session::effects::RestAnswer;
use crate::session::rest::Call;
use crate::session::{Cx, Session};

/// Answers one call of this family.
pub(crate) fn call(s: &mut Session, reply: ReplyTo, call: Call, cx: &mut Cx<'_>) {
    let _ = (s, call);
    cx.fx.reply(reply, RestAnswer::json(500, "{}"));
}
