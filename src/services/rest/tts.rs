//! Outside thread, REST: text to speech (protocol.md §18.11). The operator's provider speaks (ElevenLabs, or what talks like it);
//! the sound goes on to the player as it comes, no faster than the player takes it.

use super::{Handled, fail, query, reply};
use crate::base::settings::Audio;
use crate::services::context::Services;
use crate::services::lines::{Line, may};
use crate::session::effects::RestAnswer;
use crate::shard::mailbox::{Answer, OutsideRequest};
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Sound that may be under way to a player which has not taken it (bytes).
const AHEAD_BYTES: usize = 256 * 1024;
/// Sound is handed on in pieces of this size at most (bytes).
const PIECE_BYTES: usize = 16 * 1024;
/// Neither provider nor player may rest for longer.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Most sound of one answer (bytes; an hour of speech): a provider that never ends is cut off, and a player that left not paid for.
const SPEECH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A provider's refusal is passed on if it is no longer (bytes).
const DETAILS_BYTES: usize = 4096;

/// `GET /api/tts?text=&voice_id=&model_id=&voice_settings=`.
pub(super) async fn speak(cx: &Services, r: &OutsideRequest) -> Answer {
    match begin(cx, r).await {
        Ok((first, rest)) => relay(cx, r, first, rest).await,
        Err(refusal) => Answer::Whole(refusal),
    }
}

/// `HEAD` of the same: nothing is spoken, since the operator pays for every text.
pub(super) async fn head(cx: &Services, r: &OutsideRequest) -> Answer {
    if let Err(refusal) = possible(&cx.settings().audio, r) {
        return Answer::Whole(refusal);
    }
    // Whether the player took it makes no difference: this is all.
    cx.answer(r.reply, sound_head()).await;
    Answer::StreamEnd
}

/// What to ask of the provider, where there is one.
fn possible(settings: &Audio, r: &OutsideRequest) -> Handled<(String, Value)> {
    let wish = wish(settings, r)?;
    if settings.tts_api_key.is_empty() {
        return Err(fail(500, "TTS service not configured"));
    }
    Ok(wish)
}

/// The provider's answer from its first sound on.
async fn begin(cx: &Services, r: &OutsideRequest) -> Result<(Bytes, Incoming), RestAnswer> {
    let settings = cx.settings();
    let (voice, body) = possible(&settings.audio, r)?;
    let base = settings.audio.tts_url.trim_end_matches('/');
    let request = Request::post(format!("{base}/v1/text-to-speech/{voice}/stream"))
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "audio/mpeg")
        .header("xi-api-key", &settings.audio.tts_api_key)
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|error| failed(r, &error))?;
    let limit = Duration::from_millis(settings.audio.tts_timeout_ms);
    let answer = async {
        let answer = cx.upstream.ask(request).await;
        let (head, mut body) = answer.map_err(|error| failed(r, &error))?.into_parts();
        if !head.status.is_success() {
            return Err(refused(r, head.status.as_u16(), body).await);
        }
        match sound(&mut body).await {
            Some(Ok(first)) => Ok((first, body)),
            Some(Err(error)) => Err(failed(r, &error)),
            None => Err(fail(500, "No audio data received from TTS service")),
        }
    };
    let overdue = |_| failed(r, &"the provider did not answer in time");
    timeout(limit, answer).await.map_err(overdue)?
}

/// What is asked of the provider: which voice, and the request's body.
fn wish(defaults: &Audio, r: &OutsideRequest) -> Handled<(String, Value)> {
    let text = query(r, "text")
        .ok_or_else(|| fail(400, "Text parameter is required and must be a string"))?;
    let voice_settings = match query(r, "voice_settings").map(serde_json::from_str::<Value>) {
        Some(Err(_)) => return Err(fail(400, "Invalid voice_settings JSON format")),
        // As JavaScript sees it: nothing was asked for.
        Some(Ok(given)) if !matches!(given, Value::Null | Value::Bool(false)) => given,
        _ => {
            let number = |text: &str| text.parse::<f64>().unwrap_or_default();
            json!({
                "speed": number(&defaults.tts_speed),
                "stability": number(&defaults.tts_stability),
                "similarity_boost": number(&defaults.tts_similarity),
                "style": number(&defaults.tts_style),
            })
        }
    };
    let voice = query(r, "voice_id").unwrap_or(&defaults.tts_voice_id);
    // It becomes a part of the provider's path.
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !voice.bytes().all(is_id) {
        return Err(fail(400, "Invalid voice_id"));
    }
    let model = query(r, "model_id").unwrap_or(&defaults.tts_model);
    let body = json!({ "text": text, "model_id": model, "voice_settings": voice_settings });
    Ok((voice.to_owned(), body))
}

