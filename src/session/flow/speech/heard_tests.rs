//! Layer 2, tests of what apps get of what recognisers heard (protocol.md §5.5, 5.6, 7.18).

use super::super::recognisers::tests::{kit, report, told, vad};
use super::*;
use crate::base::ids::ConnId;
use crate::session::effects::Effect;
use crate::session::event::Sdk;
use crate::session::testkit::media::{Kit, PHONE_CONN};
use crate::wire::speech::{SpeechFailure, SpeechFailureClass, SpeechReport};
use serde_json::{Value, json};

fn said(text: &str, is_final: bool, utterance_id: &str) -> Utterance {
    Utterance {
        text: text.into(),
        is_final,
        utterance_id: utterance_id.into(),
        provider: "soniox",
        ..Utterance::default()
    }
}

fn hear(kit: &mut Kit, id: u32, utterance: Utterance) {
    report(kit, id, SpeechReport::Heard(Box::new(utterance)));
}

/// Takes what a socket got: stream name and text.
fn got(kit: &mut Kit, conn: ConnId) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    kit.texts(conn)
        .iter()
        .filter(|(_, message)| message["type"] == "data_stream")
        .map(|(_, message)| (text(&message["streamType"]), text(&message["data"]["text"])))
        .collect()
}

fn names(kit: &mut Kit, conn: ConnId) -> Vec<String> {
    got(kit, conn).into_iter().map(|row| row.0).collect()
}

fn conn_of(kit: &Kit, package: &str) -> ConnId {
    kit.s.m.apps.open_conn(package).expect("open")
}

#[test]
fn a_transcription_has_the_members_of_the_protocol_in_their_order() {
    let mut kit = kit();
    kit.subscribe("main", &["transcription:en-US?hints=es"]);
    report(&mut kit, 1, SpeechReport::Ready);
    kit.forget();
    let whole = Utterance {
        text: "meet me at noon".into(),
        is_final: true,
        utterance_id: "u-17".into(),
        speaker: Some("1".into()),
        confidence: Some(0.94),
        start_ms: 12_040,
        end_ms: 13_410,
        detected: Some("en".into()),
        provider: "soniox",
        tokens: vec![SpeechToken {
            text: "meet".into(),
            start_ms: Some(12_040),
            end_ms: Some(12_200),
            confidence: Some(0.97),
            is_final: true,
            speaker: Some("1".into()),
        }],
        ..Utterance::default()
    };
    let mut out = Vec::new();
    let english = kit.s.m.speech.desired()[0].stream;
    let Sub::Transcription(language) = english else {
        panic!("{english:?}");
    };
    transcription(&mut out, language, &whole);
    assert_eq!(
        std::str::from_utf8(&out).expect("UTF-8"),
        concat!(
            r#"{"type":"transcription","text":"meet me at noon","isFinal":true,"utteranceId":"u-17","speakerId":"1","#,
            r#""confidence":0.94,"startTime":12040,"endTime":13410,"duration":1370,"transcribeLanguage":"en-US","#,
            r#""detectedLanguage":"en","provider":"soniox","#,
            r#""metadata":{"provider":"soniox","soniox":{"tokens":[{"text":"meet","startMs":12040,"endMs":12200,"#,
            r#""confidence":0.97,"isFinal":true,"speaker":"1"}]}}}"#
        )
    );
    hear(&mut kit, 1, whole);
    let conn = conn_of(&kit, "main");
    let (_, envelope) = kit.texts(conn).remove(0);
    assert_eq!(envelope["streamType"], "transcription:en-US?hints=es");
    assert_eq!(envelope["sessionId"], "nadia@lumen.io-main");
    assert_eq!(envelope["data"]["transcribeLanguage"], "en-US");
}

#[test]
fn what_is_not_known_is_absent() {
    let mut kit = kit();
    kit.subscribe("main", &["transcription:auto"]);
    kit.forget();
    hear(&mut kit, 1, said("hi", false, "u1"));
    let conn = conn_of(&kit, "main");
    let (_, envelope) = kit.texts(conn).remove(0);
    assert_eq!(
        envelope["data"],
        json!({"type": "transcription", "text": "hi", "isFinal": false, "utteranceId": "u1",
            "speakerId": "0", "startTime": 0, "endTime": 0, "duration": 0,
            "transcribeLanguage": "auto", "provider": "soniox"})
    );
}

