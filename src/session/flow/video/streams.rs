//! Layer 2, flow: the unmanaged video stream between app, phone and subscribers (behaviour.md §7.6.2, protocol.md §8.9,
//! 8.10, 9.13).

use crate::base::ids::Package;
use crate::session::effects::Class;
use crate::session::event::Sdk;
use crate::session::flow::gate::{self, internal};
use crate::session::flow::{keep_alive, managed_streams, relay, requests};
use crate::session::handlers::{ErrorCode, Reject};
use crate::session::managers::streams::{OwedStop, Status, StatusName, Stream};
use crate::session::timers::Timer;
use crate::session::{Cx, Payer, Session};
use crate::wire::json::ObjectWriter;
use crate::wire::members::Members;
use serde_json::Value;

/// What the phone's own stream comes to, for the phone alone; apps that watch hear `stream_status`.
const PHONE_STATUS: &str = "phone_stream_status";

/// An app asks for a stream, under the name of its generation.
pub(crate) fn request(
    s: &mut Session,
    app: &Package,
    name: StatusName,
    m: &Members,
    cx: &mut Cx<'_>,
) -> Result<(), Reject> {
    let text = "Camera permission required to start video streams";
    gate::video(s, app, text, cx)?;
    start(s, app, name, m, cx)
}

/// Starts a stream for `owner`; it replaces whatever streams now. Permissions were checked.
pub(crate) fn start(
    s: &mut Session,
    owner: &Package,
    name: StatusName,
    m: &Members,
    cx: &mut Cx<'_>,
) -> Result<(), Reject> {
    gate::hardware(s, gate::Request::Stream, cx).map_err(internal)?;
    gate::wifi(s, cx).map_err(|text| Reject::new(ErrorCode::WifiNotConnected, text))?;
    let url = m
        .filled("streamUrl")
        .or_else(|| m.filled("rtmpUrl"))
        .ok_or_else(|| internal("Invalid stream URL: streamUrl is required"))?;
    if s.m.phone.open().is_none() {
        return Err(internal("Glasses WebSocket not connected"));
    }
    managed_streams::replaced(s, cx);
    if s.m.streams.current.is_some() {
        finish(s, Status::Stopped, None, cx);
    }
    let id = keep_alive::short_id(s, 's', 10);
    send_start(s, (Payer::App(owner), owner), &id, url, m, cx);
    s.m.streams.current = Some(Stream {
        id: id.clone(),
        owner: owner.clone(),
        url: url.to_owned(),
        request_id: phone_request(owner, m),
        status: Status::Initializing,
        reported: false,
        name,
        created: cx.now,
    });
    must_become_active(s, &id, cx);
    report(s, None, cx);
    Ok(())
}

/// The phone finds by the id of its request which of its mini-apps a status is for.
pub(crate) fn phone_request(owner: &str, m: &Members) -> Option<String> {
    let id = m.filled("requestId").filter(|_| owner == Package::PHONE);
    id.map(str::to_owned)
}

/// A stream that is not active has `stream_start_timeout_ms` to become so; counted from when it was not.
fn must_become_active(s: &mut Session, id: &str, cx: &Cx<'_>) {
    let timer = Timer::StreamStart(id.to_owned());
    if s.timers.at(&timer).is_none() {
        let due_ms = cx.now.mono_ms + cx.cfg.streaming.stream_start_timeout_ms;
        s.timers.set(timer, due_ms);
    }
}

/// `start_stream` (protocol.md §7.9), under a name that the phone knows. It takes the place of what runs.
pub(crate) fn send_start(
    s: &mut Session,
    (payer, app_id): (Payer<'_>, &str),
    id: &str,
    url: &str,
    m: &Members,
    cx: &mut Cx<'_>,
) {
    s.m.streams.owed_stop = None;
    let now = cx.now.iso();
    let _ = s.tell_phone(payer, cx, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "start_stream")
            .str("sessionId", &s.user)
            .str("streamUrl", url)
            .str("appId", app_id)
            .str("streamId", id);
        for key in ["video", "audio", "stream"] {
            match m.object(key) {
                Some(value) => object.value(key, value),
                None => object.raw(key, b"{}"),
            };
        }
        object
            .bool("flash", true)
            .bool("sound", m.flag("sound").unwrap_or(true))
            .str("timestamp", now.as_str());
        object.end();
    });
}

/// `stop_stream` (protocol.md §7.9), as [`send_start`].
pub(crate) fn send_stop(
    s: &Session,
    (payer, app_id): (Payer<'_>, &str),
    id: &str,
    cx: &mut Cx<'_>,
) {
    let now = cx.now.iso();
    let _ = s.tell_phone(payer, cx, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "stop_stream")
            .str("sessionId", &s.user)
            .str("appId", app_id)
            .str("streamId", id)
            .str("timestamp", now.as_str());
        object.end();
    });
}

