//! `local_transcription`: a speech result made on the phone (protocol.md §6.9, behaviour.md §8.7).
//!
//! Changes: nothing. Sends: the message as it is, first routed like a transcription event of its language (also to
//! `transcription:auto` and to `__phone__`), then under its own name to apps that subscribe to it explicitly.
//!
//! `{"type":"local_transcription","text":"turn left","isFinal":true,"startTime":100,"endTime":900,"speakerId":0,
//! "transcribeLanguage":"en-US","provider":"ondevice"}`

use crate::session::effects::Class;
use crate::session::flow;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use serde::Deserialize;
use serde_json::Value;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::LocalTranscription,
    run,
};

const DEFAULT_LANGUAGE: &str = "en-US";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    is_final: Value,
    #[serde(default)]
    transcribe_language: Value,
    /// What Android phones call it.
    #[serde(default)]
    language: Value,
}

impl Body {
    fn language(&self) -> &str {
        let named = [&self.transcribe_language, &self.language];
        let mut filled = named
            .into_iter()
            .filter_map(Value::as_str)
            .filter(|name| !name.is_empty());
        filled.next().unwrap_or(DEFAULT_LANGUAGE)
    }
}

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let class = if body.is_final == Value::Bool(false) {
        Class::Interim
    } else {
        Class::Control
    };
    flow::relay::phone_speech(s, body.language(), m.text, class, cx);
    flow::relay::phone_message_explicit(s, m.name, m.text, class, cx);
    Ok(())
}