/// The next sound; empty frames and trailers are none.
async fn sound(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        match body.frame().await?.map(|frame| frame.into_data()) {
            Ok(Ok(data)) if !data.is_empty() => return Some(Ok(data)),
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}

/// Sound on its way; dropping it, sent or not, makes room for more.
struct Piece {
    data: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

fn sound_head() -> Answer {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Answer::StreamHead {
        status: 200,
        headers: vec![
            field("Content-Type", "audio/mpeg"),
            field("Cache-Control", "no-cache"),
        ],
    }
}

async fn relay(cx: &Services, r: &OutsideRequest, first: Bytes, mut body: Incoming) -> Answer {
    if !cx.answer(r.reply, sound_head()).await {
        return Answer::StreamAbort;
    }
    let room = Arc::new(Semaphore::new(AHEAD_BYTES));
    let (mut data, mut said) = (first, 0);
    loop {
        said += data.len();
        if said > SPEECH_BYTES_MAX {
            if let Some(more) = may(Line::SpeechEndless) {
                tracing::warn!(correlation_id = r.correlation_id, more, "tts-endless");
            }
            return Answer::StreamAbort;
        }
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(PIECE_BYTES));
            let wait = Arc::clone(&room).acquire_many_owned(piece.len() as u32);
            let Ok(Ok(taken)) = timeout(IDLE_LIMIT, wait).await else {
                return Answer::StreamAbort;
            };
            let piece = Bytes::from_owner(Piece {
                data: piece,
                _room: taken,
            });
            if !cx.answer(r.reply, Answer::StreamChunk(piece)).await {
                return Answer::StreamAbort;
            }
        }
        data = match timeout(IDLE_LIMIT, sound(&mut body)).await {
            Ok(Some(Ok(more))) => more,
            Ok(None) => return Answer::StreamEnd,
            Ok(Some(Err(_))) | Err(_) => {
                if let Some(more) = may(Line::SpeechBrokenOff) {
                    tracing::warn!(correlation_id = r.correlation_id, more, "tts-broken-off");
                }
                return Answer::StreamAbort;
            }
        };
    }
}

async fn refused(r: &OutsideRequest, status: u16, body: Incoming) -> RestAnswer {
    let details = Limited::new(body, DETAILS_BYTES).collect().await;
    let details = details.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    let details = details.unwrap_or_default();
    if let Some(more) = may(Line::SpeechRefused) {
        let correlation_id = &r.correlation_id;
        tracing::error!(status, details, correlation_id, more, "tts-refused");
    }
    reply(
        status,
        &json!({ "success": false, "message": format!("TTS service error: {status}"), "details": details }),
    )
}

fn failed(r: &OutsideRequest, error: &dyn std::fmt::Display) -> RestAnswer {
    if let Some(more) = may(Line::SpeechFailed) {
        tracing::error!(%error, correlation_id = r.correlation_id, more, "tts-failed");
    }
    reply(
        500,
        &json!({ "success": false, "message": "Internal server error", "error": error.to_string() }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::rest::testkit::Kit;
    use crate::shard::mailbox::OutsideRoute as Route;

    fn asked(query: &[(&str, &str)]) -> OutsideRequest {
        let mut request = Kit::request(Route::Tts, "GET", &[], &Value::Null);
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        request.query = query.iter().map(pair).collect();
        request
    }

    #[test]
    fn what_the_player_does_not_say_comes_from_the_settings() {
        let defaults = Audio::default();
        let (voice, body) = wish(&defaults, &asked(&[("text", "Olá")])).expect("fine");
        assert_eq!(voice, defaults.tts_voice_id);
        assert_eq!(
            body,
            json!({"text": "Olá", "model_id": "eleven_flash_v2_5", "voice_settings": {
                "speed": 1.13, "stability": 0.68, "similarity_boost": 0.75, "style": 0.0}})
        );
        let all = asked(&[
            ("text", "hi"),
            ("voice_id", "v-1"),
            ("model_id", "m"),
            ("voice_settings", r#"{"style":0.3}"#),
        ]);
        let (voice, body) = wish(&defaults, &all).expect("fine");
        assert_eq!(voice, "v-1");
        assert_eq!(
            body,
            json!({"text": "hi", "model_id": "m", "voice_settings": {"style": 0.3}})
        );
    }

    #[test]
    fn asking_for_the_head_alone_costs_nothing() {
        // Nobody listens there: a request would fail.
        let speaks = |settings: &mut crate::base::settings::Settings| {
            settings.audio.tts_api_key = "k".into();
            settings.audio.tts_url = "http://127.0.0.1:9".into();
        };
        Kit::run_with(speaks, |kit| async move {
            let mut request = asked(&[("text", "hi")]);
            assert_eq!(kit.send(&request).await.0, 500, "it is asked by GET");
            request.method = "HEAD".into();
            let answer = crate::services::rest::answer(&kit.cx, &request).await;
            assert!(matches!(answer, Answer::StreamEnd), "{answer:?}");
            request.query.clear();
            assert_eq!(kit.send(&request).await.0, 400);
        });
    }

    #[test]
    fn a_wish_that_makes_no_sense_is_refused_and_so_is_any_without_a_key() {
        Kit::run(|kit| async move {
            for (query, status, message) in [
                (
                    &[][..],
                    400,
                    "Text parameter is required and must be a string",
                ),
                (
                    &[("text", "hi"), ("voice_settings", "{")],
                    400,
                    "Invalid voice_settings JSON format",
                ),
                (
                    &[("text", "hi"), ("voice_id", "../x")],
                    400,
                    "Invalid voice_id",
                ),
                (&[("text", "hi")], 500, "TTS service not configured"),
            ] {
                assert_eq!(
                    kit.send(&asked(query)).await,
                    (status, json!({"success": false, "message": message}))
                );
            }
        });
    }
}
