//! Layer 2, flow: the managed video stream between viewers, phone and provider (behaviour.md §7.6.3, protocol.md §8.11,
//! 8.12, 9.14).

use crate::base::ids::Package;
use crate::session::event::Sdk;
use crate::session::flow::gate::{self, internal};
use crate::session::flow::live_input::{call, create};
use crate::session::flow::managed_status::{WAITING, tell, tell_all, tell_alone, tell_joined};
use crate::session::flow::provider;
use crate::session::flow::{keep_alive, outputs, streams};
use crate::session::handlers::Reject;
use crate::session::managers::managed_streams::{APP_ID, Ingest, Managed, Purpose, Stage};
use crate::session::timers::Timer;
use crate::session::{Cx, Payer, Session};
use crate::wire::members::Members;

/// An app (or the phone) wants the managed stream: joins it, or starts it. Permissions were checked.
pub(crate) fn request(
    s: &mut Session,
    viewer: &Package,
    m: Members,
    cx: &mut Cx<'_>,
) -> Result<(), Reject> {
    gate::hardware(s, gate::Request::Stream, cx).map_err(internal)?;
    gate::wifi(s, cx).map_err(internal)?;
    if s.m.streams.current.is_some() {
        return Err(internal(
            "Cannot start managed stream - unmanaged stream already active",
        ));
    }
    if s.m.managed_streams.current.is_some() {
        join(s, viewer, &m, cx);
        return Ok(());
    }
    if provider::configured(&cx.cfg.streaming).is_none() {
        let text = "Managed streaming is not available on this server";
        let request_id = streams::phone_request(viewer, &m);
        tell_alone(s, viewer, "error", text, request_id.as_deref(), cx);
        return Ok(());
    }
    let ingest = Ingest::choose(outputs::destinations(&m).map(|(url, _)| url));
    let id = keep_alive::short_id(s, 'm', 10);
    s.m.managed_streams.current = Some(Managed {
        id,
        viewers: vec![viewer.clone()],
        anew: Vec::new(),
        early: Vec::new(),
        stage: Stage::Creating { tries: 0 },
        input: None,
        ingest,
        phone_requests: streams::phone_request(viewer, &m).into_iter().collect(),
        request: m,
        outputs: Vec::new(),
        flows: false,
        created: cx.now,
        active_ms: cx.now.mono_ms,
    });
    arm_sweep(s, cx);
    create(s, cx);
    Ok(())
}

fn join(s: &mut Session, viewer: &Package, m: &Members, cx: &mut Cx<'_>) {
    let Some(stream) = s.m.managed_streams.current.as_mut() else {
        return;
    };
    let is_new = !stream.viewers.contains(viewer);
    if is_new {
        stream.viewers.push(viewer.clone());
    }
    // Of the phone's mini-apps the others still wait.
    let heard = is_new || **viewer != *Package::PHONE;
    if stream.stage == Stage::IngestWait && heard && !stream.early.contains(viewer) {
        stream.early.push(viewer.clone());
    }
    stream.anew.retain(|known| known != viewer);
    let request_id = streams::phone_request(viewer, m);
    if let Some(request_id) = &request_id {
        stream.phone_asked(request_id);
    }
    // Who joins is told `active` as soon as there are URLs to give, live or not (protocol.md §8.11).
    let (status, message) = match stream.input {
        Some(_) => ("active", None),
        None => ("initializing", Some(WAITING)),
    };
    tell_joined(s, viewer, request_id.as_deref(), (status, message), cx);
    touch(s, cx);
}

/// An app asks to watch no more. Who did not watch is told the same.
pub(crate) fn stop(s: &mut Session, viewer: &Package, cx: &mut Cx<'_>) {
    let watches = |stream: &Managed| stream.viewers.contains(viewer);
    match &s.m.managed_streams.current {
        Some(stream) if watches(stream) => leave(s, viewer, cx),
        _ => tell(s, viewer, "stopped", None, cx),
    }
}

/// A stop of an unmanaged stream that names the managed one. It must not end it for others: the phone stops whatever runs.
///
/// # Errors
/// The asker does not watch.
pub(crate) fn stop_named(
    s: &mut Session,
    asker: &Package,
    id: &str,
    cx: &mut Cx<'_>,
) -> Result<(), Reject> {
    if **asker == *Package::PHONE {
        end(s, "stopped", None, cx);
        return Ok(());
    }
    let stream = s.m.managed_streams.by_id(id);
    if !stream.is_some_and(|stream| stream.viewers.contains(asker)) {
        let text = format!("App {asker} cannot stop stream {id} owned by {APP_ID}");
        return Err(internal(text));
    }
    leave(s, asker, cx);
    Ok(())
}

/// A viewer leaves; with the last one the stream ends. Not a viewer: nothing.
fn leave(s: &mut Session, viewer: &str, cx: &mut Cx<'_>) {
    let Some(stream) = s.m.managed_streams.current.as_mut() else {
        return;
    };
    let Some(at) = stream.viewers.iter().position(|known| &**known == viewer) else {
        return;
    };
    let package = stream.viewers[at].clone();
    stream.anew.retain(|known| *known != package);
    let is_last = stream.viewers.len() == 1;
    tell(s, &package, "stopped", None, cx);
    if is_last {
        tear_down(s, cx);
    } else if let Some(stream) = s.m.managed_streams.current.as_mut() {
        stream.left(&package);
    }
}

