//! Outside thread, speech: the Alibaba service (behaviour.md §8.6.4): tasks on a connection. A pause ends the task, the next
//! audio begins another.

use super::classify::ProviderError;
use super::health::Kind;
use super::languages::{alibaba_code, alibaba_takes};
use super::provider::{End, Frame, Out, Provider, Takes, Talk};
use super::sentences::Sentences;
use super::utterances::Ids;
use crate::base::settings::Settings;
use crate::wire::speech::SpeechOpen;
use crate::wire::streams::{LangOrAuto, Sub};
use serde::Deserialize;
use serde_json::json;

/// As apps see it.
pub(super) const NAME: &str = "alibaba";
const MODEL: &str = "gummy-realtime-v1";
const RECONNECTS: u64 = 3;

/// The service.
pub(super) struct Alibaba;

impl Provider for Alibaba {
    fn name(&self) -> &'static str {
        NAME
    }

    fn keys<'a>(&self, settings: &'a Settings) -> Vec<&'a str> {
        vec![&settings.speech.alibaba_api_key]
    }

    fn supports(&self, stream: &Sub) -> bool {
        alibaba_takes(stream)
    }

    fn address<'a>(&self, settings: &'a Settings) -> &'a str {
        &settings.speech.alibaba_endpoint
    }

    fn headers(&self, key: &str, settings: &Settings) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("authorization", format!("Bearer {key}")),
            ("x-dashscope-datainspection", "enable".to_owned()),
        ];
        let workspace = &settings.speech.alibaba_workspace;
        if !workspace.is_empty() {
            headers.push(("x-dashscope-workspace", workspace.clone()));
        }
        headers
    }

    fn reconnects(&self, _: Kind, _: &Settings) -> u64 {
        RECONNECTS
    }

    fn talk(&self, open: &SpeechOpen, ids: String, settings: &Settings) -> Box<dyn Talk> {
        let code = |tag: &str| alibaba_code(tag).unwrap_or_default();
        let (source, target) = match &open.stream {
            Sub::Transcription(source) => (*source, None),
            Sub::Translation { source, target } => (*source, Some(code(target.as_str()))),
            _ => (LangOrAuto::Auto, None),
        };
        let wait_ms = settings.speech.translation_wait_ms;
        Box::new(Conversation {
            source: source.lang().map_or("auto", |lang| code(lang.as_str())),
            target,
            sentences: Sentences::new(target, wait_ms, Ids::new(ids)),
            task: String::new(),
            state: State::Idle,
            closing: false,
            offset_ms: 0,
            warned: false,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Starting,
    Running,
    Finishing,
}

struct Conversation {
    source: &'static str,
    target: Option<&'static str>,
    sentences: Sentences,
    task: String,
    state: State,
    closing: bool,
    offset_ms: u64,
    warned: bool,
}

#[derive(Deserialize)]
struct Message {
    header: Header,
    #[serde(default)]
    payload: Payload,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    task_id: String,
    event: String,
    error_code: Option<String>,
    error_message: Option<String>,
}

#[derive(Default, Deserialize)]
struct Payload {
    #[serde(default)]
    output: super::sentences::Output,
}

/// The service names its errors; numbers as HTTP has them.
fn code_of(name: &str, text: &str) -> u16 {
    let all = format!("{name} {text}").to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| all.contains(word));
    if has(&["apikey", "api key", "accessdenied", "unauthorized"]) {
        401
    } else if has(&["throttling", "ratequota", "quota", "concurren"]) {
        429
    } else if has(&["arrearage"]) {
        402
    } else if has(&["timeout", "timed out"]) {
        408
    } else if has(&["invalidparameter", "invalid_parameter", "badrequest"]) {
        400
    } else if has(&["modelnotfound", "model_not_found"]) {
        404
    } else {
        500
    }
}

impl Conversation {
    fn run(&mut self, audio_ms: u64, out: &mut Out) {
        self.offset_ms = audio_ms;
        self.task = format!("{:032x}", fastrand::u128(..));
        self.state = State::Starting;
        let mut parameters = json!({
            "source_language": self.source,
            "sample_rate": 16_000,
            "format": "pcm",
            "transcription_enabled": true,
            "translation_enabled": self.target.is_some(),
        });
        if let Some(target) = self.target {
            parameters["translation_target_languages"] = json!([target]);
        }
        let text = json!({
            "header": { "action": "run-task", "task_id": self.task, "streaming": "duplex" },
            "payload": {
                "task_group": "audio",
                "task": "asr",
                "function": "recognition",
                "model": MODEL,
                "parameters": parameters,
                "input": {},
            },
        });
        out.frames.push(Frame::Text(text.to_string()));
    }

    fn finish_task(&mut self, out: &mut Out) {
        self.state = State::Finishing;
        let text = json!({
            "header": { "action": "finish-task", "task_id": self.task, "streaming": "duplex" },
            "payload": { "input": {} },
        });
        out.frames.push(Frame::Text(text.to_string()));
    }

    fn failed(header: &Header) -> ProviderError {
        let name = header.error_code.as_deref().unwrap_or_default();
        let text = header.error_message.as_deref().unwrap_or_default();
        ProviderError::new(code_of(name, text), &format!("{name} {text}"))
    }
}

impl Talk for Conversation {
    fn begin(&mut self, _: &str, audio_ms: u64, out: &mut Out) {
        self.run(audio_ms, out);
    }

    fn takes(&self) -> Takes {
        match self.state {
            State::Running => Takes::All,
            State::Idle => Takes::AfterResume,
            State::Starting | State::Finishing => Takes::Nothing,
        }
    }

    fn resume(&mut self, audio_ms: u64, out: &mut Out) {
        if self.state == State::Idle {
            self.run(audio_ms, out);
        }
    }

    fn pause(&mut self, out: &mut Out) {
        if self.state == State::Running {
            self.finish_task(out);
        }
    }

    fn close(&mut self, _: u64, out: &mut Out) {
        self.closing = true;
        match self.state {
            State::Running => self.finish_task(out),
            State::Idle => out.end = Some(End::Finished),
            State::Starting | State::Finishing => {}
        }
    }

    fn keepalive(&mut self, out: &mut Out) {
        out.frames.push(Frame::Ping);
    }

    fn message(&mut self, text: &str, now: u64, out: &mut Out) {
        let message: Message = match serde_json::from_str(text) {
            Ok(message) => message,
            Err(error) => {
                if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(provider = NAME, %error, "a provider's message is not understood");
                }
                return;
            }
        };
        let header = &message.header;
        // A late word of the task before.
        if !header.task_id.is_empty() && header.task_id != self.task {
            return;
        }
        match header.event.as_str() {
            "task-started" if self.state == State::Starting => {
                self.state = State::Running;
                out.ready = true;
                if self.closing {
                    self.finish_task(out);
                }
            }
            "result-generated" => {
                out.answered = true;
                let offset_ms = self.offset_ms;
                self.sentences
                    .result(message.payload.output, offset_ms, now, &mut out.heard);
            }
            "task-finished" => {
                self.sentences.finish(&mut out.heard);
                // One that was not asked for is the provider's own wish to end.
                let asked = self.state == State::Finishing && !self.closing;
                self.state = State::Idle;
                if !asked {
                    out.end = Some(End::Finished);
                }
            }
            "task-failed" => out.end = Some(End::Failed(Self::failed(header))),
            _ => {}
        }
    }

    fn due(&self) -> Option<u64> {
        self.sentences.due()
    }

    fn tick(&mut self, now: u64, out: &mut Out) {
        self.sentences.tick(now, &mut out.heard);
    }

    fn gone(&mut self, out: &mut Out) {
        self.state = State::Idle;
        self.sentences.finish(&mut out.heard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::speech::SpeechId;
    use crate::wire::streams::parse;
    use serde_json::Value;

    fn talk(name: &str) -> Box<dyn Talk> {
        let open = SpeechOpen {
            id: SpeechId(1),
            stream: parse(name).parsed,
            options: Default::default(),
            instead_of: None,
        };
        Alibaba.talk(&open, "u".into(), &Settings::default())
    }

    fn sent(out: &mut Out) -> Value {
        match out.frames.pop() {
            Some(Frame::Text(text)) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }

    fn event(task: &str, name: &str) -> String {
        json!({"header": {"task_id": task, "event": name}, "payload": {}}).to_string()
    }

    #[test]
    fn a_task_is_run_and_finished() {
        let mut talk = talk("translation:ja-JP-to-en-US");
        let mut out = Out::default();
        talk.begin("k", 0, &mut out);
        let run = sent(&mut out);
        assert_eq!(run["header"]["action"], "run-task");
        assert_eq!(run["header"]["streaming"], "duplex");
        let parameters = &run["payload"]["parameters"];
        assert_eq!(parameters["source_language"], "ja");
        assert_eq!(parameters["translation_target_languages"], json!(["en"]));
        assert_eq!((talk.takes(), out.ready), (Takes::Nothing, false));
        let task = run["header"]["task_id"].as_str().expect("an id").to_owned();
        talk.message(&event("other", "task-started"), 0, &mut out);
        assert!(!out.ready);
        talk.message(&event(&task, "task-started"), 0, &mut out);
        assert_eq!((talk.takes(), out.ready), (Takes::All, true));
        talk.close(0, &mut out);
        let finish = sent(&mut out);
        assert_eq!(finish["header"]["action"], "finish-task");
        assert_eq!(finish["header"]["task_id"], task.as_str());
        talk.message(&event(&task, "task-finished"), 0, &mut out);
        assert_eq!(out.end, Some(End::Finished));
    }

    #[test]
    fn a_pause_ends_the_task_and_audio_begins_another() {
        let mut talk = talk("transcription:auto");
        let mut out = Out::default();
        talk.begin("k", 0, &mut out);
        let run = sent(&mut out);
        assert_eq!(run["payload"]["parameters"]["source_language"], "auto");
        let first = run["header"]["task_id"].as_str().expect("an id").to_owned();
        talk.message(&event(&first, "task-started"), 0, &mut out);
        talk.pause(&mut out);
        assert_eq!(sent(&mut out)["header"]["action"], "finish-task");
        assert_eq!(talk.takes(), Takes::Nothing);
        talk.message(&event(&first, "task-finished"), 0, &mut out);
        assert_eq!((talk.takes(), out.end.take()), (Takes::AfterResume, None));
        talk.pause(&mut out);
        assert!(out.frames.is_empty());
        talk.resume(100, &mut out);
        assert_ne!(sent(&mut out)["header"]["task_id"], first.as_str());
        talk.close(0, &mut out);
        assert!(out.end.is_none() && out.frames.is_empty(), "it starts yet");
        talk.gone(&mut out);
        talk.close(0, &mut out);
        assert_eq!(out.end, Some(End::Finished));
    }

    #[test]
    fn named_errors_get_the_numbers_of_http() {
        for (name, expected) in [
            ("InvalidApiKey", 401),
            ("Throttling.RateQuota", 429),
            ("Arrearage", 402),
            ("CLIENT_ERROR request timeout after 23 seconds", 408),
            ("InvalidParameter", 400),
            ("ModelNotFound", 404),
            ("InternalError", 500),
        ] {
            assert_eq!(code_of(name, ""), expected, "{name}");
        }
        let mut talk = talk("transcription:en-US");
        let mut out = Out::default();
        let text = json!({"header": {"event": "task-failed", "error_code": "InvalidApiKey", "error_message": "no"}});
        talk.message(&text.to_string(), 0, &mut out);
        let failed = End::Failed(ProviderError::new(401, "InvalidApiKey no"));
        assert_eq!(out.end, Some(failed));
    }

    #[test]
    fn headers_carry_key_and_workspace() {
        let mut settings = Settings::default();
        assert_eq!(Alibaba.headers("k", &settings).len(), 2);
        settings.speech.alibaba_workspace = "w".into();
        let headers = Alibaba.headers("k", &settings);
        assert!(headers.contains(&("authorization", "Bearer k".into())));
        assert!(headers.contains(&("x-dashscope-workspace", "w".into())));
    }
}
