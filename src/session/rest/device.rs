//! Layer 2, REST calls of device, settings, location, calendar, photos and audio output (protocol.md §18.4–18.8, 18.11,
//! 18.13, 18.15).

use super::Call;
use crate::base::clock::Now;
use crate::base::ids::ReplyTo;
use crate::base::metrics::Counter;
use crate::session::effects::{Class, RestAnswer};
use crate::session::flow::{
    audio_output, calendar, device, gate, keep_alive, location, outputs, photos, relay,
    user_settings,
};
use crate::session::managers::calendar::CalendarEvent;
use crate::session::managers::device::{Source, UpdateAdmission};
use crate::session::managers::location::Fix;
use crate::session::managers::photos::Asker;
use crate::session::{Cx, Payer, Session};
use crate::wire::dates;
use crate::wire::json::ObjectWriter;
use crate::wire::members::Members;
use serde_json::{Map, Value, json};

/// Answers one call of this family; calls of other families are not for this function and get 500.
pub(crate) fn call(s: &mut Session, reply: ReplyTo, call: Call, cx: &mut Cx<'_>) {
    let answer = match call {
        Call::DeviceState { body } => device_state(s, &body, cx),
        Call::UserSettings { changes } => {
            user_settings::user_changed(s, &changes, cx);
            empty()
        }
        Call::AppSettings { package, settings } => {
            user_settings::app_changed(s, &package, settings, cx);
            empty()
        }
        Call::Location { body } => location_posted(s, &body, None, cx),
        Call::LocationPoll {
            correlation_id,
            body,
        } => location_posted(s, &body, Some(&correlation_id), cx),
        Call::Calendar { body } => calendar_posted(s, &body, cx),
        Call::PhotoResponse { body } => photo_response(s, &body, cx),
        Call::MiniappPhoto {
            body,
            request_id,
            upload_url,
            token,
        } => {
            let upload = photos::Upload {
                url: Some(&upload_url),
                token: Some(&token),
            };
            miniapp_photo(s, &body, &request_id, upload, cx)
        }
        Call::MiniappPhotoUploaded { request_id, result } => {
            photos::uploaded(s, &request_id, &result, cx);
            empty()
        }
        Call::PhotoUploaded {
            data,
            mime_type,
            filename,
        } => {
            photos::taken(s, &data, &mime_type, &filename, cx);
            empty()
        }
        Call::ButtonPress { .. } => button_press(s, cx),
        Call::SystemPhoto { request_id } => system_photo(s, &request_id, cx),
        Call::AudioStream {
            stream_id,
            peek: true,
        } => return audio_output::peek(s, reply, &stream_id, cx),
        Call::AudioStream { stream_id, .. } => {
            return audio_output::fetch(s, reply, &stream_id, cx);
        }
        Call::RequestTelemetry {
            incident_id,
            tokens,
        } => {
            request_telemetry(s, &incident_id, &tokens, cx);
            empty()
        }
        Call::Outputs {
            stream_id,
            package,
            action,
        } => return outputs::rest(s, reply, &stream_id, &package, action, cx),
        _ => RestAnswer::json(500, r#"{"error":"INTERNAL_ERROR"}"#),
    };
    cx.fx.reply(reply, answer);
}

fn empty() -> RestAnswer {
    RestAnswer::json(200, "{}")
}

/// `{"success", …, "timestamp"}`.
fn outcome(status: u16, message: Option<&str>, cx: &Cx<'_>) -> RestAnswer {
    let mut body = Vec::with_capacity(128);
    let mut object = ObjectWriter::begin(&mut body);
    object.bool("success", status < 400);
    if let Some(message) = message {
        object.str("message", message);
    }
    object.str("timestamp", cx.now.iso().as_str());
    object.end();
    RestAnswer::json(status, body)
}

fn device_state(s: &mut Session, body: &[u8], cx: &mut Cx<'_>) -> RestAnswer {
    let cfg = &cx.cfg.device;
    let admission = s.m.device.admit(
        cx.now.mono_ms,
        cfg.device_state_rate_per_s,
        cfg.device_state_warn_ms,
    );
    if admission != UpdateAdmission::Accepted {
        cx.metrics.inc(Counter::DeviceStateRateLimited);
        if admission == UpdateAdmission::RefusedWarn {
            tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), "device state updates are rate limited");
        }
        let mut answer = RestAnswer::json(429, r#"{"error":"Too Many Requests"}"#);
        answer.retry_after_s = Some(1);
        return answer;
    }
    device::update(s, Members::lenient(body).0, Source::Glasses, cx);
    let mut applied = Vec::with_capacity(256);
    let mut object = ObjectWriter::begin(&mut applied);
    object
        .bool("isGlassesConnected", s.m.device.is_connected())
        .bool("isPhoneConnected", s.m.phone.open().is_some())
        .value("modelName", &s.m.device.model())
        .raw("capabilities", &device::capabilities_json(s));
    object.end();
    let mut body = Vec::with_capacity(applied.len() + 96);
    let mut object = ObjectWriter::begin(&mut body);
    object
        .bool("success", true)
        .raw("appliedState", &applied)
        .str("timestamp", cx.now.iso().as_str());
    object.end();
    RestAnswer::json(200, body)
}

const NO_LOCATION: &str = r#"{"success":false,"message":"location object required. Expected { location: {...} } or Expo LocationObject with coords"}"#;

