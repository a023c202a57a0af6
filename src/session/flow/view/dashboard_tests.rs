//! Tests of the dashboard: rendering, repetition, weather (behaviour.md §6.2).

use crate::base::settings::DashboardMode;
use crate::session::effects::Effect;
use crate::session::event::{HttpOutcome, Sdk};
use crate::session::flow::device;
use crate::session::testkit::media::Kit;
use crate::wire::records::{StoredLocation, UserRecord};
use serde_json::{Value, json};

fn dashboards(kit: &mut Kit) -> Vec<(u64, Value)> {
    let mut all = kit.phone_got("display_event");
    all.retain(|(_, text)| text["view"] == "dashboard");
    all.into_iter()
        .map(|(at, text)| (at, text["layout"].clone()))
        .collect()
}

fn widget(kit: &mut Kit, package: &str, text: &str, modes: &[&str]) {
    let message = json!({"type": "dashboard_content_update", "content": text, "modes": modes});
    kit.app_says(package, &message).expect("accepted");
}

#[test]
fn changes_are_rendered_once_after_half_a_second() {
    let mut kit = Kit::new();
    kit.app("back", Sdk::V2);
    widget(&mut kit, "back", "1 note", &["main"]);
    kit.advance(400);
    widget(&mut kit, "back", "2 notes", &["main"]);
    widget(&mut kit, "back", "ignored", &["expanded"]);
    kit.advance(1000);
    let text = "◌ $DATE$, $TIME12$, $GBATT$\n2 notes";
    assert_eq!(
        dashboards(&mut kit),
        [(500, json!({"layoutType": "text_wall", "text": text}))]
    );
    widget(&mut kit, "back", "2 notes", &["main"]);
    kit.advance(1000);
    assert!(dashboards(&mut kit).is_empty(), "nothing changed");
}

#[test]
fn the_heartbeat_repeats_every_minute_while_a_phone_is_there() {
    let mut kit = Kit::new();
    kit.run(|s, cx| super::input_changed(s, cx));
    kit.advance(130_000);
    let times: Vec<u64> = dashboards(&mut kit).into_iter().map(|one| one.0).collect();
    assert_eq!(times, [500, 60_500, 120_500]);
    kit.s.m.phone.current = None;
    kit.advance(120_000);
    assert!(dashboards(&mut kit).is_empty());
}

#[test]
fn glasses_without_a_display_get_no_heartbeats() {
    let mut kit = Kit::new();
    kit.phone(
        &json!({"type": "glasses_connection_state", "modelName": "Mentra Live", "status": "CONNECTED"}),
    );
    kit.advance(130_000);
    let times: Vec<u64> = dashboards(&mut kit).into_iter().map(|one| one.0).collect();
    assert_eq!(times, [500]);
}

#[test]
fn looking_up_renders_at_once_and_is_relayed_twice() {
    let mut kit = Kit::new();
    let conn = kit.app("back", Sdk::V2);
    kit.subscribe("back", &["head_position"]);
    kit.forget();
    for _ in 0..2 {
        kit.phone(&json!({"type": "head_position", "position": "up"}));
        kit.advance(10);
    }
    let relayed = kit.texts(conn).len();
    assert_eq!((dashboards(&mut kit).len(), relayed), (1, 2));
    kit.phone(&json!({"type": "head_position", "position": "down"}));
    assert!(dashboards(&mut kit).is_empty());
}

#[test]
fn a_gone_app_leaves_the_dashboard() {
    let mut kit = Kit::new();
    kit.app("back", Sdk::V2);
    widget(&mut kit, "back", "note", &["main"]);
    kit.advance(600);
    kit.stop("back");
    kit.advance(600);
    let texts: Vec<Value> = dashboards(&mut kit)
        .into_iter()
        .map(|one| one.1["text"].clone())
        .collect();
    assert_eq!(texts[1], "◌ $DATE$, $TIME12$, $GBATT$");
}

#[test]
fn only_the_system_dashboard_changes_modes() {
    let mut kit = Kit::new();
    let conn = kit.app("back", Sdk::V2);
    let change = json!({"type": "dashboard_mode_change", "mode": "expanded"});
    kit.app_says("back", &change).expect("ignored");
    assert!(kit.texts(conn).is_empty());
    kit.cfg.dashboard.dashboard_mode = DashboardMode::App;
    kit.cfg.dashboard.dashboard_package_name = "other".into();
    kit.app("other", Sdk::V2);
    kit.app_says("back", &change).expect("ignored");
    assert!(kit.texts(conn).is_empty());
    kit.app_says("other", &change).expect("accepted");
    kit.app_says(
        "other",
        &json!({"type": "dashboard_mode_change", "mode": "always_on"}),
    )
    .expect("accepted");
    let told: Vec<Value> = kit.texts(conn).into_iter().map(|(_, text)| text).collect();
    assert_eq!(told[0]["mode"], "expanded");
    assert_eq!(told[1]["mode"], "always_on");
    assert_eq!(
        (&told[2]["type"], &told[2]["enabled"]),
        (&json!("dashboard_always_on_changed"), &json!(true))
    );
}

