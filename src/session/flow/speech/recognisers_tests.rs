//! Layer 2, tests of recognisers: what is asked of them, when, and after which failures (behaviour.md §8.1–8.5).

use super::*;
use crate::base::metrics::Counter;
use crate::session::event::{Event, Sdk};
use crate::session::managers::audio::Format;
use crate::session::testkit::media::{Kit, PHONE_CONN};
use crate::session::testkit::session_end;
use crate::wire::speech::Utterance;
use serde_json::json;

const EN: &str = "transcription:en-US";
const DE: &str = "transcription:de-DE";
const FR_EN: &str = "translation:fr-FR-to-en-US";

/// A provider, and an app that may hear everything.
pub(crate) fn kit() -> Kit {
    let mut kit = Kit::new();
    kit.cfg.speech.soniox_api_key = "key".into();
    kit.app("main", Sdk::V2);
    kit.app("back", Sdk::V2);
    kit.forget();
    kit
}

/// Takes what recognisers were told, without audio.
pub(crate) fn told(kit: &mut Kit) -> Vec<String> {
    let all = std::mem::take(&mut kit.other);
    let words = all.into_iter().filter_map(|effect| match effect {
        Effect::Speech(SpeechOrder::Open(open)) => {
            let stream = match open.stream {
                Sub::Transcription(language) => language.to_string(),
                Sub::Translation { source, target } => format!("{source}>{target}"),
                other => format!("{other:?}"),
            };
            let hints: String = open.options.hints.iter().map(|h| format!("+{h}")).collect();
            let late = open
                .instead_of
                .map(|late| format!(" instead of {}", late.0));
            let late = late.unwrap_or_default();
            Some(format!("open {} {stream}{hints}{late}", open.id.0))
        }
        Effect::Speech(SpeechOrder::Close(id)) => Some(format!("close {}", id.0)),
        Effect::Speech(SpeechOrder::Pause(id)) => Some(format!("pause {}", id.0)),
        Effect::Speech(SpeechOrder::Abandon) => Some("abandon".into()),
        _ => None,
    });
    words.collect()
}

/// Takes the audio that recognisers were given: for whom, how many bytes.
fn fed(kit: &mut Kit) -> Vec<(Vec<u32>, usize)> {
    let (audio, rest) = std::mem::take(&mut kit.other)
        .into_iter()
        .partition(|effect| matches!(effect, Effect::Speech(SpeechOrder::Audio { .. })));
    kit.other = rest;
    let audio: Vec<Effect> = audio;
    let one = |effect| match effect {
        Effect::Speech(SpeechOrder::Audio { ids, pcm }) => {
            (ids.iter().map(|id: &SpeechId| id.0).collect(), pcm.len())
        }
        other => panic!("{other:?} is no audio"),
    };
    audio.into_iter().map(one).collect()
}

pub(crate) fn report(kit: &mut Kit, id: u32, report: SpeechReport) {
    kit.run(|s, cx| reported(s, SpeechId(id), report, cx));
}

pub(crate) fn fail(kit: &mut Kit, id: u32, class: SpeechFailureClass) {
    let failure = SpeechFailure {
        class,
        cause: "test".into(),
        retry_after_ms: 0,
    };
    report(kit, id, SpeechReport::Failed(failure));
}

pub(crate) fn vad(kit: &mut Kit, status: bool) {
    kit.phone(&json!({"type": "VAD", "status": status}));
}

/// Speaks for so long, a chunk each 100 ms; says what recognisers were told, and when.
pub(crate) fn speak(kit: &mut Kit, ms: u64) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    for at_ms in (0..ms).step_by(100) {
        kit.audio(&[0; 320]);
        all.extend(told(kit).into_iter().map(|word| (at_ms, word)));
        kit.advance(100);
        all.extend(told(kit).into_iter().map(|word| (at_ms + 100, word)));
    }
    all
}

fn has_deadline(kit: &Kit) -> bool {
    kit.s.timers.has(|timer| {
        matches!(
            timer,
            Timer::SpeechStart
                | Timer::SpeechRetry
                | Timer::SpeechLinger
                | Timer::SpeechGap
                | Timer::SpeechHealth
        )
    })
}

#[test]
fn without_a_provider_nothing_happens_at_all() {
    let mut kit = kit();
    kit.cfg.speech.soniox_api_key.clear();
    kit.subscribe("main", &[EN, FR_EN]);
    vad(&mut kit, true);
    speak(&mut kit, 3000);
    vad(&mut kit, false);
    assert!(!has_deadline(&kit));
    assert!(kit.other.is_empty());
    assert_eq!(kit.s.m.speech.desired().len(), 2);
    assert_eq!(kit.s.m.audio.speech_ms, u64::MAX);
}