#[test]
fn a_translation_goes_to_its_pair_under_each_apps_own_name() {
    let mut kit = kit();
    kit.subscribe(
        "main",
        &[
            "translation:es-ES-to-en-US?x=1",
            "translation:es-ES-to-fr-FR",
        ],
    );
    kit.subscribe("back", &["*"]);
    kit.forget();
    hear(
        &mut kit,
        1,
        Utterance {
            original: Some("buenas tardes".into()),
            start_ms: 800,
            end_ms: 1900,
            did_translate: true,
            ..said("good afternoon", true, "u1")
        },
    );
    let conn = conn_of(&kit, "main");
    let (_, envelope) = kit.texts(conn).remove(0);
    assert_eq!(envelope["streamType"], "translation:es-ES-to-en-US?x=1");
    assert_eq!(
        envelope["data"].to_string(),
        json!({"type": "translation", "text": "good afternoon", "originalText": "buenas tardes", "isFinal": true,
            "utteranceId": "u1", "startTime": 800, "endTime": 1900, "duration": 1100, "transcribeLanguage": "es-ES",
            "translateLanguage": "en-US", "didTranslate": true, "provider": "soniox"})
        .to_string()
    );
    let wild = conn_of(&kit, "back");
    assert_eq!(names(&mut kit, wild), ["translation:es-ES-to-en-US"]);
}

#[test]
fn a_translation_of_any_language_names_the_one_it_heard() {
    let mut kit = kit();
    kit.subscribe("main", &["translation:auto-es"]);
    kit.subscribe("back", &["*"]);
    kit.forget();
    for detected in [Some("it".to_owned()), None] {
        let id = format!("{detected:?}");
        hear(
            &mut kit,
            1,
            Utterance {
                detected,
                ..said("hola", true, &id)
            },
        );
    }
    let conn = conn_of(&kit, "main");
    let spoken: Vec<Value> = kit
        .texts(conn)
        .into_iter()
        .map(|(_, message)| message["data"]["transcribeLanguage"].clone())
        .collect();
    assert_eq!(spoken, ["it", "auto"]);
    let wild = conn_of(&kit, "back");
    assert_eq!(names(&mut kit, wild)[0], "translation:all-to-es");
}

#[test]
fn apps_that_write_regions_hear_of_spoken_languages_with_theirs() {
    let mut kit = kit();
    kit.subscribe("main", &["translation:all-to-en-GB"]);
    kit.forget();
    for (at, detected) in ["es", "en", "no", "xx"].into_iter().enumerate() {
        let detected = Some(detected.to_owned());
        let text = said("hello", true, &at.to_string());
        hear(&mut kit, 1, Utterance { detected, ..text });
    }
    let conn = conn_of(&kit, "main");
    let heard = kit.texts(conn).into_iter();
    let spoken: Vec<Value> = heard
        .map(|(_, message)| message["data"]["transcribeLanguage"].clone())
        .collect();
    assert_eq!(spoken, ["es-ES", "en-GB", "nb-NO", "xx"]);
}

#[test]
fn a_recogniser_that_names_no_language_heard_the_one_it_was_asked_for() {
    let mut kit = kit();
    kit.subscribe(
        "main",
        &["transcription:ja-JP?no-language-identification=true"],
    );
    kit.forget();
    hear(&mut kit, 1, said("hai", true, "u1"));
    let conn = conn_of(&kit, "main");
    let (_, envelope) = kit.texts(conn).remove(0);
    assert_eq!(envelope["data"]["detectedLanguage"], "ja-JP");
}

