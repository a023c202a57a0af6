//! What makes the apps of a relay the same readers as those of the real server: how a kernel acknowledges depends on what a socket has
//! seen. The real server greets an app with more than a kilobyte, and the app answers; a relay would let its apps only listen.
//!
//! A socket that never answered acknowledges each frame as it is read, one that did every second; and two frames that
//! together are longer than the longest so far are acknowledged within the call of their sender.

use super::{Engine, Target};
use crate::frame::Opcode;
use crate::scenario::Kind;

/// Longer than any event of the scenarios with its envelope.
const BYTES: usize = 1500;
/// What a greeting holds.
const MARK: &[u8] = b"load-greeting";
/// Where to look for it: behind the head of an envelope.
const MARK_WITHIN: usize = 512;

impl Engine {
    /// All apps of a relay's user are there: the phone sends them something long.
    pub(super) fn greet(&mut self, user: u32) {
        let own = &self.users[user as usize];
        let (Target::Relay, Some(phone)) = (&self.settings.target, own.phone) else {
            return;
        };
        if !own.apps.iter().all(|app| app.ready) {
            return;
        }
        if self.scenario.has(Kind::Audio) {
            let mut frame = MARK.to_vec();
            frame.resize(BYTES, 0);
            self.send_frame(phone, Opcode::Binary, &frame);
        } else if !self.relay_subscriptions().is_empty() {
            let mark = String::from_utf8_lossy(MARK);
            let text = format!(r#"{{"type":"{mark}","rest":"{}"}}"#, "x".repeat(BYTES));
            self.send_frame(phone, Opcode::Text, text.as_bytes());
        }
    }

    /// Answers a greeting by a frame that asks for nothing; says whether it was one.
    pub(super) fn answer_greeting(&mut self, user: u32, app: u8, payload: &[u8]) -> bool {
        let head = &payload[..payload.len().min(MARK_WITHIN)];
        if self.settings.target != Target::Relay || !head.windows(MARK.len()).any(|at| at == MARK) {
            return false;
        }
        if let Some(token) = self.users[user as usize].apps[usize::from(app)].conn {
            self.send_frame(token, Opcode::Pong, b"hello");
        }
        true
    }
}

#[cfg(test)]
pub(super) fn is_greeting(payload: &[u8]) -> bool {
    payload.windows(MARK.len()).any(|at| at == MARK)
}
