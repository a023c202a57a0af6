//! Layer 2, flow: requests and streams that an app owns: photos, polls, video, audio output, play requests; and what their owners
//! missed of them.

use super::{
    app_messages, audio_output, audio_play, live_input, location, managed_status, managed_streams,
    photos, streams, sync,
};
use crate::base::ids::{CallId, Package};
use crate::session::effects::Class;
use crate::session::event::HttpOutcome;
use crate::session::{Cx, Session};
use crate::wire::streams::Permission;
use bytes::Bytes;

/// An app stopped: its streams end, its requests are forgotten.
pub(crate) fn app_stopped(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    location::app_stopped(s, package);
    photos::app_stopped(s, package);
    audio_play::app_stopped(s, package);
    audio_output::app_stopped(s, package, cx);
    managed_streams::app_stopped(s, package, cx);
    streams::app_stopped(s, package, cx);
    app_messages::app_gone(s, package, cx);
    s.m.missed.forget(package);
}

/// App records changed: what goes on for an app that may not have it any more ends. A photo that was asked for is one picture, and
/// goes from the phone to the app by itself.
pub(crate) fn permissions_changed(s: &mut Session, cx: &mut Cx<'_>) {
    let may_not = |package: &&Package, needed| !sync::granted(cx, package, needed);
    let without_camera = |package: &&Package| may_not(package, Permission::Camera);
    let stream = s.m.streams.current.as_ref();
    let owner = stream.map(|stream| &stream.owner).filter(without_camera);
    let managed = s.m.managed_streams.current.as_ref();
    let viewers = managed.map_or(&[][..], |stream| &stream.viewers);
    let viewers = viewers.iter().filter(without_camera);
    let watching: Vec<Package> = owner.into_iter().chain(viewers).cloned().collect();
    let polls = s.m.location.polls().iter().map(|poll| &poll.package);
    let polling = polls.filter(|package| may_not(package, Permission::Location));
    let polling: Vec<Package> = polling.cloned().collect();
    for package in watching {
        managed_streams::app_stopped(s, &package, cx);
        streams::app_stopped(s, &package, cx);
    }
    for package in polling {
        location::app_stopped(s, &package);
    }
}

/// Tells an app, or the phone under its name, how something of it ended. A peer that is away and expected back hears it when it is
/// there, until `until_ms`: who waits for the end of a stream that is over would start no other. `true`: it was told.
pub(crate) fn tell_end(
    s: &mut Session,
    to: &str,
    body: Vec<u8>,
    until_ms: u64,
    cx: &mut Cx<'_>,
) -> bool {
    let is_told = tell(s, to, &body, cx);
    if !is_told && (to == Package::PHONE || s.m.apps.state(to).awaits_return()) {
        s.m.missed.keep(to, body, until_ms);
    }
    is_told
}

/// A message to an app, or to the phone under its name. `true`: it has a socket for it.
pub(crate) fn tell(s: &Session, to: &str, body: &[u8], cx: &mut Cx<'_>) -> bool {
    let write = |out: &mut Vec<u8>| out.extend_from_slice(body);
    let sent = if to == Package::PHONE {
        s.send_phone(cx, Class::Control, write)
    } else {
        s.send_app(to, cx, Class::Control, write)
    };
    sent.is_sent()
}

fn tell_missed(s: &mut Session, to: &str, cx: &mut Cx<'_>) {
    for body in s.m.missed.take(to, cx.now.mono_ms) {
        tell(s, to, &body, cx);
    }
}

/// The phone is back.
pub(crate) fn phone_returned(s: &mut Session, cx: &mut Cx<'_>) {
    tell_missed(s, Package::PHONE, cx);
    streams::phone_returned(s, cx);
    managed_status::phone_returned(s, cx);
}

/// An app is about to be started by webhook: it knows nothing of the streams that it watched before.
pub(crate) fn app_starting(s: &mut Session, package: &Package) {
    managed_streams::app_starting(s, package);
    s.m.missed.forget(package);
}

/// An app attached: what it was told before counts no more, and v3 gets the state of running streams (behaviour.md §7.6.4,
/// protocol.md §9.13, 9.14).
pub(crate) fn app_attached(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    tell_missed(s, package, cx);
    managed_status::app_attached(s, package, cx);
    streams::app_attached(s, package, cx);
    app_messages::app_attached(s, package, cx);
}

/// An app's socket was lost: it is no active user of its package and no member of its rooms any more (behaviour.md §7.10).
pub(crate) fn app_lost(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    app_messages::app_gone(s, package, cx);
}

/// The session is being disposed: every outstanding requester gets its error, streams end.
pub(crate) fn disposing(s: &mut Session, cx: &mut Cx<'_>) {
    streams::disposing(s, cx);
    managed_streams::disposing(s, cx);
    photos::disposing(s, cx);
    audio_play::disposing(s, cx);
    audio_output::disposing(s, cx);
    app_messages::disposing(s, cx);
    s.m.location.clear_polls();
}

/// An HTTP result that is not a webhook of the app life cycle (provider, weather, tool …). `false`: not ours.
pub(crate) fn http_result(
    s: &mut Session,
    call: CallId,
    outcome: &HttpOutcome,
    cx: &mut Cx<'_>,
) -> bool {
    if let Some(purpose) = s.m.managed_streams.answered(call) {
        live_input::answered(s, purpose, outcome, cx);
        return true;
    }
    s.m.settings.webhook_answered(call)
}

/// A binary frame of an app that is no JSON text: audio output (protocol.md §10.3).
pub(crate) fn app_binary(s: &mut Session, package: &Package, data: Bytes, cx: &mut Cx<'_>) {
    audio_output::frame(s, package, &data, cx);
}