#[test]
fn the_phones_mini_apps_get_speech_too() {
    let mut kit = kit();
    kit.phone(
        &json!({"type": "phone_subscription_update", "subscriptions": ["transcription:en-US"]}),
    );
    assert_eq!(told(&mut kit), ["open 1 en-US"]);
    kit.forget();
    hear(&mut kit, 1, said("open the map", false, "u1"));
    let (_, envelope) = kit.texts(PHONE_CONN).remove(0);
    assert_eq!(envelope["sessionId"], "nadia@lumen.io-__phone__");
    assert_eq!(envelope["streamType"], "transcription:en-US");
}

#[test]
fn auto_subscribers_hear_language_recognisers_only_while_no_auto_one_is_live() {
    let mut kit = kit();
    kit.subscribe("main", &["transcription:auto"]);
    kit.subscribe("back", &["transcription:en-US"]);
    let (auto, english) = (conn_of(&kit, "main"), conn_of(&kit, "back"));
    report(&mut kit, 2, SpeechReport::Ready);
    kit.forget();
    hear(&mut kit, 2, said("one", true, "a"));
    assert!(names(&mut kit, auto).is_empty(), "it will say so itself");
    assert_eq!(names(&mut kit, english), ["transcription:en-US"]);
    report(&mut kit, 1, SpeechReport::Ready);
    hear(&mut kit, 1, said("one", true, "b"));
    assert_eq!(names(&mut kit, auto), ["transcription:auto"]);
    assert!(
        names(&mut kit, english).is_empty(),
        "its language has its own"
    );
    let failure = SpeechFailure {
        class: SpeechFailureClass::Server,
        cause: String::new(),
        retry_after_ms: 0,
    };
    report(&mut kit, 1, SpeechReport::Failed(failure));
    hear(&mut kit, 2, said("two", true, "c"));
    assert_eq!(names(&mut kit, auto), ["transcription:auto"]);
    kit.advance(10_000);
    hear(&mut kit, 2, said("three", true, "d"));
    assert_eq!(
        names(&mut kit, auto).len(),
        1,
        "one that failed counts when it is ready"
    );
    report(&mut kit, 3, SpeechReport::Ready);
    hear(&mut kit, 2, said("four", true, "e"));
    assert!(names(&mut kit, auto).is_empty());
}

#[test]
fn after_a_silence_the_last_words_reach_auto_subscribers_once() {
    let mut kit = kit();
    kit.subscribe("main", &["transcription:auto"]);
    kit.subscribe("back", &["transcription:en-US"]);
    report(&mut kit, 1, SpeechReport::Ready);
    report(&mut kit, 2, SpeechReport::Ready);
    vad(&mut kit, false);
    kit.forget();
    hear(&mut kit, 1, said("bye", true, "a"));
    report(&mut kit, 1, SpeechReport::Closed(None));
    hear(&mut kit, 2, said("bye", true, "b"));
    let auto = conn_of(&kit, "main");
    assert_eq!(names(&mut kit, auto), ["transcription:auto"]);
}

#[test]
fn a_short_form_hears_one_recogniser_of_its_language() {
    let mut kit = kit();
    let pairs = ["translation:fr-FR-to-en-US", "translation:fr-FR-to-en-GB"];
    kit.subscribe("main", &["transcription:en", "translation:fr-en"]);
    kit.subscribe(
        "back",
        &[
            "transcription:en-US",
            "transcription:en-GB",
            pairs[0],
            pairs[1],
        ],
    );
    let of = |kit: &Kit, name: &str| {
        let wanted = crate::wire::streams::parse(name).parsed;
        let mut open = kit.s.m.speech.open();
        open.find(|one| one.1 == wanted).expect("runs").0.0
    };
    let american = of(&kit, "transcription:en-US");
    let british = of(&kit, "transcription:en-GB");
    let (first, second) = (of(&kit, pairs[1]), of(&kit, pairs[0]));
    let short = conn_of(&kit, "main");
    for id in [american, british, first, second] {
        report(&mut kit, id, SpeechReport::Ready);
    }
    kit.forget();
    let hears = |kit: &mut Kit, id: u32, text: &str| {
        hear(kit, id, said(text, true, text));
        names(kit, short)
    };
    assert!(hears(&mut kit, american, "a").is_empty());
    assert_eq!(
        hears(&mut kit, british, "b"),
        ["transcription:en"],
        "the lowest region"
    );
    assert!(hears(&mut kit, second, "c").is_empty());
    assert_eq!(hears(&mut kit, first, "d"), ["translation:fr-en"]);
    // Without that one the other serves it, and the last words come once.
    let failure = SpeechFailure {
        class: SpeechFailureClass::Permanent,
        cause: String::new(),
        retry_after_ms: 0,
    };
    report(&mut kit, first, SpeechReport::Failed(failure));
    assert_eq!(hears(&mut kit, second, "e"), ["translation:fr-en"]);
    vad(&mut kit, false);
    assert_eq!(hears(&mut kit, british, "f"), ["transcription:en"]);
    report(&mut kit, british, SpeechReport::Closed(None));
    assert!(hears(&mut kit, american, "g").is_empty());
}

