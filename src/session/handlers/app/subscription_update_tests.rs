//! Tests of subscription updates (behaviour.md §3.2).

use crate::base::ids::Package;
use crate::session::event::{Event, Sdk};
use crate::session::flow;
use crate::session::testkit::media::{Kit, record};
use crate::session::timers::Timer;
use crate::wire::records::{AppType, Registry};
use serde_json::{Value, json};

fn stored(kit: &Kit, package: &str) -> Value {
    let json = flow::sync::subscriptions_json(&kit.s, package);
    serde_json::from_slice(&json).expect("JSON")
}

#[test]
fn the_last_list_is_the_set() {
    let mut kit = Kit::new();
    kit.app("back", Sdk::V3);
    kit.subscribe("back", &["a", "b", "a"]);
    kit.subscribe("back", &["transcription", "c"]);
    assert_eq!(stored(&kit, "back"), json!(["transcription:en-US", "c"]));
    kit.subscribe("back", &[]);
    assert_eq!(stored(&kit, "back"), json!([]));
    let lengths: Vec<usize> = kit
        .s
        .m
        .subscriptions
        .history("back")
        .map(|c| c.list.len())
        .collect();
    assert_eq!(lengths, [2, 2, 0]);
}

#[test]
fn a_name_of_a_stream_that_nobody_needs_so_long_is_left_out() {
    let mut kit = Kit::new();
    kit.app("back", Sdk::V3);
    let hints = format!("transcription:en-US?hints={}", "x".repeat(30_000));
    kit.subscribe("back", &["a", &"x".repeat(40_000), &hints]);
    assert_eq!(stored(&kit, "back"), json!(["a", hints]));
}

#[test]
fn rates_come_with_objects_and_nonsense_is_skipped() {
    let mut kit = Kit::new();
    kit.app("back", Sdk::V3);
    kit.app("other", Sdk::V3);
    let list =
        json!([{"stream": "location_stream", "rate": "high"}, 7, null, {"stream": "x"}, "y"]);
    kit.app_says(
        "back",
        &json!({"type": "subscription_update", "subscriptions": list}),
    )
    .expect("accepted");
    kit.subscribe("other", &["location_stream"]);
    assert_eq!(stored(&kit, "back"), json!(["location_stream", "y"]));
    let rates: Vec<_> = kit.s.m.subscriptions.location_rates().collect();
    let (back, other) = (Package::new("back"), Package::new("other"));
    assert_eq!(rates, [(&back, Some("high")), (&other, Some("standard"))]);
    kit.subscribe("back", &["y"]);
    assert_eq!(kit.s.m.subscriptions.location_rates().count(), 1);
}

#[test]
fn a_list_that_is_no_array_is_refused_and_changes_nothing() {
    let mut kit = Kit::new();
    kit.app("back", Sdk::V3);
    kit.subscribe("back", &["a"]);
    for wrong in [json!("a"), json!({"0": "a"}), Value::Null] {
        let message = json!({"type": "subscription_update", "subscriptions": wrong});
        let refused = kit.app_says("back", &message).expect_err("refused");
        assert_eq!(refused.code.as_str(), "MALFORMED_MESSAGE");
        assert!(refused.message.starts_with("Invalid subscription type: "));
    }
    assert_eq!(stored(&kit, "back"), json!(["a"]));
}

#[test]
fn an_empty_list_right_after_a_reconnect_is_noise_from_old_sdks() {
    for (sdk, wait_ms, expected) in [
        (Sdk::V2, 8000, json!(["a"])),
        (Sdk::V2, 8001, json!([])),
        (Sdk::V3, 0, json!([])),
    ] {
        let mut kit = Kit::new();
        kit.app("back", sdk);
        kit.subscribe("back", &["a"]);
        kit.lose("back");
        kit.advance(3000);
        kit.app("back", sdk);
        kit.s.timers.clear();
        kit.advance(wait_ms);
        kit.subscribe("back", &[]);
        assert_eq!(stored(&kit, "back"), expected, "{sdk:?} after {wait_ms}");
        let applied = expected == json!([]);
        assert_eq!(kit.s.timers.at(&Timer::AppState).is_some(), applied);
    }
}

