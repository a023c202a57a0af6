//! Layer 2, tests of recognisers that fail, close or never start: which are tried again, and when (behaviour.md §8.2).

use super::tests::{fail, kit, report, speak, told, vad};
use super::*;
use crate::base::metrics::Counter;
use crate::session::testkit::media::Kit;

const EN: &str = "transcription:en-US";

fn fail_for(kit: &mut Kit, id: u32, class: SpeechFailureClass, retry_after_ms: u64) {
    let failure = SpeechFailure {
        class,
        cause: "test".into(),
        retry_after_ms,
    };
    report(kit, id, SpeechReport::Failed(failure));
}

#[test]
fn failures_are_tried_again_by_class() {
    use SpeechFailureClass as Class;
    let cases: [(Class, &[u64]); 8] = [
        (Class::Unsupported, &[]),
        (Class::Permanent, &[]),
        (Class::Resource, &[]),
        (Class::SessionLength, &[0, 10_000, 15_000]),
        (Class::Capacity, &[5000, 10_000, 20_000]),
        (Class::Timeout, &[5000, 10_000, 15_000]),
        (Class::Server, &[10_000, 20_000, 30_000]),
        (Class::Transport, &[5000, 10_000, 15_000]),
    ];
    for (class, delays) in cases {
        let mut kit = kit();
        kit.cfg.speech.stt_health_check_ms = 3_600_000;
        kit.subscribe("main", &[EN]);
        told(&mut kit);
        for (n, delay_ms) in delays.iter().enumerate() {
            fail(&mut kit, n as u32 + 1, class);
            if *delay_ms > 0 {
                kit.advance(delay_ms - 1);
                assert!(told(&mut kit).is_empty(), "{class:?} {n}");
            }
            kit.advance(1);
            assert_eq!(
                told(&mut kit),
                [format!("open {} en-US", n + 2)],
                "{class:?}"
            );
        }
        fail(&mut kit, delays.len() as u32 + 1, class);
        assert!(speak(&mut kit, 100_000).is_empty(), "{class:?} goes on");
        assert_eq!(
            kit.metrics.get(Counter::SttErrorsSonioxTranscription),
            delays.len() as u64 + 1
        );
    }
}

#[test]
fn what_was_given_up_waits_for_speech_a_subscription_or_the_health_pass() {
    use SpeechFailureClass as Class;
    for (class, speech, list) in [
        (Class::Unsupported, false, false),
        (Class::Permanent, false, true),
        (Class::Resource, true, true),
    ] {
        let mut kit = kit();
        kit.subscribe("main", &[EN]);
        fail(&mut kit, 1, class);
        told(&mut kit);
        vad(&mut kit, true);
        assert_eq!(told(&mut kit).len(), usize::from(speech), "{class:?}");
        fail(&mut kit, 2, class);
        kit.subscribe("main", &[EN]);
        assert_eq!(told(&mut kit).len(), usize::from(list), "{class:?}");
        fail(&mut kit, 2, class);
        fail(&mut kit, 3, class);
        kit.advance(59_000);
        let opened = speak(&mut kit, 1000);
        assert_eq!(opened.len(), usize::from(list), "{class:?}");
        kit.subscribe("main", &[]);
        kit.advance(9000);
        kit.subscribe("main", &[]);
        kit.subscribe("main", &[EN]);
        assert!(
            !told(&mut kit).is_empty(),
            "{class:?}: forgotten with the wish"
        );
    }
}

#[test]
fn a_health_pass_without_audio_starts_nothing() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    fail(&mut kit, 1, SpeechFailureClass::Resource);
    told(&mut kit);
    kit.advance(200_000);
    assert!(told(&mut kit).is_empty());
}

#[test]
fn attempts_are_counted_anew_after_a_minute_of_success() {
    let mut kit = kit();
    kit.cfg.speech.max_stream_retries = 1;
    kit.subscribe("main", &[EN]);
    told(&mut kit);
    for (id, ran_ms) in [(1, 60_000), (2, 60_000), (3, 59_999)] {
        report(&mut kit, id, SpeechReport::Ready);
        kit.advance(ran_ms);
        told(&mut kit);
        fail(&mut kit, id, SpeechFailureClass::SessionLength);
        kit.advance(0);
        let opened = told(&mut kit);
        assert_eq!(opened.len(), usize::from(id < 3), "{id}");
    }
}

