//! Layer 2, flow: data_stream delivery of an event to subscribed apps (behaviour.md §1.10, protocol.md §5.4, 5.9). A message
//! is spliced into its envelope as the bytes it came in; nothing is queued for closed sockets.

use super::sync::granted;
use crate::base::clock::IsoTime;
use crate::base::ids::{ConnId, Package};
use crate::session::effects::Class;
use crate::session::managers::routes::Route;
use crate::session::managers::subscriptions::{Subscriber, write_envelope_head};
use crate::session::{Cx, Session};
use crate::wire::json::write_str;
use crate::wire::streams::{AutoSubscribers, Permission, StreamEvent, Sub};

/// Room for an envelope beside its head, stream name and data.
const TAIL_BYTES: usize = 64;

/// Relays a phone message verbatim as stream `name` to every subscribed app with an open socket. Never goes back to
/// `__phone__`. `text` is JSON.
pub(crate) fn phone_message(s: &mut Session, name: &str, text: &[u8], cx: &mut Cx<'_>) {
    let registry = cx.apps.version;
    match s.m.routes.get(name, registry) {
        Some(route) => {
            debug_assert!(
                leads_as_found(s, route, name, cx),
                "a stale route of {name}"
            );
            follow(route, text, cx);
        }
        None => {
            let route = find(s, name, cx);
            follow(&route, text, cx);
            s.m.routes.keep(route, registry);
        }
    }
}

fn find(s: &Session, name: &str, cx: &Cx<'_>) -> Route {
    let event = StreamEvent::new(name);
    let mut route = Route::new(name);
    for subscriber in s.m.subscriptions.iter() {
        if let Some((conn, stream)) = app_delivery(s, subscriber, &event, cx) {
            route.add(conn, |out| {
                write_head(out, subscriber.envelope_head(), stream)
            });
        }
    }
    route
}

#[inline]
fn follow(route: &Route, text: &[u8], cx: &mut Cx<'_>) {
    let stamp = cx.stamp();
    for (conn, head) in route.iter() {
        cx.fx.text(conn, Class::Control, |out| {
            out.reserve(head.len() + text.len() + TAIL_BYTES);
            out.extend_from_slice(head);
            write_tail(out, text, &stamp);
        });
    }
}

/// Whether a remembered route is what would be found now.
fn leads_as_found(s: &Session, route: &Route, name: &str, cx: &Cx<'_>) -> bool {
    let event = StreamEvent::new(name);
    let found = s.m.subscriptions.iter().filter_map(|subscriber| {
        let (conn, _) = app_delivery(s, subscriber, &event, cx)?;
        Some((conn, subscriber.envelope_head()))
    });
    let mut hops = route.iter();
    let all = found.into_iter().all(|(conn, start)| {
        hops.next()
            .is_some_and(|(known, head)| known == conn && head.starts_with(start))
    });
    all && hops.next().is_none()
}

/// What the phone itself recognised in `language`, routed like a recogniser's result: mini-apps on the phone wait for it too.
pub(crate) fn phone_speech(
    s: &Session,
    language: &str,
    text: &[u8],
    class: Class,
    cx: &mut Cx<'_>,
) {
    let name = format!("transcription:{language}");
    let event = StreamEvent::new(&name).with_auto(AutoSubscribers::Include);
    recognised(s, &event, text, class, cx);
}

/// Like [`phone_message`], but wildcards do not count: their apps have the event under another name already.
pub(crate) fn phone_message_explicit(
    s: &Session,
    name: &str,
    text: &[u8],
    class: Class,
    cx: &mut Cx<'_>,
) {
    let event = StreamEvent::new(name);
    for subscriber in s.m.subscriptions.iter().filter(|one| one.holds(name)) {
        if let Some((conn, stream)) = app_delivery(s, subscriber, &event, cx) {
            let stamp = cx.now.iso();
            cx.fx.text(conn, class, |out| {
                envelope(out, subscriber.envelope_head(), stream, text, &stamp);
            });
        }
    }
}

/// Delivers server-made data as stream `name` to every subscribed app.
pub(crate) fn server_event(s: &Session, name: &str, data: &[u8], cx: &mut Cx<'_>) {
    recognised(s, &StreamEvent::new(name), data, Class::Control, cx);
}

