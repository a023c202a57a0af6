//! Recognisers as a shard sees them: orders in, reports out, against providers that speak the real protocols on loopback.

#[path = "support/providers.rs"]
mod providers;

use bytes::Bytes;
use prism::base::settings::DeploymentRegion;
use prism::wire::speech::{SpeechFailureClass, SpeechId, SpeechOrder, SpeechReport};
use providers::{Fixture, KEY, Provider, fixture, ready, soniox, soniox_with};
use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;

#[test]
fn a_recogniser_from_its_start_to_its_end() {
    let provider = Provider::listen();
    let fixture = soniox(&provider);
    fixture.open(1, "transcription:en-US?hints=es");
    fixture.open(1, "transcription:en-US");
    // Before it is ready.
    fixture.audio(1, 1);
    fixture.audio(1, 2);
    let (mut peer, config) = provider.opened();
    assert_eq!(config["api_key"], KEY);
    assert_eq!(config["language_hints"], json!(["en", "es"]));
    assert_eq!(fixture.of(1), SpeechReport::Ready);
    assert_eq!((peer.audio(), peer.audio()), (vec![1; 4], vec![2; 4]));
    fixture.audio(1, 3);
    assert_eq!(peer.audio(), vec![3; 4]);
    peer.tokens(&[("meet", false)]);
    let interim = fixture.heard(1);
    assert_eq!((interim.text.as_str(), interim.is_final), ("meet", false));
    peer.tokens(&[("meet me", true), ("<end>", true)]);
    let ended = fixture.heard(1);
    assert_eq!((ended.text.as_str(), ended.is_final), ("meet me", true));
    assert_eq!(ended.utterance_id, interim.utterance_id);
    assert_eq!(ended.provider, "soniox");
    fixture.order(SpeechOrder::Pause(SpeechId(1)));
    assert_eq!(peer.json(), json!({"type": "finalize"}));
    assert_eq!(peer.json(), json!({"type": "keepalive"}));
    fixture.audio(1, 4);
    fixture.close(1);
    fixture.close(1);
    fixture.audio(1, 5);
    let rest = peer.until_end();
    let finalize = Message::text(json!({"type": "finalize"}).to_string());
    assert_eq!(rest, [Message::binary(vec![4; 4]), finalize]);
    peer.tokens(&[("later", true), ("<fin>", true)]);
    peer.send(json!({"tokens": [], "finished": true}));
    let last = fixture.heard(1);
    assert_eq!((last.text.as_str(), last.is_final), ("later", true));
    assert_ne!(last.utterance_id, ended.utterance_id);
    assert_eq!(fixture.of(1), SpeechReport::Closed(None));
    assert!(peer.is_left());
    fixture.done();
}

#[test]
fn short_speech_is_heard_though_it_ended_before_the_start() {
    let provider = Provider::listen();
    let fixture = soniox_with(&provider, |settings| {
        settings.speech.stt_start_buffer_chunks = 2;
    });
    fixture.open(1, "transcription:en-US");
    for byte in 1..=3 {
        fixture.audio(1, byte);
    }
    fixture.close(1);
    // The connection stands when the provider answers, and then nothing is held back any more.
    fixture.taken();
    let (mut peer, _) = provider.opened();
    assert_eq!(
        (peer.audio(), peer.audio()),
        (vec![2; 4], vec![3; 4]),
        "the oldest went"
    );
    peer.until_end();
    peer.tokens(&[("yes", true), ("<fin>", true)]);
    peer.send(json!({"finished": true}));
    assert_eq!(fixture.of(1), SpeechReport::Ready);
    assert_eq!(fixture.heard(1).text, "yes");
    assert_eq!(fixture.of(1), SpeechReport::Closed(None));
    fixture.done();
}

#[test]
fn what_waits_for_a_start_that_is_late_goes_to_the_next_one() {
    let provider = Provider::listen();
    let fixture = soniox(&provider);
    fixture.open(1, "transcription:en-US");
    fixture.audio(1, 1);
    fixture.audio(1, 2);
    // It waits for the provider.
    fixture.taken();
    fixture.close(1);
    fixture.open_instead(2, "transcription:en-US", Some(1));
    fixture.audio(2, 3);
    fixture.taken();
    let (mut late, _) = provider.opened();
    let said = late.until_end();
    let is_audio = |message: &Message| matches!(message, Message::Binary(_));
    assert!(!said.iter().any(is_audio), "it is heard once: {said:?}");
    late.send(json!({"finished": true}));
    assert_eq!(fixture.of(1), SpeechReport::Ready);
    assert_eq!(fixture.of(1), SpeechReport::Closed(None));
    let (mut next, _) = provider.opened();
    assert_eq!(fixture.of(2), SpeechReport::Ready);
    for byte in 1..=3 {
        assert_eq!(next.audio(), vec![byte; 4]);
    }
    fixture.close(2);
    next.until_end();
    next.send(json!({"finished": true}));
    assert_eq!(fixture.of(2), SpeechReport::Closed(None));
    fixture.done();
}

