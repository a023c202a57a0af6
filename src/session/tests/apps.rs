//! Starting apps: behaviour.md §2.2 (rows of stopped and connecting), §2.3, §2.4, invariants 9, 11, 14, 15, 19.

use crate::base::metrics::{Counter, Timing};
use crate::base::settings::DashboardMode;
use crate::session::effects::{Effect, HttpKind, StoreOp, UnderWay};
use crate::session::event::{Event, HttpOutcome, Sdk, StoreOutcome};
use crate::session::managers::apps::AppState;
use crate::session::rest::{Call, Shape};
use crate::session::testkit::{Kit, MAPS, SCRIBE, USER, needs, record, session_end, user_running};
use crate::wire::records::{AppType, InstalledApp, Registry, UserRecord};
use serde_json::{Value, json};

pub(super) fn stage(answer: Option<(u16, Value)>) -> String {
    let (status, body) = answer.expect("answered");
    assert_eq!((status, &body["success"]), (200, &json!(true)));
    assert_eq!(body["data"]["isRunning"], false);
    body["data"]["error"]["stage"]
        .as_str()
        .unwrap_or("none")
        .to_owned()
}

#[test]
fn a_start_sends_one_webhook_and_succeeds_by_the_init() {
    let (mut kit, phone) = Kit::connected();
    kit.cfg.server.public_url = "https://rt.example.net".into();
    let call = kit.start(SCRIBE);
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    let webhook = kit.webhook(HttpKind::SessionRequest);
    assert_eq!(webhook.url, "http://com.acme.scribe/webhook");
    assert_eq!(webhook.timeout_ms, 6000);
    let body: Value = serde_json::from_slice(&webhook.body).unwrap();
    let expected = json!({"type": "session_request", "sessionId": format!("{USER}-{SCRIBE}"),
        "userId": USER, "timestamp": "2026-03-14T09:26:53.589Z",
        "websocketUrl": "wss://rt.example.net/ws/miniapp",
        "mentraOSWebsocketUrl": "wss://rt.example.net/app-ws",
        "augmentOSWebsocketUrl": "wss://rt.example.net/app-ws"});
    assert_eq!(body, expected);
    // The webhook's 2xx alone never completes a start.
    kit.answer_webhook(webhook.call, 200);
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    assert!(kit.answer(call).is_none());
    kit.init(SCRIBE, Sdk::V2);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    // The answer waits until the intent is durable.
    assert!(kit.answer(call).is_none());
    kit.stored_all();
    let answer = json!({"success": true, "data": {"status": "started", "isRunning": true}});
    assert_eq!(kit.answer(call), Some((200, answer)));
    kit.advance(150);
    assert_eq!(kit.types(phone), ["app_state_change"]);
    kit.advance(30_000);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
}

#[test]
fn concurrent_starts_share_one_webhook_and_one_outcome() {
    let (mut kit, phone) = Kit::connected();
    let calls = [kit.start(SCRIBE), kit.start(SCRIBE), kit.start(SCRIBE)];
    kit.phone_text(
        phone,
        r#"{"type":"start_app","packageName":"com.acme.scribe"}"#,
    );
    kit.webhook(HttpKind::SessionRequest);
    kit.init(SCRIBE, Sdk::V2);
    kit.stored_all();
    let answers: Vec<_> = calls.map(|call| kit.answer(call).unwrap()).to_vec();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(answers[0].1["data"]["isRunning"], true);
}

#[test]
fn starting_a_running_app_succeeds_at_once() {
    let (mut kit, _) = Kit::connected();
    kit.running(SCRIBE, Sdk::V2);
    let call = kit.start(SCRIBE);
    assert_eq!(kit.answer(call).unwrap().1["data"]["isRunning"], true);
    assert!(kit.is_quiet(), "{}", kit.leftovers());
}