/// [`server_event`] for what recognisers hear: `__phone__` gets it too (protocol.md §5.9, 7.18), and an interim result may be
/// dropped for a later one.
pub(crate) fn recognised(
    s: &Session,
    event: &StreamEvent<'_>,
    data: &[u8],
    class: Class,
    cx: &mut Cx<'_>,
) {
    for subscriber in s.m.subscriptions.iter() {
        let delivery = if &*subscriber.package == Package::PHONE {
            phone_delivery(s, subscriber, event.name())
                .and_then(|conn| Some((conn, subscriber.delivered_as(event, |_| true)?)))
        } else {
            app_delivery(s, subscriber, event, cx)
        };
        if let Some((conn, stream)) = delivery {
            let stamp = cx.now.iso();
            cx.fx.text(conn, class, |out| {
                envelope(out, subscriber.envelope_head(), stream, data, &stamp);
            });
        }
    }
}

/// One envelope to one app, whatever it subscribed to (replays, poll answers).
pub(crate) fn to_app(s: &Session, package: &str, stream_type: &str, data: &[u8], cx: &mut Cx<'_>) {
    let stamp = cx.now.iso();
    let _ = s.send_app(package, cx, Class::Control, |out| {
        match s.m.subscriptions.get(package) {
            Some(known) => envelope(out, known.envelope_head(), stream_type, data, &stamp),
            None => {
                write_envelope_head(out, &s.user, package);
                envelope(out, &[], stream_type, data, &stamp);
            }
        }
    });
}

/// Every app with an open socket that gets stream `name` now, and under which name, for messages that are no plain envelope.
pub(crate) fn subscribers(s: &Session, name: &str, cx: &Cx<'_>) -> Vec<(Package, String)> {
    let event = StreamEvent::new(name);
    s.m.subscriptions
        .iter()
        .filter_map(|one| {
            let (_, stream) = app_delivery(s, one, &event, cx)?;
            Some((one.package.clone(), stream.to_owned()))
        })
        .collect()
}

/// Apps that subscribe to any `augmentos:` setting (protocol.md §9.8), whether or not their socket is open.
pub(crate) fn settings_subscribers(s: &Session) -> Vec<Package> {
    s.m.subscriptions
        .iter()
        .filter(|one| one.list().iter().any(|own| own.parsed == Sub::Settings))
        .map(|one| one.package.clone())
        .collect()
}

/// Socket and stream name for an app that gets `event`.
fn app_delivery<'a>(
    s: &Session,
    subscriber: &'a Subscriber,
    event: &StreamEvent<'a>,
    cx: &Cx<'_>,
) -> Option<(ConnId, &'a str)> {
    let conn = s.m.apps.open_conn(&subscriber.package)?;
    let may = |needed: Permission| granted(cx, &subscriber.package, needed);
    Some((conn, subscriber.delivered_as(event, may)?))
}

/// The phone's socket, for the streams that its mini-apps get.
fn phone_delivery(s: &Session, subscriber: &Subscriber, name: &str) -> Option<ConnId> {
    debug_assert_eq!(&*subscriber.package, Package::PHONE);
    let speech = name.starts_with("transcription:") || name.starts_with("translation:");
    speech.then(|| s.m.phone.open()).flatten()
}

fn envelope(out: &mut Vec<u8>, head: &[u8], stream: &str, data: &[u8], stamp: &IsoTime) {
    out.reserve(head.len() + stream.len() + data.len() + TAIL_BYTES);
    write_head(out, head, stream);
    write_tail(out, data, stamp);
}

/// What stands before the data. `head`: up to the key `streamType`.
fn write_head(out: &mut Vec<u8>, head: &[u8], stream: &str) {
    out.extend_from_slice(head);
    write_str(out, stream);
    out.extend_from_slice(br#","data":"#);
}

/// The data and what stands behind it.
#[inline]
fn write_tail(out: &mut Vec<u8>, data: &[u8], stamp: &IsoTime) {
    out.extend_from_slice(data);
    out.extend_from_slice(br#","timestamp":""#);
    out.extend_from_slice(stamp.as_bytes());
    out.extend_from_slice(br#""}"#);
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