#[test]
fn a_list_emptied_by_permissions_is_applied_even_then() {
    let mut kit = Kit::new();
    kit.app("poor", Sdk::V2);
    kit.subscribe("poor", &["a"]);
    kit.subscribe("poor", &["audio_chunk"]);
    assert_eq!(stored(&kit, "poor"), json!([]));
}

#[test]
fn every_protected_stream_needs_its_permission() {
    let mut kit = Kit::new();
    kit.app("poor", Sdk::V3);
    let all = [
        "audio_chunk",
        "transcription",
        "transcription:de-DE",
        "translation:en-ja",
        "VAD",
        "location_update",
        "location_stream",
        "calendar_event",
        "photo_response",
        "photo_taken",
        "stream_status",
        "managed_stream_status",
        "phone_notification",
        "phone_notification_dismissed",
        "*",
        "button_press",
        "rtmp_stream_status",
    ];
    kit.subscribe("poor", &all);
    assert_eq!(
        stored(&kit, "poor"),
        json!(["*", "button_press", "rtmp_stream_status"])
    );
    kit.app("back", Sdk::V3);
    kit.subscribe("back", &all);
    assert_eq!(
        stored(&kit, "back").as_array().expect("an array").len(),
        all.len()
    );
}

#[test]
fn rejections_are_reported_once_per_change_and_socket() {
    let mut kit = Kit::new();
    let conn = kit.app("poor", Sdk::V2);
    let errors = |kit: &mut Kit| {
        let mut all = kit.texts(conn);
        all.retain(|(_, text)| text["type"] == "permission_error");
        all
    };
    kit.subscribe("poor", &["audio_chunk"]);
    let (_, error) = errors(&mut kit).remove(0);
    assert_eq!(
        error["details"],
        json!([{"stream": "audio_chunk", "requiredPermission": "MICROPHONE",
            "message": "Microphone permission is missing"}])
    );
    kit.subscribe("poor", &["audio_chunk", "x"]);
    assert!(errors(&mut kit).is_empty());
    kit.subscribe("poor", &["VAD", "audio_chunk"]);
    assert_eq!(errors(&mut kit).len(), 1);
    kit.subscribe("poor", &["x"]);
    assert!(errors(&mut kit).is_empty());
    kit.subscribe("poor", &["VAD", "audio_chunk"]);
    assert_eq!(errors(&mut kit).len(), 1);
}

#[test]
fn what_new_records_do_not_grant_leaves_the_set() {
    let mut kit = Kit::new();
    let conn = kit.app("back", Sdk::V2);
    let list = json!([{"stream": "location_stream", "rate": "high"}, "audio_chunk", "x"]);
    let update = json!({"type": "subscription_update", "subscriptions": list});
    kit.app_says("back", &update).expect("accepted");
    let poorer = record("back", AppType::Background, &["CAMERA"]);
    kit.apps = Registry::new([poorer], 2).after(&kit.apps);
    kit.run(|s, cx| s.on_event(Event::RegistryChanged, cx));
    assert_eq!(stored(&kit, "back"), json!(["x"]));
    assert_eq!(kit.s.m.subscriptions.location_rates().count(), 0);
    assert!(!kit.s.m.microphone.need().media());
    assert!(kit.s.m.audio.targets.is_empty());
    let mut told = kit.texts(conn);
    told.retain(|(_, text)| text["type"] == "permission_error");
    assert_eq!(told.len(), 1);
    // The same records again are no news, nor is an app that lost nothing.
    kit.run(|s, cx| s.on_event(Event::RegistryChanged, cx));
    assert!(
        !kit.texts(conn)
            .iter()
            .any(|(_, text)| text["type"] == "permission_error")
    );
}

