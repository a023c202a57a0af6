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

/// A world whose app may film, with a provider of managed streams.
fn filming() -> World {
    let mut cfg = Settings::default();
    cfg.streaming.managed_api_url = "https://api.example.net".into();
    cfg.streaming.managed_account_id = "acc".into();
    cfg.device.validation_enabled = false;
    let mut world = World::with(cfg);
    let known = world.shard.apps.get("com.acme.x").expect("an app");
    let record = AppRecord {
        permissions: crate::session::testkit::bench::granted(&["CAMERA"]),
        ..AppRecord::clone(known)
    };
    world.shard.apps = Arc::new(Registry::new([record], 2));
    world
}

/// Others watch it too: what an app may not ask for any more is none of their business.
#[test]
fn a_managed_stream_starts_and_stops_although_the_app_that_watches_longest_asks_too_much() {
    const ASK: &str = r#"{"type":"managed_stream_request","requestId":"r1"}"#;
    let mut world = filming();
    let (phone, app) = stalled(&mut world);
    world.say(app, ASK);
    world.say(phone, ASK);
    let (epoch, call) = world.calls().pop().expect("a call of the provider");
    for _ in 0..5_000 {
        world.say(app, LED);
    }
    assert!(world.sent(app).contains("Too many requests wait"));
    let made = br#"{"success":true,"result":{"uid":"u1","webRTC":{"url":"https://in/whip"}}}"#;
    world.answered(epoch, call.call, made);
    world.pass(3000);
    let read = world.sent(phone);
    assert_eq!(read.matches(r#""type":"start_stream""#).count(), 1);
    // Nobody watches any more.
    for _ in 0..5_000 {
        world.say(app, LED);
    }
    world.say(phone, r#"{"type":"managed_stream_stop"}"#);
    world.say(app, r#"{"type":"managed_stream_stop"}"#);
    let read = world.sent(phone);
    assert_eq!(read.matches(r#""type":"stop_stream""#).count(), 1);
}

/// Nobody else would end what the glasses send, and its app has heard that it is over.
#[test]
fn a_stream_that_runs_stops_although_its_app_asks_too_much() {
    let mut world = filming();
    let (phone, app) = stalled(&mut world);
    world.say(app, r#"{"type":"stream_request","streamUrl":"rtmp://x/k"}"#);
    let read = world.sent(phone);
    let id = read.split(r#""streamId":""#).nth(1).expect("started");
    let id = id.split('"').next().expect("an id").to_owned();
    let status = |word: &str| -> &'static str {
        format!(r#"{{"type":"stream_status","streamId":"{id}","status":"{word}"}}"#).leak()
    };
    world.say(phone, status("streaming"));
    world.say(phone, status("reconnecting"));
    for _ in 0..5_000 {
        world.say(app, LED);
    }
    assert!(world.sent(app).contains("Too many requests wait"));
    world.say(app, r#"{"type":"stream_stop"}"#);
    let read = world.sent(phone);
    assert_eq!(read.matches(r#""type":"stop_stream""#).count(), 1);
}

#[test]
fn an_app_that_starts_and_stops_streams_without_end_does_not_close_the_phone() {
    let mut world = filming();
    let (phone, app) = stalled(&mut world);
    for _ in 0..10_000 {
        world.say(app, r#"{"type":"stream_request","streamUrl":"rtmp://x/k"}"#);
        world.say(app, r#"{"type":"stream_stop"}"#);
        world.sent(app);
    }
    assert!(world.shard.workspace.metrics.get(Counter::DroppedAsked) > 5_000);
    world.say(phone, r#"{"type":"ping"}"#);
    assert!(world.sent(phone).ends_with(r#"{"type":"pong"}"#));
}

/// Each costs a call of the provider, and this no time.
#[test]
fn an_app_that_asks_for_the_managed_stream_and_stops_it_without_end_does_not_close_the_phone() {
    let mut world = filming();
    let (phone, app) = stalled(&mut world);
    for _ in 0..10_000 {
        world.say(app, r#"{"type":"managed_stream_request"}"#);
        world.say(app, r#"{"type":"managed_stream_stop"}"#);
        world.calls();
    }
    assert!(world.shard.workspace.metrics.get(Counter::DroppedAsked) > 5_000);
    world.say(phone, r#"{"type":"ping"}"#);
    assert!(world.sent(phone).ends_with(r#"{"type":"pong"}"#));
}
