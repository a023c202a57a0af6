//! Tests of the main view on simulated time (behaviour.md §6.1).

use crate::session::event::Sdk;
use crate::session::testkit::media::{Kit, PHONE_CONN, record};
use crate::wire::records::{AppType, Registry};
use serde_json::{Value, json};

#[path = "hold_tests.rs"]
mod hold;

/// `(ms since the start, text or title)` of all main-view displays so far.
fn shown(kit: &mut Kit) -> Vec<(u64, String)> {
    kit.phone_got("display_event")
        .into_iter()
        .filter(|(_, text)| text["view"] == "main")
        .map(|(at, text)| {
            let layout = &text["layout"];
            let content = layout["title"].as_str().or(layout["text"].as_str());
            (at, content.expect("a text").to_owned())
        })
        .collect()
}

fn texts(kit: &mut Kit) -> Vec<String> {
    shown(kit).into_iter().map(|one| one.1).collect()
}

fn display(text: &str, more: &Value) -> Value {
    let mut message = json!({"type": "display_event", "packageName": "lie", "sessionId": "",
        "view": "main", "layout": {"layoutType": "text_wall", "text": text}});
    for (name, value) in more.as_object().expect("an object") {
        message[name] = value.clone();
    }
    message
}

fn show_with(kit: &mut Kit, package: &str, text: &str, more: &Value) {
    kit.app_says(package, &display(text, more))
        .expect("accepted");
}

fn show(kit: &mut Kit, package: &str, text: &str) {
    show_with(kit, package, text, &json!({}));
}

fn starting(kit: &mut Kit, package: &str) {
    kit.run(|s, cx| super::app_starting(s, package, cx));
}

fn kit() -> Kit {
    let mut kit = Kit::new();
    for package in ["main", "back", "other"] {
        kit.app(package, Sdk::V3);
    }
    kit
}

#[test]
fn a_request_goes_through_with_server_set_view_and_package() {
    let mut kit = kit();
    let message = r#"{"type":"display_event","x":1.50,"view":"dashboard","packageName":"lie","view":"main","layout":{"layoutType":"new","b":1,"a":2}}"#;
    let message: &serde_json::value::RawValue = serde_json::from_str(message).expect("JSON");
    let mut out = Vec::new();
    out.extend_from_slice(message.get().as_bytes());
    let package = crate::base::ids::Package::new("main");
    let conn = kit.s.m.apps.open_conn("main").expect("open");
    kit.run(|s, cx| {
        let m = crate::session::handlers::AppMessage {
            conn,
            package: &package,
            text: &out,
        };
        let row =
            &crate::session::handlers::app::APP[crate::wire::kinds::AppKind::DisplayEvent as usize];
        (row.run)(s, &m, cx)
    })
    .expect("accepted");
    let (_, sent) = kit.phone_got("display_event").remove(0);
    assert_eq!(
        sent.to_string(),
        json!({"type": "display_event", "x": 1.5, "view": "main", "packageName": "main",
            "layout": {"layoutType": "new", "b": 1, "a": 2}})
        .to_string()
    );
}

#[test]
fn a_member_says_no_more_than_its_name_however_that_is_spelt() {
    let mut kit = kit();
    let text = r#"{"type":"display_event","a\"b":1,"x\":1,\"type\":\"app_stopped\",\"y":2,"cut \ud83d":3,"v\u0069ew":"dashboard",
        "layout":{"layoutType":"text_wall","text":"hi"}}"#;
    let conn = kit.s.m.apps.open_conn("main").expect("open");
    kit.run(|s, cx| crate::session::flow::app_in::text(s, conn, text, cx));
    let (_, sent) = kit.phone_got("display_event").remove(0);
    assert_eq!(
        sent,
        json!({"type": "display_event", "a\"b": 1, "x\":1,\"type\":\"app_stopped\",\"y": 2, "cut \u{fffd}": 3, "view": "main",
            "packageName": "main", "layout": {"layoutType": "text_wall", "text": "hi"}})
    );
}

#[test]
fn five_requests_in_a_tenth_of_a_second_become_two() {
    let mut kit = kit();
    for index in 0..5 {
        show(&mut kit, "main", &format!("t{index}"));
        kit.advance(20);
    }
    kit.advance(1000);
    assert_eq!(shown(&mut kit), [(0, "t0".into()), (300, "t4".into())]);
}

#[test]
fn a_forced_display_passes_and_what_it_replaces_never_comes() {
    let mut kit = kit();
    show(&mut kit, "main", "a");
    show(&mut kit, "main", "b");
    show_with(&mut kit, "main", "c", &json!({"forceDisplay": true}));
    kit.advance(1000);
    assert_eq!(texts(&mut kit), ["a", "c"]);
}

