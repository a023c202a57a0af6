//! App sockets that wait: for an init, or for the session of their user.

use super::*;

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
fn ten_unparsable_messages_in_a_row_close_a_parked_socket() {
    let mut world = World::new();
    let parked = world.parked_app("a@x.io");
    let before = world.shard.metrics.get(Counter::AppMessagesIn);
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
    let metrics = &world.shard.metrics;
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
