//! Outside thread, speech: the Soniox service (behaviour.md §8.6.1): one JSON frame of settings, then audio; tokens come back.

use super::classify::ProviderError;
use super::health::Kind;
use super::languages::{soniox_code, soniox_takes};
use super::provider::{End, Frame, Out, Provider, Takes, Talk};
use super::tokens::Spoken;
use super::translation::{Pair, Translations};
use super::utterances::{Ids, Rules, Utterances};
use crate::base::settings::Settings;
use crate::wire::speech::{SpeechOpen, Utterance};
use crate::wire::streams::{LangOrAuto, LanguageOptions, Sub};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// As apps see it.
pub(super) const NAME: &str = "soniox";
const KEEPALIVE: &str = r#"{"type":"keepalive"}"#;
const FINALIZE: &str = r#"{"type":"finalize"}"#;

/// The service.
pub(super) struct Soniox;

impl Provider for Soniox {
    fn name(&self) -> &'static str {
        NAME
    }

    fn keys<'a>(&self, settings: &'a Settings) -> Vec<&'a str> {
        let speech = &settings.speech;
        let others = speech.soniox_fallback_api_keys.iter().map(String::as_str);
        std::iter::once(speech.soniox_api_key.as_str())
            .chain(others)
            .collect()
    }

    fn supports(&self, stream: &Sub) -> bool {
        soniox_takes(stream)
    }

    fn address<'a>(&self, settings: &'a Settings) -> &'a str {
        &settings.speech.soniox_endpoint
    }

    /// The key goes with the first frame.
    fn headers(&self, _: &str, _: &Settings) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn reconnects(&self, kind: Kind, settings: &Settings) -> u64 {
        match kind {
            Kind::Transcription => 0,
            Kind::Translation => settings.speech.translation_reconnects,
        }
    }

    fn talk(&self, open: &SpeechOpen, ids: String, settings: &Settings) -> Box<dyn Talk> {
        let ids = Ids::new(ids);
        let speech = &settings.speech;
        let builder = match &open.stream {
            Sub::Translation { source, target } => {
                let source = source.lang().and_then(|lang| soniox_code(lang.as_str()));
                let pair = Pair {
                    source,
                    target: soniox_code(target.as_str()).unwrap_or_default(),
                    wait_ms: speech.translation_wait_ms,
                    finals_only: speech.soniox_finals_only_translation,
                };
                Builder::Translation(Translations::new(pair, ids))
            }
            _ => {
                let rules = Rules {
                    debounce_ms: speech.endpoint_debounce_ms,
                    overlap_min: speech.overlap_min_chars as usize,
                    by_language: open.stream == Sub::Transcription(LangOrAuto::Auto),
                };
                Builder::Transcription(Box::new(Utterances::new(rules, ids)))
            }
        };
        Box::new(Conversation {
            config: Config::new(&open.stream, &open.options, settings),
            builder,
            offset_ms: 0,
            close_wait_ms: speech.translation_close_wait_ms,
            empty_frame_at: None,
            warned: false,
        })
    }
}

/// The first frame.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Config {
    api_key: String,
    model: String,
    audio_format: &'static str,
    sample_rate: u32,
    num_channels: u32,
    enable_language_identification: bool,
    enable_endpoint_detection: bool,
    enable_speaker_diarization: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    language_hints: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_endpoint_delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_non_final_tokens_duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include_nonfinal: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    translation: Option<Translation>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Translation {
    OneWay {
        target_language: &'static str,
    },
    TwoWay {
        language_a: &'static str,
        language_b: &'static str,
    },
}

