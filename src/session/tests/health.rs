//! Liveness: behaviour.md §9, invariant 46.

use crate::base::ids::ConnId;
use crate::base::metrics::Counter;
use crate::base::settings::HealthMonitorMode;
use crate::session::State;
use crate::session::effects::{Effect, LinkChange};
use crate::session::event::{Event, HelloKind, Sdk};
use crate::session::managers::apps::AppState;
use crate::session::rest::Call;
use crate::session::testkit::{Kit, SCRIBE, USER, hello};
use crate::wire::records::UserRecord;
use bytes::Bytes;
use serde_json::json;

fn pings(kit: &mut Kit) -> Vec<(ConnId, [u8; 8])> {
    kit.effects(|e| matches!(e, Effect::Ping { .. }))
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Ping { conn, id } => Some((conn, id)),
            _ => None,
        })
        .collect()
}

fn answer_pings(kit: &mut Kit, of: ConnId) {
    for (conn, id) in pings(kit) {
        if conn == of {
            let payload = Bytes::copy_from_slice(&id);
            kit.event(Event::Pong { conn, payload });
        }
    }
}

/// Keeps the phone alive for `seconds`, so that only the app is silent.
fn pass(kit: &mut Kit, phone: ConnId, seconds: u64) {
    for _ in 0..seconds {
        kit.advance(1000);
        kit.phone_text(phone, r#"{"type":"ping"}"#);
    }
}

#[test]
fn every_socket_is_pinged_every_ten_seconds() {
    let (mut kit, phone) = Kit::connected();
    let app = kit.running(SCRIBE, Sdk::V2);
    kit.advance(10_000);
    let pinged = pings(&mut kit);
    let conns: Vec<ConnId> = pinged.iter().map(|row| row.0).collect();
    assert_eq!(conns, [phone, app]);
    assert!(
        pinged
            .iter()
            .all(|(_, id)| id.iter().all(u8::is_ascii_hexdigit))
    );
}

#[test]
fn sockets_that_wait_for_the_start_of_their_app_are_pinged_too() {
    let (mut kit, phone) = Kit::connected();
    let conn = kit.conn();
    kit.run(|s, cx| {
        let hello = hello(HelloKind::Reconnect, SCRIBE, Sdk::V3);
        crate::session::flow::attach::park(s, conn, hello, cx.now.mono_ms + 30_000, cx);
    });
    kit.forget();
    kit.advance(10_000);
    let conns: Vec<ConnId> = pings(&mut kit).iter().map(|row| row.0).collect();
    assert_eq!(conns, [phone, conn]);
}

#[test]
fn a_silent_proven_app_is_lost_after_45_seconds_and_a_beat() {
    let (mut kit, phone) = Kit::connected();
    let app = kit.running(SCRIBE, Sdk::V2);
    kit.advance(10_000);
    answer_pings(&mut kit, app);
    pass(&mut kit, phone, 45);
    assert_eq!(kit.close_of(app), None);
    pass(&mut kit, phone, 6); // the next beat is at 60 s
    assert_eq!(
        kit.close_of(app),
        Some((1001, "Connection timeout detected"))
    );
    assert_eq!(kit.state(SCRIBE), AppState::GracePeriod);
    assert_eq!(kit.metrics.get(Counter::HealthTimeoutApp), 1);
    // The peer's own close comes later and means nothing.
    kit.forget();
    kit.app_closes(app);
    assert_eq!(kit.state(SCRIBE), AppState::GracePeriod);
}

#[test]
fn an_app_that_never_answered_a_ping_gets_the_idle_limit() {
    let (mut kit, phone) = Kit::connected();
    let app = kit.running(SCRIBE, Sdk::V2);
    pass(&mut kit, phone, 119);
    assert_eq!(kit.close_of(app), None);
    pass(&mut kit, phone, 12);
    assert_eq!(
        kit.close_of(app),
        Some((1001, "Connection timeout detected"))
    );
}

#[test]
fn any_inbound_traffic_keeps_a_socket() {
    let (mut kit, phone) = Kit::connected();
    let app = kit.running(SCRIBE, Sdk::V3);
    kit.app_text(app, r#"{"type":"ping"}"#);
    for _ in 0..10 {
        pass(&mut kit, phone, 40);
        kit.event(Event::Activity { conn: app });
    }
    assert_eq!(kit.state(SCRIBE), AppState::Running);
}

#[test]
fn a_silent_phone_starts_its_grace_after_two_minutes() {
    let (mut kit, phone) = Kit::connected();
    kit.advance(120_000);
    assert_eq!(kit.s.state, State::Connected);
    kit.advance(10_000);
    assert_eq!(
        kit.close_of(phone),
        Some((1001, "Connection timeout detected"))
    );
    assert_eq!(kit.s.state, State::Disconnected);
    kit.advance(60_000);
    assert_eq!(kit.s.state, State::Disposed);
}

#[test]
fn a_silent_superseded_socket_is_closed_without_effect() {
    let (mut kit, old) = Kit::connected();
    let new = kit.phone();
    pass(&mut kit, new, 131);
    assert_eq!(
        kit.close_of(old),
        Some((1001, "Connection timeout detected"))
    );
    assert_eq!(kit.s.state, State::Connected);
}

#[test]
fn a_check_that_comes_late_blames_nobody() {
    let (mut kit, phone) = Kit::connected();
    kit.now = kit.now.plus(300_000);
    kit.event(Event::Tick);
    assert_eq!(kit.close_of(phone), None);
}

#[test]
fn observing_counts_and_closes_nothing() {
    let (mut kit, phone) = Kit::connected();
    kit.cfg.health.health_monitor_mode = HealthMonitorMode::Observe;
    kit.advance(300_000);
    assert_eq!(kit.close_of(phone), None);
    assert_eq!(kit.metrics.get(Counter::HealthTimeoutPhone), 1);
}

/// behaviour.md §9.4: the switch is turned from `observe` to `enforce` while the process runs.
#[test]
fn a_socket_that_was_only_observed_is_closed_as_soon_as_the_rule_is_enforced() {
    let (mut kit, phone) = Kit::connected();
    kit.cfg.health.health_monitor_mode = HealthMonitorMode::Observe;
    let app = kit.running(SCRIBE, Sdk::V3);
    kit.app_text(app, r#"{"type":"ping"}"#);
    pass(&mut kit, phone, 60);
    assert_eq!(kit.close_of(app), None);
    assert_eq!(kit.metrics.get(Counter::HealthTimeoutApp), 1);
    kit.cfg.health.health_monitor_mode = HealthMonitorMode::Enforce;
    pass(&mut kit, phone, 10);
    let closed = kit.close_of(app);
    assert_eq!(closed, Some((1001, "Connection timeout detected")));
    assert_eq!(kit.metrics.get(Counter::HealthTimeoutApp), 1, "told once");
}

#[test]
fn switched_off_it_only_pings() {
    let (mut kit, phone) = Kit::connected();
    kit.cfg.health.health_monitor_mode = HealthMonitorMode::Off;
    kit.advance(300_000);
    assert_eq!(kit.close_of(phone), None);
    assert_eq!(kit.metrics.get(Counter::HealthTimeoutPhone), 0);
    assert_eq!(pings(&mut kit).len(), 30);
}

#[test]
fn administrators_see_latency_and_identity() {
    let (mut kit, phone) = Kit::connected();
    kit.advance(10_000);
    kit.now = kit.now.plus(40);
    answer_pings(&mut kit, phone);
    let call = kit.rest(Call::Connections);
    let (_, body) = kit.answer(call).unwrap();
    assert_eq!(body[0]["kind"], "glasses");
    assert_eq!(body[0]["connectionId"], phone.tag());
    assert_eq!(body[0]["latencyMs"], 40);
    assert_eq!(body[0]["proven"], true);
    let before = body[0]["bytesIn"].as_u64().expect("a number");
    let said = r#"{"type":"ping"}"#;
    kit.phone_text(phone, said);
    let call = kit.rest(Call::Connections);
    let (_, body) = kit.answer(call).unwrap();
    assert_eq!(body[0]["bytesIn"], before + said.len() as u64);
}

#[test]
fn administrators_see_how_the_last_connections_ended() {
    let (mut kit, phone) = Kit::connected();
    let app = kit.running(SCRIBE, Sdk::V3);
    kit.advance(3000);
    kit.app_closes(app);
    kit.advance(500);
    let call = kit.rest(Call::Connections);
    let (_, body) = kit.answer(call).unwrap();
    assert_eq!(body[0]["connectionId"], phone.tag());
    let ended = json!({"userId": USER, "connectionId": app.tag(), "open": false, "kind": "app",
        "packageName": SCRIBE, "reason": "network_error", "ageMs": 3000, "endedMs": 500});
    assert_eq!(body[1], ended);
}

#[test]
fn administrators_see_who_gets_what_and_how_that_came_about() {
    let (mut kit, _) = Kit::connected();
    let conn = kit.running(SCRIBE, Sdk::V3);
    let at = kit.now.unix_ms;
    for list in [r#"["button_press","head_position"]"#, r#"["button_press"]"#] {
        kit.app_text(
            conn,
            &format!(r#"{{"type":"subscription_update","subscriptions":{list}}}"#),
        );
    }
    let call = kit.rest(Call::Subscriptions);
    let (_, body) = kit.answer(call).unwrap();
    let at = crate::base::clock::IsoTime::from_unix_ms(at).to_string();
    let mut all = body.as_array().unwrap().iter();
    let scribe = all.find(|one| one["packageName"] == SCRIBE).unwrap();
    assert_eq!(
        *scribe,
        json!({"userId": USER, "packageName": SCRIBE, "state": "running", "subscriptions": ["button_press"],
            "history": [
                {"operation": "update", "subscriptions": ["button_press", "head_position"], "timestamp": at},
                {"operation": "update", "subscriptions": ["button_press"], "timestamp": at}]})
    );
}

#[test]
fn only_the_last_ten_ended_connections_are_kept() {
    let (mut kit, mut phone) = Kit::connected();
    for _ in 0..12 {
        kit.phone_closes(phone);
        phone = kit.phone();
    }
    let call = kit.rest(Call::Connections);
    let (_, body) = kit.answer(call).unwrap();
    assert_eq!(body.as_array().map(Vec::len), Some(11));
}

#[test]
fn more_dead_sockets_than_a_batch_wait_for_the_next_beat() {
    let (mut kit, phone) = Kit::connected();
    kit.cfg.health.timeout_batch_max = 1;
    let app = kit.running(SCRIBE, Sdk::V2);
    kit.fx.liveness_closes = 1; // another session of this core used it up
    kit.advance(140_000);
    assert_eq!((kit.close_of(phone), kit.close_of(app)), (None, None));
    kit.fx.liveness_closes = 0;
    kit.advance(10_000);
    let closed = [phone, app].map(|conn| kit.close_of(conn).is_some());
    assert_eq!(closed.iter().filter(|closed| **closed).count(), 1);
}

#[test]
fn a_user_record_that_comes_late_is_counted_and_logged() {
    use crate::base::log_capture::lines_of;
    for (wait_ms, slow) in [(49, 0), (50, 1)] {
        let mut kit = Kit::new();
        kit.phone();
        kit.advance(wait_ms);
        let lines = lines_of(|| kit.load(UserRecord::default()));
        assert_eq!(kit.metrics.get(Counter::SlowUserLoad), slow);
        let said = lines.iter().any(|line| {
            line.starts_with("WARN slow-phase") && line.contains(r#"phase="user_load" took_ms=50"#)
        });
        assert_eq!(u64::from(said), slow, "{lines:?}");
    }
}

#[test]
fn an_app_that_was_only_silent_is_reported_as_such() {
    let (mut kit, phone) = Kit::connected();
    let app = kit.running(SCRIBE, Sdk::V2);
    answer_pings(&mut kit, app);
    kit.app_text(app, r#"{"type":"ping"}"#);
    kit.forget();
    for _ in 0..6 {
        kit.advance(10_000);
        kit.phone_text(phone, r#"{"type":"ping"}"#);
    }
    let links = kit.effects(|e| matches!(e, Effect::AppLink { .. }));
    let first = links.first().map(|link| match link {
        Effect::AppLink { change, .. } => *change,
        other => panic!("{other:?}"),
    });
    assert_eq!(first, Some(LinkChange::LostSilent));
}