#[test]
fn errors_have_classes_and_say_no_key() {
    for (code, worked, class, wait) in [
        (401, false, SpeechFailureClass::Permanent, 0..=0),
        (429, false, SpeechFailureClass::Capacity, 50_000..=60_000),
        (408, false, SpeechFailureClass::Timeout, 0..=0),
        (503, false, SpeechFailureClass::Server, 5000..=10_000),
        (400, false, SpeechFailureClass::Permanent, 0..=0),
        (400, true, SpeechFailureClass::SessionLength, 0..=0),
    ] {
        let provider = Provider::listen();
        let fixture = soniox(&provider);
        let mut peer = ready(&fixture, &provider, "transcription:en-US");
        if worked {
            peer.tokens(&[("so far", false)]);
            assert!(!fixture.heard(1).is_final);
        }
        peer.error(code, &format!("no luck with {KEY}"));
        if worked {
            let pending = fixture.heard(1);
            assert_eq!((pending.text.as_str(), pending.is_final), ("so far", true));
        }
        let failure = fixture.failure(1);
        assert_eq!(failure.class, class, "{code}");
        assert!(wait.contains(&failure.retry_after_ms), "{failure:?}");
        assert!(!failure.cause.contains(KEY) && failure.cause.contains("no luck"));
        fixture.done();
    }
}

#[test]
fn a_key_that_rests_says_until_when() {
    let provider = Provider::listen();
    let fixture = soniox(&provider);
    ready(&fixture, &provider, "transcription:en-US").error(402, "");
    assert_eq!(fixture.failure(1).class, SpeechFailureClass::Capacity);
    fixture.open(2, "transcription:en-US");
    let failure = fixture.failure(2);
    assert_eq!(failure.class, SpeechFailureClass::Capacity);
    assert!(
        (1_700_000..=1_800_000).contains(&failure.retry_after_ms),
        "{failure:?}"
    );
    fixture.done();
}

#[test]
fn another_key_takes_over_without_a_word_and_without_a_gap() {
    let provider = Provider::listen();
    let fixture = soniox_with(&provider, |settings| {
        settings.speech.soniox_fallback_api_keys = vec!["sk-other".into()];
    });
    let mut first = ready(&fixture, &provider, "transcription:en-US");
    fixture.audio(1, 1);
    assert_eq!(first.audio(), vec![1; 4]);
    first.error(401, "unknown key");
    let (mut second, config) = provider.opened();
    assert_eq!(config["api_key"], "sk-other");
    assert_eq!(second.audio(), vec![1; 4], "what the first swallowed");
    second.tokens(&[("hello", false)]);
    assert_eq!(fixture.heard(1).text, "hello");
    // A new one does not even try the key that was refused.
    fixture.open(2, "transcription:fr-FR");
    let (mut third, config) = provider.opened();
    assert_eq!(config["api_key"], "sk-other");
    assert_eq!(fixture.of(2), SpeechReport::Ready);
    third.error(401, "this one too");
    let failure = fixture.failure(2);
    assert_eq!(failure.class, SpeechFailureClass::Permanent);
    fixture.done();
}

#[test]
fn a_connection_that_ends_makes_pending_words_final() {
    let provider = Provider::listen();
    let fixture = soniox(&provider);
    let mut peer = ready(&fixture, &provider, "transcription:en-US");
    peer.tokens(&[("half a", false)]);
    assert!(!fixture.heard(1).is_final);
    let frame = CloseFrame {
        code: 1011.into(),
        reason: "".into(),
    };
    peer.0.close(Some(frame)).expect("closes");
    assert!(fixture.heard(1).is_final);
    assert_eq!(fixture.of(1), SpeechReport::Closed(Some(1011)));
    let _ = peer.0.flush();
    drop(ready(&fixture, &provider, "transcription:en-US"));
    assert_eq!(fixture.of(1), SpeechReport::Closed(Some(1006)));
    let mut peer = ready(&fixture, &provider, "transcription:en-US");
    peer.send(json!({"finished": true}));
    assert_eq!(fixture.of(1), SpeechReport::Closed(Some(1000)));
    fixture.done();
}

