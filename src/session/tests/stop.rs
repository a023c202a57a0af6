//! Stopping apps and refusing their messages: behaviour.md §2.8, §2.12, §2.20, invariants 12, 18, 22.

use crate::base::metrics::Counter;
use crate::session::effects::{Effect, HttpKind, LinkChange, StoreOp};
use crate::session::event::{Event, Sdk, StoreOutcome};
use crate::session::flow::stop;
use crate::session::managers::apps::AppState;
use crate::session::rest::Call;
use crate::session::testkit::{Kit, MAPS, SCRIBE, USER, needs, record, session_end, user_running};
use crate::wire::records::{AppType, Registry};
use serde_json::{Value, json};

#[test]
fn a_stop_tells_the_app_by_webhook_then_by_message_then_closes() {
    let (mut kit, phone) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V2);
    kit.advance(200);
    kit.forget();
    let call = kit.stop(SCRIBE);
    assert_eq!(kit.state(SCRIBE), AppState::Stopping);
    assert_eq!(kit.s.m.apps.open_conn(SCRIBE), None);
    let webhook = kit.webhook(HttpKind::StopRequest);
    assert_eq!(webhook.timeout_ms, 3000);
    let body: Value = serde_json::from_slice(&webhook.body).unwrap();
    assert_eq!(body["type"], "stop_request");
    assert_eq!(body["sessionId"], format!("{USER}-{SCRIBE}"));
    assert_eq!(body["reason"], "user_disabled");
    // Until the webhook is answered nothing reaches the app.
    kit.app_text(conn, r#"{"type":"ping"}"#);
    assert!(kit.texts(conn).is_empty());
    assert_eq!(kit.close_of(conn), None);
    kit.answer_webhook(webhook.call, 200);
    let told = kit.texts(conn);
    assert_eq!(told[0]["type"], "app_stopped");
    assert_eq!(told[0]["reason"], "user_disabled");
    assert_eq!(kit.close_of(conn), Some((1000, "App stopped")));
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    // The answer waits for the store.
    assert_eq!(kit.answer(call), None);
    let writes = kit.stored_all();
    assert!(matches!(&writes[..], [StoreOp::RemoveRunning(package)] if &**package == SCRIBE));
    let body = json!({"success": true, "data": {"status": "stopped", "isRunning": false}});
    assert_eq!(kit.answer(call), Some((200, body)));
    kit.advance(1_000);
    assert!(kit.types(phone).contains(&"app_state_change".to_owned()));
}

#[test]
fn a_dead_app_server_delays_a_stop_three_seconds_at_most() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V2);
    kit.stop(SCRIBE);
    kit.advance(2_999);
    assert_eq!(kit.close_of(conn), None);
    kit.advance(1);
    assert_eq!(kit.close_of(conn), Some((1000, "App stopped")));
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
}

#[test]
fn a_socket_that_closes_during_the_stop_is_no_loss() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    let call = kit.stop(SCRIBE);
    kit.app_closes(conn);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    kit.advance(3_000);
    assert!(kit.texts(conn).is_empty());
    assert_eq!(kit.close_of(conn), None);
    kit.stored_all();
    assert_eq!(kit.answer(call).map(|answer| answer.0), Some(200));
    kit.forget();
    kit.advance(20_000);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}

#[test]
fn an_app_whose_stop_a_session_does_not_live_to_see_is_no_session_of_its_server_any_more() {
    let (mut kit, phone) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V2);
    kit.stop(SCRIBE);
    kit.app_closes(conn);
    kit.forget();
    kit.phone_closes(phone);
    kit.event(session_end());
    let links = kit.effects(|effect| matches!(effect, Effect::AppLink { .. }));
    assert!(
        matches!(
            &links[..],
            [Effect::AppLink {
                change: LinkChange::Ended,
                ..
            }]
        ),
        "{links:?}"
    );
}