#[test]
fn waiting_requests_of_several_apps_come_one_per_window() {
    let mut kit = kit();
    show(&mut kit, "back", "b1");
    show(&mut kit, "main", "m1");
    kit.advance(1000);
    assert_eq!(
        texts(&mut kit),
        ["b1"],
        "the holder of the lock is on the screen"
    );
    kit.advance(1500);
    show(&mut kit, "main", "m2");
    show(&mut kit, "back", "b2");
    show(&mut kit, "main", "m3");
    kit.advance(1000);
    let all = shown(&mut kit);
    assert_eq!(all[0], (2500, "m2".into()));
    assert_eq!(
        all[1..],
        [(2800, "b2".into())],
        "b2 took the free lock before m3 came up"
    );
}

#[test]
fn a_background_app_holds_the_screen_ten_seconds_at_most() {
    let mut kit = kit();
    let mut times = Vec::new();
    for step in 0..24 {
        show(&mut kit, "back", &format!("b{step}"));
        show(&mut kit, "other", &format!("o{step}"));
        kit.advance(500);
    }
    for (at, text) in shown(&mut kit) {
        if text.starts_with('o') {
            times.push(at);
        }
    }
    assert!(times.first().is_none_or(|first| *first >= 10_000));
    assert!(
        times.is_empty(),
        "the holder asks first each time and gets the lock again"
    );
}

#[test]
fn a_silent_holder_loses_the_screen_after_two_seconds() {
    let mut kit = kit();
    show(&mut kit, "back", "b");
    kit.advance(2000);
    show(&mut kit, "other", "early");
    kit.advance(1);
    show(&mut kit, "other", "o");
    assert_eq!(shown(&mut kit), [(0, "b".into()), (2001, "o".into())]);
}

#[test]
fn the_foreground_app_is_back_when_the_background_app_is_done() {
    let mut kit = kit();
    show_with(&mut kit, "back", "b", &json!({"durationMs": 1500}));
    kit.advance(400);
    show_with(&mut kit, "main", "m", &json!({"durationMs": 5000}));
    kit.advance(10_000);
    assert_eq!(
        shown(&mut kit),
        [(0, "b".into()), (1500, "m".into()), (5400, String::new())]
    );
}

#[test]
fn the_screen_is_cleared_once_when_a_duration_ends() {
    let mut kit = kit();
    show_with(&mut kit, "main", "m", &json!({"durationMs": 1000}));
    kit.advance(5000);
    let all = kit.phone_got("display_event");
    assert_eq!(all.len(), 2);
    let (at, clear) = &all[1];
    assert_eq!(*at, 1000);
    assert_eq!(
        (
            &clear["packageName"],
            &clear["durationMs"],
            &clear["layout"]
        ),
        (
            &json!("com.mentra.os"),
            &json!(0),
            &json!({"layoutType": "text_wall", "text": ""})
        )
    );
}

#[test]
fn a_display_whose_time_is_over_keeps_the_foreground_app_off_no_longer() {
    let mut kit = kit();
    show(&mut kit, "main", "m0");
    kit.advance(50);
    show(&mut kit, "main", "m1");
    kit.advance(50);
    let brief = json!({"durationMs": 100, "forceDisplay": true});
    show_with(&mut kit, "back", "b", &brief);
    kit.advance(5000);
    let expected = [(0, "m0"), (100, "b"), (400, "m1")];
    assert_eq!(
        shown(&mut kit),
        expected.map(|(at, text)| (at, text.into()))
    );
}

#[test]
fn a_display_whose_time_is_over_keeps_no_background_app_off_either() {
    let mut kit = kit();
    show(&mut kit, "main", "m0");
    kit.advance(50);
    show(&mut kit, "other", "o");
    kit.advance(10);
    show_with(&mut kit, "main", "m1", &json!({"forceDisplay": true}));
    kit.advance(40);
    let brief = json!({"durationMs": 100, "forceDisplay": true});
    show_with(&mut kit, "back", "b", &brief);
    kit.advance(1000);
    let expected = [(0, "m0"), (60, "m1"), (100, "b"), (400, "o")];
    assert_eq!(
        shown(&mut kit),
        expected.map(|(at, text)| (at, text.into()))
    );
}

