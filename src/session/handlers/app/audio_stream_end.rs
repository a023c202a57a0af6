//! `audio_stream_end`. OWNER H5: write the card (who sends it, what changes, what goes back, spec section, one sample).

use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::AudioStreamEnd,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let _ = (s, m, cx);
    Ok(())
}
