//! Layer 2, flow: what a recogniser heard, as events for apps and the phone's mini-apps (behaviour.md §8.7, 8.8, protocol.md
//! §5.5, 5.6).

use crate::base::metrics::Timing;
use crate::session::effects::Class;
use crate::session::flow::relay;
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use crate::wire::speech::{SpeechId, SpeechToken, Utterance};
use crate::wire::streams::{AutoSubscribers, Lang, LangOrAuto, StreamEvent, Sub, with_region};

/// Who speaks, where voices are not told apart.
const ONLY_SPEAKER: &str = "0";
/// The provider whose tokens have a name of their own on the wire.
const SONIOX: &str = "soniox";

/// One report of a recogniser to everybody who subscribed to its language.
pub(crate) fn heard(s: &mut Session, id: SpeechId, utterance: &Utterance, cx: &mut Cx<'_>) {
    let Some(of) = s.m.speech.heard(id, utterance, cx.now.mono_ms) else {
        return;
    };
    let mut data = Vec::with_capacity(512);
    let name = match of.stream {
        Sub::Transcription(language) => {
            transcription(&mut data, language, utterance);
            format!("transcription:{language}")
        }
        Sub::Translation { source, target } => {
            translation(&mut data, source, target, utterance);
            match source {
                LangOrAuto::Auto => format!("translation:all-to-{target}"),
                LangOrAuto::Lang(source) => format!("translation:{source}-to-{target}"),
            }
        }
        _ => return,
    };
    cx.metrics
        .time(timing(of.stream, utterance), of.latency_ms * 1_000_000);
    let auto = if of.to_auto {
        AutoSubscribers::Include
    } else {
        AutoSubscribers::Skip
    };
    let class = if utterance.is_final {
        Class::Control
    } else {
        Class::Interim
    };
    let event = StreamEvent::new(&name).with_auto(auto).beside(&of.beside);
    relay::recognised(s, &event, &data, class, cx);
}

fn timing(stream: Sub, utterance: &Utterance) -> Timing {
    let is_translation = matches!(stream, Sub::Translation { .. });
    match (utterance.provider == SONIOX, is_translation) {
        (true, false) => Timing::SttSonioxTranscription,
        (true, true) => Timing::SttSonioxTranslation,
        (false, false) => Timing::SttAlibabaTranscription,
        (false, true) => Timing::SttAlibabaTranslation,
    }
}

/// protocol.md §5.5; `language`: what the subscription asks for, not what was recognised. A recogniser that does not tell
/// languages apart heard the one that it was asked for.
fn transcription(out: &mut Vec<u8>, language: LangOrAuto, u: &Utterance) {
    let asked = language.lang();
    let detected = u.detected.as_deref().or(asked.as_ref().map(Lang::as_str));
    let mut data = ObjectWriter::begin(out);
    data.str("type", "transcription")
        .str("text", &u.text)
        .bool("isFinal", u.is_final)
        .str("utteranceId", &u.utterance_id)
        .str("speakerId", u.speaker.as_deref().unwrap_or(ONLY_SPEAKER))
        .opt_num("confidence", u.confidence)
        .num("startTime", u.start_ms)
        .num("endTime", u.end_ms)
        .num("duration", u.end_ms.saturating_sub(u.start_ms))
        .str("transcribeLanguage", &language.to_string())
        .opt_str("detectedLanguage", detected)
        .str("provider", u.provider);
    if !u.tokens.is_empty() {
        data.object("metadata", |metadata| {
            metadata
                .str("provider", u.provider)
                .object(u.provider, |own| {
                    own.array("tokens", |list| {
                        let from = u.tokens.len().saturating_sub(Utterance::TOKENS_MAX);
                        for one in &u.tokens[from..] {
                            list.object(|out| token(out, one));
                        }
                    });
                });
        });
    }
    data.end();
}

fn token(out: &mut ObjectWriter<'_>, token: &SpeechToken) {
    out.str("text", &token.text)
        .opt_num("startMs", token.start_ms)
        .opt_num("endMs", token.end_ms)
        .opt_num("confidence", token.confidence)
        .bool("isFinal", token.is_final)
        .opt_str("speaker", token.speaker.as_deref());
}

/// protocol.md §5.6, and the utterance of behaviour.md §8.8. A recogniser of any language names the one it heard, with a region
/// where the app writes regions.
fn translation(out: &mut Vec<u8>, source: LangOrAuto, target: Lang, u: &Utterance) {
    let spoken = match (source, &u.detected) {
        (LangOrAuto::Auto, Some(detected)) if target.is_bare() => detected.clone(),
        (LangOrAuto::Auto, Some(detected)) if detected == target.base() => target.to_string(),
        (LangOrAuto::Auto, Some(detected)) => with_region(detected).to_owned(),
        (source, _) => source.to_string(),
    };
    ObjectWriter::begin(out)
        .str("type", "translation")
        .str("text", &u.text)
        .opt_str("originalText", u.original.as_deref())
        .bool("isFinal", u.is_final)
        .str("utteranceId", &u.utterance_id)
        .num("startTime", u.start_ms)
        .num("endTime", u.end_ms)
        .num("duration", u.end_ms.saturating_sub(u.start_ms))
        .str("transcribeLanguage", &spoken)
        .str("translateLanguage", target.as_str())
        .bool("didTranslate", u.did_translate)
        .str("provider", u.provider)
        .opt_num("confidence", u.confidence)
        .opt_str("speakerId", u.speaker.as_deref())
        .end();
}

#[cfg(test)]
#[path = "heard_tests.rs"]
mod tests;