#[test]
fn a_screen_is_cleared_though_what_waited_for_it_may_not_be_shown_any_more() {
    let mut kit = kit();
    show_with(&mut kit, "back", "b", &json!({"durationMs": 100}));
    kit.advance(50);
    show(&mut kit, "back", "newer");
    kit.advance(150);
    kit.lose("back");
    kit.advance(1000);
    assert_eq!(shown(&mut kit), [(0, "b".into()), (300, String::new())]);
}

#[test]
fn a_boot_screen_lasts_a_second_and_a_half_and_keeps_the_latest_requests() {
    let mut kit = kit();
    starting(&mut kit, "main");
    let (_, boot) = kit.phone_got("display_event").remove(0);
    assert_eq!(
        boot["layout"],
        json!({"layoutType": "reference_card", "title": "// MentraOS - Starting App", "text": "MAIN"})
    );
    show(&mut kit, "back", "b");
    show(&mut kit, "main", "m1");
    show_with(&mut kit, "main", "m2", &json!({"durationMs": 500}));
    kit.advance(1499);
    assert_eq!(shown(&mut kit), []);
    kit.advance(401);
    assert_eq!(shown(&mut kit), [(1500, "m2".into()), (1800, "b".into())]);
}

#[test]
fn two_starting_apps_share_a_boot_screen_and_an_empty_queue_clears_it() {
    let mut kit = kit();
    starting(&mut kit, "main");
    kit.advance(500);
    starting(&mut kit, "back");
    kit.advance(5000);
    assert_eq!(
        shown(&mut kit),
        [
            (0, "// MentraOS - Starting App".into()),
            (500, "// MentraOS - Starting Apps".into()),
            (2000, String::new())
        ]
    );
}

#[test]
fn what_a_boot_screen_covered_comes_back_while_it_is_valid() {
    let mut kit = kit();
    show_with(&mut kit, "main", "m", &json!({"durationMs": 4000}));
    kit.advance(500);
    starting(&mut kit, "back");
    kit.advance(9000);
    let all = texts(&mut kit);
    assert_eq!(all, ["m", "// MentraOS - Starting App", "", "m", ""]);
}

#[test]
fn nothing_of_a_stopped_app_is_painted_any_more() {
    let mut kit = kit();
    show(&mut kit, "main", "m1");
    show(&mut kit, "main", "m2");
    kit.advance(100);
    kit.stop("main");
    kit.advance(5000);
    assert_eq!(texts(&mut kit), ["m1", ""]);
    starting(&mut kit, "other");
    show(&mut kit, "back", "b");
    kit.stop("back");
    kit.advance(5000);
    let boot = "// MentraOS - Starting App";
    assert_eq!(
        texts(&mut kit),
        [boot, boot, ""],
        "a stop repeats the boot screen"
    );
}

#[test]
fn a_lost_app_keeps_the_screen_until_its_display_ends() {
    let mut kit = kit();
    show_with(&mut kit, "main", "m", &json!({"durationMs": 3000}));
    kit.lose("main");
    kit.advance(2999);
    assert_eq!(texts(&mut kit), ["m"]);
    kit.advance(1);
    assert_eq!(texts(&mut kit), [""]);
}

#[test]
fn a_returning_phone_is_painted_what_it_missed() {
    let mut kit = kit();
    kit.s.m.phone.current = None;
    show(&mut kit, "main", "missed");
    assert_eq!(texts(&mut kit), Vec::<String>::new());
    kit.advance(5000);
    kit.s.m.phone.current = Some(PHONE_CONN);
    kit.run(super::repaint);
    assert_eq!(texts(&mut kit), ["missed"]);
}

/// behaviour.md §6.1.6: simulated glasses count though they are not connected.
#[test]
fn simulated_glasses_are_painted_what_was_drawn_before_they_were_known() {
    let mut kit = kit();
    kit.s.m.device = crate::session::managers::device::Device::default();
    show(&mut kit, "main", "early");
    assert_eq!(texts(&mut kit), [""; 0]);
    let state = json!({"connected": false, "modelName": "Simulated Glasses"});
    let state = state.as_object().expect("an object").clone();
    kit.run(|s, cx| {
        let source = crate::session::managers::device::Source::Glasses;
        crate::session::flow::device::update(s, state, source, cx)
    });
    assert_eq!(texts(&mut kit), ["early"]);
}

#[test]
fn glasses_that_nobody_is_to_judge_are_written_to_in_any_case() {
    let mut kit = kit();
    kit.phone(&json!({"type": "glasses_connection_state", "status": "DISCONNECTED"}));
    show(&mut kit, "main", "lost");
    assert_eq!(texts(&mut kit), Vec::<String>::new());
    kit.cfg.device.validation_enabled = false;
    show(&mut kit, "main", "shown");
    assert_eq!(texts(&mut kit), ["shown"]);
}

