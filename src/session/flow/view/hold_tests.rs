//! How long a background app keeps the foreground app from the screen (behaviour.md §6.1.5, 13.1 invariant 38).

use super::{kit, show, show_with, shown, starting};
use serde_json::json;

fn own((at, text): (u64, &str)) -> (u64, String) {
    (at, text.to_owned())
}

/// Not cleared before: it would flicker.
#[test]
fn the_foreground_app_takes_the_place_of_a_stopped_app_within_the_rate_limit() {
    let mut kit = kit();
    show_with(&mut kit, "main", "m", &json!({"durationMs": 60_000}));
    kit.advance(1000);
    show(&mut kit, "back", "b");
    kit.advance(100);
    kit.stop("back");
    kit.advance(1000);
    let expected = [(0, "m"), (1000, "b"), (1300, "m")];
    assert_eq!(shown(&mut kit), expected.map(own));
}

#[test]
fn what_a_background_app_covered_is_back_after_ten_seconds() {
    let mut kit = kit();
    show_with(&mut kit, "main", "m", &json!({"durationMs": 60_000}));
    kit.advance(1000);
    show(&mut kit, "back", "b1");
    kit.advance(5000);
    show(&mut kit, "back", "b2");
    kit.advance(20_000);
    let expected = [(0, "m"), (1000, "b1"), (6000, "b2"), (16_000, "m")];
    assert_eq!(shown(&mut kit), expected.map(own));
}

#[test]
fn a_boot_screen_does_not_keep_the_foreground_app_off_for_longer() {
    let mut kit = kit();
    show_with(&mut kit, "back", "b", &json!({"durationMs": 60_000}));
    kit.advance(500);
    show_with(&mut kit, "main", "m", &json!({"durationMs": 60_000}));
    kit.advance(1000);
    starting(&mut kit, "other");
    kit.advance(20_000);
    let boot = "// MentraOS - Starting App";
    let expected = [(0, "b"), (1500, boot), (3000, ""), (3000, "b"), (3300, "m")];
    assert_eq!(shown(&mut kit), expected.map(own));
}

/// A hold and the rate window that end in the same millisecond: what waited comes first, and no older text of the foreground app
/// flashes up before it.
#[test]
fn a_text_that_waits_comes_before_the_foreground_app_at_the_end_of_a_hold() {
    let mut kit = kit();
    show(&mut kit, "back", "b");
    kit.advance(100);
    show_with(&mut kit, "main", "m", &json!({"durationMs": 60_000}));
    for wait_ms in [1500, 1600, 1600, 1600, 1600, 1700] {
        kit.advance(wait_ms);
        show_with(&mut kit, "back", "b", &json!({"durationMs": 0}));
    }
    kit.advance(100);
    show_with(&mut kit, "back", "waits", &json!({"durationMs": 30_000}));
    kit.advance(2000);
    let all = shown(&mut kit);
    let last: Vec<_> = all.iter().skip(6).cloned().collect();
    let expected = [(9700, "b"), (10_000, "waits"), (10_300, "m")];
    assert_eq!(last, expected.map(own), "{all:?}");
}

/// A background app that draws faster than the rate limit always has a text that waits when its hold ends.
#[test]
fn a_background_app_that_never_rests_leaves_the_foreground_app_its_turn() {
    let mut kit = kit();
    for tenth in 0..400 {
        show(&mut kit, "back", "b");
        kit.advance(50);
        if tenth % 10 == 0 {
            show_with(&mut kit, "main", "m", &json!({"durationMs": 5000}));
        }
        kit.advance(50);
    }
    let turns = shown(&mut kit).into_iter().filter(|row| row.1 == "m");
    let turns: Vec<u64> = turns.map(|row| row.0).collect();
    let first = *turns.first().expect("it has a turn");
    assert!(first <= 10_600, "{turns:?}");
    let in_time = turns.windows(2).all(|two| two[1] - two[0] <= 10_900);
    assert!(in_time && turns.len() >= 3, "{turns:?}");
}
