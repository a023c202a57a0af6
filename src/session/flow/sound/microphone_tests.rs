//! Tests of the microphone rules on simulated time (behaviour.md §4).

use crate::session::event::Sdk;
use crate::session::testkit::media::Kit;
use serde_json::json;

/// `(ms since the start, enabled, bypassVad)` of all microphone messages so far.
fn told(kit: &mut Kit) -> Vec<(u64, bool, bool)> {
    kit.phone_got("microphone_state_change")
        .into_iter()
        .map(|(at, text)| {
            let on = text["isMicrophoneEnabled"].as_bool().expect("a boolean");
            let required = if on { json!(["pcm"]) } else { json!([]) };
            assert_eq!(text["requiredData"], required);
            (at, on, text["bypassVad"].as_bool().expect("a boolean"))
        })
        .collect()
}

fn kit() -> Kit {
    let mut kit = Kit::new();
    kit.app("main", Sdk::V3);
    kit.app("back", Sdk::V3);
    kit
}

#[test]
fn the_first_subscriber_switches_on_and_the_last_off_three_seconds_later() {
    let mut kit = kit();
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(2000);
    assert_eq!(told(&mut kit), [(100, true, true)]);
    kit.subscribe("main", &[]);
    kit.advance(4000);
    assert_eq!(told(&mut kit), [(5100, false, false)]);
}

#[test]
fn wildcards_vad_and_events_switch_nothing_on() {
    let mut kit = kit();
    kit.subscribe(
        "main",
        &["*", "all", "VAD", "button_press", "transcription:nonsense"],
    );
    kit.advance(20_000);
    assert_eq!(told(&mut kit), []);
}

/// behaviour.md §4.2: each evaluation without need restarts the hold-down.
#[test]
fn each_change_without_need_holds_off_back_anew() {
    let mut kit = kit();
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(2000);
    told(&mut kit);
    for other in ["button_press", "head_position"] {
        kit.subscribe("main", &[other]);
        kit.advance(2000);
    }
    kit.advance(5000);
    assert_eq!(told(&mut kit), [(7100, false, false)]);
}

#[test]
fn lists_changed_without_need_do_not_keep_it_on_for_ever() {
    let mut kit = kit();
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(2000);
    told(&mut kit);
    for other in ["button_press", "head_position"]
        .into_iter()
        .cycle()
        .take(30)
    {
        kit.subscribe("main", &[other]);
        kit.advance(1000);
    }
    let told = told(&mut kit);
    let (at, on, _) = *told.iter().find(|one| !one.1).expect("an off");
    assert!(!on && at < 2000 + 5 * 3000, "off at {at}");
}

/// behaviour.md §4.3: what equals the last sent state is not repeated within ten seconds, and is after. Glasses that connected were
/// told `off` at 0 ms.
#[test]
fn off_is_said_again_only_after_ten_seconds() {
    let mut kit = kit();
    kit.subscribe("main", &["button_press"]);
    kit.advance(15_000);
    assert_eq!(told(&mut kit), []);
    kit.subscribe("main", &["head_position"]);
    kit.advance(15_000);
    assert_eq!(told(&mut kit), [(18_100, false, false)]);
}

#[test]
fn every_kind_of_speech_switches_on_without_raw_audio() {
    for stream in [
        "transcription",
        "transcription:en",
        "transcription:auto",
        "translation:en-ja",
        "translation",
    ] {
        let mut kit = kit();
        kit.subscribe("main", &[stream]);
        kit.advance(2000);
        assert_eq!(told(&mut kit), [(100, true, false)], "{stream}");
    }
}

#[test]
fn the_phones_own_subscriptions_count() {
    let mut kit = Kit::new();
    kit.phone(&json!({"type": "phone_subscription_update", "subscriptions": ["transcription"]}));
    kit.advance(500);
    assert_eq!(told(&mut kit), [(100, true, false)]);
}

#[test]
fn each_change_restarts_the_quiet_time() {
    let mut kit = kit();
    for other in ["button_press", "head_position", "VAD", "button_press"] {
        kit.subscribe("main", &["audio_chunk", other]);
        kit.advance(60);
    }
    kit.advance(500);
    assert_eq!(told(&mut kit), [(280, true, true)]);
}

/// behaviour.md §2.6: every SDK says its whole list again for every handler and after every ack.
#[test]
fn a_list_that_says_the_same_again_disturbs_nothing() {
    let mut kit = kit();
    kit.subscribe("back", &["VAD", "button_press"]);
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(60);
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(1940);
    assert_eq!(told(&mut kit), [(100, true, true)]);
    kit.subscribe("main", &[]);
    for _ in 0..6 {
        kit.advance(1000);
        kit.subscribe("back", &["button_press", "VAD"]);
    }
    assert_eq!(told(&mut kit), [(5100, false, false)]);
}

#[test]
fn changes_within_a_second_end_in_one_final_message() {
    let mut kit = kit();
    kit.subscribe("main", &["transcription"]);
    kit.advance(300);
    kit.subscribe("back", &["audio_chunk"]);
    kit.advance(300);
    kit.subscribe("back", &[]);
    kit.advance(300);
    kit.subscribe("back", &["audio_chunk"]);
    kit.advance(3000);
    assert_eq!(told(&mut kit), [(100, true, false), (2000, true, true)]);
}

#[test]
fn a_short_absence_does_not_toggle() {
    let mut kit = kit();
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(500);
    kit.subscribe("main", &[]);
    kit.advance(2500);
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(5000);
    assert_eq!(told(&mut kit), [(100, true, true)]);
}