/// behaviour.md §2.3, 1.13: a start whose session ends has failed, however far it had come.
#[test]
fn a_start_that_waits_when_the_session_ends_hears_that_it_failed() {
    for attached in [false, true] {
        let (mut kit, _) = Kit::connected();
        let call = kit.start(SCRIBE);
        if attached {
            kit.init(SCRIBE, Sdk::V2);
        }
        kit.event(session_end());
        let error = json!({"stage": "DISPOSED", "message": "The user session ended"});
        let data = json!({"status": "started", "isRunning": false, "error": error});
        let body = json!({"success": true, "data": data});
        assert_eq!(kit.answer(call), Some((200, body)), "{attached}");
    }
}

#[test]
fn an_answer_is_an_error_when_the_store_does_not_confirm() {
    for confirm_late in [false, true] {
        let (mut kit, _) = Kit::connected();
        let call = kit.start(SCRIBE);
        kit.init(SCRIBE, Sdk::V2);
        let ack = kit.writes()[0].1.unwrap();
        if confirm_late {
            kit.advance(5_000);
        } else {
            let outcome = StoreOutcome::Failed;
            kit.event(Event::Stored { call: ack, outcome });
        }
        let body = json!({"success": false, "message": "Error starting app"});
        assert_eq!(kit.answer(call), Some((500, body)));
        assert_eq!(kit.state(SCRIBE), AppState::Running);
    }
}

#[test]
fn a_start_that_times_out_takes_a_users_intent_back() {
    let (mut kit, _) = Kit::connected_with(UserRecord::default());
    let call = kit.start(SCRIBE);
    let webhook = kit.webhook(HttpKind::SessionRequest);
    kit.advance(5_999);
    assert_eq!(kit.state(SCRIBE), AppState::Connecting);
    kit.advance(1);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    assert_eq!(stage(kit.answer(call)), "TIMEOUT");
    let took = kit.metrics.timing(Timing::AppStartTimeout).histogram();
    assert_eq!(took.map(|took| took.len()), Some(1));
    assert!(kit.metrics.timing(Timing::AppStartOk).histogram().is_none());
    assert!(matches!(
        &kit.writes()[..],
        [(StoreOp::RemoveRunning(_), _)]
    ));
    let cancelled = kit.effects(|e| matches!(e, Effect::CancelHttp { .. }));
    assert!(matches!(
        cancelled[..],
        [Effect::CancelHttp { call, under_way: UnderWay::Cut }] if call == webhook.call
    ));
    // A late answer and a late init find a stopped app.
    kit.forget();
    kit.answer_webhook(webhook.call, 200);
    let late = kit.init(SCRIBE, Sdk::V2);
    assert_eq!(kit.types(late), ["tpa_connection_error APP_NOT_STARTED"]);
}

#[test]
fn an_automatic_start_that_times_out_keeps_the_intent() {
    let (mut kit, _) = Kit::connected_with(user_running(&[SCRIBE]));
    kit.advance(6_000);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    assert!(kit.writes().is_empty());
    assert!(kit.s.m.apps.intent.is_running(SCRIBE));
}

#[test]
fn a_failed_webhook_is_tried_again_within_the_budget() {
    let (mut kit, _) = Kit::connected();
    let call = kit.start(SCRIBE);
    let first = kit.webhook(HttpKind::SessionRequest);
    kit.answer_webhook(first.call, 500);
    kit.advance(999);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
    kit.advance(1);
    let second = kit.webhook(HttpKind::SessionRequest);
    assert_eq!(second.timeout_ms, 5000);
    let outcome = HttpOutcome::Failed {
        error: "refused".into(),
    };
    kit.event(Event::Http {
        call: second.call,
        outcome,
    });
    let answer = kit.answer(call);
    assert_eq!(
        answer.as_ref().expect("answered").1["data"]["error"]["message"],
        "Webhook failed: Webhook failed after 2 attempts: refused"
    );
    assert_eq!(stage(answer), "WEBHOOK");
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    assert!(kit.writes().is_empty());
    assert_eq!(kit.metrics.get(Counter::AppStartsWebhook), 1);
}

