//! An app that asks without end is refused; the phone of its user stays.

use super::*;

const LED: &str = r#"{"type":"rgb_led_control","requestId":"led_1","action":"on","color":"red"}"#;

/// A phone that reads nothing from now on, and a running app.
fn stalled(world: &mut World) -> (ConnId, ConnId) {
    let (phone, app) = world.phone_and_app("a@x.io");
    assert!(world.sent(phone).contains("connection_ack"));
    (phone, app)
}

fn queued(world: &mut World, conn: ConnId) -> usize {
    world.shard.out.conns.get(conn).expect("open").outbox.len()
}

#[test]
fn an_app_that_asks_without_end_does_not_close_the_phone() {
    let mut world = World::new();
    let (phone, app) = stalled(&mut world);
    for _ in 0..20_000 {
        world.say(app, LED);
    }
    let bound = world.shard.cfg.connections.ws_send_queue_bytes_phone as usize;
    let waits = queued(&mut world, phone);
    assert!(waits > bound / 9 && waits <= bound / 8, "{waits}");
    let told = world.sent(app);
    assert_eq!(told.matches("tpa_connection_error").count(), 1);
    assert!(told.contains("Too many requests wait for the phone"));
    let metrics = &world.shard.workspace.metrics;
    assert_eq!(metrics.get(Counter::Overloaded), 0);
    assert!(metrics.get(Counter::DroppedAsked) > 10_000);
    // What the server has to say itself still fits.
    world.say(phone, r#"{"type":"ping"}"#);
    let read = world.sent(phone);
    assert!(read.ends_with(r#"{"type":"pong"}"#), "the phone is open");
    // And who reads may be asked again.
    world.pass(1000);
    world.say(app, LED);
    assert!(world.sent(phone).contains("rgb_led_control"));
    assert_eq!(world.sent(app), "");
}

#[test]
fn whatever_it_asks_without_end_the_phone_stays() {
    for ask in [
        r#"{"type":"audio_play_request","requestId":"a","audioUrl":"https://x.io/a.mp3"}"#,
        r#"{"type":"audio_stop_request"}"#,
        r#"{"type":"request_wifi_setup","reason":"streaming"}"#,
        r#"{"type":"stream_stop","streamId":"s1"}"#,
    ] {
        let mut world = World::new();
        let (phone, app) = stalled(&mut world);
        for _ in 0..15_000 {
            world.say(app, ask);
        }
        let metrics = &world.shard.workspace.metrics;
        assert!(metrics.get(Counter::DroppedAsked) > 5_000, "{ask}");
        world.say(phone, r#"{"type":"ping"}"#);
        assert!(world.sent(phone).ends_with(r#"{"type":"pong"}"#), "{ask}");
    }
}

#[test]
fn one_large_request_is_taken_and_more_of_them_are_not() {
    let mut world = World::new();
    let (phone, app) = stalled(&mut world);
    let sound = |bytes: usize| -> &'static str {
        let url = format!("data:audio/mpeg;base64,{}", "A".repeat(bytes));
        format!(r#"{{"type":"audio_play_request","requestId":"a","audioUrl":"{url}"}}"#).leak()
    };
    for bytes in [2_000_000, 700_000, 300_000] {
        world.say(app, sound(bytes));
    }
    let waits = queued(&mut world, phone);
    assert!((2_300_000..2_301_000).contains(&waits), "{waits}");
    assert_eq!(world.sent(app).matches("tpa_connection_error").count(), 1);
    let metrics = &world.shard.workspace.metrics;
    assert_eq!(metrics.get(Counter::Overloaded), 0);
    assert_eq!(metrics.get(Counter::DroppedAsked), 1);
}
