//! Outbound calls of the server to app servers, and writes to the store.

use super::app::ServerWake;
use super::world::{Act, World};
use bytes::Bytes;
use prism::base::ids::CallId;
use prism::session::effects::{HttpCall, HttpKind, StoreOp};
use prism::session::event::{Event, HttpOutcome, StoreOutcome};
use serde_json::Value;
use std::collections::BTreeSet;

/// A call and whom it belongs to.
pub(crate) type Key = (String, u64, CallId);

/// Calls in flight.
#[derive(Default, Debug)]
pub(crate) struct Calls {
    open: BTreeSet<Key>,
}

impl Calls {
    pub(crate) fn cancel(&mut self, user: &str, epoch: u64, call: CallId) {
        self.open.remove(&(user.to_owned(), epoch, call));
    }
}

impl World {
    pub(super) fn http_asked(&mut self, user: &str, epoch: u64, call: HttpCall) {
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        self.trace.add(self.t(), user, || {
            format!("http     {:?} {} {body}", call.call, call.url)
        });
        let key = (user.to_owned(), epoch, call.call);
        self.calls.open.insert(key.clone());
        self.watch.http(user, epoch, &call, &body);
        // The outside thread's own limit.
        let late = HttpOutcome::Failed {
            error: "timed out".into(),
        };
        let server = self
            .servers
            .iter()
            .position(|server| call.url.starts_with(&server.url));
        match server.filter(|_| call.url.ends_with("/webhook")) {
            Some(ix) => {
                let wake = ServerWake::Webhook(key.clone(), body);
                let delay_ms = self.rng.u64(1..80);
                self.after(delay_ms, Act::Server(ix, wake));
                self.answer_http(key, call.timeout_ms, late);
            }
            None if matches!(call.kind, HttpKind::Provider | HttpKind::Removal) => {
                let (delay_ms, outcome) = self.provider_answers(&call);
                self.answer_http(key, delay_ms, outcome);
            }
            None => self.answer_http(key, 20, late),
        }
    }

    /// An answer (or the lack of one) reaches the server after `delay_ms`, if it is still wanted.
    pub(crate) fn answer_http(&mut self, key: Key, delay_ms: u64, outcome: HttpOutcome) {
        self.after(delay_ms, Act::Answer(key, outcome));
    }

    /// The answer is there.
    pub(super) fn http_answered(&mut self, key: Key, outcome: HttpOutcome) {
        if !self.calls.open.remove(&key) {
            return;
        }
        let (user, epoch, call) = key;
        self.watch.http_over(&user, epoch, call);
        let event = Event::Http { call, outcome };
        self.after(0, Act::Result(user, epoch, event));
    }

    pub(super) fn store_asked(
        &mut self,
        user: &str,
        epoch: u64,
        op: &StoreOp,
        ack: Option<CallId>,
    ) {
        self.trace
            .add(self.t(), user, || format!("store    {op:?}"));
        self.watch.store(user, op);
        let draw = self.rng.u64(..);
        let (at_ms, in_time) = self.store.write(user, op, self.now.mono_ms, draw);
        if let Some(call) = ack {
            let outcome = if in_time {
                StoreOutcome::Done
            } else {
                StoreOutcome::Failed
            };
            let delay_ms = at_ms.saturating_sub(self.now.mono_ms);
            let event = Event::Stored { call, outcome };
            self.after(delay_ms, Act::Result(user.to_owned(), epoch, event));
        }
    }
}

/// An answer with a status and no body worth reading.
pub(crate) fn status(status: u16) -> HttpOutcome {
    HttpOutcome::Answer {
        status,
        body: Bytes::from_static(b"{}"),
        retry_after_s: None,
    }
}
