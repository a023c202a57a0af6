//! Video: glasses that stream and answer keep-alives, and the provider of managed streams.

use super::phone::PhoneWake;
use super::world::{Act, World};
use bytes::Bytes;
use prism::base::ids::ConnId;
use prism::base::settings::Settings;
use prism::session::effects::{HttpCall, HttpMethod};
use prism::session::event::HttpOutcome;
use prism::session::rest::Call;
use serde_json::{Value, json};

/// Glasses of this world: an app of it requires a display, others want the camera.
const GLASSES: [&str; 4] = [
    "Even Realities G1",
    "Mentra Live",
    "Vuzix Z100",
    "No Such Glasses",
];

/// What a phone says of its own accord, for mini-apps of its own or as glasses that do as they like.
const PHONE_TEXTS: [&str; 8] = [
    r#"{"type":"stream_request","streamUrl":"rtmp://ingest.example.net/k"}"#,
    r#"{"type":"stream_stop"}"#,
    r#"{"type":"stream_stop","streamId":"$ID"}"#,
    r#"{"type":"managed_stream_request","requestId":"r1"}"#,
    r#"{"type":"managed_stream_stop"}"#,
    r#"{"type":"stream_status","streamId":"$ID","status":"reconnecting"}"#,
    r#"{"type":"stream_status","streamId":"$ID","status":"error","errorDetails":"no light"}"#,
    r#"{"type":"stream_status","streamId":"$ID","status":"streaming"}"#,
];

/// What an app asks for.
const APP_TEXTS: [&str; 7] = [
    r#"{"type":"stream_request","streamUrl":"srt://ingest.example.net:42"}"#,
    r#"{"type":"rtmp_stream_request","rtmpUrl":"rtmp://ingest.example.net/k"}"#,
    r#"{"type":"stream_stop"}"#,
    r#"{"type":"managed_stream_request"}"#,
    r#"{"type":"managed_stream_request","restreamDestinations":[{"url":"rtmp://a.example.net/k"}]}"#,
    r#"{"type":"managed_stream_stop"}"#,
    r#"{"type":"stream_status_check"}"#,
];

/// A provider of managed streams, so that they run.
pub(crate) fn settings(cfg: &mut Settings) {
    cfg.streaming.managed_api_url = "http://provider".to_owned();
    cfg.streaming.managed_account_id = "account".to_owned();
    cfg.streaming.managed_customer_subdomain = "video.example.net".to_owned();
}

impl World {
    /// Other glasses connect.
    pub(super) fn glasses_change(&mut self, user: &str, which: usize, wifi: bool) {
        let model = GLASSES[which % GLASSES.len()];
        let body = json!({"connected": true, "modelName": model, "wifiConnected": wifi});
        let body = body.to_string().into();
        self.rest(user, Call::DeviceState { body });
    }

    pub(super) fn phone_says_video(&mut self, ix: usize, what: usize) {
        let phone = &self.phones[ix];
        let id = phone.stream.clone().unwrap_or_default();
        let text = PHONE_TEXTS[what % PHONE_TEXTS.len()].replace("$ID", &id);
        if let Some(conn) = phone.conn {
            self.send(conn, super::net::Up::Text(text));
        }
    }

    pub(super) fn app_says_video(&mut self, app: usize, user: &str, what: usize) {
        if let Some(conn) = self.app_conn(app, user) {
            let text = APP_TEXTS[what % APP_TEXTS.len()].to_owned();
            self.send(conn, super::net::Up::Text(text));
        }
    }

    /// Helpful glasses: they stream when told to, say so, and answer keep-alives.
    pub(super) fn glasses_stream(&mut self, ix: usize, conn: ConnId, message: &Value) {
        let id = message["streamId"].as_str().unwrap_or_default().to_owned();
        match message["type"].as_str() {
            Some("start_stream") => {
                self.phones[ix].stream = Some(id.clone());
                for (delay_ms, status) in [(150, "connecting"), (900, "streaming")] {
                    let wake = PhoneWake::Stream(conn, id.clone(), status);
                    self.after(delay_ms, Act::Phone(ix, wake));
                }
            }
            Some("stop_stream") => {
                if let Some(id) = self.phones[ix].stream.take() {
                    let wake = PhoneWake::Stream(conn, id, "stopped");
                    self.after(50, Act::Phone(ix, wake));
                }
            }
            Some("keep_stream_alive") => {
                let ack =
                    json!({"type": "keep_alive_ack", "streamId": id, "ackId": message["ackId"]});
                self.say(conn, &ack);
            }
            _ => {}
        }
    }

    pub(super) fn glasses_report(&mut self, ix: usize, conn: ConnId, id: &str, status: &str) {
        if self.phones[ix].conn == Some(conn) {
            let report = json!({"type": "stream_status", "streamId": id, "status": status});
            self.say(conn, &report);
        }
    }

    /// What the provider answers, and after how long (ms).
    pub(super) fn provider_answers(&mut self, call: &HttpCall) -> (u64, HttpOutcome) {
        let refused = |status| HttpOutcome::Answer {
            status,
            body: Bytes::from_static(b"{}"),
            retry_after_s: (status == 429).then_some(2),
        };
        let delay_ms = self.rng.u64(20..1500);
        let luck = match self.rng.u32(0..12) {
            _ if self.provider_is_tame => 7,
            luck => luck,
        };
        let outcome = match (call.method, luck) {
            (_, 0) => refused(503),
            (_, 1) => refused(429),
            (_, 2) => return (call.timeout_ms, timed_out()),
            (HttpMethod::Get, luck) => {
                let state = if luck < 8 { "connected" } else { "waiting" };
                answer(&json!({"status": {"current": {"state": state}}}))
            }
            (HttpMethod::Post, _) => {
                self.inputs_made += 1;
                let uid = format!("input{}", self.inputs_made);
                answer(&json!({
                    "uid": uid, "webRTC": {"url": format!("https://provider/{uid}/whip")},
                    "srt": {"url": "srt://provider", "streamId": uid, "passphrase": "p"},
                    "rtmps": {"url": "rtmps://provider/", "streamKey": uid},
                }))
            }
            _ => answer(&json!({})),
        };
        (delay_ms, outcome)
    }
}

fn answer(result: &Value) -> HttpOutcome {
    HttpOutcome::Answer {
        status: 200,
        body: json!({"success": true, "result": result})
            .to_string()
            .into(),
        retry_after_s: None,
    }
}

fn timed_out() -> HttpOutcome {
    HttpOutcome::Failed {
        error: "timed out".into(),
    }
}
