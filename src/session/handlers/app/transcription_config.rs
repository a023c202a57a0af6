//! `transcription_config`: a 3.x app tunes its transcription (protocol.md §8.21, behaviour.md §2.20).
//!
//! Changes: `languageHints` join the hints of the app's transcription subscriptions; `vocabulary` and `diarization` have no
//! effect. Sends: nothing.
//!
//! `{"type":"transcription_config","languageHints":["en","es"],"vocabulary":["MentraOS"],"diarization":true}`

use crate::session::flow;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use serde::Deserialize;
use serde_json::Value;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::TranscriptionConfig,
    run,
};

/// More hints than this are of no use to any recogniser.
const HINTS_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    language_hints: Value,
}

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    if let Some(hints) = body.language_hints.as_array() {
        let hints = hints.iter().filter_map(Value::as_str).take(HINTS_MAX);
        let hints = hints.map(str::to_owned).collect();
        s.m.subscriptions.set_hints(&s.user, m.package, hints);
        flow::sync::sockets_changed(s, cx);
    }
    Ok(())
}
