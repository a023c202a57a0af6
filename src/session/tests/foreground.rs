//! Starts that meet other apps of the user: the foreground rule, the own stop, the limit (behaviour.md §2.3 step 6, invariant 14).

use super::apps::stage;
use crate::session::effects::HttpKind;
use crate::session::event::Sdk;
use crate::session::managers::apps::AppState;
use crate::session::testkit::{CHESS, Kit, MAPS, SCRIBE, user_running};

#[test]
fn the_number_of_apps_per_user_is_bounded() {
    let (mut kit, _) = Kit::connected();
    kit.cfg.apps.apps_per_user_max = 1;
    kit.running(SCRIBE, Sdk::V2);
    let call = kit.start(MAPS);
    assert_eq!(stage(kit.answer(call)), "CONNECTION");
}

/// The app that gives way takes no room: somebody at the limit may still switch.
#[test]
fn at_the_limit_another_foreground_app_may_take_the_place_of_the_one_that_runs() {
    let (mut kit, _) = Kit::connected();
    kit.cfg.apps.apps_per_user_max = 2;
    kit.running(SCRIBE, Sdk::V2);
    kit.running(CHESS, Sdk::V2);
    let call = kit.start(MAPS);
    let stop = kit.webhook(HttpKind::StopRequest);
    kit.answer_webhook(stop.call, 200);
    kit.init(MAPS, Sdk::V2);
    kit.stored_all();
    assert_eq!(kit.answer(call).unwrap().1["data"]["isRunning"], true);
    assert_eq!(kit.state(CHESS), AppState::Stopped);
    // With background apps alone there is nobody to give way.
    kit.cfg.apps.apps_per_user_max = 1;
    kit.stop(MAPS);
    kit.advance(10_000);
    let call = kit.start(MAPS);
    assert_eq!(stage(kit.answer(call)), "CONNECTION");
}

#[test]
fn an_app_that_is_being_stopped_takes_no_room() {
    let (mut kit, phone) = Kit::connected();
    kit.cfg.apps.apps_per_user_max = 1;
    kit.running(SCRIBE, Sdk::V2);
    kit.phone_text(
        phone,
        r#"{"type":"stop_app","packageName":"com.acme.scribe"}"#,
    );
    assert_eq!(kit.state(SCRIBE), AppState::Stopping);
    kit.start(MAPS);
    assert_eq!(kit.state(MAPS), AppState::Connecting);
    // Its place has gone to another.
    let call = kit.start(SCRIBE);
    assert_eq!(stage(kit.answer(call)), "CONNECTION");
}

/// A smaller limit after a reload is for what comes; what runs may be lost and restarted as before.
#[test]
fn a_smaller_limit_ends_no_app_that_is_lost_and_restarted() {
    let (mut kit, _) = Kit::connected_with(user_running(&[SCRIBE, MAPS]));
    let lost = kit.init(SCRIBE, Sdk::V3);
    kit.init(MAPS, Sdk::V3);
    kit.cfg.apps.apps_per_user_max = 1;
    kit.forget();
    kit.app_closes(lost);
    kit.advance(5_000);
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    kit.init(SCRIBE, Sdk::V3);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
}

#[test]
fn only_one_standard_app_runs_and_the_other_is_stopped_first() {
    let (mut kit, _) = Kit::connected();
    let chess = kit.running(CHESS, Sdk::V2);
    kit.running(SCRIBE, Sdk::V2);
    let call = kit.start(MAPS);
    assert_eq!(kit.state(CHESS), AppState::Stopping);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    let stop = kit.webhook(HttpKind::StopRequest);
    assert_eq!(stop.url, "http://com.acme.chess/webhook");
    kit.answer_webhook(stop.call, 200);
    assert_eq!(kit.close_of(chess), Some((1000, "App stopped")));
    assert_eq!(kit.state(CHESS), AppState::Stopped);
    assert_eq!(
        kit.webhook(HttpKind::SessionRequest).url,
        "http://com.acme.maps/webhook"
    );
    kit.init(MAPS, Sdk::V2);
    kit.stored_all();
    assert_eq!(kit.answer(call).unwrap().1["data"]["isRunning"], true);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
}

#[test]
fn of_two_standard_apps_started_at_once_the_later_wins() {
    let (mut kit, _) = Kit::connected();
    let first = kit.start(MAPS);
    let second = kit.start(CHESS);
    assert_eq!(stage(kit.answer(first)), "CONNECTION");
    kit.advance(3_000);
    assert_eq!(kit.state(MAPS), AppState::Stopped);
    kit.init(CHESS, Sdk::V2);
    kit.stored_all();
    assert_eq!(kit.answer(second).unwrap().1["data"]["isRunning"], true);
}

#[test]
fn a_start_during_the_own_stop_waits_for_its_end() {
    let (mut kit, _) = Kit::connected();
    kit.running(SCRIBE, Sdk::V2);
    kit.stop(SCRIBE);
    let webhook = kit.webhook(HttpKind::StopRequest);
    kit.start(SCRIBE);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    kit.answer_webhook(webhook.call, 200);
    kit.webhook(HttpKind::SessionRequest);
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    kit.init(SCRIBE, Sdk::V2);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    assert!(kit.s.m.apps.intent.is_running(SCRIBE));
}

/// The phone left before the user record was there: nothing is started, and apps may come by themselves.
#[test]
fn of_two_foreground_apps_that_are_expected_without_a_phone_only_one_may_come() {
    for sdk in [Sdk::V2, Sdk::V3] {
        let mut kit = Kit::new();
        let phone = kit.phone();
        kit.phone_closes(phone);
        kit.load(user_running(&[CHESS, SCRIBE, MAPS]));
        kit.init(SCRIBE, sdk);
        kit.init(CHESS, sdk);
        kit.init(MAPS, sdk);
        let states = [SCRIBE, CHESS, MAPS].map(|package| kit.state(package));
        // As where a phone is there: the last of the list takes the place of the other.
        let wanted = [AppState::Running, AppState::Stopped, AppState::Running];
        assert_eq!(states, wanted, "{sdk:?}");
        kit.forget();
        kit.phone();
        assert!(kit.webhooks(HttpKind::StopRequest).is_empty());
        assert_eq!(kit.state(MAPS), AppState::Running);
    }
}
