//! What phones, app servers and services ask for besides starting, stopping and showing: REST calls about everything else,
//! mini-apps on the phone itself, an uninstall, audio that an app pushes, messages that are large or meant for nobody.

use super::invariants::Cause;
use super::net::Up;
use super::runs::APPS;
use super::script::Step;
use super::world::{Act, World};
use bytes::Bytes;
use prism::base::ids::{Origin, ReplyTo, ShardId, UserId};
use prism::session::rest::{Call, OutputAction};
use prism::shard::mailbox::ToShard;
use serde_json::{Value, json};

/// What the phone's own mini-apps want. No location: its tier is modelled for apps.
const WANTED: [&[&str]; 6] = [
    &[],
    &["transcription:en-US"],
    &["audio_chunk"],
    &["transcription:de-DE", "button_press"],
    &["*"],
    &["translation:es-ES-to-en-US", "audio_chunk"],
];

const PHONE_TEXTS: [&str; 12] = [
    r#"{"type":"pong"}"#,
    r#"{"type":"calendar_event","eventId":"e1","title":"Tea","dtStart":"2026-03-14T10:00:00Z","dtEnd":"2026-03-14T11:00:00Z"}"#,
    r#"{"type":"photo_response","requestId":"nobody-1","success":false,"errorCode":"X"}"#,
    r#"{"type":"audio_play_response","requestId":"nobody-1","success":true}"#,
    r#"{"type":"keep_alive_ack","streamId":"nobody","ackId":"a1"}"#,
    r#"{"type":"phone_notification_dismissed","notificationId":"n1","notificationKey":"k"}"#,
    r#"{"type":"rgb_led_control_response","requestId":"nobody-1","success":true}"#,
    r#"{"type":"glasses_battery_update","level":40,"charging":false}"#,
    r#"{"type":"start_app","packageName":"com.nobody.knows"}"#,
    r#"{"type":"stop_app","packageName":"com.nobody.knows"}"#,
    r#"{"type":"photo_taken","photoData":"aGk=","mimeType":"image/jpeg"}"#,
    r#"{"type":"local_transcription","text":"$BIG","isFinal":false,"startTime":1,"endTime":2}"#,
];

const APP_TEXTS: [&str; 14] = [
    r#"{"type":"audio_stream_start","streamId":"$STREAM","contentType":"audio/mpeg"}"#,
    r#"{"type":"audio_stream_end","streamId":"$STREAM"}"#,
    r#"{"type":"audio_stop_request"}"#,
    r#"{"type":"transcription_config","languageHints":["es","fr"]}"#,
    r#"{"type":"camera_fov_set","fov":80}"#,
    r#"{"type":"request_wifi_setup","reason":"video"}"#,
    r#"{"type":"rtmp_stream_stop"}"#,
    r#"{"type":"dashboard_system_update","section":"topLeft","content":"x"}"#,
    r#"{"type":"telemetry_response","incidentId":"i1","logs":[]}"#,
    r#"{"type":"app_user_discovery"}"#,
    r#"{"type":"pong"}"#,
    r#"{"type":"rgb_led_control","requestId":"big","action":"on","color":"$BIG"}"#,
    r#"{"type":"dashboard_content_update","content":"$BIG","modes":["main","expanded"]}"#,
    r#"{"type":"app_broadcast_message","messageId":"$STREAM-b","payload":"$BIG"}"#,
];

/// Errands of a run. Drawn apart, so that the other steps of a seed stay what they were.
pub(super) fn errands(
    seed: u64,
    users: &[(String, u64, usize, Vec<String>)],
    length_ms: u64,
) -> Vec<(u64, String, Step)> {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xe44a);
    (0..rng.usize(0..16))
        .map(|_| {
            let user = users[rng.usize(0..users.len())].0.clone();
            let (at_ms, app) = (rng.u64(0..length_ms), rng.usize(0..APPS.len()));
            (at_ms, user, Step::Errand(app, rng.u64(..)))
        })
        .collect()
}

fn big(text: &str, bits: u64) -> String {
    text.replace("$BIG", &"x".repeat(1 << (8 + bits % 10)))
}

impl World {
    pub(super) fn errand(&mut self, user: &str, app: usize, bits: u64) {
        let pick = (bits >> 8) as usize;
        match bits % 10 {
            0 | 1 => {
                let list = json!({"type": "phone_subscription_update", "subscriptions": WANTED[pick % WANTED.len()]});
                self.phone_texts(user, list.to_string());
            }
            2 => self.phone_texts(user, big(PHONE_TEXTS[pick % PHONE_TEXTS.len()], bits >> 40)),
            3..6 => self.app_errand(user, app, pick),
            _ => {
                let call = self.call_about(user, app, pick);
                let streams = matches!(call, Call::AudioStream { peek: false, .. });
                let id = self.rest(user, call);
                if streams && bits >> 60 & 1 == 1 {
                    let step = Step::ReaderGoes(id);
                    self.after(300, Act::Step(user.to_owned(), step));
                }
            }
        }
    }

