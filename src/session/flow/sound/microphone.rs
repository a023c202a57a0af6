//! Layer 2, flow: subscriptions, phone and audio meet the microphone (behaviour.md §4, protocol.md §12.1). Glasses state
//! never gates it: the phone has a microphone of its own.

use crate::base::metrics::Counter;
use crate::session::effects::Class;
use crate::session::flow::sync::need;
use crate::session::managers::microphone::{Evidence, KeepAlive, MicState};
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;

/// Some counting set changed.
pub(crate) fn subscriptions_changed(s: &mut Session, cx: &Cx<'_>) {
    let need = need(s);
    let cfg = &cx.cfg.microphone;
    s.m.microphone
        .subscriptions_changed(need, &mut s.timers, cx.now, cfg);
}

/// Tells the phone the state computed anew, at once: the phone came back, or glasses did.
pub(crate) fn resync(s: &mut Session, cx: &mut Cx<'_>) {
    let need = need(s);
    let state = s.m.microphone.resync(need, &mut s.timers);
    send(s, state, cx);
}

/// Subscriptions were quiet for `mic_subscription_debounce_ms`.
pub(crate) fn settled(s: &mut Session, cx: &mut Cx<'_>) {
    let cfg = &cx.cfg.microphone;
    let state = s.m.microphone.evaluate(&mut s.timers, cx.now, cfg);
    send_some(s, state, cx);
}

/// The off hold-down is over.
pub(crate) fn hold_ended(s: &mut Session, cx: &mut Cx<'_>) {
    let cfg = &cx.cfg.microphone;
    let state = s.m.microphone.hold_ended(&mut s.timers, cx.now, cfg);
    send_some(s, state, cx);
}

/// The send window is over.
pub(crate) fn window_ended(s: &mut Session, cx: &mut Cx<'_>) {
    let state = s.m.microphone.window_ended();
    send_some(s, state, cx);
}

/// On and wanted: repeat.
pub(crate) fn keep_alive_due(s: &mut Session, cx: &mut Cx<'_>) {
    let need = need(s);
    match s.m.microphone.keep_alive_due(need) {
        KeepAlive::Repeat(state) => send(s, state, cx),
        KeepAlive::Resync => resync(s, cx),
        KeepAlive::Nothing => {}
    }
}

/// Audio as evidence (behaviour.md §4.5).
pub(crate) fn audio_arrived(s: &mut Session, cx: &mut Cx<'_>) {
    match s.m.microphone.audio_arrived(cx.now) {
        Evidence::Fine => {}
        Evidence::Resync => resync(s, cx),
        Evidence::Unauthorized => {
            cx.metrics.inc(Counter::UnauthorizedAudio);
            let cfg = &cx.cfg.microphone;
            let state = s.m.microphone.switch_off(&mut s.timers, cx.now, cfg);
            send(s, state, cx);
        }
    }
}

fn send_some(s: &mut Session, state: Option<MicState>, cx: &mut Cx<'_>) {
    if let Some(state) = state {
        send(s, state, cx);
    }
}

fn send(s: &mut Session, state: MicState, cx: &mut Cx<'_>) {
    let stamp = cx.now.iso();
    let outcome = s.send_phone(cx, Class::Control, |out| {
        let required: &[u8] = if state.enabled { br#"["pcm"]"# } else { b"[]" };
        ObjectWriter::begin(out)
            .str("type", "microphone_state_change")
            .str("sessionId", &s.user)
            .bool("isMicrophoneEnabled", state.enabled)
            .raw("requiredData", required)
            .bool("bypassVad", state.bypass_vad)
            .str("timestamp", stamp.as_str())
            .end();
    });
    if outcome.is_sent() {
        cx.metrics.inc(Counter::MicStateChanges);
    }
    s.m.microphone
        .was_sent(state, outcome, &mut s.timers, cx.now, cx.cfg);
}

#[cfg(test)]
#[path = "microphone_tests.rs"]
mod tests;