#[test]
fn a_stopped_app_stays_stopped() {
    let (mut kit, phone) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    kit.stop(SCRIBE);
    kit.advance(3_000);
    kit.stored_all();
    kit.forget();
    kit.app_closes(conn); // late close
    kit.advance(6_000);
    kit.init(SCRIBE, Sdk::V3);
    kit.reconnect(SCRIBE);
    kit.phone_closes(phone);
    kit.phone();
    let call = kit.rest(Call::Recover {
        package: SCRIBE.into(),
        webhook_url: "http://x/webhook".into(),
        ws_base: String::new(),
    });
    assert_eq!(kit.answer(call).map(|answer| answer.0), Some(409));
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    kit.start(SCRIBE); // only the user brings it back
    assert_eq!(kit.webhooks(HttpKind::SessionRequest).len(), 1);
}

#[test]
fn stopping_a_stopped_app_succeeds_and_does_nothing() {
    let (mut kit, _) = Kit::connected();
    let call = kit.stop(SCRIBE);
    assert_eq!(kit.answer(call).unwrap().1["data"]["isRunning"], false);
    assert!(kit.is_quiet(), "{}", kit.leftovers());
    let call = kit.stop("com.nobody");
    assert_eq!(kit.answer(call).unwrap().0, 404);
}

#[test]
fn concurrent_stops_share_one_procedure() {
    let (mut kit, _) = Kit::connected();
    kit.running(SCRIBE, Sdk::V2);
    let calls = [kit.stop(SCRIBE), kit.stop(SCRIBE)];
    let webhook = kit.webhook(HttpKind::StopRequest);
    kit.answer_webhook(webhook.call, 500);
    assert_eq!(kit.stored_all().len(), 1);
    for call in calls {
        assert_eq!(kit.answer(call).map(|answer| answer.0), Some(200));
    }
}

#[test]
fn a_stop_that_is_not_durable_is_an_error_until_it_is() {
    let (mut kit, _) = Kit::connected();
    kit.running(SCRIBE, Sdk::V2);
    let call = kit.stop(SCRIBE);
    kit.advance(3_000);
    let ack = kit.writes()[0].1.unwrap();
    let outcome = StoreOutcome::Failed;
    kit.event(Event::Stored { call: ack, outcome });
    let body = json!({"success": false, "message": "Error stopping app"});
    assert_eq!(kit.answer(call), Some((500, body)));
    let again = kit.stop(SCRIBE);
    assert_eq!(kit.answer(again), None);
    kit.stored_all();
    assert_eq!(kit.answer(again).map(|answer| answer.0), Some(200));
}

#[test]
fn every_expected_state_can_be_stopped() {
    for reach in [
        AppState::Running,
        AppState::GracePeriod,
        AppState::Dormant,
        AppState::Resurrecting,
        AppState::Connecting,
    ] {
        let (mut kit, phone) = Kit::connected();
        let conn = kit.running(SCRIBE, Sdk::V2);
        if reach == AppState::Dormant {
            kit.phone_closes(phone);
        }
        if reach != AppState::Running {
            kit.app_closes(conn);
        }
        if !matches!(reach, AppState::Running | AppState::GracePeriod) {
            kit.advance(5_000);
        }
        if reach == AppState::Connecting {
            let webhook = kit.webhook(HttpKind::StopRequest);
            kit.answer_webhook(webhook.call, 200);
        }
        assert_eq!(kit.state(SCRIBE), reach);
        kit.stop(SCRIBE);
        kit.advance(3_000);
        assert_eq!(kit.state(SCRIBE), AppState::Stopped, "from {reach:?}");
        let last = kit.stored_all().pop();
        assert!(
            matches!(last, Some(StoreOp::RemoveRunning(_))),
            "from {reach:?}"
        );
        kit.advance(60_000);
        assert_eq!(kit.state(SCRIBE), AppState::Stopped, "from {reach:?}");
    }
}

#[test]
fn an_incompatible_app_is_stopped_but_still_wanted() {
    let (mut kit, phone) = Kit::connected();
    kit.running(SCRIBE, Sdk::V2);
    kit.run(|s, cx| stop::incompatible(s, SCRIBE, cx));
    kit.advance(3_000);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    assert!(kit.writes().is_empty());
    assert!(kit.types(phone).contains(&"app_stopped".to_owned()));
    assert!(!kit.s.m.apps.get(SCRIBE).unwrap().user_stopped);
}