#[test]
fn a_provider_that_cannot_be_reached_or_does_not_answer() {
    let provider = Provider::listen();
    let fixture = soniox_with(&provider, |settings| {
        settings.speech.stt_connect_timeout_ms = 100;
    });
    // The kernel accepts, nobody answers the upgrade.
    fixture.open(1, "transcription:en-US");
    assert_eq!(fixture.failure(1).class, SpeechFailureClass::Timeout);
    fixture.done();
    let fixture = soniox(&provider);
    let refuse = |status: &str| {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = provider.0.accept().expect("a connection");
        let _ = stream.read(&mut [0; 4096]);
        let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    };
    // The one that waited in vain.
    refuse("500 Gone");
    fixture.open(2, "transcription:en-US");
    refuse("403 Forbidden");
    assert_eq!(fixture.failure(2).class, SpeechFailureClass::Permanent);
    fixture.done();
    let fixture = soniox(&provider);
    drop(provider);
    fixture.open(1, "transcription:en-US");
    assert_eq!(fixture.failure(1).class, SpeechFailureClass::Transport);
    fixture.done();
}

#[test]
fn nothing_to_say_is_said_now_and_then() {
    let provider = Provider::listen();
    let fixture = soniox_with(&provider, |settings| {
        settings.speech.stt_keepalive_ms = 100;
    });
    let mut peer = ready(&fixture, &provider, "transcription:auto");
    for _ in 0..2 {
        assert_eq!(peer.json(), json!({"type": "keepalive"}));
    }
    fixture.order(SpeechOrder::Abandon);
    assert!(peer.is_left());
    // The table is empty again, and nothing was reported.
    fixture.open(1, "transcription:auto");
    let (mut peer, _) = provider.opened();
    assert_eq!(fixture.of(1), SpeechReport::Ready);
    fixture.order(SpeechOrder::Abandon);
    assert!(peer.is_left());
    fixture.done();
}

#[test]
fn a_provider_that_takes_no_audio_is_given_up_and_holds_nobody_up() {
    let provider = Provider::listen();
    let fixture = soniox(&provider);
    let _deaf = ready(&fixture, &provider, "transcription:en-US");
    fixture.open(2, "transcription:fr-FR");
    let (mut other, _) = provider.opened();
    assert_eq!(fixture.of(2), SpeechReport::Ready);
    let chunk = Bytes::from(vec![0; 64 * 1024]);
    for _ in 0..600 {
        fixture.audio_of(1, chunk.clone());
    }
    fixture.audio(2, 7);
    assert_eq!(other.audio(), vec![7; 4]);
    let failure = fixture.failure(1);
    assert_eq!(failure.class, SpeechFailureClass::Transport);
    fixture.done();
}

#[test]
fn an_end_does_not_wait_for_a_provider_that_takes_nothing() {
    let provider = Provider::listen();
    let fixture = soniox(&provider);
    let _deaf = ready(&fixture, &provider, "transcription:en-US");
    let chunk = Bytes::from(vec![0; 1 << 20]);
    // More than sockets hold, and less than is given up for.
    for _ in 0..40 {
        fixture.audio_of(1, chunk.clone());
    }
    fixture.close(1);
    assert_eq!(fixture.of(1), SpeechReport::Closed(None));
    fixture.done();
}

#[test]
fn what_cannot_run_here_is_refused() {
    let provider = Provider::listen();
    let fixture = soniox_with(&provider, |settings| settings.speech.stt_max_streams = 1);
    fixture.open(2, "transcription:xx-XX");
    assert_eq!(fixture.failure(2).class, SpeechFailureClass::Unsupported);
    let mut peer = ready(&fixture, &provider, "transcription:en-US");
    fixture.open(3, "transcription:fr-FR");
    assert_eq!(fixture.failure(3).class, SpeechFailureClass::Resource);
    peer.error(500, "");
    assert_eq!(fixture.failure(1).class, SpeechFailureClass::Server);
    fixture.done();
    let none = fixture_without_key();
    none.open(1, "transcription:en-US");
    assert_eq!(none.failure(1).class, SpeechFailureClass::Permanent);
    none.done();
}

fn fixture_without_key() -> Fixture {
    fixture(|settings| settings.speech.soniox_api_key = String::new())
}

#[test]
fn a_translation_that_breaks_is_made_anew() {
    let provider = Provider::listen();
    let fixture = soniox(&provider);
    fixture.open(1, "translation:es-ES-to-en-US");
    let (mut peer, config) = provider.opened();
    let two_way = json!({"type": "two_way", "language_a": "es", "language_b": "en"});
    assert_eq!(config["translation"], two_way);
    assert_eq!(fixture.of(1), SpeechReport::Ready);
    fixture.audio_of(1, Bytes::from(vec![1; 320]));
    assert_eq!(peer.audio().len(), 320);
    drop(peer);
    let (mut peer, _) = provider.opened();
    peer.audio();
    let word = |text: &str, status: &str, language: &str| {
        json!({"text": text, "is_final": true, "start_ms": 5, "end_ms": 9, "translation_status": status,
            "language": language, "source_language": "es"})
    };
    let end = json!({"text": "<end>", "is_final": true});
    let tokens = [
        word("hola", "original", "es"),
        word("hello", "translation", "en"),
        end,
    ];
    peer.send(json!({"tokens": tokens}));
    let heard = fixture.heard(1);
    assert_eq!(
        (heard.text.as_str(), heard.original.as_deref()),
        ("hello", Some("hola"))
    );
    assert!(heard.is_final && heard.did_translate);
    assert_eq!(heard.start_ms, 5, "what was sent again is the same sound");
    fixture.close(1);
    peer.until_end();
    peer.send(json!({"finished": true}));
    assert_eq!(
        fixture.of(1),
        SpeechReport::Closed(None),
        "ready is said once"
    );
    fixture.done();
}

