//! What a session did, taken from its kit.

use super::Kit;
use crate::base::ids::{CallId, ConnId, ReplyTo};
use crate::session::effects::{Effect, HttpCall, HttpKind, StoreOp};
use serde_json::Value;

/// Messages that managers of features add at their own moments; tests of the life cycle look past them.
const FEATURES: [&str; 7] = [
    "display_event",
    "microphone_state_change",
    "set_location_tier",
    "device_state_update",
    "keep_stream_alive",
    "stream_status",
    "data_stream",
];

fn is_feature(value: &Value) -> bool {
    FEATURES.iter().any(|name| value["type"] == *name)
}

impl Kit {
    pub(super) fn collect(&mut self) {
        for effect in self.bench.fx.take() {
            match effect {
                Effect::Text { conn, range, .. } | Effect::Asked { conn, range, .. } => {
                    let text = self.bench.fx.bytes(range);
                    let value = serde_json::from_slice(text).expect("the session sends JSON");
                    self.sent.push((conn, value));
                }
                Effect::Close { conn, reason } => {
                    self.closed.push((conn, reason.code(), reason.text()));
                }
                other => self.other.push(other),
            }
        }
        self.bench.fx.recycle(Vec::new());
    }

    /// Forgets everything sent and asked for so far.
    pub(crate) fn forget(&mut self) {
        self.sent.clear();
        self.closed.clear();
        self.other.clear();
    }

    /// Takes the texts sent to one socket.
    pub(crate) fn texts(&mut self, conn: ConnId) -> Vec<Value> {
        let (mine, rest) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition(|(to, _)| *to == conn);
        self.sent = rest;
        let mine: Vec<(ConnId, Value)> = mine;
        mine.into_iter().map(|(_, value)| value).collect()
    }

    /// Takes the texts sent to one socket; only their `type` (and `code`, after a space), without [`FEATURES`].
    pub(crate) fn types(&mut self, conn: ConnId) -> Vec<String> {
        let name = |value: &Value| {
            let kind = value["type"].as_str().unwrap_or("?");
            match value["code"].as_str() {
                Some(code) => format!("{kind} {code}"),
                None => kind.to_owned(),
            }
        };
        self.texts(conn)
            .iter()
            .filter(|value| !is_feature(value))
            .map(name)
            .collect()
    }

    /// Takes the close of one socket.
    pub(crate) fn close_of(&mut self, conn: ConnId) -> Option<(u16, &'static str)> {
        let index = self.closed.iter().position(|row| row.0 == conn)?;
        let (_, code, text) = self.closed.remove(index);
        Some((code, text))
    }

    /// Takes the receivers of everything sent, and the sockets that were closed, cut or given back.
    pub(crate) fn traffic(&mut self) -> (Vec<ConnId>, Vec<ConnId>) {
        let sent = self.sent.drain(..).map(|row| row.0).collect();
        let mut gone: Vec<ConnId> = self.closed.drain(..).map(|row| row.0).collect();
        self.other.retain(|effect| match effect {
            Effect::Terminate { conn } | Effect::ReturnParked { conn, .. } => {
                gone.push(*conn);
                false
            }
            _ => true,
        });
        (sent, gone)
    }

    /// Takes the answer to a REST call: status and body.
    pub(crate) fn answer(&mut self, to: ReplyTo) -> Option<(u16, Value)> {
        let found = self
            .other
            .iter()
            .position(|effect| matches!(effect, Effect::Reply { reply, .. } if *reply == to))?;
        let Effect::Reply { answer, .. } = self.other.remove(found) else {
            return None;
        };
        let body = serde_json::from_slice(&answer.body).expect("answers are JSON");
        Some((answer.status, body))
    }

    /// Takes all webhooks of one kind.
    pub(crate) fn webhooks(&mut self, kind: HttpKind) -> Vec<HttpCall> {
        let mut calls = Vec::new();
        self.other.retain(|effect| match effect {
            Effect::Http(call) if call.kind == kind => {
                calls.push(call.clone());
                false
            }
            _ => true,
        });
        calls
    }

    /// Takes the one webhook of a kind.
    pub(crate) fn webhook(&mut self, kind: HttpKind) -> HttpCall {
        let mut calls = self.webhooks(kind);
        assert_eq!(calls.len(), 1, "exactly one webhook of {kind:?}");
        calls.remove(0)
    }

    /// Takes all store writes, without `TouchApp`.
    pub(crate) fn writes(&mut self) -> Vec<(StoreOp, Option<CallId>)> {
        let mut writes = Vec::new();
        self.other.retain(|effect| match effect {
            Effect::Store { op, ack } => {
                if !matches!(op, StoreOp::TouchApp(..)) {
                    writes.push((op.clone(), *ack));
                }
                false
            }
            _ => true,
        });
        writes
    }

    /// Takes every other effect that `which` selects.
    pub(crate) fn effects(&mut self, which: impl Fn(&Effect) -> bool) -> Vec<Effect> {
        let (mine, rest) = std::mem::take(&mut self.other).into_iter().partition(which);
        self.other = rest;
        mine
    }

    /// Whether nothing (but [`FEATURES`]) was sent, closed or asked for since the last take.
    #[must_use]
    pub(crate) fn is_quiet(&self) -> bool {
        self.sent.iter().all(|(_, value)| is_feature(value))
            && self.closed.is_empty()
            && self.other.is_empty()
    }

    /// What is left over, for messages of failed assertions.
    #[must_use]
    pub(crate) fn leftovers(&self) -> String {
        format!("{:?} {:?} {:?}", self.sent, self.closed, self.other)
    }
}