#[test]
fn a_provider_that_says_when_to_come_back_is_heard() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    told(&mut kit);
    fail_for(&mut kit, 1, SpeechFailureClass::Capacity, 12_000);
    kit.advance(11_999);
    assert!(told(&mut kit).is_empty());
    kit.advance(1);
    assert_eq!(told(&mut kit), ["open 2 en-US"]);
    fail_for(&mut kit, 2, SpeechFailureClass::Capacity, 12_000);
    vad(&mut kit, true);
    kit.subscribe("main", &[EN]);
    assert!(told(&mut kit).is_empty(), "no trigger shortens the pause");
}

#[test]
fn no_attempt_while_the_user_is_silent() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    fail(&mut kit, 1, SpeechFailureClass::Transport);
    vad(&mut kit, false);
    told(&mut kit);
    kit.advance(20_000);
    assert!(told(&mut kit).is_empty());
    vad(&mut kit, true);
    assert_eq!(told(&mut kit), ["open 2 en-US"]);
}

#[test]
fn the_code_of_a_close_decides_whether_it_is_started_again() {
    for (code, again) in [
        (None, false),
        (Some(1000), false),
        (Some(1006), true),
        (Some(4000), true),
    ] {
        let mut kit = kit();
        kit.subscribe("main", &[EN]);
        report(&mut kit, 1, SpeechReport::Ready);
        report(&mut kit, 1, SpeechReport::Closed(code));
        told(&mut kit);
        kit.advance(999);
        assert!(told(&mut kit).is_empty());
        kit.advance(1);
        assert_eq!(told(&mut kit).len(), usize::from(again), "{code:?}");
    }
}

#[test]
fn one_that_closes_again_and_again_is_given_up() {
    for code in [Some(1000), Some(4000)] {
        let mut kit = kit();
        kit.cfg.speech.stt_health_check_ms = 3_600_000;
        kit.subscribe("main", &[EN]);
        let mut id = 1;
        for _ in 0..10 {
            report(&mut kit, id, SpeechReport::Ready);
            report(&mut kit, id, SpeechReport::Closed(code));
            id += speak(&mut kit, 3000)
                .iter()
                .filter(|row| row.1.starts_with("open"))
                .count() as u32;
        }
        assert_eq!(id, 4, "{code:?}");
    }
}

#[test]
fn a_start_that_takes_too_long_is_a_failure() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    told(&mut kit);
    kit.advance(9_999);
    assert_eq!(told(&mut kit), ["pause 1"]);
    kit.advance(1);
    assert_eq!(told(&mut kit), ["close 1"]);
    report(&mut kit, 1, SpeechReport::Ready);
    kit.advance(5000);
    assert_eq!(told(&mut kit), ["open 2 en-US"]);
    assert_eq!(kit.metrics.get(Counter::SpeechTimeout), 1);
    report(&mut kit, 2, SpeechReport::Ready);
    kit.advance(20_000);
    assert_eq!(told(&mut kit), ["pause 2"]);
}

#[test]
fn a_start_for_speech_is_late_sooner_and_falls_back_once() {
    let mut kit = kit();
    kit.subscribe("main", &[EN]);
    vad(&mut kit, false);
    report(&mut kit, 1, SpeechReport::Closed(None));
    told(&mut kit);
    vad(&mut kit, true);
    assert_eq!(told(&mut kit), ["open 2 en-US"]);
    let all = speak(&mut kit, 20_000);
    let expected = [
        (5000, "close 2".to_owned()),
        // With what was said meanwhile.
        (5000, "open 3 en-US instead of 2".to_owned()),
        (15_000, "close 3".to_owned()),
        (20_000, "open 4 en-US".to_owned()),
    ];
    assert_eq!(all, expected);
}

#[test]
fn the_log_hears_of_a_failure_once_per_class() {
    let lines = crate::base::log_capture::lines_of(|| {
        let mut kit = kit();
        kit.subscribe("main", &[EN]);
        for (id, class) in [
            (1, SpeechFailureClass::Capacity),
            (2, SpeechFailureClass::Capacity),
            (3, SpeechFailureClass::Server),
            (4, SpeechFailureClass::Server),
        ] {
            fail(&mut kit, id, class);
            kit.advance(60_000);
        }
    });
    let told: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains("recogniser failed"))
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
}