impl Config {
    fn new(stream: &Sub, options: &LanguageOptions, settings: &Settings) -> Self {
        let speech = &settings.speech;
        let source = match stream {
            Sub::Transcription(language) => language.lang(),
            Sub::Translation { source, .. } => source.lang(),
            _ => None,
        };
        let source = source.and_then(|lang| soniox_code(lang.as_str()));
        let target = match stream {
            Sub::Translation { target, .. } => soniox_code(target.as_str()),
            _ => None,
        };
        let mut language_hints: Vec<&'static str> = Vec::new();
        // The service refuses a stream with a hint that it does not know.
        let more = options.hints.iter().filter_map(|hint| soniox_code(hint));
        // For any language into one, the target says nothing of what is spoken.
        let target_hint = source.and(target);
        for hint in source.into_iter().chain(target_hint).chain(more) {
            if !language_hints.contains(&hint) {
                language_hints.push(hint);
            }
        }
        let translation = match (source, target) {
            (Some(language_a), Some(language_b)) => Some(Translation::TwoWay {
                language_a,
                language_b,
            }),
            (None, Some(target_language)) => Some(Translation::OneWay { target_language }),
            (_, None) => None,
        };
        let translates = translation.is_some();
        let max_non_final_ms = Some(speech.soniox_max_non_final_ms).filter(|ms| *ms > 0);
        Self {
            api_key: String::new(),
            model: speech.soniox_model.clone(),
            audio_format: "pcm_s16le",
            sample_rate: 16_000,
            num_channels: 1,
            // Who is to be translated is known by the language only.
            enable_language_identification: translates || !options.no_language_identification,
            enable_endpoint_detection: true,
            enable_speaker_diarization: true,
            language_hints,
            max_endpoint_delay_ms: (!translates).then_some(speech.soniox_max_endpoint_delay_ms),
            max_non_final_tokens_duration_ms: max_non_final_ms.filter(|_| translates),
            include_nonfinal: translates.then_some(!speech.soniox_finals_only_translation),
            translation,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
struct Response {
    #[serde(default)]
    tokens: Vec<Spoken>,
    error_code: Option<u16>,
    error_message: Option<String>,
    #[serde(default)]
    finished: bool,
}

enum Builder {
    Transcription(Box<Utterances>),
    Translation(Translations),
}

impl Builder {
    fn response(&mut self, tokens: &[Spoken], now: u64, out: &mut Vec<Utterance>) {
        match self {
            Self::Transcription(builder) => builder.response(tokens, now, out),
            Self::Translation(builder) => builder.response(tokens, now, out),
        }
    }

    fn due(&self) -> Option<u64> {
        match self {
            Self::Transcription(builder) => builder.due(),
            Self::Translation(builder) => builder.due(),
        }
    }

    fn tick(&mut self, now: u64, out: &mut Vec<Utterance>) {
        match self {
            Self::Transcription(builder) => builder.tick(now, out),
            Self::Translation(builder) => builder.tick(now, out),
        }
    }

    fn finish(&mut self, out: &mut Vec<Utterance>) {
        match self {
            Self::Transcription(builder) => builder.finish(out),
            Self::Translation(builder) => builder.finish(out),
        }
    }
}

struct Conversation {
    config: Config,
    builder: Builder,
    /// Times of a connection begin at 0; a stream may have had others.
    offset_ms: u64,
    close_wait_ms: u64,
    empty_frame_at: Option<u64>,
    warned: bool,
}

impl Conversation {
    fn text(text: &str) -> Frame {
        Frame::Text(text.to_owned())
    }
}

impl Talk for Conversation {
    fn begin(&mut self, key: &str, audio_ms: u64, out: &mut Out) {
        self.offset_ms = audio_ms;
        let config = Config {
            api_key: key.to_owned(),
            ..self.config.clone()
        };
        let text = serde_json::to_string(&config).expect("settings have string keys");
        out.frames.push(Frame::Text(text));
        // There is no answer to it; audio that comes early is taken.
        out.ready = true;
    }

    fn takes(&self) -> Takes {
        Takes::All
    }

    fn pause(&mut self, out: &mut Out) {
        out.frames.push(Self::text(FINALIZE));
        out.frames.push(Self::text(KEEPALIVE));
    }

    fn close(&mut self, now: u64, out: &mut Out) {
        out.frames.push(Self::text(FINALIZE));
        match self.builder {
            Builder::Transcription(_) => out.frames.push(Frame::Binary(Bytes::new())),
            Builder::Translation(_) => self.empty_frame_at = Some(now + self.close_wait_ms),
        }
    }

    fn keepalive(&mut self, out: &mut Out) {
        out.frames.push(Self::text(KEEPALIVE));
    }

    fn message(&mut self, text: &str, now: u64, out: &mut Out) {
        let mut response: Response = match serde_json::from_str(text) {
            Ok(response) => response,
            Err(error) => {
                if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(provider = NAME, %error, "a provider's message is not understood");
                }
                return;
            }
        };
        if let Some(code) = response.error_code {
            let text = response.error_message.unwrap_or_default();
            out.end = Some(End::Failed(ProviderError::new(code, &text)));
            return;
        }
        for token in &mut response.tokens {
            token.start_ms = token.start_ms.map(|at| at.saturating_add(self.offset_ms));
            token.end_ms = token.end_ms.map(|at| at.saturating_add(self.offset_ms));
        }
        out.answered |= !response.tokens.is_empty();
        self.builder.response(&response.tokens, now, &mut out.heard);
        if response.finished {
            out.end = Some(End::Finished);
        }
    }

    fn due(&self) -> Option<u64> {
        let both = [self.builder.due(), self.empty_frame_at];
        both.into_iter().flatten().min()
    }

    fn tick(&mut self, now: u64, out: &mut Out) {
        self.builder.tick(now, &mut out.heard);
        if self.empty_frame_at.is_some_and(|at| at <= now) {
            self.empty_frame_at = None;
            out.frames.push(Frame::Binary(Bytes::new()));
        }
    }

    fn gone(&mut self, out: &mut Out) {
        self.empty_frame_at = None;
        self.builder.finish(&mut out.heard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::speech::SpeechId;
    use crate::wire::streams::parse;
    use serde_json::{Value, json};

    fn talk(name: &str) -> Box<dyn Talk> {
        let subscription = parse(name);
        let open = SpeechOpen {
            id: SpeechId(1),
            stream: subscription.parsed,
            options: subscription.language_options(),
            instead_of: None,
        };
        Soniox.talk(&open, "u".into(), &Settings::default())
    }

    fn config(name: &str) -> Value {
        let mut out = Out::default();
        talk(name).begin("the key", 0, &mut out);
        assert!(out.ready);
        match &out.frames[..] {
            [Frame::Text(text)] => serde_json::from_str(text).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_frame_says_what_is_wanted() {
        let expected = json!({
            "api_key": "the key", "model": "stt-rt-v5", "audio_format": "pcm_s16le", "sample_rate": 16000, "num_channels": 1,
            "enable_language_identification": true, "enable_endpoint_detection": true, "enable_speaker_diarization": true,
            "language_hints": ["en", "es"], "max_endpoint_delay_ms": 3000,
        });
        assert_eq!(config("transcription:en-US?hints=es-MX,en,xx"), expected);
        let auto = config("transcription:auto?no-language-identification=true");
        assert_eq!(auto.get("language_hints"), None);
        assert_eq!(auto["enable_language_identification"], false);
    }

    #[test]
    fn a_pair_is_two_way_and_any_language_one_way() {
        let pair = config("translation:nb-NO-to-en-US");
        assert_eq!(
            pair["translation"],
            json!({"type": "two_way", "language_a": "no", "language_b": "en"})
        );
        assert_eq!(pair["language_hints"], json!(["no", "en"]));
        assert_eq!(pair["include_nonfinal"], false);
        assert_eq!(pair["max_non_final_tokens_duration_ms"], 2000);
        assert_eq!(pair.get("max_endpoint_delay_ms"), None);
        let any = config("translation:all-to-fr-FR");
        assert_eq!(
            any["translation"],
            json!({"type": "one_way", "target_language": "fr"})
        );
        assert_eq!(any.get("language_hints"), None);
    }

    #[test]
    fn answers_are_tokens_errors_or_the_end() {
        let mut talk = talk("transcription:en-US");
        let mut out = Out::default();
        talk.begin("k", 5000, &mut out);
        let tokens = r#"{"tokens":[{"text":"Hi","start_ms":10,"end_ms":90,"confidence":0.9,"is_final":true,"speaker":1}],
            "final_audio_proc_ms":90,"total_audio_proc_ms":120}"#;
        talk.message(tokens, 0, &mut out);
        assert!(out.answered);
        assert_eq!((out.heard[0].start_ms, out.heard[0].end_ms), (5010, 5090));
        assert_eq!(out.heard[0].speaker.as_deref(), Some("1"));
        talk.message("{broken", 0, &mut out);
        talk.message(r#"{"tokens":[]}"#, 0, &mut out);
        assert_eq!((out.heard.len(), out.end.take()), (1, None));
        let error = r#"{"tokens":[],"error_code":429,"error_message":"Too many"}"#;
        talk.message(error, 0, &mut out);
        let failed = End::Failed(ProviderError::new(429, "Too many"));
        assert_eq!(out.end.take(), Some(failed));
        talk.message(r#"{"tokens":[],"finished":true}"#, 0, &mut out);
        assert_eq!(out.end, Some(End::Finished));
        out.heard.clear();
        talk.gone(&mut out);
        assert!(out.heard[0].is_final);
    }

    #[test]
    fn the_end_of_a_translation_leaves_it_time() {
        let mut out = Out::default();
        let mut one = talk("transcription:en-US");
        one.close(0, &mut out);
        let end = [Frame::Text(FINALIZE.into()), Frame::Binary(Bytes::new())];
        assert_eq!(out.frames, end);
        let mut out = Out::default();
        let mut two = talk("translation:es-ES-to-en-US");
        two.close(50, &mut out);
        assert_eq!((out.frames.len(), two.due()), (1, Some(150)));
        two.tick(149, &mut out);
        assert_eq!(out.frames.len(), 1);
        two.tick(150, &mut out);
        assert_eq!((&out.frames[..], two.due()), (&end[..], None));
    }
}
