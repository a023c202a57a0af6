//! `audio_stream_start` (3.x): an app is going to push audio. Answered `audio_stream_ready` with the URL for the phone, or
//! `STREAM_CREATE_FAILED`. protocol.md §8.18, §10.3.
//!
//! `{"type":"audio_stream_start","streamId":"0d6c0f5e-8a0b-4f0a-9b51-3f3b6c1d2e4f","contentType":"audio/mpeg"}`

use crate::session::flow::audio_output;
use crate::session::handlers::ErrorCode;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::AudioStreamStart,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let id = members.text("streamId").unwrap_or_default();
    let content_type = members.filled("contentType").unwrap_or("audio/mpeg");
    if audio_output::start(s, m.package, id, content_type, cx) {
        Ok(())
    } else {
        Err(Reject::new(
            ErrorCode::StreamCreateFailed,
            "Failed to create audio stream relay",
        ))
    }
}
