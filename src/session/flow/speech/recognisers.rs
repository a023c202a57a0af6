//! Layer 2, flow: subscriptions, voice, audio and time meet the recognisers (behaviour.md §8). The manager decides; here its
//! orders go out, its deadlines are set, and the audio path learns who listens.

use super::heard;
use crate::base::metrics::Counter;
use crate::base::settings::DeploymentRegion;
use crate::session::effects::Effect;
use crate::session::managers::speech::{Aftermath, Speech, Step, Trigger};
use crate::session::timers::{Timer, Timers};
use crate::session::{Cx, Session};
use crate::wire::speech::{SpeechFailure, SpeechFailureClass, SpeechId, SpeechOrder, SpeechReport};
use crate::wire::streams::Sub;

/// Runs one step of the manager, passes its orders on and brings in line what follows from its state.
fn step<R>(
    s: &mut Session,
    cx: &mut Cx<'_>,
    act: impl FnOnce(&mut Speech, &mut Step<'_>) -> R,
) -> R {
    let mut orders = Vec::new();
    let mut step = Step {
        now_ms: cx.now.mono_ms,
        cfg: &cx.cfg.speech,
        audio_ms: s.m.audio.last_ms,
        orders: &mut orders,
    };
    let result = act(&mut s.m.speech, &mut step);
    for order in orders {
        cx.fx.push(Effect::Speech(order));
    }
    settle(s, cx);
    result
}

fn settle(s: &mut Session, cx: &Cx<'_>) {
    let (cfg, now_ms) = (&cx.cfg.speech, cx.now.mono_ms);
    s.m.audio.speech_ms = s.m.speech.listen(cfg);
    let speech = &s.m.speech;
    put(&mut s.timers, Timer::SpeechStart, speech.start_due_ms());
    put(&mut s.timers, Timer::SpeechRetry, speech.retry_due_ms(cfg));
    let gap_ms = speech.watches_gaps().then_some(cfg.stt_gap_check_ms);
    keep(&mut s.timers, Timer::SpeechGap, gap_ms, now_ms);
    let care_ms = speech.needs_care(cfg).then_some(cfg.stt_health_check_ms);
    keep(&mut s.timers, Timer::SpeechHealth, care_ms, now_ms);
}

/// Sets or removes a deadline.
fn put(timers: &mut Timers, timer: Timer, at_ms: Option<u64>) {
    match at_ms {
        Some(at_ms) => timers.set(timer, at_ms),
        None => {
            timers.cancel(&timer);
        }
    }
}

/// Keeps a deadline that recurs: one that is set stays where it is.
fn keep(timers: &mut Timers, timer: Timer, every_ms: Option<u64>, now_ms: u64) {
    let at_ms = every_ms.map(|every_ms| timers.at(&timer).unwrap_or(now_ms + every_ms));
    put(timers, timer, at_ms);
}

/// Something changed that recognisers follow.
pub(crate) fn reconcile(s: &mut Session, why: Trigger, cx: &mut Cx<'_>) {
    step(s, cx, |speech, step| speech.reconcile(why, step));
}

/// Keys, region or limits are others: what runs and what had trouble is looked at anew.
pub(crate) fn settings_changed(s: &mut Session, cx: &mut Cx<'_>) {
    step(s, cx, Speech::settings_changed);
}

/// The phone heard speech begin.
pub(crate) fn speech_began(s: &mut Session, cx: &mut Cx<'_>) {
    s.timers.cancel(&Timer::SpeechLinger);
    step(s, cx, Speech::speech_began);
}

/// The phone heard it end.
pub(crate) fn speech_ended(s: &mut Session, cx: &mut Cx<'_>) {
    let lingers = step(s, cx, Speech::speech_ended);
    let linger_ms = lingers.then_some(cx.cfg.speech.vad_close_linger_ms);
    keep(
        &mut s.timers,
        Timer::SpeechLinger,
        linger_ms,
        cx.now.mono_ms,
    );
}

/// The silence lasted.
pub(crate) fn linger_ended(s: &mut Session, cx: &mut Cx<'_>) {
    step(s, cx, Speech::linger_ended);
}

/// Audio came; says whether anybody takes it.
pub(crate) fn audio_came(s: &mut Session, cx: &mut Cx<'_>) -> bool {
    if s.m.speech.is_audio_due(cx.now.mono_ms) {
        step(s, cx, Speech::audio_came);
    }
    s.m.speech.listens()
}

/// Time to look for gaps in the audio.
pub(crate) fn gap_due(s: &mut Session, cx: &mut Cx<'_>) {
    step(s, cx, Speech::check_gaps);
}

/// Time to look after all of them.
pub(crate) fn health_due(s: &mut Session, cx: &mut Cx<'_>) {
    step(s, cx, Speech::look_after);
}

/// Starts that took too long.
pub(crate) fn starts_late(s: &mut Session, cx: &mut Cx<'_>) {
    while let Some((stream, aftermath)) = step(s, cx, Speech::take_late) {
        let late = SpeechFailure {
            class: SpeechFailureClass::Timeout,
            cause: "not ready in time".into(),
            retry_after_ms: 0,
        };
        failure(s, stream, &late, aftermath, cx);
    }
}

/// A recogniser reports; one that is not known any more is ignored, whatever it says (behaviour.md §8.2).
pub(crate) fn reported(s: &mut Session, id: SpeechId, report: SpeechReport, cx: &mut Cx<'_>) {
    match report {
        SpeechReport::Ready => step(s, cx, |speech, step| speech.is_ready(id, step.now_ms)),
        SpeechReport::Heard(utterance) => heard::heard(s, id, &utterance, cx),
        SpeechReport::Failed(what) => {
            let of = step(s, cx, |speech, step| speech.failed(id, &what, step));
            if let Some((stream, aftermath)) = of {
                failure(s, stream, &what, aftermath, cx);
            }
        }
        SpeechReport::Closed(code) => {
            let of = step(s, cx, |speech, step| speech.closed(id, code, step));
            if let Some(stream) = of {
                tracing::debug!(user = %s.user, correlation_id = %s.correlation(cx.now), ?stream, ?code, "recogniser closed by its provider");
            }
        }
    }
}

/// Counts a failure and tells the log of the first of its class; routine ones stay quiet.
fn failure(
    s: &Session,
    stream: Sub,
    what: &SpeechFailure,
    aftermath: Option<Aftermath>,
    cx: &mut Cx<'_>,
) {
    let is_translation = matches!(stream, Sub::Translation { .. });
    cx.metrics
        .inc(match (cx.cfg.speech.deployment_region, is_translation) {
            (DeploymentRegion::Global, false) => Counter::SttErrorsSonioxTranscription,
            (DeploymentRegion::Global, true) => Counter::SttErrorsSonioxTranslation,
            (DeploymentRegion::China, false) => Counter::SttErrorsAlibabaTranscription,
            (DeploymentRegion::China, true) => Counter::SttErrorsAlibabaTranslation,
        });
    cx.metrics.inc(match what.class {
        SpeechFailureClass::Unsupported => Counter::SpeechUnsupported,
        SpeechFailureClass::Permanent => Counter::SpeechPermanent,
        SpeechFailureClass::Resource => Counter::SpeechResource,
        SpeechFailureClass::SessionLength => Counter::SpeechSessionLength,
        SpeechFailureClass::Capacity => Counter::SpeechCapacity,
        SpeechFailureClass::Timeout => Counter::SpeechTimeout,
        SpeechFailureClass::Server => Counter::SpeechServer,
        SpeechFailureClass::Transport => Counter::SpeechTransport,
    });
    let Some(aftermath) = aftermath.filter(|aftermath| aftermath.is_news) else {
        return;
    };
    let (class, cause, gave_up) = (what.class, &*what.cause, aftermath.gave_up);
    match class {
        SpeechFailureClass::Timeout | SpeechFailureClass::SessionLength => {
            tracing::info!(user = %s.user, correlation_id = %s.correlation(cx.now), ?stream, ?class, cause, gave_up, "recogniser failed");
        }
        _ => {
            tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), ?stream, ?class, cause, gave_up, "recogniser failed");
        }
    }
}

/// The session ends, and with it all of them; nobody is left to hear what they would still say.
pub(crate) fn disposing(s: &mut Session, cx: &mut Cx<'_>) {
    if s.m.speech.abandon() {
        cx.fx.push(Effect::Speech(SpeechOrder::Abandon));
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod retry_tests;
#[cfg(test)]
#[path = "recognisers_tests.rs"]
pub(super) mod tests;
