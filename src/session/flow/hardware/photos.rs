//! Layer 2, flow: photo requests between apps, mini-apps and the phone (behaviour.md §7.5, protocol.md §8.15, 9.10, 18.8).

use crate::base::clock::IsoTime;
use crate::base::ids::{ConnId, Package};
use crate::session::effects::Class;
use crate::session::flow::{relay, requests};
use crate::session::managers::photos::Asker;
use crate::session::timers::Timer;
use crate::session::{Cx, Payer, Session};
use crate::wire::json::ObjectWriter;
use crate::wire::members::Members;
use serde_json::Value;

/// The result of a photo as the asker learns it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The picture is there.
    Ready {
        /// URL of the picture.
        url: String,
        /// Also kept on the glasses.
        saved: Option<bool>,
        /// When this server said so; what the phone reports has no time.
        at: Option<IsoTime>,
    },
    /// There is no picture.
    Failed {
        /// One of protocol.md §9.10; unknown ones are passed on.
        code: String,
        /// For people.
        message: String,
    },
}

impl Outcome {
    /// From a report of the phone, over the socket or by REST; `None` when it says neither success nor failure.
    pub(crate) fn from_members(m: &Members) -> Option<Self> {
        let url = m.filled("photoUrl").filter(|url| !url.trim().is_empty());
        match (m.flag("success"), url) {
            (Some(true) | None, Some(url)) => Some(Self::Ready {
                url: url.to_owned(),
                saved: m.flag("savedToGallery"),
                at: None,
            }),
            (Some(false), _) => {
                let nested = |key: &str| {
                    m.object("error")
                        .and_then(|error| error.get(key))
                        .and_then(Value::as_str)
                };
                let code = m.filled("errorCode").or(nested("code"));
                let message = m.filled("errorMessage").or(nested("message"));
                Some(Self::failed(
                    code.unwrap_or("UNKNOWN_ERROR"),
                    message.unwrap_or("Unknown error"),
                ))
            }
            _ => None,
        }
    }