#[test]
fn no_attempt_is_made_beyond_the_start_budget() {
    let (mut kit, _) = Kit::connected();
    let call = kit.start(SCRIBE);
    let first = kit.webhook(HttpKind::SessionRequest);
    kit.advance(5_500);
    kit.answer_webhook(first.call, 500);
    assert_eq!(stage(kit.answer(call)), "WEBHOOK");
    kit.advance(10_000);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}

#[test]
fn a_webhook_cut_off_by_the_start_budget_is_a_timeout() {
    let (mut kit, _) = Kit::connected();
    let call = kit.start(SCRIBE);
    let webhook = kit.webhook(HttpKind::SessionRequest);
    kit.advance(5_999);
    let outcome = HttpOutcome::Failed {
        error: "timed out".into(),
    };
    kit.event(Event::Http {
        call: webhook.call,
        outcome,
    });
    assert!(kit.answer(call).is_none());
    kit.advance(1);
    kit.stored_all();
    assert_eq!(stage(kit.answer(call)), "TIMEOUT");
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
    assert!(!kit.s.m.apps.intent.is_running(SCRIBE));
}

#[test]
fn a_webhook_failure_after_the_socket_attached_means_nothing() {
    let (mut kit, _) = Kit::connected();
    kit.start(SCRIBE);
    let webhook = kit.webhook(HttpKind::SessionRequest);
    kit.init(SCRIBE, Sdk::V2);
    kit.answer_webhook(webhook.call, 500);
    kit.advance(10_000);
    assert_eq!(kit.state(SCRIBE), AppState::Running);
    assert!(kit.webhooks(HttpKind::SessionRequest).is_empty());
}

#[test]
fn a_stop_resolves_the_start_that_it_meets() {
    let (mut kit, _) = Kit::connected();
    let start = kit.start(SCRIBE);
    let stop = kit.stop(SCRIBE);
    assert_eq!(stage(kit.answer(start)), "CONNECTION");
    assert_eq!(kit.state(SCRIBE), AppState::Stopping);
    let webhook = kit.webhook(HttpKind::StopRequest);
    kit.answer_webhook(webhook.call, 200);
    kit.stored_all();
    assert_eq!(kit.answer(stop).unwrap().1["data"]["isRunning"], false);
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
}

