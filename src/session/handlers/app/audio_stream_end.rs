//! `audio_stream_end` (3.x): no more audio comes; the HTTP answer ends after what is buffered. protocol.md §8.18, §10.3.
//!
//! `{"type":"audio_stream_end","streamId":"0d6c0f5e-8a0b-4f0a-9b51-3f3b6c1d2e4f"}`

use crate::session::flow::audio_output;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::AudioStreamEnd,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    audio_output::end(
        s,
        m.package,
        members.text("streamId").unwrap_or_default(),
        cx,
    );
    Ok(())
}