#[test]
fn what_a_phone_missed_outlives_the_end_of_what_it_still_shows() {
    let mut kit = kit();
    show_with(&mut kit, "main", "m", &json!({"durationMs": 3000}));
    kit.advance(500);
    kit.s.m.phone.current = None;
    show(&mut kit, "main", "missed");
    kit.advance(5000);
    kit.s.m.phone.current = Some(PHONE_CONN);
    kit.run(super::repaint);
    kit.advance(1000);
    assert_eq!(texts(&mut kit), ["m", "missed"]);
}

#[test]
fn a_repaint_keeps_the_newer_text_that_waits() {
    let mut kit = kit();
    show(&mut kit, "main", "old");
    kit.advance(100);
    show(&mut kit, "main", "new");
    kit.s.m.phone.current = None;
    kit.advance(100);
    kit.s.m.phone.current = Some(PHONE_CONN);
    kit.run(super::repaint);
    kit.advance(1000);
    assert_eq!(texts(&mut kit), ["old", "old", "new"]);
}

#[test]
fn a_repaint_keeps_the_order_of_what_waits() {
    let mut kit = kit();
    show(&mut kit, "main", "old");
    kit.advance(100);
    show(&mut kit, "main", "new");
    show(&mut kit, "back", "b");
    kit.advance(100);
    kit.run(super::repaint);
    kit.advance(2000);
    let expected = [(0, "old"), (200, "old"), (500, "new"), (800, "b")];
    assert_eq!(
        shown(&mut kit),
        expected.map(|(at, text)| (at, text.into()))
    );
}

#[test]
fn what_a_stopped_app_drew_goes_at_once_though_another_text_waits() {
    let mut kit = kit();
    show_with(&mut kit, "main", "m", &json!({"durationMs": 60_000}));
    kit.advance(100);
    show(&mut kit, "back", "b");
    kit.stop("main");
    assert_eq!(shown(&mut kit), [(0, "m".into()), (100, String::new())]);
    kit.advance(1000);
    assert_eq!(texts(&mut kit), ["b"]);
}

#[test]
fn the_foreground_app_is_back_though_the_text_that_waited_behind_a_stopped_app_is_over() {
    let mut kit = kit();
    show_with(&mut kit, "main", "m", &json!({"durationMs": 60_000}));
    // Until its ten seconds are nearly over, so that another background app may ask right after its last text.
    for step in 0..11 {
        kit.advance(if step == 0 { 400 } else { 990 });
        show(&mut kit, "back", &format!("b{step}"));
    }
    kit.advance(150);
    show_with(&mut kit, "other", "o", &json!({"durationMs": 100}));
    assert_eq!(shown(&mut kit).last(), Some(&(10_300, "b10".into())));
    kit.stop("back");
    kit.advance(1000);
    assert_eq!(
        shown(&mut kit),
        [(10_450, String::new()), (10_600, "m".into())]
    );
}

#[test]
fn a_returning_phone_with_nothing_to_show_is_left_alone() {
    let mut kit = kit();
    kit.run(super::repaint);
    assert_eq!(texts(&mut kit), Vec::<String>::new());
    show_with(&mut kit, "main", "m", &json!({"durationMs": 1000}));
    kit.s.m.phone.current = None;
    kit.advance(2000);
    kit.s.m.phone.current = Some(PHONE_CONN);
    kit.run(super::repaint);
    assert_eq!(texts(&mut kit), ["m", ""]);
}

#[test]
fn instructions_are_shown_once_and_hold_the_screen_for_five_seconds() {
    let mut kit = kit();
    kit.cfg.display.onboarding_display = true;
    let mut with_card = record("main", AppType::Standard, &[]);
    with_card.onboarding_instructions = "Look up".into();
    kit.apps = Registry::new([with_card, record("back", AppType::Background, &[])], 2);
    starting(&mut kit, "main");
    kit.advance(1500);
    show(&mut kit, "main", "too early");
    kit.advance(20_000);
    let expected = ["// MentraOS - Starting App", "Look up", ""];
    assert_eq!(texts(&mut kit), expected);
    // Nor again because the user record came late.
    kit.run(|s, _| super::user_loaded(s, &["back".to_owned()]));
    starting(&mut kit, "main");
    kit.advance(6000);
    show(&mut kit, "main", "m");
    assert_eq!(texts(&mut kit), ["// MentraOS - Starting App", "", "m"]);
}