#[test]
fn only_the_servers_own_package_and_the_system_dashboard_draw_on_the_dashboard() {
    let mut kit = Kit::new();
    kit.cfg.display.os_package_name = "back".into();
    kit.cfg.dashboard.dashboard_package_name = "other".into();
    for package in ["main", "back", "other"] {
        kit.app(package, Sdk::V2);
    }
    let mut view_of = |package: &str, mode| {
        kit.cfg.dashboard.dashboard_mode = mode;
        let layout = json!({"layoutType": "text_wall", "text": package});
        let message = json!({"type": "display_event", "view": "dashboard", "layout": layout});
        kit.app_says(package, &message).expect("accepted");
        kit.advance(1000);
        let mut all = kit.phone_got("display_event");
        all.retain(|(_, text)| text["packageName"] == package && text["layout"]["text"] == package);
        let [(_, text)] = &all[..] else {
            panic!("once: {all:?}");
        };
        text["view"].as_str().expect("a view").to_owned()
    };
    for (package, mode, view) in [
        ("main", DashboardMode::Internal, "main"),
        ("main", DashboardMode::App, "main"),
        ("back", DashboardMode::Internal, "dashboard"),
        ("back", DashboardMode::App, "dashboard"),
        ("other", DashboardMode::App, "dashboard"),
        ("other", DashboardMode::Internal, "main"),
    ] {
        assert_eq!(view_of(package, mode), view, "{package} {mode:?}");
    }
}

#[test]
fn weather_is_fetched_for_the_users_place() {
    let mut kit = Kit::new();
    kit.cfg.dashboard.weather_api_key = "k".into();
    kit.run(|s, cx| super::position_changed(s, 38.7, -9.1, cx));
    let Some(Effect::Http(call)) = kit.other.pop() else {
        panic!("no request");
    };
    let outcome = HttpOutcome::Answer {
        status: 200,
        body: r#"{"weather":[{"main":"Rain"}],"main":{"temp":60}}"#.into(),
        retry_after_s: None,
    };
    assert!(kit.run(|s, cx| super::weather_result(s, call.call, &outcome, cx)));
    assert!(!kit.run(|s, cx| super::weather_result(s, call.call, &outcome, cx)));
    kit.advance(600);
    let (_, layout) = dashboards(&mut kit).remove(0);
    assert!(
        layout["text"]
            .as_str()
            .expect("a text")
            .ends_with("Rain, 60°F")
    );
}

#[test]
fn weather_is_there_from_the_start_and_follows_a_user_who_turns_out_to_be_elsewhere() {
    let mut kit = Kit::new();
    kit.cfg.dashboard.weather_api_key = "k".into();
    let stored = |lat| StoredLocation {
        lat,
        lng: -9.1,
        accuracy: None,
        unix_ms: 0,
    };
    let record = UserRecord {
        location: Some(stored(0.0)),
        ..UserRecord::default()
    };
    kit.run(|s, cx| device::user_loaded(s, &record, cx));
    let answer = |kit: &mut Kit, place: &str, body: &str| {
        let mut effects = std::mem::take(&mut kit.other).into_iter();
        let call = effects.find_map(|effect| match effect {
            Effect::Http(call) => Some(call),
            _ => None,
        });
        let call = call.expect("asked");
        assert!(call.url.contains(place), "{}", call.url);
        let outcome = HttpOutcome::Answer {
            status: 200,
            body: body.to_owned().into(),
            retry_after_s: None,
        };
        assert!(kit.run(|s, cx| super::weather_result(s, call.call, &outcome, cx)));
        kit.advance(600);
        dashboards(kit).pop().expect("rendered").1["text"].to_string()
    };
    kit.phone(&json!({"type": "location_update", "lat": 48.7, "lng": -9.1}));
    let rain = r#"{"weather":[{"main":"Rain"}],"main":{"temp":60}}"#;
    let there = answer(&mut kit, "lat=0&", rain);
    assert!(there.contains("Rain, 60°F"), "{there}");
    let snow = r#"{"weather":[{"main":"Snow"}],"main":{"temp":30}}"#;
    let here = answer(&mut kit, "lat=48.7&", snow);
    assert!(here.contains("Snow, 30°F"), "{here}");
    assert!(asked(&mut kit).is_empty(), "known by now");
}

/// URLs asked for, oldest first.
fn asked(kit: &mut Kit) -> Vec<String> {
    let effects = std::mem::take(&mut kit.other);
    let urls = effects.into_iter().filter_map(|effect| match effect {
        Effect::Http(call) => Some(call.url),
        _ => None,
    });
    urls.collect()
}

#[test]
fn an_answer_that_gets_lost_ends_no_weather_and_no_ranking_for_ever() {
    let mut kit = Kit::new();
    kit.cfg.dashboard.weather_api_key = "k".into();
    kit.cfg.dashboard.llm_api_key = "k".into();
    let elsewhere = |kit: &mut Kit, lat| {
        kit.run(|s, cx| super::position_changed(s, lat, -9.1, cx));
        asked(kit).len()
    };
    assert_eq!(elsewhere(&mut kit, 38.7), 1);
    kit.advance(19_999);
    assert_eq!(elsewhere(&mut kit, 48.7), 0, "one at a time");
    kit.advance(1);
    assert_eq!(elsewhere(&mut kit, 48.7), 1);

    let notify = |kit: &mut Kit, id: &str| {
        kit.run(|s, cx| super::notification(s, id, ["Mail", "Ines", "late"], None, cx));
        asked(kit).len()
    };
    assert_eq!(notify(&mut kit, "n1"), 1);
    assert_eq!(notify(&mut kit, "n2"), 0, "one at a time");
    kit.advance(59_999);
    assert_eq!(asked(&mut kit).len(), 0);
    kit.advance(1);
    let again = asked(&mut kit);
    let weather = again.iter().filter(|url| url.contains("lat=48.7")).count();
    assert_eq!(weather, 1, "still unknown");
    assert_eq!(again.len() - weather, 1, "n2 is still to be ranked");
}