/// A phone with an app that needs a camera, in one of its states.
fn with_camera_app(reach: AppState) -> Kit {
    let (mut kit, _) = Kit::connected();
    let mut cam = record(SCRIBE, AppType::Background);
    cam.hardware_requirements = vec![needs("CAMERA", "REQUIRED")];
    kit.apps = Registry::new([cam], 2);
    if reach == AppState::Connecting {
        kit.start(SCRIBE);
    } else {
        let sdk = match reach {
            AppState::TransportDown => Sdk::V3,
            _ => Sdk::V2,
        };
        let conn = kit.running(SCRIBE, sdk);
        if reach != AppState::Running {
            kit.app_closes(conn);
        }
        if reach == AppState::Resurrecting {
            kit.advance(5_000);
        }
    }
    assert_eq!(kit.state(SCRIBE), reach);
    kit
}

#[test]
fn glasses_without_its_hardware_stop_an_app_that_is_on_its_way_too() {
    for reach in [
        AppState::Running,
        AppState::Connecting,
        AppState::GracePeriod,
        AppState::TransportDown,
        AppState::Resurrecting,
    ] {
        let mut kit = with_camera_app(reach);
        kit.stored_all();
        let body = r#"{"connected":true,"modelName":"Even Realities G1"}"#.into();
        kit.rest(Call::DeviceState { body });
        kit.advance(3_000);
        assert_eq!(kit.state(SCRIBE), AppState::Stopped, "from {reach:?}");
        // The app server comes, or comes back: too late.
        let conn = kit.init(SCRIBE, Sdk::V2);
        assert_eq!(
            kit.close_of(conn),
            Some((1008, "App not started for this session")),
            "from {reach:?}"
        );
        kit.advance(60_000);
        assert_eq!(kit.state(SCRIBE), AppState::Stopped, "from {reach:?}");
        let forgotten = |op: &StoreOp| matches!(op, StoreOp::RemoveRunning(_));
        let is_wanted = !kit.stored_all().iter().any(forgotten);
        assert!(is_wanted, "from {reach:?}");
    }
}

#[test]
fn a_dormant_app_is_not_restarted_on_glasses_without_its_hardware() {
    for reach in [AppState::GracePeriod, AppState::TransportDown] {
        let mut kit = with_camera_app(reach);
        let phone = kit.s.m.phone.open().expect("a phone");
        kit.phone_closes(phone);
        kit.advance(5_000);
        assert_eq!(kit.state(SCRIBE), AppState::Dormant);
        let body = r#"{"connected":true,"modelName":"Even Realities G1"}"#.into();
        kit.rest(Call::DeviceState { body });
        kit.forget();
        let phone = kit.phone();
        assert_eq!(kit.state(SCRIBE), AppState::Stopped, "from {reach:?}");
        for kind in [HttpKind::StopRequest, HttpKind::SessionRequest] {
            assert!(kit.webhooks(kind).is_empty(), "{kind:?} from {reach:?}");
        }
        let told = kit.types(phone);
        assert!(told.iter().any(|kind| kind == "app_stopped"), "{told:?}");
    }
}

