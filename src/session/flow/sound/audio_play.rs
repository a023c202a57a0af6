//! Layer 2, flow: playback requests between apps and the phone (behaviour.md §7.8, protocol.md §7.8, 8.16, 9.11).

use crate::base::ids::Package;
use crate::session::effects::Class;
use crate::session::flow::public_url;
use crate::session::managers::audio_play::Play;
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use crate::wire::members::Members;
use serde_json::Value;

/// Forwards an app's request and notes who asked; without a phone the app is answered at once.
pub(crate) fn request(
    s: &mut Session,
    package: &Package,
    request_id: &str,
    m: &Members,
    cx: &mut Cx<'_>,
) {
    if s.m.phone.open().is_none() {
        refuse(s, package, request_id, "Glasses not connected", cx);
        return;
    }
    let url = m.text("audioUrl").map(|url| absolute(url, cx));
    let now = cx.now.iso();
    let _ = s.ask_phone(package, cx, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "audio_play_request")
            .str("sessionId", &s.user)
            .str("requestId", request_id)
            .str("packageName", package);
        if let Some(url) = &url {
            object.str("audioUrl", url);
        }
        for key in ["volume", "stopOtherAudio"] {
            if let Some(value) = m.0.get(key) {
                object.value(key, value);
            }
        }
        object.str("timestamp", now.as_str());
        object.end();
    });
    let play = Play {
        request_id: request_id.to_owned(),
        package: package.clone(),
        url: url.unwrap_or_default(),
        asked_ms: cx.now.mono_ms,
    };
    if let Some(gone) = s.m.audio_play.add(play, cx.cfg.audio.audio_play_map_max) {
        // To its own app a repeated id means the newer request alone.
        if gone.package != *package || gone.request_id != request_id {
            refuse(s, &gone.package, &gone.request_id, "Superseded", cx);
        }
        s.timers.cancel(&Timer::AudioPlay(gone.request_id));
    }
    let due_ms = cx.now.mono_ms + cx.cfg.audio.audio_play_map_ttl_ms;
    s.timers
        .set(Timer::AudioPlay(request_id.to_owned()), due_ms);
}

/// A path such as text-to-speech's becomes a URL of this deployment. An empty one stays: the phone says what is missing.
fn absolute(url: &str, cx: &Cx<'_>) -> String {
    if url.is_empty() || url.starts_with("//") || has_scheme(url) {
        return url.to_owned();
    }
    let slash = if url.starts_with('/') { "" } else { "/" };
    format!("{}{slash}{url}", public_url::base(cx.cfg))
}

/// Whether it begins as RFC 3986 wants of an absolute URL.
fn has_scheme(url: &str) -> bool {
    url.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

/// The phone's answer goes to the app that asked, once; unknown ids are dropped.
pub(crate) fn answered(s: &mut Session, request_id: &str, m: &Members, cx: &mut Cx<'_>) {
    let Some(play) = s.m.audio_play.take(request_id) else {
        return;
    };
    s.timers.cancel(&Timer::AudioPlay(play.request_id));
    let id = s.app_session_id(&play.package);
    let now = cx.now.iso();
    let _ = s.send_app(&play.package, cx, Class::Control, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "audio_play_response")
            .str("sessionId", &id)
            .str("requestId", request_id)
            .bool("success", m.flag("success") == Some(true));
        for key in ["error", "duration"] {
            if let Some(value) = m.0.get(key) {
                object.value(key, value);
            }
        }
        object.str("timestamp", now.as_str());
        object.end();
    });
}

/// The playback of a stopped app is forgotten.
pub(crate) fn app_stopped(s: &mut Session, package: &str) {
    for play in s.m.audio_play.app_stopped(package) {
        s.timers.cancel(&Timer::AudioPlay(play.request_id));
    }
}

/// The session ends: every app that waits hears of it.
pub(crate) fn disposing(s: &mut Session, cx: &mut Cx<'_>) {
    for play in s.m.audio_play.drain() {
        refuse(s, &play.package, &play.request_id, "User session ended", cx);
    }
}

fn refuse(s: &Session, package: &str, request_id: &str, error: &str, cx: &mut Cx<'_>) {
    let id = s.app_session_id(package);
    let now = cx.now.iso();
    let _ = s.send_app(package, cx, Class::Control, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "audio_play_response")
            .str("sessionId", &id)
            .str("requestId", request_id)
            .value("success", &Value::Bool(false))
            .str("error", error)
            .str("timestamp", now.as_str());
        object.end();
    });
}