/// [`send_stop`] for a stream that runs: where the phone is away, or its socket was dead when it was told, its glasses go on, and it
/// is told as soon as it is back.
pub(crate) fn end_on_glasses(
    s: &mut Session,
    (payer, app_id): (Payer<'_>, &str),
    id: &str,
    cx: &mut Cx<'_>,
) {
    let phone = s.m.phone.open();
    if phone.is_some() {
        send_stop(s, (payer, app_id), id, cx);
    }
    s.m.streams.owed_stop = Some(OwedStop {
        app_id: app_id.to_owned(),
        id: id.to_owned(),
        sent: phone.map(|conn| (conn, s.m.phone.pings)),
    });
}

/// What the phone still has to stop: what it was not told, or on a socket that may have been dead by then.
fn stop_again(s: &mut Session, cx: &mut Cx<'_>) {
    let phone = &s.m.phone;
    let is_lost = |owed: &mut OwedStop| match owed.sent {
        Some((conn, pings)) => phone.open() != Some(conn) && !phone.has_got(pings),
        None => true,
    };
    if let Some(owed) = s.m.streams.owed_stop.take_if(is_lost) {
        end_on_glasses(s, (Payer::Session, &owed.app_id), &owed.id, cx);
    }
}

/// An app (or the phone itself) stops a stream. Unless that is refused, the phone is told, whatever is known here.
pub(crate) fn stop(
    s: &mut Session,
    asker: &Package,
    stream_id: Option<&str>,
    cx: &mut Cx<'_>,
) -> Result<(), Reject> {
    if let Some(id) = stream_id
        && s.m.managed_streams.by_id(id).is_some()
    {
        return managed_streams::stop_named(s, asker, id, cx);
    }
    let current = s.m.streams.current.as_ref();
    // The phone may end anybody's stream, but only one that it names (protocol.md §8.10).
    let is_phone = &**asker == Package::PHONE && stream_id.is_some();
    let may_stop = |stream: &Stream| stream.owner == *asker || is_phone;
    let is_named = |stream: &&Stream| stream_id.is_none_or(|id| stream.id == id);
    match current.filter(is_named) {
        Some(stream) if may_stop(stream) => {
            let own = stream.id.clone();
            // What runs must stop whatever else its app asks of the phone; before, an app may start and stop as fast as it likes.
            let payer = match stream.reported {
                true => Payer::Session,
                false => Payer::App(asker),
            };
            finish(s, Status::Stopped, None, cx);
            // As its asker named it, if it can be sent now.
            let named = s.m.phone.open().map(|_| stream_id.unwrap_or_default());
            let id = named.unwrap_or(&own);
            end_on_glasses(s, (payer, asker), id, cx);
            return Ok(());
        }
        Some(stream) if stream_id.is_some() => {
            return Err(internal(format!(
                "App {asker} cannot stop stream {} owned by {}",
                stream.id, stream.owner
            )));
        }
        _ => {}
    }
    let id = stream_id.unwrap_or_default();
    send_stop(s, (Payer::App(asker), asker), id, cx);
    Ok(())
}

/// `stream_status` of the glasses, for whichever stream it names.
pub(crate) fn glasses_status(s: &mut Session, m: &Members, cx: &mut Cx<'_>) {
    let Some(id) = m.filled("streamId") else {
        return;
    };
    if managed_streams::glasses_status(s, m, cx) {
        return;
    }
    let Some(stream) = s.m.streams.by_id(id) else {
        return;
    };
    stream.reported = true;
    // A message without a status is a sign of life and says nothing about the stream.
    let Some(word) = m.get("status").filter(|word| *word != "") else {
        keep_alive::active(s, id);
        return;
    };
    let status = Status::from_glasses(word.as_str().unwrap_or_default());
    stream.status = status;
    keep_alive::active(s, id);
    if status.is_final() {
        finish(s, status, Some(m), cx);
        return;
    }
    if status == Status::Active {
        s.timers.cancel(&Timer::StreamStart(id.to_owned()));
        keep_alive::start(s, id, cx);
    } else {
        // Nothing is asked of glasses that reconnect or stop, but they must get somewhere (behaviour.md §7.6.1).
        keep_alive::pause(s, id);
        must_become_active(s, id, cx);
    }
    report(s, Some(m), cx);
}

/// Three missed acks, or never active: the phone is told to stop.
pub(crate) fn timed_out(s: &mut Session, stream_id: &str, cx: &mut Cx<'_>) {
    let Some(stream) = s.m.streams.by_id(stream_id) else {
        return;
    };
    let owner = stream.owner.clone();
    finish(s, Status::Timeout, None, cx);
    end_on_glasses(s, (Payer::Session, &owner), stream_id, cx);
}

/// The owner stopped: so does its stream.
pub(crate) fn app_stopped(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    s.m.streams.forget_app(package);
    let owned =
        s.m.streams
            .current
            .as_ref()
            .filter(|stream| &*stream.owner == package)
            .map(|stream| stream.id.clone());
    if let Some(id) = owned {
        finish(s, Status::Stopped, None, cx);
        end_on_glasses(s, (Payer::Session, package), &id, cx);
    }
}

/// A v3 owner came back: where its stream is (protocol.md §9.13).
pub(crate) fn app_attached(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    s.m.streams.forget_app(package);
    let is_v3 = s.m.apps.get(package).is_some_and(|app| app.sdk == Sdk::V3);
    let Some(stream) =
        s.m.streams
            .current
            .as_ref()
            .filter(|stream| is_v3 && &*stream.owner == package)
    else {
        return;
    };
    let now = cx.now.iso();
    let _ = s.send_app(package, cx, Class::Control, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "stream_status")
            .str("status", stream.status.as_str())
            .str("streamId", &stream.id)
            .str("streamUrl", &stream.url)
            .bool("resumed", true)
            .str("timestamp", now.as_str());
        object.end();
    });
}