#[test]
fn the_china_region_has_a_key_of_its_own() {
    let mut kit = kit();
    kit.cfg.speech.deployment_region = DeploymentRegion::China;
    kit.subscribe("main", &[EN]);
    assert!(told(&mut kit).is_empty());
    kit.cfg.speech.alibaba_api_key = "key".into();
    kit.subscribe("main", &[EN]);
    assert_eq!(told(&mut kit), ["open 1 en-US"]);
}

#[test]
fn new_settings_are_acted_upon_at_once() {
    let mut kit = kit();
    let key = std::mem::take(&mut kit.cfg.speech.soniox_api_key);
    kit.subscribe("main", &[EN, DE]);
    assert!(told(&mut kit).is_empty());
    kit.cfg.speech.soniox_fallback_api_keys = vec![key];
    kit.run(|s, cx| s.on_event(Event::SpeechSettingsChanged, cx));
    assert_eq!(told(&mut kit), ["open 1 en-US", "open 2 de-DE"]);
    fail(&mut kit, 1, SpeechFailureClass::Permanent);
    fail(&mut kit, 2, SpeechFailureClass::Unsupported);
    kit.run(|s, cx| s.on_event(Event::SpeechSettingsChanged, cx));
    assert_eq!(
        told(&mut kit),
        ["open 3 en-US", "open 4 de-DE"],
        "another key, another region"
    );
    kit.cfg.speech.soniox_fallback_api_keys = vec![" ".into()];
    kit.run(|s, cx| s.on_event(Event::SpeechSettingsChanged, cx));
    assert_eq!(told(&mut kit), ["close 3", "close 4"]);
    kit.audio(&[0; 320]);
    assert!(fed(&mut kit).is_empty());
}

#[test]
fn one_recogniser_per_language_serves_all_apps() {
    let mut kit = kit();
    kit.subscribe("main", &["transcription:en-US?hints=es", FR_EN]);
    assert_eq!(told(&mut kit), ["open 1 en-US+es", "open 2 fr-FR>en-US"]);
    kit.subscribe("back", &["transcription", "transcription:en"]);
    assert!(told(&mut kit).is_empty());
    kit.subscribe("main", &[]);
    kit.advance(9000);
    told(&mut kit);
    kit.subscribe("main", &[]);
    assert_eq!(told(&mut kit), ["close 2"], "the other is still wanted");
    kit.stop("back");
    assert_eq!(told(&mut kit), ["close 1"]);
}

#[test]
fn a_language_that_nobody_wants_any_more_ends_and_its_late_reports_mean_nothing() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    kit.subscribe("main", &[DE]);
    assert_eq!(told(&mut kit), ["open 1 en-US", "close 1", "open 2 de-DE"]);
    report(&mut kit, 1, SpeechReport::Ready);
    kit.subscribe("main", &[EN]);
    assert_eq!(told(&mut kit), ["close 2", "open 3 en-US"]);
    report(&mut kit, 3, SpeechReport::Ready);
    // The old one of the same key ends late, and once more.
    report(&mut kit, 1, SpeechReport::Closed(Some(4000)));
    report(&mut kit, 1, SpeechReport::Closed(Some(4000)));
    fail(&mut kit, 2, SpeechFailureClass::Transport);
    kit.advance(1500);
    kit.audio(&[0; 320]);
    assert_eq!(fed(&mut kit), [(vec![3], 320)]);
    assert!(told(&mut kit).is_empty());
    assert_eq!(kit.s.m.speech.live_streams(), [1, 0]);
}

#[test]
fn audio_goes_once_to_all_that_are_open_started_ones_included() {
    let mut kit = kit();
    kit.subscribe("main", &[EN, FR_EN]);
    report(&mut kit, 1, SpeechReport::Ready);
    kit.audio(&[0; 321]);
    kit.audio(&[0; 319]);
    assert_eq!(
        fed(&mut kit),
        [(vec![1, 2], 320), (vec![1, 2], 320)],
        "whole samples"
    );
    assert!(kit.binary().is_empty(), "nobody wants it raw");
    fail(&mut kit, 2, SpeechFailureClass::Unsupported);
    kit.audio(&[0; 320]);
    assert_eq!(fed(&mut kit), [(vec![1], 320)]);
}

#[test]
fn datagrams_are_heard_like_frames() {
    let mut kit = kit();
    kit.phone(&json!({"type": "udp_register", "userIdHash": 7}));
    kit.subscribe("main", &[EN]);
    told(&mut kit);
    // The third came before the second.
    for (sequence, bytes) in [(1, 320), (3, 640), (2, 960)] {
        let mut payload = vec![0; bytes];
        kit.run(|s, cx| s.on_udp_audio(sequence, &mut payload, cx));
    }
    let all = [320, 960, 640].map(|bytes| (vec![1], bytes));
    assert_eq!(fed(&mut kit), all);
}

