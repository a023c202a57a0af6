//! Memory that grows: hours of everything that made it grow, and what the server's own report says it holds.

use super::{CHESS, MAPS, NOTES, SCRIBE, USER, package};
use crate::sim::invariants::Cause;
use crate::sim::runs::world_with;
use crate::sim::script::Step;
use crate::sim::world::World;
use prism::base::settings::Settings;
use prism::session::event::Sdk;
use prism::session::managers::apps::AppState;
use prism::session::memory::OWNERS;
use prism::session::rest::{Call, Shape};
use prism::shard::report::NetGauges;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Minutes of a round; a day is rounds that are alike.
const ROUND: u64 = 12;
/// Longest memory of anything: a sound that nobody confirms (ms). Then the report has to come.
const CALM_MS: u64 = 12 * 60_000;
/// What a buffer may have become larger by (bytes).
const SLACK: u64 = 256;

/// A user with three apps, recognisers that do as they should, and a memory report every minute.
fn busy() -> World {
    let mut cfg = Settings::default();
    cfg.speech.soniox_api_key = "key".to_owned();
    cfg.observability.memory_report_ms = 60_000;
    // Full within the first part of the day.
    cfg.apps.subscription_history = 5;
    let mut w = world_with(7, [Sdk::V2, Sdk::V3, Sdk::V2, Sdk::V3], cfg);
    w.turn_ms = 1000;
    w.recognisers.tame = true;
    w.add_phone(USER, 0);
    w.run(1500);
    for app in [SCRIBE, MAPS, NOTES] {
        w.start(USER, app);
        w.run(3000);
    }
    w.sound();
    w
}

