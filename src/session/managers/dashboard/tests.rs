//! Tests of what the dashboard composes (behaviour.md §6.2).

use super::{Dashboard, Mode, Section, content_text};
use crate::base::ids::Package;
use crate::base::settings::Settings;
use serde_json::{Value, json};

const HEADER: &str = "◌ $DATE$, $TIME12$, $GBATT$";

fn compose(dashboard: &Dashboard) -> String {
    dashboard.compose(1_773_480_413_589, vec![], &Settings::default().dashboard)
}

/// The weather service tells this condition at 72 °F.
fn says(dashboard: &mut Dashboard, condition: &str) {
    let answer = json!({"weather": [{"main": condition}], "main": {"temp": 72}});
    assert!(dashboard.weather.read(answer.to_string().as_bytes()));
}

#[test]
fn weather_stands_right_of_the_middle_on_wide_displays_only() {
    let mut dashboard = Dashboard::default();
    assert_eq!(compose(&dashboard), HEADER);
    says(&mut dashboard, "Clouds");
    assert_eq!(
        compose(&dashboard),
        format!("{HEADER}          Clouds, 72°F")
    );
    for narrow in ["Vuzix Z100", "Mentra Mach1", "Mentra Display"] {
        dashboard.set_model(Some(narrow));
        assert_eq!(compose(&dashboard), format!("{HEADER}\nClouds, 72°F"));
    }
    dashboard.set_model(Some("Mentra Live"));
    assert!(compose(&dashboard).contains("          Clouds"));
}

#[test]
fn looking_up_turns_to_the_next_widget_once_per_movement() {
    let mut dashboard = Dashboard::default();
    for name in ["a", "b", "c"] {
        dashboard.set_widget(&Package::new(name), format!("from {name}"), 7);
    }
    let last = |dashboard: &Dashboard| compose(dashboard).lines().last().map(str::to_owned);
    assert_eq!(last(&dashboard).as_deref(), Some("from c"));
    assert!(dashboard.head_up(1000) && !dashboard.head_up(1099));
    assert_eq!(last(&dashboard).as_deref(), Some("from b"));
    assert!(dashboard.head_up(1100) && dashboard.head_up(1200));
    assert_eq!(last(&dashboard).as_deref(), Some("from c"));
    assert!(dashboard.remove_app("c") && !dashboard.remove_app("c"));
    assert_eq!(last(&dashboard).as_deref(), Some("from b"));
}

#[test]
fn the_widget_that_was_written_last_comes_first_however_late_it_arrives() {
    let mut dashboard = Dashboard::default();
    for (name, unix_ms) in [("a", 20), ("b", 10), ("c", 10)] {
        let package = Package::new(name);
        dashboard.set_widget(&package, name.into(), unix_ms);
        for mode in [Mode::Main, Mode::Expanded] {
            dashboard.set_content(mode, &package, name.into(), unix_ms, 5);
        }
    }
    let order = |dashboard: &mut Dashboard| {
        let turn = |at_ms| {
            dashboard.head_up(at_ms);
            compose(dashboard).lines().last().map(str::to_owned)
        };
        let shown: Vec<_> = [1000, 2000, 3000].into_iter().filter_map(turn).collect();
        shown.join("")
    };
    assert_eq!(order(&mut dashboard), "cba");
    dashboard.sections.set_mode(Mode::Expanded);
    let expanded: Value = serde_json::from_slice(&dashboard.sections.layout()).expect("JSON");
    assert_eq!(expanded["text"], " | \na");
}

#[test]
fn what_is_blank_takes_no_line() {
    let mut dashboard = Dashboard::default();
    let card = json!({"layoutType": "reference_card", "title": "", "text": " "});
    dashboard.set_widget(&Package::new("a"), content_text(&card), 7);
    assert_eq!(compose(&dashboard), HEADER);
}

#[test]
fn weather_keeps_to_one_line_of_the_right_half() {
    let mut dashboard = Dashboard::default();
    says(&mut dashboard, "Thunderstorm with light rain");
    let text = compose(&dashboard);
    let shown = text.trim_start_matches(HEADER).trim_start();
    assert_eq!(shown, "Thunderstorm with light rain, 72");
    dashboard.set_model(Some("Vuzix Z100"));
    assert_eq!(
        compose(&dashboard),
        format!("{HEADER}\nThunderstorm with light rain, 72°F")
    );
}

#[test]
fn texts_are_taken_out_of_layouts() {
    let cases = [
        (json!("plain"), "plain"),
        (json!({"layoutType": "text_wall", "text": "t"}), "t"),
        (
            json!({"layoutType": "double_text_wall", "topText": "a", "bottomText": "b"}),
            "a\nb",
        ),
        (
            json!({"layoutType": "double_text_wall", "topText": "", "bottomText": "b"}),
            "b",
        ),
        (
            json!({"layoutType": "dashboard_card", "leftText": "l", "rightText": "r"}),
            "l | r",
        ),
        (
            json!({"layoutType": "reference_card", "title": "T", "text": "x"}),
            "T\nx",
        ),
        (json!({"layoutType": "bitmap_view", "data": "00"}), ""),
        (json!(7), ""),
    ];
    for (content, text) in cases {
        assert_eq!(content_text(&content), text);
    }
}

#[test]
fn a_system_app_composes_sections() {
    let mut dashboard = Dashboard::default();
    for index in 0..7 {
        let package = Package::new(&format!("app{index}"));
        dashboard.set_content(Mode::Main, &package, format!("c{index}"), 7, 5);
    }
    let sections = &mut dashboard.sections;
    let layout = |sections: &super::Sections| -> Value {
        serde_json::from_slice(&sections.layout()).expect("JSON")
    };
    sections.set_corner(Section::TopLeft, "tl".into());
    sections.set_corner(Section::TopRight, "tr".into());
    let wall = |top: &str, bottom: &str| json!({"layoutType": "double_text_wall", "topText": top, "bottomText": bottom});
    assert_eq!(layout(sections), wall("tl", "tr\nc6"));
    sections.set_corner(Section::BottomRight, "br".into());
    sections.set_corner(Section::BottomLeft, "bl".into());
    sections.rotate();
    assert_eq!(layout(sections), wall("tl\nbl", "tr\nbr\n\nc5"));
    assert_eq!(sections.set_mode(Mode::Expanded), Some(Mode::Main));
    assert_eq!(sections.set_mode(Mode::Expanded), None);
    let text = "tl | tr\nNo expanded content available";
    assert_eq!(
        layout(sections),
        json!({"layoutType": "text_wall", "text": text})
    );
    assert!(sections.remove_app("app6") && !sections.remove_app("app0"));
}