fn location_posted(
    s: &mut Session,
    body: &[u8],
    correlation_id: Option<&str>,
    cx: &mut Cx<'_>,
) -> RestAnswer {
    let members = Members::lenient(body);
    let given: Option<&Map<String, Value>> = members
        .object("location")
        .or_else(|| members.object("coords").map(|_| &members.0));
    let Some(given) = given else {
        return RestAnswer::json(400, NO_LOCATION);
    };
    let inside = given.get("correlationId").and_then(Value::as_str);
    if let Some(fix) = Fix::from_members(given) {
        let taken = taken(given, cx.now);
        location::fix_arrived(s, fix, taken, correlation_id.or(inside), cx);
    }
    if correlation_id.is_none() {
        return outcome(200, None, cx);
    }
    let mut body = Vec::with_capacity(96);
    let mut object = ObjectWriter::begin(&mut body);
    object
        .bool("success", true)
        .bool("resolved", true)
        .str("timestamp", cx.now.iso().as_str());
    object.end();
    RestAnswer::json(200, body)
}

/// When a fix was taken, by the phone's word; not later than now.
fn taken(location: &Map<String, Value>, now: Now) -> Now {
    let coords = location.get("coords").and_then(Value::as_object);
    let places = [Some(location), coords];
    let mut stamps = places.into_iter().flatten();
    let unix_ms = stamps.find_map(|place| dates::unix_ms(place.get("timestamp")?));
    let age_ms = unix_ms.map_or(0, |unix_ms| now.unix_ms.saturating_sub(unix_ms));
    Now {
        mono_ms: now.mono_ms.saturating_sub(age_ms),
        unix_ms: now.unix_ms - age_ms,
    }
}

fn calendar_posted(s: &mut Session, body: &[u8], cx: &mut Cx<'_>) -> RestAnswer {
    let members = Members::lenient(body);
    let Some(list) = members.list("events") else {
        return RestAnswer::json(
            400,
            r#"{"success":false,"message":"events array required"}"#,
        );
    };
    let events = list
        .iter()
        .filter_map(|value| CalendarEvent::from_value(value, cx.now.unix_ms))
        .take(CalendarEvent::BATCH_MAX)
        .collect();
    calendar::events_arrived(s, events, cx);
    outcome(200, None, cx)
}

fn photo_response(s: &mut Session, body: &[u8], cx: &mut Cx<'_>) -> RestAnswer {
    let members = Members::lenient(body);
    let refuse = |text: &str, cx: &Cx<'_>| outcome(400, Some(text), cx);
    let spoken = |id: &&str| !id.trim().is_empty();
    let Some(request_id) = members.text("requestId").filter(spoken) else {
        return refuse("requestId is required and must be a non-empty string", cx);
    };
    if members.flag("success").is_none() {
        return refuse("success is required and must be a boolean", cx);
    }
    let Some(result) = photos::Outcome::from_members(&members) else {
        return refuse("photoUrl is required for success responses", cx);
    };
    photos::answered(s, request_id, &result, cx);
    outcome(200, Some("Photo response processed"), cx)
}

fn miniapp_photo(
    s: &mut Session,
    body: &[u8],
    request_id: &str,
    upload: photos::Upload<'_>,
    cx: &mut Cx<'_>,
) -> RestAnswer {
    let members = Members::lenient(body);
    let refuse = |status, text: &str| RestAnswer::json(status, json!({"error": text}).to_string());
    let Some(package) = members.filled("packageName") else {
        return refuse(400, "Missing packageName");
    };
    if let Err(text) = gate::hardware(s, gate::Request::Photo, cx) {
        return refuse(503, &text);
    }
    let max = cx.cfg.device.photo_requests_max;
    if let Err(refused) = s.m.photos.check(request_id, &Asker::Phone, max) {
        return refuse(503, &refused.to_string());
    }
    // Its own request, whatever app of that name asks for.
    let asks = (Payer::Session, package);
    photos::ask_phone(s, request_id, asks, upload, &members, cx);
    photos::register(s, request_id, Asker::Phone, cx);
    let body = json!({"accepted": true, "requestId": request_id});
    RestAnswer::json(200, body.to_string())
}

/// The press itself is not relayed; without a listener it takes a photo.
fn button_press(s: &mut Session, cx: &Cx<'_>) -> RestAnswer {
    if !relay::subscribers(s, "button_press", cx).is_empty() {
        return RestAnswer::json(200, r#"{"success":true}"#);
    }
    let request_id = keep_alive::short_id(s, 'p', 15);
    let expires_ms = cx.now.mono_ms + cx.cfg.device.photo_request_timeout_ms;
    s.m.photos.button_pressed(&request_id, expires_ms);
    let body = json!({"success": true, "action": "take_photo", "requestId": request_id});
    RestAnswer::json(200, body.to_string())
}

/// The answer for a photo that no press asked for.
pub(crate) const NO_PHOTO: &str = r#"{"success":false,"message":"Photo request not found"}"#;

/// Whether a press of the button asked for this photo a moment ago.
fn system_photo(s: &Session, request_id: &str, cx: &Cx<'_>) -> RestAnswer {
    if s.m.photos.was_pressed(request_id, cx.now.mono_ms) {
        RestAnswer::json(200, r#"{"success":true,"action":"take_photo"}"#)
    } else {
        RestAnswer::json(404, NO_PHOTO)
    }
}

fn request_telemetry(s: &Session, incident_id: &str, tokens: &[(String, String)], cx: &mut Cx<'_>) {
    let window_ms = cx.cfg.apps.telemetry_window_ms;
    let now = cx.now.iso();
    for (app, conn) in s.m.apps.open() {
        let Some((_, token)) = tokens.iter().find(|(package, _)| **package == *app.package) else {
            continue;
        };
        cx.fx.text(conn, Class::Control, |out| {
            let mut object = ObjectWriter::begin(out);
            object
                .str("type", "request_telemetry")
                .str("incidentId", incident_id)
                .str("uploadToken", token)
                .num("windowMs", window_ms)
                .str("timestamp", now.as_str());
            object.end();
        });
    }
}
