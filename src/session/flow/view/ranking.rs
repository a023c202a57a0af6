//! Layer 2, flow: notifications in the order of a language model (behaviour.md §6.2.1): one request at a time, one more when
//! something changed meanwhile. Without a model, or until it answers, the newest come first.

use super::dashboard::input_changed;
use crate::base::ids::CallId;
use crate::session::effects::{Effect, HttpCall, HttpKind, HttpMethod};
use crate::session::event::HttpOutcome;
use crate::session::timers::Timer;
use crate::session::{Cx, Session};

/// The notifications changed.
pub(super) fn changed(s: &mut Session, cx: &mut Cx<'_>) {
    let cfg = &cx.cfg.dashboard;
    let Some(body) = s.m.notifications.ranking_wanted(cfg) else {
        return;
    };
    let call = s.call_id();
    s.m.notifications.ranking_started(call);
    // As for the weather: an answer may get lost.
    let late_ms = cx.now.mono_ms + 2 * cfg.llm_timeout_ms;
    s.timers.set(Timer::Ranking(call), late_ms);
    cx.fx.push(Effect::Http(HttpCall {
        call,
        kind: HttpKind::Ranking,
        method: HttpMethod::Post,
        url: format!("{}/v1/chat/completions", cfg.llm_url.trim_end_matches('/')),
        headers: vec![("authorization", format!("Bearer {}", cfg.llm_api_key))],
        body: body.into(),
        timeout_ms: cfg.llm_timeout_ms,
    }));
}

/// The model's answer; `false`: the call is not ours. A failure keeps the previous order.
pub(crate) fn result(
    s: &mut Session,
    call: CallId,
    outcome: &HttpOutcome,
    cx: &mut Cx<'_>,
) -> bool {
    let Some(again) = s.m.notifications.ranking_ends(call) else {
        return false;
    };
    s.timers.cancel(&Timer::Ranking(call));
    if let HttpOutcome::Answer {
        status: 200..=299,
        body,
        ..
    } = outcome
        && s.m.notifications.ranked(body, &cx.cfg.dashboard)
    {
        input_changed(s, cx);
    }
    if again {
        changed(s, cx);
    }
    true
}