impl World {
    /// Who holds how many bytes, as the shard last counted.
    fn held(&mut self) -> BTreeMap<&'static str, u64> {
        self.shard.report(NetGauges::default());
        self.call(Cause::Turn, |_, _| {});
        let report = self.watch.report.as_ref().expect("a report came");
        let owners = report.owners.iter();
        owners.map(|owner| (owner.name, owner.bytes)).collect()
    }

    fn phone_tells(&mut self, message: &Value) {
        if let Some(conn) = self.phones[0].conn {
            self.say(conn, message);
        }
    }

    /// Everything that an app may ask for and that may wait for an answer; every id is new.
    fn app_asks(&mut self, app: usize, n: u64) {
        let id = |what: &str| format!("{what}-{app}-{n}-{}", self.t());
        let texts = [
            json!({"type": "location_poll_request", "accuracy": "high", "correlationId": id("poll")}),
            json!({"type": "photo_request", "requestId": id("photo"), "size": "medium"}),
            json!({"type": "audio_play_request", "requestId": id("sound"), "audioUrl": "https://a.b/c.mp3"}),
            json!({"type": "app_direct_message", "messageId": id("word"), "targetUserId": "nobody@lumen.io"}),
            json!({"type": "app_room_join", "roomId": id("room"), "roomConfig": {"maxUsers": 2}}),
            json!({"type": "app_broadcast_message", "messageId": id("all"), "payload": "hi"}),
            json!({"type": "app_room_leave", "roomId": id("room")}),
            json!({"type": "dashboard_content_update", "content": id("note"), "modes": ["main"]}),
            json!({"type": "rgb_led_control", "requestId": id("led"), "action": "on"}),
        ];
        for text in texts {
            self.app_says(app, USER, &text);
        }
        // The same pictures in every part of the day.
        self.paint(app, USER, n % (2 * ROUND));
    }

    /// What a phone says in a minute, heard or not.
    fn phone_lives(&mut self, n: u64) {
        for status in [true, false] {
            self.phone_tells(&json!({"type": "VAD", "status": status}));
            self.run(6000);
        }
        let id = format!("n{n}");
        for message in [
            json!({"type": "button_press", "buttonId": id, "pressType": "short"}),
            json!({"type": "touch_event", "gesture_name": id}),
            json!({"type": "head_position", "position": if n.is_multiple_of(2) { "up" } else { "down" }}),
            json!({"type": "phone_notification", "notificationId": id, "app": "Mail", "title": "Hi", "content": "there"}),
            json!({"type": "local_transcription", "text": id, "isFinal": true, "startTime": 1, "endTime": 2}),
            json!({"type": format!("odd_{id}")}),
        ] {
            self.phone_tells(&message);
        }
        // As many as are kept, within the first part of the day.
        let event = |at: u64| json!({"id": format!("{id}-{at}"), "title": id, "start": n, "timeZone": "UTC"});
        let event = json!({"events": (0..10).map(event).collect::<Vec<_>>()});
        for call in [
            Call::Calendar {
                body: event.to_string().into(),
            },
            Call::StartApp {
                package: format!("com.nobody.{id}"),
                shape: Shape::Phone,
            },
            Call::StopApp {
                package: format!("com.nobody.{id}"),
                shape: Shape::Phone,
            },
            Call::UserSettings {
                changes: [("lastSeen".to_owned(), json!(n))].into_iter().collect(),
            },
        ] {
            self.rest(USER, call);
        }
    }

    /// A minute of the day.
    fn minute(&mut self, n: u64) {
        let end = self.t() + 60_000;
        self.phones[0].helpful = n.is_multiple_of(2);
        self.phone_lives(n);
        for app in [SCRIBE, MAPS, NOTES] {
            self.app_asks(app, n);
        }
        self.run(500);
        match n % (ROUND / 2) {
            0 => {
                self.take_step(USER, Step::PhoneAway(25_000));
                self.run(2000);
                for round in 0..20 {
                    self.app_asks(SCRIBE, n + round);
                    self.run(200);
                }
            }
            1 => {
                self.stop(USER, MAPS);
                self.run(5000);
                self.start(USER, MAPS);
            }
            2 => self.server_crashes(NOTES),
            3 => {
                let names = (0..30).map(|at| json!(format!("stream_{n}_{at}")));
                self.subscribe(SCRIBE, USER, names.collect());
                self.run(2000);
                let usual = ["audio_chunk", "transcription:en-US", "button_press"];
                self.subscribe(SCRIBE, USER, usual.map(|name| json!(name)).to_vec());
            }
            4 => {
                for step in [
                    Step::AppDoubles(SCRIBE),
                    Step::Intruder(NOTES),
                    Step::Intruder(NOTES),
                    Step::Mute(true),
                    Step::Mute(false),
                ] {
                    self.take_step(USER, step);
                }
                self.start(USER, CHESS); // Another foreground app: the first has to go.
                self.run(6000);
                self.start(USER, MAPS);
            }
            _ => {
                self.phone_tells(
                    &json!({"type": "location_update", "lat": 47.0, "lng": n as f64 / 1e3}),
                );
                self.take_step(USER, Step::Takeover);
            }
        }
        self.run(end - self.t());
        self.sound();
    }
}

#[test]
fn hours_of_use_leave_a_session_as_large_as_the_first_hour() {
    let mut w = busy();
    let mut seen: Vec<BTreeMap<&'static str, u64>> = Vec::new();
    for hour in 0..4 {
        for n in 0..2 * ROUND {
            w.minute(hour * 2 * ROUND + n);
        }
        for app in [SCRIBE, MAPS, NOTES] {
            assert_eq!(w.state(app), AppState::Running, "{}", package(app));
        }
        w.run(CALM_MS);
        w.sound();
        seen.push(w.held());
    }
    let (first, last) = (&seen[0], &seen[seen.len() - 1]);
    let grown: Vec<String> = last
        .iter()
        .filter(|(name, bytes)| **bytes > first[**name] + SLACK)
        .map(|(name, _)| {
            let figures: Vec<u64> = seen.iter().map(|held| held[name]).collect();
            format!("{name}: {figures:?}")
        })
        .collect();
    assert!(
        grown.is_empty(),
        "bytes after each part of the day: {grown:#?}"
    );
    // And when the day is over, nothing.
    w.phones[0].on = false;
    w.rest(USER, Call::Dispose);
    w.run(CALM_MS);
    w.sound();
    let held = w.held();
    let left: Vec<_> = OWNERS
        .iter()
        .map(|name| (name, held[name]))
        .filter(|row| row.1 > 0)
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(held["waiting_apps"], 0);
    assert!(held["tables"] <= first["tables"]);
    w.watch.invariant_48_nothing_is_left();
    w.sound();
}
