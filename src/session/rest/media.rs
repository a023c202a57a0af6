//! Layer 2, REST calls about notifications and the audio format: bodies and texts of protocol.md §18.6 and 18.7.

use super::Call;
use crate::base::ids::ReplyTo;
use crate::session::effects::RestAnswer;
use crate::session::managers::audio::Format;
use crate::session::{Cx, Session, flow};
use crate::wire::dates;
use crate::wire::json::ObjectWriter;
use crate::wire::members::{settle_numbers, whole};
use serde::Deserialize;
use serde_json::Value;

/// Answers [`Call::Notification`], [`Call::NotificationDismissed`] and [`Call::AudioConfigure`].
pub(crate) fn call(s: &mut Session, reply: ReplyTo, call: Call, cx: &mut Cx<'_>) {
    let answer = match call {
        Call::Notification { body } => notification(s, read(&body, cx), cx),
        Call::NotificationDismissed { body } => dismissed(s, read(&body, cx), cx),
        Call::AudioConfigure { body } => audio_configure(s, read(&body, cx), cx),
        other => {
            debug_assert!(false, "{other:?} belongs to another family");
            message(500, "Internal server error", cx)
        }
    };
    cx.fx.reply(reply, answer);
}

/// A body that cannot be read counts as `{}` (protocol.md §18); so does a list, which would be read member by member.
fn read<T: for<'de> Deserialize<'de> + Default>(body: &[u8], cx: &mut Cx<'_>) -> T {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return T::default();
    }
    cx.scratch.parse(body).unwrap_or_default()
}

fn message(status: u16, text: &str, cx: &Cx<'_>) -> RestAnswer {
    let mut out = Vec::new();
    ObjectWriter::begin(&mut out)
        .bool("success", status < 400)
        .str("message", text)
        .str("timestamp", cx.now.iso().as_str())
        .end();
    RestAnswer::json(status, out)
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Notification {
    notification_id: Value,
    app: Value,
    title: Value,
    content: Value,
    priority: Value,
    timestamp: Value,
    package_name: Value,
}

fn incomplete(missing: &str) -> RestAnswer {
    let mut out = Vec::new();
    ObjectWriter::begin(&mut out)
        .bool("success", false)
        .str("message", missing)
        .end();
    RestAnswer::json(400, out)
}

/// A required text; empty and anything else count as missing.
fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

fn timestamp(value: &Value, cx: &Cx<'_>) -> Vec<u8> {
    let value = if value.is_number() || value.is_string() {
        let mut value = value.clone();
        settle_numbers(&mut value);
        value.to_string()
    } else {
        cx.now.unix_ms.to_string()
    };
    value.into_bytes()
}

fn notification(s: &mut Session, body: Notification, cx: &mut Cx<'_>) -> RestAnswer {
    let (Some(id), Some(app), Some(title), Some(content)) = (
        text(&body.notification_id),
        text(&body.app),
        text(&body.title),
        text(&body.content),
    ) else {
        let missing = "Missing required fields: notificationId, app, title, content";
        return incomplete(missing);
    };
    let mut data = Vec::new();
    let mut object = ObjectWriter::begin(&mut data);
    object
        .str("type", "phone_notification")
        .str("notificationId", id)
        .str("app", app)
        .str("title", title)
        .str("content", content)
        .str("priority", text(&body.priority).unwrap_or("normal"))
        .raw("timestamp", &timestamp(&body.timestamp, cx))
        .opt_str("packageName", text(&body.package_name));
    object.end();
    flow::relay::server_event(s, "phone_notification", &data, cx);
    let unix_ms = dates::unix_ms(&body.timestamp);
    flow::dashboard::notification(s, id, [app, title, content], unix_ms, cx);
    message(200, "Notification relayed to subscribed apps", cx)
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Dismissed {
    notification_id: Value,
    notification_key: Value,
    package_name: Value,
}

fn dismissed(s: &mut Session, body: Dismissed, cx: &mut Cx<'_>) -> RestAnswer {
    let (Some(id), Some(key), Some(package)) = (
        text(&body.notification_id),
        text(&body.notification_key),
        text(&body.package_name),
    ) else {
        let missing = "Missing required fields: notificationId, notificationKey, packageName";
        return incomplete(missing);
    };
    let mut data = Vec::new();
    let mut object = ObjectWriter::begin(&mut data);
    object
        .str("type", "phone_notification_dismissed")
        .str("notificationId", id)
        .str("notificationKey", key)
        .str("packageName", package)
        .num("timestamp", cx.now.unix_ms);
    object.end();
    flow::relay::server_event(s, "phone_notification_dismissed", &data, cx);
    flow::dashboard::notification_dismissed(s, id, cx);
    message(200, "Notification dismissal relayed to subscribed apps", cx)
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AudioConfigure {
    format: Value,
    lc3_config: Value,
}

fn audio_configure(s: &mut Session, body: AudioConfigure, cx: &mut Cx<'_>) -> RestAnswer {
    let wanted = match body.format.as_str() {
        Some("pcm") => Format::Pcm,
        Some("lc3") => {
            let named = body.lc3_config.get("frameSizeBytes").and_then(whole);
            let default = cx.cfg.audio.lc3_frame_bytes;
            let bytes = named
                .filter(|n| matches!(n, 20 | 40 | 60))
                .unwrap_or(default);
            Format::Lc3 {
                frame_bytes: bytes as u8,
            }
        }
        _ => return message(400, "Invalid format. Must be \"pcm\" or \"lc3\"", cx),
    };
    let effective = s.m.audio.configure(wanted);
    let note = if effective == wanted {
        "Audio format configured successfully"
    } else {
        "LC3 decoder could not be created; audio is taken as PCM"
    };
    let mut out = Vec::new();
    let mut object = ObjectWriter::begin(&mut out);
    object.bool("success", true);
    match effective {
        Format::Pcm => object.str("format", "pcm").null("lc3Config"),
        Format::Lc3 { frame_bytes } => object.str("format", "lc3").object("lc3Config", |config| {
            config
                .num("sampleRate", cx.cfg.audio.pcm_sample_rate)
                .num("frameDurationMs", cx.cfg.audio.lc3_frame_ms)
                .num("frameSizeBytes", frame_bytes);
        }),
    };
    object
        .str("message", note)
        .str("timestamp", cx.now.iso().as_str());
    object.end();
    RestAnswer::json(200, out)
}

#[cfg(test)]
#[path = "media_tests.rs"]
mod tests;