/// behaviour.md §13.1, invariant 25. Apps send no list of their own accord when their record is mended.
#[test]
fn what_records_grant_again_is_back_in_the_set_unless_the_app_left_it_out() {
    let mut kit = Kit::new();
    let conn = kit.app("back", Sdk::V2);
    let location = json!({"stream": "location_stream", "rate": "high"});
    let asks = |list: Value| json!({"type": "subscription_update", "subscriptions": list});
    let update = asks(json!([location, "audio_chunk", "calendar_event", "x"]));
    kit.app_says("back", &update).expect("accepted");
    let grants = |kit: &mut Kit, permissions: &[&str]| {
        let version = kit.apps.version + 1;
        let record = record("back", AppType::Background, permissions);
        kit.apps = Registry::new([record], version).after(&kit.apps);
        kit.run(|s, cx| s.on_event(Event::RegistryChanged, cx));
        let told = kit.texts(conn).into_iter();
        told.filter(|(_, text)| text["type"] == "permission_error")
            .count()
    };
    assert_eq!(grants(&mut kit, &[]), 1);
    assert_eq!(stored(&kit, "back"), json!(["x"]));
    assert_eq!(grants(&mut kit, &["LOCATION", "MICROPHONE", "CALENDAR"]), 0);
    assert_eq!(stored(&kit, "back").as_array().map(Vec::len), Some(4));
    let rates: Vec<_> = kit.s.m.subscriptions.location_rates().collect();
    assert_eq!(rates, [(&Package::new("back"), Some("high"))]);
    assert!(kit.s.m.microphone.need().media());
    assert_eq!(kit.s.m.audio.targets.len(), 1);

    // It gives up one of those that it may not have, and asks for another.
    grants(&mut kit, &[]);
    let update = asks(json!(["audio_chunk", "translation:en-de", "x"]));
    kit.app_says("back", &update).expect("accepted");
    grants(&mut kit, &["LOCATION", "MICROPHONE", "CALENDAR"]);
    assert_eq!(
        stored(&kit, "back"),
        json!(["x", "audio_chunk", "translation:en-de"])
    );
    grants(&mut kit, &[]);
    kit.stop("back");
    grants(&mut kit, &["ALL"]);
    assert_eq!(stored(&kit, "back"), json!([]));
}

/// behaviour.md §3.2 step 4: such a list is ignored entirely, what it was last told included.
#[test]
fn an_ignored_list_brings_no_rejection_again() {
    let mut kit = Kit::new();
    let conn = kit.app("poor", Sdk::V2);
    for list in [&["audio_chunk", "x"][..], &[], &["audio_chunk", "x"]] {
        kit.subscribe("poor", list);
    }
    let mut told = kit.texts(conn);
    told.retain(|(_, text)| text["type"] == "permission_error");
    assert_eq!(told.len(), 1);
    assert_eq!(stored(&kit, "poor"), json!(["x"]));
}

#[test]
fn the_phone_hears_of_changes_once_per_window() {
    let mut kit = Kit::new();
    kit.app("back", Sdk::V3);
    kit.subscribe("back", &["a"]);
    let due = kit.now.mono_ms + 150;
    kit.advance(100);
    kit.subscribe("back", &["b"]);
    assert_eq!(kit.s.timers.at(&Timer::AppState), Some(due));
    kit.phone(&json!({"type": "phone_subscription_update", "subscriptions": []}));
    assert_eq!(kit.s.timers.at(&Timer::AppState), Some(due));
}

#[test]
fn at_most_so_many_are_kept() {
    let mut kit = Kit::new();
    kit.cfg.apps.subscriptions_max = 8;
    kit.app("back", Sdk::V3);
    let names: Vec<String> = (0..20).map(|index| format!("s{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    kit.subscribe("back", &names);
    assert_eq!(stored(&kit, "back").as_array().expect("an array").len(), 8);
}

#[test]
fn hints_of_the_configuration_join_those_of_the_subscription() {
    let mut kit = Kit::new();
    kit.app("back", Sdk::V3);
    kit.subscribe(
        "back",
        &["transcription:en-US?hints=fr", "translation:en-ja"],
    );
    let config = json!({"type": "transcription_config", "languageHints": ["es", "fr"]});
    kit.app_says("back", &config).expect("accepted");
    let hints: Vec<_> = kit
        .s
        .m
        .speech
        .desired()
        .iter()
        .map(|d| d.options.hints.clone())
        .collect();
    assert_eq!(hints, [vec!["fr".to_owned(), "es".to_owned()], vec![]]);
}