    fn failed(code: &str, message: &str) -> Self {
        Self::Failed {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// Where the glasses upload to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Upload<'a> {
    /// URL.
    pub(crate) url: Option<&'a str>,
    /// Bearer token.
    pub(crate) token: Option<&'a str>,
}

/// `photo_request` to the phone (protocol.md §7.7). The privacy light is not optional: `flash` is always true.
pub(crate) fn ask_phone(
    s: &Session,
    request_id: &str,
    (payer, app_id): (Payer<'_>, &str),
    upload: Upload<'_>,
    m: &Members,
    cx: &mut Cx<'_>,
) -> bool {
    let now = cx.now.iso();
    s.tell_phone(payer, cx, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "photo_request")
            .str("sessionId", &s.user)
            .str("requestId", request_id)
            .str("appId", app_id);
        if let Some(url) = upload.url {
            object.str("webhookUrl", url);
        }
        if let Some(token) = upload.token {
            object.str("authToken", token);
        }
        object
            .str("size", m.filled("size").unwrap_or("medium"))
            .str("compress", m.filled("compress").unwrap_or("none"))
            .bool("flash", true)
            .bool("sound", m.flag("sound").unwrap_or(true));
        if let Some(exposure) = m.get("exposureTimeNs")
            && m.number("exposureTimeNs").is_some_and(|ns| ns > 0.0)
        {
            object.value("exposureTimeNs", exposure);
        }
        object.str("timestamp", now.as_str());
        object.end();
    })
    .is_sent()
}

/// Registers a request that has been sent, with its timeout.
pub(crate) fn register(s: &mut Session, request_id: &str, asker: Asker, cx: &Cx<'_>) {
    s.m.photos.add(request_id, asker);
    let due_ms = cx.now.mono_ms + cx.cfg.device.photo_request_timeout_ms;
    s.timers.set(Timer::Photo(request_id.to_owned()), due_ms);
}

/// The phone reports a result. Unknown ids are ignored; `false` says so.
pub(crate) fn answered(
    s: &mut Session,
    request_id: &str,
    outcome: &Outcome,
    cx: &mut Cx<'_>,
) -> bool {
    let Some(asker) = s.m.photos.asker(request_id) else {
        return false;
    };
    match (asker, outcome) {
        // A mini-app learns of success from the upload, which carries the picture.
        (Asker::Phone, Outcome::Ready { .. }) => return true,
        (Asker::Phone, Outcome::Failed { code, .. }) => {
            let code = code.clone();
            forget(s, request_id);
            phone_failed(s, request_id, &code, cx);
        }
        (Asker::App(package), _) => {
            let package = package.clone();
            // The app stops waiting when we do.
            let until_ms = s.timers.at(&Timer::Photo(request_id.to_owned()));
            forget(s, request_id);
            let body = response(request_id, outcome);
            requests::tell_end(s, &package, body, until_ms.unwrap_or_default(), cx);
        }
    }
    true
}

/// Nobody answered in time.
pub(crate) fn timed_out(s: &mut Session, request_id: &str, cx: &mut Cx<'_>) {
    let outcome = Outcome::failed("PHONE_TIMEOUT", "The phone did not answer in time");
    match s.m.photos.take(request_id) {
        Some(Asker::App(package)) => tell_app(s, &package, request_id, &outcome, cx),
        Some(Asker::Phone) => phone_failed(s, request_id, "TIMEOUT", cx),
        None => {}
    }
}

/// The requests of a stopped app are forgotten.
pub(crate) fn app_stopped(s: &mut Session, package: &str) {
    for request_id in s.m.photos.app_stopped(package) {
        s.timers.cancel(&Timer::Photo(request_id));
    }
}

/// The session ends: everybody who waits hears of it.
pub(crate) fn disposing(s: &mut Session, cx: &mut Cx<'_>) {
    let outcome = Outcome::failed("UNKNOWN_ERROR", "User session ended");
    for (request_id, asker) in s.m.photos.drain() {
        match asker {
            Asker::App(package) => tell_app(s, &package, &request_id, &outcome, cx),
            Asker::Phone => phone_failed(s, &request_id, "SESSION_ENDED", cx),
        }
    }
}

/// A picture of a mini-app was uploaded, or the uploader reported an error. Ignored when nobody waits any more.
pub(crate) fn uploaded(
    s: &mut Session,
    request_id: &str,
    result: &Result<(String, String, u64), String>,
    cx: &mut Cx<'_>,
) {
    if s.m.photos.asker(request_id) != Some(&Asker::Phone) {
        return;
    }
    forget(s, request_id);
    match result {
        Err(code) => phone_failed(s, request_id, code, cx),
        Ok((url, mime_type, size)) => {
            let mut body = Vec::with_capacity(256);
            let mut object = ObjectWriter::begin(&mut body);
            object
                .str("type", "phone_photo_ready")
                .str("requestId", request_id)
                .str("photoUrl", url)
                .str("mimeType", mime_type)
                .num("size", *size)
                .str("timestamp", cx.now.iso().as_str());
            object.end();
            requests::tell_end(s, Package::PHONE, body, u64::MAX, cx);
        }
    }
}

/// `photo_taken` to subscribers, in the reduced envelope of protocol.md §5.8.
pub(crate) fn taken(s: &Session, data: &str, mime_type: &str, filename: &str, cx: &mut Cx<'_>) {
    let listeners: Vec<ConnId> = relay::subscribers(s, "photo_taken", cx)
        .iter()
        .filter_map(|(package, _)| s.m.apps.open_conn(package))
        .collect();
    if listeners.is_empty() {
        return;
    }
    let now = cx.now.iso();
    cx.fx.text_to_all(listeners, Class::Control, |out| {
        let mut body = Vec::with_capacity(data.len() + 128);
        let mut object = ObjectWriter::begin(&mut body);
        object
            .str("photoData", data)
            .str("mimeType", mime_type)
            .str("timestamp", now.as_str())
            .str("filename", filename);
        object.end();
        let mut envelope = ObjectWriter::begin(out);
        envelope
            .str("type", "data_stream")
            .str("streamType", "photo_taken")
            .raw("data", &body);
        envelope.end();
    });
}

/// `photo_response` to an app (protocol.md §9.10).
pub(crate) fn tell_app(
    s: &Session,
    package: &str,
    request_id: &str,
    outcome: &Outcome,
    cx: &mut Cx<'_>,
) {
    requests::tell(s, package, &response(request_id, outcome), cx);
}

fn response(request_id: &str, outcome: &Outcome) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    let mut object = ObjectWriter::begin(&mut body);
    object
        .str("type", "photo_response")
        .str("requestId", request_id);
    match outcome {
        Outcome::Ready { url, saved, at } => {
            object.bool("success", true).str("photoUrl", url);
            if let Some(saved) = saved {
                object.bool("savedToGallery", *saved);
            }
            if let Some(at) = at {
                object.str("timestamp", at.as_str());
            }
        }
        Outcome::Failed { code, message } => {
            let error: Value = serde_json::json!({"code": code, "message": message});
            object.bool("success", false).value("error", &error);
        }
    }
    object.end();
    body
}

fn phone_failed(s: &mut Session, request_id: &str, code: &str, cx: &mut Cx<'_>) {
    let mut body = Vec::with_capacity(128);
    let mut object = ObjectWriter::begin(&mut body);
    object
        .str("type", "phone_photo_ready")
        .str("requestId", request_id)
        .str("error", code)
        .str("timestamp", cx.now.iso().as_str());
    object.end();
    requests::tell_end(s, Package::PHONE, body, u64::MAX, cx);
}

/// Nobody waits under this id any more.
pub(crate) fn forget(s: &mut Session, request_id: &str) {
    s.m.photos.take(request_id);
    s.timers.cancel(&Timer::Photo(request_id.to_owned()));
}
