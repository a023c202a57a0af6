//! `subscription_update`: an app sends its complete set of streams (protocol.md §5.1, 8.4, behaviour.md §3.2).
//!
//! Changes: the stored set, and everything that derives from it; the empty list that a 2.x SDK sends right after it
//! (re)connected is ignored. Sends: `permission_error` when other streams are refused than last said on this socket; later
//! `app_state_change` to the phone, coalesced.
//!
//! `{"type":"subscription_update","packageName":"com.acme.scribe","subscriptions":["transcription:en-US","button_press",
//! {"stream":"location_stream","rate":"high"}]}`

use crate::session::event::Sdk;
use crate::session::flow;
use crate::session::handlers::{AppHandler, AppMessage, ErrorCode, Reject};
use crate::session::managers::subscriptions::Wish;
use crate::session::{Cx, Session};
use crate::wire::kinds::AppKind;
use serde::Deserialize;
use serde_json::Value;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::SubscriptionUpdate,
    run,
};

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    subscriptions: Value,
}

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let Value::Array(elements) = &body.subscriptions else {
        let found = kind_of(&body.subscriptions);
        return Err(Reject::new(
            ErrorCode::MalformedMessage,
            format!("Invalid subscription type: subscriptions must be an array, not {found}"),
        ));
    };
    let mut wish = Wish::read(elements, cx.cfg.apps.subscriptions_max as usize);
    if wish.dropped > 0 {
        tracing::debug!(user = %s.user, correlation_id = %s.correlation(cx.now), package = %m.package, dropped = wish.dropped, "too many subscriptions");
    }
    flow::webhook::app_subscribed(s, m.package, wish.empty_as_received, cx);
    if wish.empty_as_received && is_reconnect_noise(s, m, cx) {
        return Ok(());
    }
    let rejected = wish.reject(|needed| flow::sync::granted(cx, m.package, needed));
    flow::notices::rejected(s, m.package, m.conn, &rejected, cx);
    let keep = cx.cfg.apps.subscription_history as usize;
    s.m.subscriptions
        .apply(&s.user, m.package, wish, cx.now.unix_ms, keep);
    flow::sync::subscriptions_changed(s, m.package, cx);
    flow::notices::app_state_changed(s, cx);
    Ok(())
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "missing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A 2.x SDK sends an empty list before user code has registered its handlers (behaviour.md §3.2 step 4).
fn is_reconnect_noise(s: &Session, m: &AppMessage<'_>, cx: &Cx<'_>) -> bool {
    !s.m.subscriptions.is_empty(m.package)
        && s.m.apps.get(m.package).is_some_and(|app| {
            app.sdk == Sdk::V2
                && cx.now.mono_ms <= app.attached_ms + cx.cfg.apps.subscription_grace_ms
        })
}

#[cfg(test)]
#[path = "subscription_update_tests.rs"]
mod tests;
