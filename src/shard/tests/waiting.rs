//! App sockets that wait: for an init, or for the session of their user.

use super::*;
use crate::shard::frames::ReadStep;

#[test]
fn a_parked_socket_is_answered_like_any_other() {
    let mut world = World::new();
    let parked = world.parked_app("a@x.io");
    for text in ["no JSON", r#"{"type":"ping","x":}"#] {
        world.say(parked, text);
        let told = world.sent(parked);
        assert!(told.contains("MALFORMED_MESSAGE"), "{text}: {told}");
        assert!(!told.contains("pong"), "{text}: {told}");
    }
    let ping = Message::Binary(br#"{"type":"ping"}"#.as_slice().into());
    let _ = world.shard.message(parked, ping);
    assert!(world.sent(parked).contains(r#"{"type":"pong""#));
}

#[test]
fn a_binary_frame_that_begins_like_json_but_is_no_text_ends_a_stranger_and_is_nothing_to_a_parked_socket()
 {
    let mut world = World::new();
    let parked = world.parked_app("a@x.io");
    let fresh = world.app("b@x.io");
    world.sent(fresh);
    let odd = Message::Binary(b"{\"type\":\"ping\",\"x\":\"\xff\"}".as_slice().into());
    assert_eq!(world.shard.message(parked, odd.clone()), ReadStep::Continue);
    assert_eq!(world.sent(parked), "");
    assert_eq!(world.shard.message(fresh, odd), ReadStep::Discard);
    let Some(WriteStep::Send(pending)) = world.shard.next_write(fresh) else {
        panic!("a close frame");
    };
    assert_eq!(*pending.bytes(), [0x88, 2, 0x03, 0xEF], "1007");
}

#[test]
fn ten_unparsable_messages_in_a_row_close_a_parked_socket() {
    let mut world = World::new();
    let parked = world.parked_app("a@x.io");
    let before = world.shard.workspace.metrics.get(Counter::AppMessagesIn);
    for text in ["{", "[]", r#"{"type":"ping",}"#] {
        for _ in 0..3 {
            world.say(parked, text);
        }
    }
    world.say(parked, r#"{"type":"display_event"}"#);
    for _ in 0..9 {
        world.say(parked, "nonsense");
    }
    assert!(!world.sent(parked).ends_with("Invalid JSON"));
    assert_eq!(world.shard.parked.len(), 1);
    world.say(parked, "nonsense");
    let end = world.sent(parked);
    assert!(end.contains("MALFORMED_MESSAGE") && end.ends_with("Invalid JSON"));
    assert_eq!(world.shard.parked.len(), 0);
    let metrics = &world.shard.workspace.metrics;
    assert_eq!(metrics.get(Counter::AppMessagesIn) - before, 20);
    assert_eq!(metrics.get(Counter::AppBadJson), 19);
}

#[test]
fn sockets_that_wait_are_pinged() {
    let mut world = World::new();
    let parked = world.parked_app("a@x.io");
    let fresh = world.app("b@x.io");
    world.sent(fresh);
    world.pass(10_000);
    for conn in [parked, fresh] {
        // Control frame, 8 characters; the opcode is no text.
        let ping = world.sent(conn);
        let id = ping.strip_prefix("\u{fffd}\u{8}").expect("a ping");
        assert!(id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}

#[test]
fn a_parked_socket_is_told_superseded_and_times_out() {
    let mut world = World::new();
    let older = world.app("a@x.io");
    world.say(older, RECONNECT);
    assert!(
        world
            .sent(older)
            .contains(r#""type":"reconnect_deferred","code":"BOOTING""#)
    );
    let newer = world.app("a@x.io");
    world.say(newer, RECONNECT);
    assert!(
        world
            .sent(older)
            .contains("Superseded by newer deferred connection")
    );
    world.sent(newer);
    world.say(newer, r#"{"type":"ping"}"#);
    assert!(
        world
            .sent(newer)
            .contains(r#""type":"pong","timestamp":1773480413589"#)
    );
    world.pass(29_999);
    assert!(!world.sent(newer).contains("BOOT_TIMEOUT"));
    world.pass(1);
    let end = world.sent(newer);
    assert!(end.contains("BOOT_TIMEOUT") && end.contains("Deferred reconnect timed out"));
    assert_eq!(world.shard.parked.len(), 0);
}

#[test]
fn of_too_many_parked_sockets_those_of_the_app_with_most_give_way() {
    let mut cfg = Settings::default();
    cfg.apps.deferred_max = 4;
    let mut world = World::with(cfg);
    let records = ["com.acme.x", "com.acme.y"].map(|package| AppRecord {
        package_name: package.into(),
        key_sha256: sha256_hex("k1"),
        ..AppRecord::default()
    });
    let registry = Arc::new(Registry::new(records, 2));
    world.shard.receive(ToShard::Registry(registry));
    const FULL: &str = "Too many deferred connections";
    let park = |world: &mut World, user: &str, package: &str| {
        world.pass(1);
        let conn = world.app_of(user, package);
        world.say(conn, RECONNECT);
        conn
    };
    let greedy: Vec<_> = ["a@x.io", "b@x.io", "c@x.io", "d@x.io"]
        .map(|user| park(&mut world, user, "com.acme.x"))
        .into();
    for conn in &greedy {
        assert!(world.sent(*conn).contains("BOOTING"));
    }
    let more = park(&mut world, "e@x.io", "com.acme.x");
    assert!(world.sent(more).contains(FULL), "it has most itself");
    // Another app comes: the one that waited longest gives way.
    for (user, gone) in [("a@x.io", greedy[0]), ("e@x.io", greedy[1])] {
        let other = park(&mut world, user, "com.acme.y");
        assert!(world.sent(other).contains("BOOTING"), "{user}");
        let end = world.sent(gone);
        assert!(end.contains(FULL) && end.contains("Overloaded"), "{end}");
    }
    let third = park(&mut world, "f@x.io", "com.acme.y");
    assert!(world.sent(third).contains(FULL), "both have as many");
    // A newer socket needs no further place.
    let newer = park(&mut world, "d@x.io", "com.acme.x");
    assert!(world.sent(newer).contains("BOOTING"));
    assert_eq!(world.shard.parked.len(), 4);
}

#[test]
fn a_parked_socket_belongs_to_the_session_once_there_is_one() {
    let mut world = World::new();
    let app = world.app("a@x.io");
    world.say(app, RECONNECT);
    world.sent(app);
    world.phone("a@x.io");
    assert_eq!(world.shard.parked.len(), 0);
}

#[test]
fn a_silent_app_socket_is_closed_after_the_init_limit_and_then_cut() {
    let mut world = World::new();
    let app = world.app("a@x.io");
    world.sent(app);
    world.pass(29_999);
    assert!(!world.sent(app).contains("Initialization timeout"));
    world.pass(1);
    assert!(world.sent(app).contains("Initialization timeout"));
    assert!(world.shard.cuts().is_empty());
    world.pass(1000);
    assert_eq!(
        *world.shard.cuts(),
        [2],
        "the peer did not answer the close"
    );
}

#[test]
fn a_rejected_reconnect_waits_for_an_init_before_it_closes() {
    let mut world = World::new();
    let app = world.app("a@x.io");
    world.say(app, r#"{"type":"reconnect"}"#);
    assert!(
        world
            .sent(app)
            .contains("Reconnect is only supported for SDK v3")
    );
    world.pass(999);
    assert_eq!(world.sent(app), "");
    // Saying it again does not keep the socket.
    world.say(app, r#"{"type":"reconnect"}"#);
    assert!(world.sent(app).contains("reconnect_rejected"));
    world.pass(1);
    assert!(world.sent(app).contains("Reconnect unsupported"));
}

/// Liveness limits below those of init and deferral.
fn impatient(change: impl FnOnce(&mut Settings)) -> World {
    let mut cfg = Settings::default();
    cfg.health.heartbeat_interval_ms = 2000;
    cfg.health.app_timeout_ms = 5000;
    change(&mut cfg);
    let mut world = World::with(cfg);
    world.pass(2000);
    world
}

/// So many beats, with what was sent in the last.
fn beats(world: &mut World, count: u32, conn: ConnId) -> String {
    let mut sent = String::new();
    for _ in 0..count {
        world.pass(2000);
        sent = world.sent(conn);
    }
    sent
}

#[test]
fn a_waiting_socket_that_showed_life_and_falls_silent_is_closed_1001_and_cut() {
    for (parks, proof) in [
        (false, "pong"),
        (false, "ping"),
        (true, "pong"),
        (true, "ping"),
    ] {
        let mut world = impatient(|_| {});
        let app = if parks {
            world.parked_app("a@x.io")
        } else {
            world.app("a@x.io")
        };
        world.shard.begin_turn(app, world.now, 1);
        let message = match proof {
            "pong" => Message::Pong(Bytes::from_static(b"01234567")),
            _ => Message::Text(r#"{"type":"ping"}"#.into()),
        };
        let _ = world.shard.message(app, message);
        world.shard.end_turn(app, || 2);
        let ping = beats(&mut world, 2, app);
        assert!(!ping.contains("Connection"), "4 s of silence: {ping}");
        let close = beats(&mut world, 1, app);
        assert!(
            close.ends_with("\u{3}\u{fffd}Connection timeout detected"),
            "{close:?}"
        );
        assert_eq!(
            world.shard.workspace.metrics.get(Counter::HealthTimeoutApp),
            1
        );
        assert_eq!(world.shard.parked.len(), 0);
        world.pass(1000);
        assert_eq!(
            *world.shard.cuts(),
            [2],
            "the peer did not answer the close"
        );
    }
}

#[test]
fn a_waiting_socket_that_never_answered_a_ping_has_the_transport_limit() {
    let mut world = impatient(|cfg| {
        cfg.connections.app_init_timeout_ms = 600_000;
        cfg.connections.ws_idle_timeout_s = 10;
    });
    let app = world.app("a@x.io");
    let ping = beats(&mut world, 5, app);
    assert!(!ping.contains("Connection"), "10 s of silence: {ping}");
    assert!(beats(&mut world, 1, app).contains("Connection timeout detected"));
}

#[test]
fn the_monitor_only_counts_waiting_sockets_where_it_observes_and_forgives_its_own_stall() {
    for mode in [HealthMonitorMode::Off, HealthMonitorMode::Observe] {
        let mut world = impatient(|cfg| cfg.health.health_monitor_mode = mode);
        let app = world.app("a@x.io");
        world.say(app, r#"{"type":"ping"}"#);
        assert!(!beats(&mut world, 5, app).contains("Connection"));
        let counted = u64::from(mode == HealthMonitorMode::Observe);
        let metrics = &world.shard.workspace.metrics;
        assert_eq!(metrics.get(Counter::HealthTimeoutApp), counted);
    }
    let mut world = impatient(|_| {});
    let app = world.app("a@x.io");
    world.say(app, r#"{"type":"ping"}"#);
    world.pass(20_000);
    assert!(
        !world.sent(app).contains("Connection"),
        "a late check judges nobody"
    );
    assert!(beats(&mut world, 1, app).contains("Connection timeout detected"));
}