    fn phone_texts(&mut self, user: &str, text: String) {
        let conn = self.phone_of(user).and_then(|ix| self.phones[ix].conn);
        if let Some(conn) = conn {
            self.send(conn, Up::Text(text));
        }
    }

    fn app_errand(&mut self, user: &str, app: usize, pick: usize) {
        let Some(conn) = self.app_conn(app, user) else {
            return;
        };
        let stream = format!("{user}-{app}-{}", pick % 3);
        if pick.is_multiple_of(5) {
            let mut frame = stream.clone().into_bytes();
            frame.resize(36 + pick % 200, b'0');
            self.send(conn, Up::Binary(Bytes::from(frame)));
            return;
        }
        let text = APP_TEXTS[pick % APP_TEXTS.len()].replace("$STREAM", &stream);
        self.send(conn, Up::Text(big(&text, pick as u64 >> 30)));
    }

    fn call_about(&mut self, user: &str, app: usize, pick: usize) -> Call {
        let package = self.servers[app].package.clone();
        let (stream_id, request_id) = (format!("{user}-{app}-{}", pick % 3), format!("p{pick}"));
        let body = |value: Value| Bytes::from(value.to_string());
        match pick % 17 {
            0 => Call::InstallChanged {
                package,
                installed: None,
            },
            1 => Call::UserSettings {
                changes: settings(pick),
            },
            2 => Call::AppSettings {
                package,
                settings: vec![json!({"key": "lang", "value": "pt"})],
            },
            3 => Call::Location {
                body: body(json!({"lat": 47.0, "lng": pick % 180, "accuracy": 4})),
            },
            4 => Call::Calendar {
                body: body(json!({"events": [{"eventId": "e", "title": "Tea"}], "calendar": 3})),
            },
            5 => Call::Notification {
                body: body(
                    json!({"notificationId": request_id, "app": "Mail", "title": "Hi", "content": "there"}),
                ),
            },
            6 => Call::NotificationDismissed {
                body: body(json!({"notificationId": "n1", "notificationKey": "k"})),
            },
            7 => Call::ButtonPress {
                body: body(json!({"buttonId": "photo", "pressType": "short"})),
            },
            8 => Call::SystemPhoto { request_id },
            9 => Call::MiniappPhoto {
                body: body(json!({})),
                request_id,
                upload_url: "http://up".to_owned(),
                token: "t".to_owned(),
            },
            10 => Call::RequestTelemetry {
                incident_id: "i1".to_owned(),
                tokens: vec![(package, "t".to_owned())],
            },
            11 => Call::Outputs {
                stream_id,
                package,
                action: OutputAction::Remove {
                    output_id: "o".to_owned(),
                },
            },
            12 => Call::HealthPolled {
                package,
                healthy: pick.is_multiple_of(2),
            },
            13 => Call::Connections,
            14 => Call::Subscriptions,
            15 => Call::PhotoUploaded {
                data: "aGk=".to_owned(),
                mime_type: "image/jpeg".to_owned(),
                filename: "p.jpg".to_owned(),
            },
            _ => Call::AudioStream {
                stream_id,
                peek: pick.is_multiple_of(4),
            },
        }
    }

    /// The client of an answer goes away in the middle of it.
    pub(super) fn reader_goes(&mut self, user: &str, id: u64) {
        if self.watch.answer(id).is_none() {
            return;
        }
        let reply = ReplyTo {
            origin: Origin::Shard(ShardId(0)),
            id,
        };
        let user = UserId::new(user);
        self.call(Cause::Mail, |shard, _| {
            shard.receive(ToShard::ReplyGone { user, reply });
        });
    }
}

fn settings(pick: usize) -> serde_json::Map<String, Value> {
    let glasses = [
        "Mentra Live",
        "Vuzix Z100",
        "Even Realities G1",
        "Nobody Knows",
    ];
    let changes = match pick % 3 {
        0 => json!({"default_wearable": glasses[pick / 3 % glasses.len()]}),
        1 => json!({"brightness": pick % 100, "sensing_enabled": pick.is_multiple_of(2)}),
        _ => json!({"brightness": null, "metric_system": true}),
    };
    changes.as_object().cloned().unwrap_or_default()
}