/// The phone is back: acks that were awaited may be lost, and what ended meanwhile may run on.
pub(crate) fn phone_returned(s: &mut Session, cx: &mut Cx<'_>) {
    stop_again(s, cx);
    for id in s.m.streams.watched() {
        keep_alive::fresh_window(s, &id);
    }
}

/// The session ends.
pub(crate) fn disposing(s: &mut Session, cx: &mut Cx<'_>) {
    if s.m.streams.current.is_some() {
        finish(s, Status::Stopped, None, cx);
    }
}

/// Tracking ends; everybody concerned hears the last status.
fn finish(s: &mut Session, status: Status, details: Option<&Members>, cx: &mut Cx<'_>) {
    if let Some(stream) = s.m.streams.current.as_mut() {
        stream.status = status;
    }
    report(s, details, cx);
    if let Some(stream) = s.m.streams.current.take() {
        keep_alive::stop(s, &stream.id);
    }
}

/// The current status to the owner under the name of its request, and to other subscribers under theirs.
fn report(s: &mut Session, details: Option<&Members>, cx: &mut Cx<'_>) {
    let Some(stream) = s.m.streams.current.clone() else {
        return;
    };
    let session_id = s.app_session_id(&stream.owner);
    let owner_name = if &*stream.owner == Package::PHONE {
        PHONE_STATUS
    } else {
        stream.name.as_str()
    };
    if is_news(s, &stream, &stream.owner, details) {
        let mut body = Vec::with_capacity(256);
        let now = cx.now.iso();
        write_status(
            &mut body,
            owner_name,
            &session_id,
            &stream,
            details,
            now.as_str(),
        );
        let is_told = if stream.status.is_final() {
            requests::tell_end(s, &stream.owner, body, u64::MAX, cx)
        } else {
            requests::tell(s, &stream.owner, &body, cx)
        };
        if !is_told {
            s.m.streams.forget_app(&stream.owner);
        }
    }
    let mut heard = vec![stream.owner.clone()];
    for name in [StatusName::Stream, StatusName::Rtmp] {
        for (package, stream_type) in relay::subscribers(s, name.as_str(), cx) {
            if heard.contains(&package) || !s.m.apps.is_running(&package) {
                continue;
            }
            heard.push(package.clone());
            if is_news(s, &stream, &package, details) {
                let mut data = Vec::with_capacity(192);
                let now = cx.now.iso();
                write_status(
                    &mut data,
                    name.as_str(),
                    &session_id,
                    &stream,
                    details,
                    now.as_str(),
                );
                relay::to_app(s, &package, &stream_type, &data, cx);
            }
        }
    }
}

fn is_news(s: &mut Session, stream: &Stream, package: &str, details: Option<&Members>) -> bool {
    let part = |key| details.and_then(|m| m.get(key)).map(Value::to_string);
    let content = format!(
        "{}|{}|{}",
        stream.status.as_str(),
        part("errorDetails").unwrap_or_default(),
        part("stats").unwrap_or_default()
    );
    s.m.streams.is_news(&stream.id, package, &content)
}

fn write_status(
    out: &mut Vec<u8>,
    name: &str,
    session_id: &str,
    stream: &Stream,
    details: Option<&Members>,
    now: &str,
) {
    let mut object = ObjectWriter::begin(out);
    object
        .str("type", name)
        .str("sessionId", session_id)
        .str("streamId", &stream.id)
        .str("status", stream.status.as_str());
    for key in ["errorDetails", "stats"] {
        if let Some(value) = details.and_then(|m| m.get(key)) {
            object.value(key, value);
        }
    }
    object.str("appId", &stream.owner);
    if let Some(request_id) = stream.request_id.as_ref().filter(|_| name == PHONE_STATUS) {
        object.str("requestId", request_id);
    }
    object.str("timestamp", now);
    object.end();
}