#[test]
fn a_recovery_brings_no_app_back_on_glasses_without_its_hardware() {
    let mut kit = with_camera_app(AppState::GracePeriod);
    let phone = kit.s.m.phone.open().expect("a phone");
    kit.phone_closes(phone);
    kit.advance(5_000);
    let recover = Call::Recover {
        package: SCRIBE.into(),
        webhook_url: "http://blue.acme.dev/hook".into(),
        ws_base: String::new(),
    };
    for (model, status, state) in [
        ("Even Realities G1", Some(409), AppState::Dormant),
        ("Mentra Live", None, AppState::Connecting),
    ] {
        let body = format!(r#"{{"connected":true,"modelName":"{model}"}}"#).into();
        kit.rest(Call::DeviceState { body });
        let call = kit.rest(recover.clone());
        assert_eq!(kit.answer(call).map(|answer| answer.0), status, "{model}");
        assert_eq!(kit.state(SCRIBE), state, "{model}");
    }
}

#[test]
fn a_start_that_new_glasses_cannot_serve_says_so_to_its_caller() {
    let mut kit = with_camera_app(AppState::Connecting);
    let joined = kit.start(SCRIBE);
    let body = r#"{"connected":true,"modelName":"Even Realities G1"}"#.into();
    kit.rest(Call::DeviceState { body });
    let (status, answer) = kit.answer(joined).expect("an answer");
    assert_eq!((status, &answer["data"]["isRunning"]), (200, &json!(false)));
    assert!(answer.to_string().contains("HARDWARE_CHECK"), "{answer}");
}

#[test]
fn an_uninstall_stops_and_forgets_the_app() {
    let (mut kit, _) = Kit::connected_with(user_running(&[SCRIBE]));
    kit.init(SCRIBE, Sdk::V2);
    let uninstall = |package: &str| Call::InstallChanged {
        package: package.to_owned(),
        installed: None,
    };
    let call = kit.rest(uninstall(SCRIBE));
    kit.advance(3_000);
    kit.stored_all();
    assert_eq!(kit.answer(call), Some((200, json!({}))));
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    let call = kit.rest(uninstall(MAPS));
    assert_eq!(kit.answer(call), Some((200, json!({}))));
}

#[test]
fn a_deliberate_stop_survives_the_session() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V2);
    kit.stop(SCRIBE);
    kit.event(session_end());
    assert!(matches!(
        &kit.writes()[..],
        [(StoreOp::RemoveRunning(_), _)]
    ));
    assert_eq!(kit.close_of(conn), Some((1000, "User session ended")));
}

#[test]
fn a_released_app_goes_dormant_without_grace_and_keeps_its_place() {
    let (mut kit, phone) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    kit.app_text(
        conn,
        r#"{"type":"ownership_release","reason":"clean_shutdown"}"#,
    );
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    kit.app_closes(conn);
    assert_eq!(kit.state(SCRIBE), AppState::Dormant);
    kit.advance(50_000);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    assert!(kit.writes().is_empty());
    assert!(kit.s.m.apps.intent.is_running(SCRIBE));
    let ended = kit.effects(|e| matches!(e, Effect::AppLink { .. }));
    assert!(matches!(
        &ended[..],
        [Effect::AppLink {
            change: LinkChange::Ended,
            ..
        }]
    ));
    // The phone's return brings it back; an attach clears the mark.
    kit.phone_closes(phone);
    kit.phone();
    kit.webhook(HttpKind::SessionRequest);
    let conn = kit.reconnect(SCRIBE);
    kit.app_closes(conn);
    assert_eq!(kit.state(SCRIBE), AppState::TransportDown);
}

#[test]
fn ten_unparsable_messages_in_a_row_close_the_socket() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    for _ in 0..9 {
        kit.app_text(conn, "{");
    }
    kit.app_text(conn, r#"{"type":"ping"}"#);
    assert_eq!(kit.types(conn).pop().as_deref(), Some("pong"));
    for _ in 0..9 {
        kit.app_text(conn, "nonsense");
    }
    assert_eq!(kit.close_of(conn), None);
    let answers = kit.types(conn);
    assert!(
        answers
            .iter()
            .all(|answer| answer == "tpa_connection_error MALFORMED_MESSAGE")
    );
    kit.app_text(conn, r#"{"no":"type"}"#);
    assert_eq!(kit.close_of(conn), Some((1007, "Invalid JSON")));
    assert_eq!(kit.state(SCRIBE), AppState::TransportDown);
    assert_eq!(kit.metrics.get(Counter::AppBadJson), 19);
}

#[test]
fn unknown_types_are_ignored() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    kit.app_text(conn, r#"{"type":"from_the_future"}"#);
    kit.app_text(conn, r#"{"type":"pong"}"#);
    assert!(kit.is_quiet(), "{}", kit.leftovers());
    assert_eq!(kit.metrics.get(Counter::AppUnknownType), 1);
}
