//! Outside thread: what a scraper sees of the providers of recognisers.

use super::prometheus::Page;
use crate::services::context::Services;
use std::sync::atomic::Ordering;

/// Keys by state, never a key; health of what was used; audio that was lost.
pub(super) fn figures(page: &mut Page, cx: &Services) {
    let now_ms = cx.clock.now().mono_ms;
    let keys = cx.speech.key_states(now_ms);
    page.head("prism_speech_keys", "gauge", "Provider keys by state.");
    for (state, count) in [
        ("available", keys.available),
        ("resting", keys.resting),
        ("refused", keys.refused),
    ] {
        let state = format!("state=\"{state}\"");
        page.sample("prism_speech_keys", &state, count);
    }
    let healthy = "1 while a provider that was used is healthy.";
    page.head("prism_speech_provider_healthy", "gauge", healthy);
    for (provider, kind, is_healthy) in cx.speech.providers(&cx.settings(), now_ms) {
        page.sample(
            "prism_speech_provider_healthy",
            &format!("provider=\"{provider}\",kind=\"{}\"", kind.name()),
            u64::from(is_healthy),
        );
    }
    page.one(
        "prism_speech_audio_lost_total",
        "counter",
        "Chunks of audio that no recogniser took in time.",
        cx.speech.audio_lost.load(Ordering::Relaxed),
    );
}
