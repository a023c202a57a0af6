//! Layer 2, flow: the live input of a managed stream at its provider: made, waited for, watched until video flows (behaviour.md
//! §7.6.3). Who watches is in `managed_streams`.

use crate::session::effects::Effect;
use crate::session::event::HttpOutcome;
use crate::session::flow::managed_status::{WAITING, tell, tell_all};
use crate::session::flow::managed_streams::{end, touch};
use crate::session::flow::provider::{self, Provider, Request};
use crate::session::flow::{keep_alive, outputs, streams};
use crate::session::managers::managed_streams::{APP_ID, Purpose, Stage};
use crate::session::timers::Timer;
use crate::session::{Cx, Payer, Session};

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

/// Asks for the live input, once more if that failed before.
pub(super) fn create(s: &mut Session, cx: &mut Cx<'_>) {
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
            if outcome.may_pass() && tries < cx.cfg.streaming.managed_api_retries {
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
    provider: &Provider<'_>,
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