fn task(frame: &Value) -> (String, String) {
    let text = |name: &str| {
        frame["header"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (text("action"), text("task_id"))
}

#[test]
fn the_other_vendor_runs_tasks() {
    let provider = Provider::listen();
    let fixture = fixture(|settings| {
        let speech = &mut settings.speech;
        speech.deployment_region = DeploymentRegion::China;
        speech.alibaba_endpoint = provider.address();
        speech.alibaba_api_key = "ak".into();
        speech.alibaba_workspace = "ws-1".into();
    });
    fixture.open(1, "transcription:zh-CN");
    fixture.audio(1, 1);
    let (mut peer, headers) = provider.accept_with_headers();
    for (name, value) in [
        ("authorization", "Bearer ak"),
        ("x-dashscope-workspace", "ws-1"),
    ] {
        assert!(
            headers.contains(&(name.into(), value.into())),
            "{headers:?}"
        );
    }
    let (action, first) = task(&peer.json());
    assert_eq!(action, "run-task");
    let event =
        |task: &str, name: &str| json!({"header": {"task_id": task, "event": name}, "payload": {}});
    let result = |task: &str, text: &str, ends: bool| {
        let sentence = json!({"sentence_id": 0, "begin_time": 1, "end_time": 2, "text": text, "sentence_end": ends});
        json!({"header": {"task_id": task, "event": "result-generated"}, "payload": {"output": {"transcription": sentence}}})
    };
    peer.send(event(&first, "task-started"));
    assert_eq!(fixture.of(1), SpeechReport::Ready);
    assert_eq!(peer.audio(), vec![1; 4]);
    peer.send(result(&first, "你", false));
    let interim = fixture.heard(1);
    peer.send(result(&first, "你好", true));
    let ended = fixture.heard(1);
    assert_eq!((ended.text.as_str(), ended.is_final), ("你好", true));
    assert_eq!(ended.utterance_id, interim.utterance_id);
    assert_eq!(ended.provider, "alibaba");
    fixture.order(SpeechOrder::Pause(SpeechId(1)));
    assert_eq!(task(&peer.json()), ("finish-task".into(), first.clone()));
    peer.send(event(&first, "task-finished"));
    fixture.audio(1, 2);
    let (action, second) = task(&peer.json());
    assert_eq!(action, "run-task");
    assert_ne!(second, first);
    peer.send(event(&second, "task-started"));
    assert_eq!(peer.audio(), vec![2; 4], "kept until the task had started");
    // It breaks, and comes back with a task of its own.
    drop(peer);
    let mut peer = provider.accept();
    let (_, third) = task(&peer.json());
    peer.send(event(&third, "task-started"));
    fixture.close(1);
    assert_eq!(task(&peer.json()), ("finish-task".into(), third.clone()));
    peer.send(result(&third, "再见", true));
    peer.send(event(&third, "task-finished"));
    assert_eq!(fixture.heard(1).text, "再见");
    assert_eq!(fixture.of(1), SpeechReport::Closed(None));
    fixture.done();
}

#[test]
fn a_task_that_fails_or_never_starts() {
    let provider = Provider::listen();
    let fixture = fixture(|settings| {
        let speech = &mut settings.speech;
        speech.deployment_region = DeploymentRegion::China;
        speech.alibaba_endpoint = provider.address();
        speech.alibaba_api_key = "ak".into();
    });
    fixture.open(1, "transcription:zh-CN");
    let mut peer = provider.accept();
    let (_, id) = task(&peer.json());
    peer.send(json!({"header": {"task_id": id, "event": "task-failed", "error_code": "Throttling.RateQuota", "error_message": "slow"}}));
    assert_eq!(fixture.failure(1).class, SpeechFailureClass::Capacity);
    fixture.done();
    let fixture = self::fixture(|settings| {
        let speech = &mut settings.speech;
        speech.deployment_region = DeploymentRegion::China;
        speech.alibaba_endpoint = provider.address();
        speech.alibaba_api_key = "ak".into();
        speech.stt_connect_timeout_ms = 300;
    });
    fixture.open(1, "transcription:zh-CN");
    let _mute = provider.accept();
    assert_eq!(fixture.failure(1).class, SpeechFailureClass::Timeout);
    fixture.done();
}
