//! Layer 2, flow: the managed video stream between viewers, phone and provider (behaviour.md §7.6.3, protocol.md §8.11,
//! 8.12, 9.14).

use crate::base::ids::Package;
use crate::session::effects::Effect;
use crate::session::event::{HttpOutcome, Sdk};
use crate::session::flow::gate::{self, internal};
use crate::session::flow::managed_status::{WAITING, tell, tell_all, tell_alone, tell_joined};
use crate::session::flow::provider::{self, Provider, Request};
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
    let urls: Vec<&str> = outputs::destinations(&m).map(|(url, _)| url).collect();
    let ingest = Ingest::choose(urls.into_iter());
    let id = keep_alive::short_id(s, 'm', 10);
    s.m.managed_streams.current = Some(Managed {
        id: id.clone(),
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

/// The next step with the provider is due.
pub(crate) fn step(s: &mut Session, cx: &mut Cx<'_>) {
    let Some(stream) = s.m.managed_streams.current.as_mut() else {
        return;
    };
    match stream.stage {
        Stage::Creating { .. } => create(s, cx),
        Stage::IngestWait => begin(s, cx),
        // The glasses said that video flows, and viewers have heard it.
        Stage::Polling { until_ms } if cx.now.mono_ms >= until_ms && stream.flows => {
            stream.stage = Stage::Live;
        }
        Stage::Polling { until_ms } if cx.now.mono_ms >= until_ms => {
            end(s, "error", Some("Stream did not become live in time"), cx);
        }
        Stage::Polling { .. } => poll(s, cx),
        Stage::Live => {}
    }
}

fn create(s: &mut Session, cx: &mut Cx<'_>) {
    let Some(provider) = provider::configured(&cx.cfg.streaming) else {
        return;
    };
    let name = s.user.log_tag();
    let Some(stream) = s.m.managed_streams.current.as_mut() else {
        return;
    };
    if let Stage::Creating { tries } = &mut stream.stage {
        *tries += 1;
    }
    let purpose = Purpose::Create {
        stream_id: stream.id.clone(),
    };
    call(s, &provider, provider.create(&name), purpose, cx);
}

/// The live input is there long enough: the glasses start.
fn begin(s: &mut Session, cx: &mut Cx<'_>) {
    let Some(stream) = s.m.managed_streams.current.as_mut() else {
        return;
    };
    let url = stream
        .input
        .as_ref()
        .map(|input| input.ingest_url(stream.ingest).to_owned())
        .unwrap_or_default();
    let streaming = &cx.cfg.streaming;
    if s.m.phone.open().is_none() && !url.is_empty() {
        let until_ms = stream.created.mono_ms + streaming.managed_ready_timeout_ms;
        if cx.now.mono_ms < until_ms {
            // Streams are the session's, and a phone that lost its socket is back in seconds (behaviour.md §7.6).
            let due_ms = cx.now.mono_ms + streaming.managed_ready_poll_ms;
            s.timers.set(Timer::ManagedPoll, due_ms.min(until_ms));
            return;
        }
    }
    if url.is_empty() || s.m.phone.open().is_none() {
        end(s, "error", Some("Glasses WebSocket not connected"), cx);
        return;
    }
    stream.stage = Stage::Polling {
        until_ms: cx.now.mono_ms + streaming.managed_ready_timeout_ms,
    };
    let (id, request) = (stream.id.clone(), stream.request.clone());
    let due_ms = cx.now.mono_ms + streaming.managed_ready_poll_ms;
    s.timers.set(Timer::ManagedPoll, due_ms);
    // All viewers need it, whatever else the first of them asks of the phone. The provider keeps it rare.
    streams::send_start(s, (Payer::Session, APP_ID), &id, &url, &request, cx);
    keep_alive::start(s, &id, cx);
    tell_begun(s, cx);
}

/// Whoever waits for the video hears that the glasses were told.
fn tell_begun(s: &mut Session, cx: &mut Cx<'_>) {
    let Some(stream) = s.m.managed_streams.current.as_mut() else {
        return;
    };
    let early = std::mem::take(&mut stream.early);
    let viewers = stream.viewers.clone();
    for viewer in viewers.iter().filter(|viewer| !early.contains(viewer)) {
        tell(s, viewer, "initializing", Some(WAITING), cx);
    }
}

fn poll(s: &mut Session, cx: &mut Cx<'_>) {
    let Some(provider) = provider::configured(&cx.cfg.streaming) else {
        return;
    };
    let Some((stream_id, uid)) =
        s.m.managed_streams
            .current
            .as_ref()
            .and_then(|stream| Some((stream.id.clone(), stream.input.as_ref()?.uid.clone())))
    else {
        return;
    };
    call(
        s,
        &provider,
        provider.status(&uid),
        Purpose::Poll { stream_id },
        cx,
    );
}

/// The provider answered one of our calls.
pub(crate) fn answered(s: &mut Session, purpose: Purpose, outcome: &HttpOutcome, cx: &mut Cx<'_>) {
    match purpose {
        Purpose::Create { stream_id } => created(s, &stream_id, outcome, cx),
        Purpose::Poll { stream_id } => polled(s, &stream_id, outcome, cx),
        Purpose::Delete => {}
        output => outputs::answered(s, output, outcome, cx),
    }
}

fn created(s: &mut Session, stream_id: &str, outcome: &HttpOutcome, cx: &mut Cx<'_>) {
    let Some(provider) = provider::configured(&cx.cfg.streaming) else {
        return;
    };
    let input = match outcome {
        HttpOutcome::Answer { body, .. } if outcome.is_success() => provider.created(body),
        _ => None,
    };
    let wait_ms = cx.cfg.streaming.managed_ingest_wait_ms;
    match (s.m.managed_streams.by_id(stream_id), input) {
        (Some(stream), Some(input)) => {
            stream.input = Some(input);
            stream.stage = Stage::IngestWait;
            s.timers.set(Timer::ManagedPoll, cx.now.mono_ms + wait_ms);
            outputs::add_wanted(s, cx);
        }
        // Ended while the call was under way: nobody would ever remove it.
        (None, Some(input)) => {
            call(
                s,
                &provider,
                provider.delete(&input.uid),
                Purpose::Delete,
                cx,
            );
        }
        (Some(stream), None) => {
            let Stage::Creating { tries } = stream.stage else {
                return;
            };
            let may_retry = matches!(
                outcome,
                HttpOutcome::Failed { .. }
                    | HttpOutcome::Answer {
                        status: 429 | 500..=599,
                        ..
                    }
            );
            if may_retry && tries < cx.cfg.streaming.managed_api_retries {
                let backoff_ms = cx.cfg.streaming.managed_api_backoff_ms << (tries - 1).min(10);
                let pause_ms = backoff_ms.max(wished_pause_ms(outcome));
                s.timers.set(Timer::ManagedPoll, cx.now.mono_ms + pause_ms);
            } else {
                end(s, "error", Some("Failed to create live input"), cx);
            }
        }
        (None, None) => {}
    }
}

/// The pause that a busy provider asks for by `Retry-After`, with an upper bound: a viewer waits.
fn wished_pause_ms(outcome: &HttpOutcome) -> u64 {
    match outcome {
        HttpOutcome::Answer {
            status: 429,
            retry_after_s: Some(wished_s),
            ..
        } => (*wished_s).min(60) * 1000,
        _ => 0,
    }
}

fn polled(s: &mut Session, stream_id: &str, outcome: &HttpOutcome, cx: &mut Cx<'_>) {
    let Some(provider) = provider::configured(&cx.cfg.streaming) else {
        return;
    };
    let is_live = match outcome {
        HttpOutcome::Answer { body, .. } => outcome.is_success() && provider.is_live(body),
        HttpOutcome::Failed { .. } => false,
    };
    let due_ms = cx.now.mono_ms + cx.cfg.streaming.managed_ready_poll_ms;
    let Some(stream) = s.m.managed_streams.by_id(stream_id) else {
        return;
    };
    let Stage::Polling { until_ms } = stream.stage else {
        return;
    };
    if is_live {
        stream.stage = Stage::Live;
        touch(s, cx);
        tell_all(s, "active", Some("Stream is now live"), cx);
    } else {
        s.timers
            .set(Timer::ManagedPoll, due_ms.min(until_ms).max(cx.now.mono_ms));
    }
}

/// One provider call.
pub(crate) fn call(
    s: &mut Session,
    provider: &impl Provider,
    request: Request,
    purpose: Purpose,
    cx: &mut Cx<'_>,
) {
    let call = s.call_id();
    s.m.managed_streams.called(call, purpose);
    let timeout_ms = cx.cfg.streaming.managed_api_timeout_ms;
    let call = request.into_call(call, provider, timeout_ms);
    cx.fx.push(Effect::Http(call));
}

/// Ends the stream for everybody.
fn end(s: &mut Session, status: &str, message: Option<&str>, cx: &mut Cx<'_>) {
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
