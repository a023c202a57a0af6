//! Defects of the screen.

use super::super::app::Manners;
use super::super::net::{Party, Up};
use super::super::store::Mood;
use super::super::world::{START_MS, World};
use super::{CHESS, MAPS, NOTES, SCRIBE, USER, package, quiet, running};
use prism::base::ids::ConnId;
use prism::session::event::{PhoneFlags, Sdk};
use serde_json::{Value, json};

/// An app paints one text.
fn paint(w: &mut World, app: usize, text: &str, more: &Value) {
    let mut message = json!({"type": "display_event", "view": "main", "layout": {"layoutType": "text_wall", "text": text}});
    if let (Value::Object(all), Value::Object(more)) = (&mut message, more) {
        all.extend(more.clone());
    }
    w.app_says(app, USER, &message);
}

#[test]
fn the_first_picture_of_a_booting_app_is_shown_after_the_boot() {
    let mut w = quiet(Sdk::V3);
    w.start(USER, MAPS);
    w.run(1200);
    let (t, phone) = (w.t(), w.phone_conn(0));
    paint(&mut w, MAPS, "first", &json!({}));
    w.run(3000);
    w.sound();
    assert!(
        w.shown(phone, t).contains(&"first".to_owned()),
        "{:?}",
        w.shown(phone, t)
    );
}

#[test]
fn of_pictures_within_the_throttle_the_newest_stands() {
    let mut w = running(Sdk::V3, MAPS);
    let (t, phone) = (w.t(), w.phone_conn(0));
    for number in 0..20 {
        paint(&mut w, MAPS, &format!("picture {number}"), &json!({}));
        w.run(20);
    }
    w.run(2000);
    w.sound();
    let shown = w.texts(phone, "display_event", t);
    let times: Vec<u64> = shown.iter().map(|row| row.0).collect();
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] >= 300),
        "{times:?}"
    );
    assert_eq!(
        w.shown(phone, t).last().map(String::as_str),
        Some("picture 19")
    );
}

#[test]
fn a_picture_of_one_app_is_not_lost_when_another_paints() {
    let mut w = running(Sdk::V3, MAPS);
    w.start(USER, SCRIBE);
    w.run(4000);
    let (t, phone) = (w.t(), w.phone_conn(0));
    paint(&mut w, SCRIBE, "background", &json!({"durationMs": 3000}));
    w.run(100);
    paint(
        &mut w,
        SCRIBE,
        "background again",
        &json!({"durationMs": 3000}),
    );
    paint(&mut w, MAPS, "foreground", &json!({"durationMs": 9000}));
    w.run(6000);
    w.sound();
    let shown = w.shown(phone, t);
    for text in ["background", "background again", "foreground"] {
        assert!(shown.iter().any(|one| one == text), "{text} in {shown:?}");
    }
}

#[test]
fn an_app_cannot_write_the_dashboard() {
    let mut w = running(Sdk::V3, MAPS);
    let (t, phone) = (w.t(), w.phone_conn(0));
    paint(
        &mut w,
        MAPS,
        "mine",
        &json!({"view": "dashboard", "packageName": "com.mentra.os"}),
    );
    w.run(1000);
    w.sound();
    let event = &w.texts(phone, "display_event", t)[0].1;
    assert_eq!(event["view"], "main");
    assert_eq!(event["packageName"], "com.acme.maps");
}

#[test]
fn a_picture_of_a_stopped_app_does_not_come_back() {
    let mut w = running(Sdk::V3, MAPS);
    w.start(USER, SCRIBE);
    w.run(4000);
    let phone = w.phone_conn(0);
    paint(&mut w, MAPS, "stale", &json!({"durationMs": 60_000}));
    w.run(1000);
    paint(&mut w, SCRIBE, "over it", &json!({"durationMs": 4000}));
    w.run(1000);
    w.stop(USER, MAPS);
    let t = w.t();
    w.run(10_000);
    w.sound();
    assert!(
        !w.shown(phone, t).contains(&"stale".to_owned()),
        "{:?}",
        w.shown(phone, t)
    );
}

#[test]
fn a_stopped_app_leaves_the_throttle_and_the_boot_queue() {
    let mut w = running(Sdk::V3, MAPS);
    let (t, phone) = (w.t(), w.phone_conn(0));
    paint(&mut w, MAPS, "one", &json!({}));
    paint(&mut w, MAPS, "throttled", &json!({}));
    w.run(120);
    w.stop(USER, MAPS);
    w.run(3000);
    w.sound();
    assert!(!w.shown(phone, t).contains(&"throttled".to_owned()));
    // The same while another app boots.
    w.start(USER, SCRIBE);
    w.run(4000);
    w.manners(NOTES, Manners::Hang);
    w.start(USER, NOTES);
    w.run(100);
    let t = w.t();
    paint(&mut w, SCRIBE, "queued", &json!({}));
    w.run(200);
    w.stop(USER, SCRIBE);
    w.run(5000);
    w.sound();
    assert!(!w.shown(phone, t).contains(&"queued".to_owned()));
}