#[test]
fn unknown_and_deprecated_packages_do_not_start() {
    let (mut kit, phone) = Kit::connected();
    let call = kit.start("com.nobody");
    let body = json!({"success": false, "message": "App not found"});
    assert_eq!(kit.answer(call), Some((404, body)));
    let call = kit.start("system.augmentos.dashboard");
    assert_eq!(stage(kit.answer(call)), "WEBHOOK");
    kit.phone_text(phone, r#"{"type":"start_app","packageName":"com.nobody"}"#);
    assert_eq!(kit.s.m.apps.iter().count(), 0);
    kit.apps = Registry::default();
    let call = kit.start(SCRIBE);
    assert_eq!(kit.answer(call).unwrap().0, 500);
}

#[test]
fn an_app_without_address_fails_its_webhook() {
    let (mut kit, _) = Kit::connected();
    let mut silent = record(SCRIBE, AppType::Background);
    silent.public_url.clear();
    kit.apps = Registry::new([silent], 2);
    let call = kit.start(SCRIBE);
    assert_eq!(stage(kit.answer(call)), "WEBHOOK");
    assert_eq!(kit.state(SCRIBE), AppState::Stopped);
}

#[test]
fn assistants_get_their_own_answers() {
    let installed = UserRecord {
        installed_apps: vec![InstalledApp {
            package_name: SCRIBE.to_owned(),
            installed_ms: 1_769_940_000_000,
            last_active_ms: 0,
        }],
        ..UserRecord::default()
    };
    let (mut kit, _) = Kit::connected_with(installed);
    let start = |package: &str| Call::StartApp {
        package: package.to_owned(),
        shape: Shape::SystemApp,
    };
    let call = kit.rest(start(MAPS));
    let body = json!({"success": false, "error": "App is not installed"});
    assert_eq!(kit.answer(call), Some((404, body)));
    let call = kit.rest(start(SCRIBE));
    kit.advance(6_000);
    let (status, body) = kit.answer(call).unwrap();
    assert_eq!(
        (status, &body["error"]),
        (500, &json!("Failed to start app"))
    );
    assert_eq!(body["details"]["stage"], "TIMEOUT");
    let call = kit.rest(start(SCRIBE));
    kit.init(SCRIBE, Sdk::V2);
    kit.stored_all();
    assert_eq!(kit.answer(call).unwrap().1["success"], true);

    let call = kit.rest(Call::ListApps);
    let (_, list) = kit.answer(call).unwrap();
    let app = json!({"packageName": SCRIBE, "name": SCRIBE, "webviewUrl": "", "logoUrl": "",
        "type": "background", "permissions": [], "running": true, "healthy": true,
        "hardwareRequirements": [], "installedDate": "2026-02-01T10:00:00.000Z",
        "lastActiveAt": "2026-03-14T09:26:59.589Z"});
    assert_eq!(list["data"], json!([app]), "active when last started");
    let call = kit.rest(Call::Snapshot);
    let snapshot = json!({"running": [SCRIBE], "capabilities": null});
    assert_eq!(kit.answer(call), Some((200, snapshot)));
}

#[test]
fn the_last_known_health_of_an_installed_app_is_listed_and_stops_nothing() {
    let installed = UserRecord {
        installed_apps: vec![InstalledApp {
            package_name: SCRIBE.to_owned(),
            installed_ms: 0,
            last_active_ms: 0,
        }],
        ..UserRecord::default()
    };
    let (mut kit, _) = Kit::connected_with(installed);
    let healthy = |kit: &mut Kit| {
        let call = kit.rest(Call::ListApps);
        kit.answer(call).unwrap().1["data"][0]["healthy"].clone()
    };
    assert_eq!(healthy(&mut kit), true, "never asked");
    for (healthy_now, package, listed) in [
        (false, SCRIBE, false),
        (false, MAPS, false),
        (true, SCRIBE, true),
    ] {
        let call = kit.rest(Call::HealthPolled {
            package: package.to_owned(),
            healthy: healthy_now,
        });
        assert_eq!(kit.answer(call), Some((200, json!({}))));
        assert_eq!(healthy(&mut kit), listed);
    }
    let call = kit.rest(Call::HealthPolled {
        package: SCRIBE.to_owned(),
        healthy: false,
    });
    assert_eq!(kit.answer(call), Some((200, json!({}))));
    kit.running(SCRIBE, Sdk::V2);
}

#[test]
fn the_phone_hears_of_a_start_or_stop_that_changed_nothing() {
    let (mut kit, phone) = Kit::connected();
    kit.running(SCRIBE, Sdk::V2);
    kit.advance(1_000);
    for text in [
        r#"{"type":"start_app","packageName":"com.acme.scribe"}"#, // runs
        r#"{"type":"start_app","packageName":"com.nobody"}"#,
        r#"{"type":"stop_app","packageName":"com.acme.maps"}"#, // does not run
        r#"{"type":"stop_app","packageName":"com.nobody"}"#,
    ] {
        kit.forget();
        kit.phone_text(phone, text);
        kit.advance(150);
        assert_eq!(kit.types(phone), ["app_state_change"], "{text}");
    }
    // By REST as well.
    kit.forget();
    kit.start(SCRIBE);
    kit.advance(150);
    assert_eq!(kit.types(phone), ["app_state_change"]);
    // One that begins is told of at its end, when there is news.
    kit.forget();
    kit.phone_text(
        phone,
        r#"{"type":"start_app","packageName":"com.acme.maps"}"#,
    );
    kit.advance(1_000);
    assert!(!kit.types(phone).contains(&"app_state_change".to_owned()));
}

#[test]
fn app_state_changes_are_coalesced() {
    let (mut kit, phone) = Kit::connected();
    for package in [SCRIBE, MAPS] {
        kit.start(package);
        kit.init(package, Sdk::V2);
    }
    kit.advance(149);
    assert!(kit.types(phone).is_empty());
    kit.advance(1);
    assert_eq!(kit.types(phone), ["app_state_change"]);
    kit.advance(1_000);
    assert!(kit.types(phone).is_empty());
}

#[test]
fn the_system_dashboard_starts_by_itself_and_is_tried_again() {
    let mut kit = Kit::new();
    let package = "system.augmentos.dashboard";
    kit.cfg.dashboard.dashboard_mode = DashboardMode::App;
    kit.cfg.server.internal_host = "cloud".into();
    kit.apps = Registry::new([record(package, AppType::SystemDashboard)], 2);
    kit.phone();
    kit.load(UserRecord::default());
    let webhook = kit.webhook(HttpKind::SessionRequest);
    let body: Value = serde_json::from_slice(&webhook.body).unwrap();
    assert_eq!(body["mentraOSWebsocketUrl"], "ws://cloud/app-ws");
    kit.advance(6_000); // fails
    kit.advance(1_000);
    kit.webhook(HttpKind::SessionRequest);
    kit.advance(6_000 + 2_000);
    kit.webhook(HttpKind::SessionRequest);
    let conn = kit.init(package, Sdk::V2);
    assert_eq!(kit.types(conn)[0], "tpa_connection_ack");
    let stop = kit.stop(package);
    assert_eq!(kit.answer(stop).unwrap().1["data"]["isRunning"], true);
    assert_eq!(kit.state(package), AppState::Running);
    assert!(kit.writes().is_empty());
}

#[test]
fn optional_hardware_that_is_missing_is_worth_a_warning_and_required_is_worth_a_refusal() {
    let (mut kit, phone) = Kit::connected();
    kit.phone_text(
        phone,
        r#"{"type":"glasses_connection_state","modelName":"Even Realities G1","status":"CONNECTED"}"#,
    );
    for (level, warnings, wanted) in [
        ("OPTIONAL", 1, AppState::Connecting),
        ("REQUIRED", 0, AppState::Stopped),
    ] {
        let mut app = record(level, AppType::Background);
        app.hardware_requirements = ["CAMERA", "DISPLAY"].map(|kind| needs(kind, level)).into();
        kit.apps = Registry::new([app], 2);
        let lines = crate::base::log_capture::lines_of(|| {
            kit.start(level);
        });
        let warned = lines.iter().filter(|line| line.starts_with("WARN"));
        assert_eq!(warned.count(), warnings, "{lines:?}");
        assert_eq!(kit.state(level), wanted);
    }
}

#[test]
fn a_phone_that_starts_unknown_apps_without_end_does_not_fill_the_log() {
    let (mut kit, phone) = Kit::connected();
    let mut lines_of = |times: u64| {
        crate::base::log_capture::lines_of(|| {
            for n in 0..times {
                let text = format!(
                    r#"{{"type":"start_app","packageName":"x{n}.{}"}}"#,
                    "y".repeat(9000)
                );
                kit.phone_text(phone, &text);
            }
            kit.now = kit.now.plus(10_000);
        })
    };
    let lines = lines_of(100);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("app-start") && lines[0].contains("more=0"));
    assert!(lines[0].len() < 600, "{}", lines[0]);
    let lines = lines_of(1);
    assert!(lines[0].contains("more=99"), "{lines:?}");
    assert_eq!(kit.metrics.get(Counter::AppStartsWebhook), 101);
}