#[test]
fn glasses_that_go_away_do_not_cut_the_hold_short() {
    let mut kit = kit();
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(2000);
    kit.subscribe("main", &[]);
    kit.advance(1000);
    kit.phone(&json!({"type": "glasses_connection_state", "status": "DISCONNECTED"}));
    kit.advance(4000);
    assert_eq!(told(&mut kit), [(100, true, true), (5100, false, false)]);
}

#[test]
fn an_app_in_grace_still_counts() {
    let mut kit = kit();
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(500);
    kit.lose("main");
    kit.advance(4500);
    kit.app("main", Sdk::V3);
    kit.advance(4000);
    assert_eq!(told(&mut kit), [(100, true, true)]);
}

#[test]
fn the_state_is_repeated_every_ten_seconds_while_on() {
    let mut kit = kit();
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(30_500);
    let times: Vec<u64> = told(&mut kit).into_iter().map(|one| one.0).collect();
    assert_eq!(times, [100, 10_100, 20_100, 30_100]);
    kit.s.m.phone.current = None;
    kit.advance(10_000);
    kit.s.m.phone.current = Some(crate::session::testkit::media::PHONE_CONN);
    kit.advance(10_000);
    let times: Vec<u64> = told(&mut kit).into_iter().map(|one| one.0).collect();
    assert_eq!(times, [50_100]);
}

#[test]
fn a_returning_phone_is_told_after_a_tenth_of_a_second() {
    let mut kit = kit();
    kit.s.m.phone.current = None;
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(5000);
    assert_eq!(told(&mut kit), []);
    kit.s.m.phone.current = Some(crate::session::testkit::media::PHONE_CONN);
    kit.run(crate::session::flow::returned::phone_returned);
    kit.advance(1000);
    assert_eq!(told(&mut kit), [(5100, true, true)]);
}

#[test]
fn unwanted_audio_switches_off_at_once_but_not_during_the_hold() {
    let mut kit = kit();
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(2000);
    kit.subscribe("main", &[]);
    told(&mut kit);
    for _ in 0..30 {
        kit.audio(&[0; 320]);
        kit.advance(100);
    }
    assert_eq!(told(&mut kit), []);
    kit.advance(100);
    assert_eq!(told(&mut kit), [(5100, false, false)]);
    kit.audio(&[0; 320]);
    assert_eq!(told(&mut kit), [(5100, false, false)]);
    kit.advance(4999);
    kit.audio(&[0; 320]);
    assert_eq!(told(&mut kit), []);
    kit.advance(1);
    kit.audio(&[0; 320]);
    assert_eq!(told(&mut kit), [(10_100, false, false)]);
}

#[test]
fn wanted_audio_while_believed_off_re_syncs() {
    let mut kit = kit();
    kit.subscribe("main", &["audio_chunk"]);
    kit.audio(&[0; 320]);
    assert_eq!(told(&mut kit), [(0, true, true)]);
    kit.audio(&[0; 320]);
    kit.advance(3000);
    assert_eq!(told(&mut kit), []);
}

#[test]
fn missing_audio_re_syncs_once_per_cooldown_when_switched_on() {
    let mut kit = kit();
    kit.cfg.audio.audio_gap_resync_enabled = true;
    kit.cfg.microphone.mic_keepalive_ms = 600_000;
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(50_000);
    let times: Vec<u64> = told(&mut kit).into_iter().map(|one| one.0).collect();
    assert_eq!(times, [100, 15_100, 45_100]);
}

/// behaviour.md §4.4, 5.3: in the hold-down there is no need that audio could be missed for.
#[test]
fn missing_audio_does_not_cut_the_hold_short() {
    let mut kit = kit();
    kit.cfg.audio.audio_gap_resync_enabled = true;
    kit.subscribe("main", &["audio_chunk"]);
    kit.advance(14_000);
    kit.subscribe("main", &[]);
    kit.advance(10_000);
    assert_eq!(
        told(&mut kit),
        [
            (100, true, true),
            (10_100, true, true),
            (17_100, false, false)
        ]
    );
}

/// behaviour.md §4.4: the need was gone when the repetition was due, and back while changes were still gathered.
#[test]
fn what_is_wanted_again_is_repeated_again() {
    let mut kit = kit();
    kit.cfg.microphone.mic_keepalive_ms = 1500;
    kit.subscribe("main", &["transcription"]);
    kit.advance(900);
    kit.subscribe("back", &["audio_chunk"]);
    kit.advance(400);
    kit.subscribe("back", &[]);
    kit.subscribe("main", &[]);
    kit.advance(400);
    kit.subscribe("main", &["transcription"]);
    kit.advance(4000);
    let times: Vec<u64> = told(&mut kit).into_iter().map(|one| one.0).collect();
    assert_eq!(times, [100, 3300, 4800]);
}

/// behaviour.md §4.3: what a phone that was away did not hear is due at its return.
#[test]
fn an_off_that_fell_into_the_phones_absence_is_told_at_its_return() {
    for (unwanted_ms, away_ms) in [(1000, 5000), (1000, 500), (2900, 50)] {
        let mut kit = kit();
        kit.subscribe("main", &["audio_chunk"]);
        kit.advance(2000);
        told(&mut kit);
        kit.subscribe("main", &[]);
        kit.advance(unwanted_ms);
        kit.s.m.phone.current = None;
        kit.advance(away_ms);
        assert_eq!(told(&mut kit), []);
        kit.s.m.phone.current = Some(crate::session::testkit::media::PHONE_CONN);
        kit.run(crate::session::flow::returned::phone_returned);
        kit.advance(20_000);
        let back_ms = 2000 + unwanted_ms + away_ms;
        assert_eq!(told(&mut kit), [(back_ms + 100, false, false)]);
    }
}