#[test]
fn a_screen_without_content_is_cleared_once() {
    let mut w = running(Sdk::V3, CHESS);
    let (t, phone) = (w.t(), w.phone_conn(0));
    paint(&mut w, CHESS, "brief", &json!({"durationMs": 1000}));
    w.run(5000);
    w.sound();
    assert_eq!(w.shown(phone, t), ["brief", ""]);
}

#[test]
fn a_silent_holder_of_the_screen_does_not_keep_others_off_it() {
    let mut w = running(Sdk::V3, SCRIBE);
    w.start(USER, NOTES);
    w.run(4000);
    let phone = w.phone_conn(0);
    paint(&mut w, SCRIBE, "holder", &json!({"durationMs": 60_000}));
    w.run(3000);
    let t = w.t();
    paint(&mut w, NOTES, "next", &json!({"durationMs": 1000}));
    w.run(1000);
    w.sound();
    assert!(w.shown(phone, t).contains(&"next".to_owned()));
}

/// A second socket of the phone takes over, and says nothing.
fn takes_over(w: &mut World) -> ConnId {
    let opened = w.open_phone(Party::Phone(0), USER, PhoneFlags::default());
    opened.expect("a socket")
}

/// A clear that went to a socket which was dead already never came to the glasses; one that the phone is known to have got is not
/// said again, as something of the phone's own may stand there.
#[test]
fn a_clear_that_may_be_lost_with_its_socket_is_sent_to_the_next() {
    for (quiet_ms, cleared) in [(500, true), (4000, true), (16_000, false)] {
        let mut w = running(Sdk::V3, MAPS);
        let (t, old) = (w.t(), w.phone_conn(0));
        paint(&mut w, MAPS, "old", &json!({"durationMs": 900}));
        w.run(1000);
        assert_eq!(w.shown(old, t), ["old", ""]);
        w.run(quiet_ms);
        let new = takes_over(&mut w);
        w.run(1000);
        w.sound();
        let again: &[&str] = if cleared { &[""] } else { &[] };
        assert_eq!(w.shown(new, t), again, "after {quiet_ms} ms");
    }
}

#[test]
fn a_socket_that_is_the_phones_again_does_not_keep_what_was_wiped_meanwhile() {
    let mut w = running(Sdk::V3, MAPS);
    let (t, old) = (w.t(), w.phone_conn(0));
    paint(&mut w, MAPS, "old", &json!({"durationMs": 900}));
    w.run(500);
    let new = takes_over(&mut w);
    w.run(1000);
    assert_eq!(w.shown(new, t).last().map(String::as_str), Some(""));
    w.say(old, &json!({"type": "button_press", "buttonId": "main"}));
    w.run(1000);
    w.sound();
    assert_eq!(w.shown(old, t), ["old", ""]);
}

#[test]
fn what_a_socket_reads_late_is_followed_by_what_is_newer() {
    let mut w = running(Sdk::V3, MAPS);
    let (t, old) = (w.t(), w.phone_conn(0));
    let number = |number: u64| format!("#{USER}|{}|{number}", package(MAPS));
    let sock = w.net.get_mut(old).expect("a socket");
    sock.stalled_until_ms = START_MS + t + 3000;
    paint(&mut w, MAPS, &number(1), &json!({"durationMs": 9000}));
    w.run(500);
    let new = takes_over(&mut w);
    paint(&mut w, MAPS, &number(2), &json!({"durationMs": 9000}));
    w.run(500);
    assert_eq!(w.shown(new, t).last(), Some(&number(2)));
    w.say(old, &json!({"type": "button_press", "buttonId": "main"}));
    w.run(3000);
    w.sound();
    assert_eq!(w.shown(old, t), [number(1), number(2)]);
}

/// A phone whose session begins with these apps, as soon as the store has told of them.
fn beginning(apps: &[usize]) -> World {
    let mut w = super::world(7, [Sdk::V3; 4]);
    w.watch.logging = true;
    w.store.mood = Mood::Slow;
    let listed = apps.iter().map(|app| package(*app).to_owned()).collect();
    w.store.record(USER).running_apps = listed;
    w.add_phone(USER, 0);
    w.run(200);
    w
}

#[test]
fn an_app_that_waited_for_its_session_has_a_boot_screen_like_others() {
    let mut w = beginning(&[SCRIBE, NOTES]);
    w.app_doubles(SCRIBE, USER);
    w.manners(SCRIBE, Manners::Hang);
    w.run(8000);
    w.sound();
    let both = format!("{}, {}", package(SCRIBE), package(NOTES));
    assert_eq!(w.shown(w.phone_conn(0), 0), [package(SCRIBE), &both, ""]);
}

/// What the phone said and asked for while its session began is done in one go, after the stored list.
#[test]
fn a_stop_after_the_glasses_went_paints_nothing_while_a_session_begins() {
    let mut w = beginning(&[SCRIBE, CHESS]);
    let phone = w.phone_conn(0);
    let gone = json!({"type": "glasses_connection_state", "modelName": "Even Realities G1", "status": "DISCONNECTED"});
    w.send(phone, Up::Text(gone.to_string()));
    w.run(100);
    w.start(USER, MAPS);
    w.run(8000);
    w.sound();
    let both = format!("{}, {}", package(SCRIBE), package(CHESS));
    assert_eq!(w.shown(phone, 0), [package(SCRIBE), &both]);
}