/// An unmanaged stream takes over: every viewer is told.
pub(crate) fn replaced(s: &mut Session, cx: &mut Cx<'_>) {
    end(s, "stopped", None, cx);
}

/// The session ends.
pub(crate) fn disposing(s: &mut Session, cx: &mut Cx<'_>) {
    end(s, "stopped", None, cx);
    for (_, purpose) in s.m.managed_streams.drain_calls() {
        outputs::abandoned(&purpose, cx);
    }
}

/// The process goes away, and the stream with it: the next one would not know what to remove. Viewers ask anew there.
pub(crate) fn process_ends(s: &mut Session, cx: &mut Cx<'_>) {
    let stream = s.m.managed_streams.current.as_mut();
    let input = stream.and_then(|stream| stream.input.take());
    if let (Some(provider), Some(input)) = (provider::configured(&cx.cfg.streaming), input) {
        let request = provider.delete(&input.uid);
        call(s, &provider, request, Purpose::Delete, cx);
    }
}

/// An app is about to be started by webhook: it knows nothing of the stream that it watched before.
pub(crate) fn app_starting(s: &mut Session, package: &Package) {
    let is_v2 = s.m.apps.get(package).is_some_and(|app| app.sdk == Sdk::V2);
    if let Some(stream) = s.m.managed_streams.current.as_mut()
        && is_v2
        && stream.viewers.contains(package)
        && !stream.anew.contains(package)
    {
        stream.anew.push(package.clone());
    }
}

/// A stopped app watches no more.
pub(crate) fn app_stopped(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    leave(s, package, cx);
}

/// `stream_status` of the glasses; `false`: not this stream. Of an error the viewers hear what the phone said about it.
pub(crate) fn glasses_status(s: &mut Session, m: &Members, cx: &mut Cx<'_>) -> bool {
    let id = m.text("streamId").unwrap_or_default();
    if s.m.managed_streams.by_id(id).is_none() {
        return false;
    }
    keep_alive::active(s, id);
    touch(s, cx);
    match m.text("status").unwrap_or_default() {
        "initializing" | "connecting" => tell_all(s, "initializing", None, cx),
        "stopping" => tell_all(s, "stopping", None, cx),
        "stopped" => end(s, "stopped", None, cx),
        "error" => {
            let details = m.filled("errorDetails");
            let message = details.unwrap_or("Stream error reported by glasses");
            end(s, "error", Some(message), cx);
        }
        word => {
            if let Some(stream) = s.m.managed_streams.by_id(id) {
                stream.flows |= matches!(word, "active" | "streaming");
            }
            tell_all(s, "active", None, cx);
        }
    }
    true
}

/// Any sign of life; a stream without one for long ends at a sweep.
pub(crate) fn touch(s: &mut Session, cx: &Cx<'_>) {
    if let Some(stream) = s.m.managed_streams.current.as_mut() {
        stream.active_ms = cx.now.mono_ms;
    }
}

fn arm_sweep(s: &mut Session, cx: &Cx<'_>) {
    let due_ms = cx.now.mono_ms + cx.cfg.streaming.managed_sweep_ms;
    s.timers.set(Timer::ManagedSweep, due_ms);
}

/// Time to look whether anything was heard of the stream lately.
pub(crate) fn sweep(s: &mut Session, cx: &mut Cx<'_>) {
    let Some(stream) = s.m.managed_streams.current.as_ref() else {
        return;
    };
    if cx.now.mono_ms >= stream.active_ms + cx.cfg.streaming.managed_idle_ms {
        end(s, "stopped", Some("Stream ended after inactivity"), cx);
    } else {
        arm_sweep(s, cx);
    }
}

/// Three missed acks.
pub(crate) fn timed_out(s: &mut Session, cx: &mut Cx<'_>) {
    end(
        s,
        "error",
        Some("Stream timed out waiting for keep-alive"),
        cx,
    );
}

/// Ends the stream for everybody.
pub(super) fn end(s: &mut Session, status: &str, message: Option<&str>, cx: &mut Cx<'_>) {
    if s.m.managed_streams.current.is_some() {
        tell_all(s, status, message, cx);
        tear_down(s, cx);
    }
}

/// The glasses stop, the live input goes.
fn tear_down(s: &mut Session, cx: &mut Cx<'_>) {
    let Some(stream) = s.m.managed_streams.current.as_ref() else {
        return;
    };
    let (id, asker) = (stream.id.clone(), stream.asker());
    match stream.stage {
        // An app may ask and stop as fast as it likes, and nothing runs yet that a lost stop would leave running.
        Stage::Creating { .. } | Stage::IngestWait => {
            if s.m.phone.open().is_some() {
                streams::send_stop(s, (Payer::App(&asker), APP_ID), &id, cx);
            }
        }
        Stage::Polling { .. } | Stage::Live => {
            streams::end_on_glasses(s, (Payer::Session, APP_ID), &id, cx);
        }
    }
    forget(s, cx);
}

fn forget(s: &mut Session, cx: &mut Cx<'_>) {
    let Some(stream) = s.m.managed_streams.current.take() else {
        return;
    };
    keep_alive::stop(s, &stream.id);
    s.timers.cancel(&Timer::ManagedPoll);
    s.timers.cancel(&Timer::ManagedSweep);
    if let (Some(provider), Some(input)) = (provider::configured(&cx.cfg.streaming), stream.input) {
        call(
            s,
            &provider,
            provider.delete(&input.uid),
            Purpose::Delete,
            cx,
        );
    }
}