#[test]
fn lc3_is_decoded_once_for_apps_and_recognisers() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    kit.s.m.audio.configure(Format::Lc3 { frame_bytes: 60 });
    let sound = include_bytes!("../../../../tests/golden/lc3/60.lc3");
    kit.audio(&sound[..180]);
    assert_eq!(fed(&mut kit), [(vec![1], 960)]);
    kit.subscribe("back", &["audio_chunk"]);
    kit.audio(&sound[180..360]);
    assert_eq!(fed(&mut kit), [(vec![1], 960)]);
    assert_eq!(kit.binary().len(), 1);
    assert_eq!(kit.metrics.get(Counter::Lc3Frames), 6);
}

#[test]
fn silence_ends_them_and_speech_brings_them_back() {
    let mut kit = kit();
    kit.subscribe("main", &[EN, FR_EN]);
    told(&mut kit);
    vad(&mut kit, true);
    assert!(told(&mut kit).is_empty(), "they run");
    vad(&mut kit, false);
    assert_eq!(told(&mut kit), ["close 1", "close 2"]);
    assert!(speak(&mut kit, 3000).is_empty(), "not while it is silent");
    assert!(fed(&mut kit).is_empty());
    vad(&mut kit, true);
    assert_eq!(told(&mut kit), ["open 3 en-US", "open 4 fr-FR>en-US"]);
    kit.phone(&json!({"type": "VAD", "status": "maybe"}));
    assert_eq!(told(&mut kit), ["close 3", "close 4"]);
}

#[test]
fn an_app_that_asks_is_served_though_silence_was_the_last_word() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    kit.subscribe("back", &["button_press"]);
    vad(&mut kit, false);
    assert_eq!(told(&mut kit), ["open 1 en-US", "close 1"]);
    kit.run(|s, cx| crate::session::flow::sync::subscriptions_removed(s, "back", cx));
    assert!(speak(&mut kit, 2000).is_empty(), "one that leaves asks not");
    // From now on the phone sends everything and detects no voice.
    kit.subscribe("back", &["audio_chunk"]);
    assert_eq!(told(&mut kit), ["open 2 en-US"]);
    report(&mut kit, 2, SpeechReport::Ready);
    kit.audio(&[0; 320]);
    assert_eq!(fed(&mut kit), [(vec![2], 320)]);
    fail(&mut kit, 2, SpeechFailureClass::Transport);
    kit.advance(5000);
    assert_eq!(told(&mut kit), ["open 3 en-US"], "as for any such phone");
    vad(&mut kit, false);
    assert_eq!(told(&mut kit), ["close 3"]);
}

#[test]
fn a_list_that_is_sent_again_in_silence_opens_nothing() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    vad(&mut kit, false);
    told(&mut kit);
    kit.subscribe("main", &[EN]);
    kit.subscribe("main", &[EN, "button_press"]);
    kit.subscribe("back", &["head_position"]);
    assert!(told(&mut kit).is_empty(), "the phone will tell of a voice");
    kit.subscribe("back", &["head_position", DE]);
    assert_eq!(told(&mut kit), ["open 2 en-US", "open 3 de-DE"]);
    // A phone whose audio is wanted whole may tell of no voice any more.
    kit.subscribe("back", &["audio_chunk"]);
    vad(&mut kit, false);
    told(&mut kit);
    kit.subscribe("main", &[EN]);
    assert_eq!(told(&mut kit), ["open 4 en-US"]);
}

#[test]
fn they_may_stay_for_a_while_after_speech() {
    let mut kit = kit();
    kit.cfg.speech.vad_close_linger_ms = 700;
    kit.subscribe("main", &[EN]);
    told(&mut kit);
    vad(&mut kit, false);
    assert_eq!(
        told(&mut kit),
        ["pause 1"],
        "what is pending becomes final now"
    );
    kit.advance(600);
    vad(&mut kit, true);
    kit.advance(1000);
    assert!(told(&mut kit).is_empty());
    vad(&mut kit, false);
    kit.advance(500);
    vad(&mut kit, false);
    kit.advance(200);
    assert_eq!(told(&mut kit), ["close 1"]);
}

#[test]
fn audio_of_a_phone_without_vad_starts_what_is_missing_once_a_second() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    report(&mut kit, 1, SpeechReport::Ready);
    report(
        &mut kit,
        1,
        SpeechReport::Heard(Box::new(Utterance {
            text: "hi".into(),
            ..Utterance::default()
        })),
    );
    told(&mut kit);
    kit.audio(&[0; 320]);
    report(&mut kit, 1, SpeechReport::Closed(Some(1000)));
    let again = speak(&mut kit, 3000);
    assert_eq!(again, [(1000, "open 2 en-US".to_owned())]);
}

