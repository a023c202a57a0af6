//! `audio_stop_request`: an app silences everything it plays. Forwarded; never answered. protocol.md §8.17, §7.8.
//!
//! `{"type":"audio_stop_request","trackId":2}`

use crate::session::flow::gate;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use crate::wire::kinds::AppKind;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::AudioStopRequest,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    gate::phone(s)?;
    let now = cx.now.iso();
    let _ = s.ask_phone(m.package, cx, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "audio_stop_request")
            .str("sessionId", &s.user);
        object.str("appId", m.package);
        object.str("timestamp", now.as_str());
        object.end();
    });
    Ok(())
}