#[test]
fn finals_between_the_order_to_close_and_the_end_are_delivered() {
    let mut kit = kit();
    kit.subscribe("main", &["transcription:en-US"]);
    report(&mut kit, 1, SpeechReport::Ready);
    vad(&mut kit, true);
    hear(&mut kit, 1, said("hel", false, "u1"));
    vad(&mut kit, false);
    kit.forget();
    hear(&mut kit, 1, said("hello", true, "u1"));
    report(&mut kit, 1, SpeechReport::Closed(None));
    hear(&mut kit, 1, said("ghost", true, "u2"));
    let conn = conn_of(&kit, "main");
    let expected = [("transcription:en-US".to_owned(), "hello".to_owned())];
    assert_eq!(got(&mut kit, conn), expected);
}

#[test]
fn nothing_is_said_twice_and_nothing_follows_a_final() {
    let mut kit = kit();
    kit.subscribe("main", &["transcription:en-US"]);
    kit.forget();
    for (text, is_final, id) in [
        ("a", false, "u1"),
        ("a", false, "u1"),
        ("ab", false, "u1"),
        ("a", false, "u1"),
        ("ab", true, "u1"),
        ("abc", false, "u1"),
        ("ab", false, "u2"),
    ] {
        hear(&mut kit, 1, said(text, is_final, id));
    }
    let conn = conn_of(&kit, "main");
    let texts: Vec<String> = got(&mut kit, conn).into_iter().map(|row| row.1).collect();
    assert_eq!(texts, ["a", "ab", "a", "ab", "ab"]);
}

#[test]
fn an_interim_may_be_dropped_for_a_later_one_and_a_final_may_not() {
    let mut kit = kit();
    kit.subscribe("main", &["transcription:en-US"]);
    for (is_final, expected) in [(false, Class::Interim), (true, Class::Control)] {
        kit.run(|s, cx| {
            super::heard(s, SpeechId(1), &said("x", is_final, "u1"), cx);
            let class = cx.fx.list().iter().find_map(|effect| match effect {
                Effect::Text { class, .. } => Some(*class),
                _ => None,
            });
            assert_eq!(class, Some(expected));
        });
    }
}

#[test]
fn a_wildcard_without_the_permission_hears_nothing() {
    let mut kit = kit();
    let poor = kit.app("poor", Sdk::V2);
    kit.subscribe("poor", &["*"]);
    kit.subscribe("main", &["transcription:en-US"]);
    kit.forget();
    hear(&mut kit, 1, said("secret", true, "u1"));
    assert!(names(&mut kit, poor).is_empty());
}

#[test]
fn the_delay_of_a_text_is_measured_from_the_sound_it_was_made_of() {
    let mut kit = kit();
    kit.subscribe("main", &["transcription:en-US"]);
    for _ in 0..10 {
        kit.audio(&[0; 3200]);
    }
    let late = Utterance {
        end_ms: 700,
        ..said("x", true, "u1")
    };
    hear(&mut kit, 1, late);
    let latency = kit.metrics.timing(Timing::SttSonioxTranscription);
    let max_ns = latency.histogram().expect("recorded").max();
    assert!((299_000_000..305_000_000).contains(&max_ns), "{max_ns}");
}