#[test]
fn without_audio_they_pause_and_go_on_with_the_next() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    report(&mut kit, 1, SpeechReport::Ready);
    told(&mut kit);
    assert!(speak(&mut kit, 5000).is_empty());
    kit.advance(1800);
    assert!(told(&mut kit).is_empty());
    kit.advance(1200);
    assert_eq!(told(&mut kit), ["pause 1"]);
    kit.advance(60_000);
    assert!(told(&mut kit).is_empty(), "once");
    kit.audio(&[0; 320]);
    assert_eq!(fed(&mut kit), [(vec![1], 320)]);
    kit.advance(3100);
    assert_eq!(told(&mut kit), ["pause 1"]);
}

#[test]
fn an_idle_one_ends_and_audio_brings_it_back() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    report(&mut kit, 1, SpeechReport::Ready);
    kit.advance(299_000);
    told(&mut kit);
    kit.advance(2000);
    assert_eq!(told(&mut kit), ["close 1"]);
    report(&mut kit, 1, SpeechReport::Closed(None));
    kit.advance(600_000);
    assert!(told(&mut kit).is_empty());
    kit.audio(&[0; 320]);
    assert_eq!(told(&mut kit), ["open 2 en-US"]);
}

#[test]
fn one_that_never_reports_its_end_is_told_again_and_then_forgotten() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    kit.stop("main");
    told(&mut kit);
    kit.advance(60_000);
    assert!(told(&mut kit).is_empty());
    kit.advance(120_000);
    assert_eq!(told(&mut kit), ["close 1", "close 1"]);
    kit.advance(60_000);
    told(&mut kit);
    assert!(!kit.s.m.speech.holds_any());
    assert!(!has_deadline(&kit), "nothing is left to look after");
}

#[test]
fn an_old_one_is_replaced_in_a_silence() {
    let mut kit = kit();
    kit.cfg.speech.stt_rotate_after_ms = 10_000;
    kit.subscribe("main", &[EN]);
    report(&mut kit, 1, SpeechReport::Ready);
    told(&mut kit);
    for n in 0..12 {
        assert!(speak(&mut kit, 1000).is_empty(), "{n}");
        let text = format!("word {n}");
        let utterance = Utterance {
            text,
            ..Utterance::default()
        };
        report(&mut kit, 1, SpeechReport::Heard(Box::new(utterance)));
    }
    let replaced: Vec<String> = speak(&mut kit, 4000).into_iter().map(|row| row.1).collect();
    assert_eq!(
        replaced,
        ["close 1", "open 2 en-US"],
        "nothing was said for 2 s"
    );
}

#[test]
fn more_hints_start_it_anew_once_it_is_idle() {
    let mut kit = kit();
    kit.subscribe("main", &["transcription:en-US?hints=es"]);
    report(&mut kit, 1, SpeechReport::Ready);
    told(&mut kit);
    kit.audio(&[0; 320]);
    let utterance = Utterance {
        text: "hi".into(),
        ..Utterance::default()
    };
    report(&mut kit, 1, SpeechReport::Heard(Box::new(utterance)));
    kit.subscribe("back", &["transcription:en-US?hints=fr"]);
    assert!(speak(&mut kit, 1900).is_empty());
    let later: Vec<String> = speak(&mut kit, 2000).into_iter().map(|row| row.1).collect();
    assert_eq!(later, ["close 1", "open 2 en-US+es+fr"]);
    report(&mut kit, 2, SpeechReport::Ready);
    kit.stop("back");
    kit.subscribe(
        "main",
        &["transcription:en-US?no-language-identification=true"],
    );
    kit.advance(10_000);
    assert_eq!(told(&mut kit), ["pause 2"], "fewer hints change nothing");
}

#[test]
fn the_end_of_the_session_abandons_them() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    told(&mut kit);
    kit.run(|s, cx| s.on_event(session_end(), cx));
    assert_eq!(told(&mut kit), ["abandon"]);
    assert!(!kit.s.m.speech.holds_any());
    report(&mut kit, 1, SpeechReport::Closed(None));
    assert!(
        kit.other
            .iter()
            .all(|effect| !matches!(effect, Effect::Speech(_)))
    );
}

#[test]
fn the_phone_may_leave_and_return_without_an_effect_on_them() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    report(&mut kit, 1, SpeechReport::Ready);
    told(&mut kit);
    kit.s.m.phone.current = None;
    kit.advance(30_000);
    assert_eq!(told(&mut kit), ["pause 1"]);
    kit.s.m.phone.current = Some(PHONE_CONN);
    kit.audio(&[0; 320]);
    assert_eq!(fed(&mut kit), [(vec![1], 320)]);
    assert!(told(&mut kit).is_empty());
}
