//! `phone_subscription_update`: the phone subscribes for the mini-apps that run on it (protocol.md §6.6, behaviour.md §2.17).
//!
//! Changes: the set of `__phone__` is replaced, unfiltered: the phone checks permissions itself. Sends: nothing at once; later
//! transcriptions and translations come back over the phone socket.
//!
//! `{"type":"phone_subscription_update","subscriptions":["transcription:en-US"],"timestamp":"2026-03-14T09:26:53.589Z"}`

use crate::base::ids::Package;
use crate::session::flow;
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::managers::subscriptions::Wish;
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use serde::Deserialize;
use serde_json::Value;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::PhoneSubscriptionUpdate,
    run,
};

#[derive(Deserialize)]
struct Body {
    subscriptions: Vec<Value>,
}

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let body: Body = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let cfg = &cx.cfg.apps;
    let wish = Wish::read(&body.subscriptions, cfg.subscriptions_max as usize);
    let keep = cfg.subscription_history as usize;
    let package = Package::new(Package::PHONE);
    s.m.subscriptions
        .apply(&s.user, &package, wish, cx.now.unix_ms, keep);
    flow::sync::subscriptions_changed(s, &package, cx);
    Ok(())
}
