//! Visitors: phones that connect, are acknowledged, and leave. For the rate at which a server takes them.

use super::conn::{Role, Stage, Token};
use super::io::End;
use super::timers::Timer;
use super::{Engine, Target};
use crate::clock::SECOND;
use crate::frame::Opcode;
use crate::hist::Class;

/// Close payload of a visitor that leaves: code 1000.
const NORMAL: [u8; 2] = [3, 232];

impl Engine {
    /// Starts one visit and plans the next.
    pub(super) fn visit(&mut self, due: u64) {
        let Some(connects) = self.scenario.connects.filter(|_| self.generating) else {
            return;
        };
        let gap = (SECOND as f64 / connects.per_s) as u64;
        self.timers.at(due + gap.max(1), Timer::Visit);
        let now = crate::clock::mono_ns();
        let in_window = self.in_window(due);
        self.stats.lag.record(now.saturating_sub(due), in_window);
        if self.visitors >= connects.concurrent_max {
            self.stats.visits_skipped += 1;
            return;
        }
        let count = self.visitor_tokens.len() as u64;
        let name = &self.visitor_tokens[(self.visits % count) as usize];
        let path = match self.settings.target {
            Target::Prism { .. } => format!("/glasses-ws?token={name}"),
            Target::Relay => format!("/glasses-ws?user={name}"),
        };
        self.visits += 1;
        self.stats.visits_tried += u64::from(in_window);
        let address = self.settings.address;
        if self
            .open_socket(Role::Visitor, address, &path, due, None)
            .is_some()
        {
            self.visitors += 1;
        }
    }

    pub(super) fn on_visitor_open(&mut self, token: Token, now: u64) {
        if self.settings.target == Target::Relay {
            self.leave(token, now);
        }
    }

    pub(super) fn on_visitor_message(&mut self, token: Token, payload: &[u8], now: u64) {
        if super::phone::message_type(payload) == b"connection_ack" {
            self.leave(token, now);
        }
    }

    fn leave(&mut self, token: Token, now: u64) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if conn.stage != Stage::Open {
            return;
        }
        conn.stage = Stage::Closing;
        let since = conn.since;
        let in_window = self.in_window(since);
        self.stats
            .latency(Class::PhoneConnect, now.saturating_sub(since), in_window);
        self.stats.visits += u64::from(in_window);
        self.send_frame(token, Opcode::Close, &NORMAL);
    }

    /// Ends what takes too long: connects, upgrades, acknowledgements, closes.
    pub(super) fn end_overdue(&mut self, now: u64) {
        /// A phone or app waits so long for its socket.
        const CONNECT_MAX: u64 = 10 * SECOND;
        let late = self.conns.select(|conn| {
            let waits = matches!(
                conn.stage,
                Stage::Connecting | Stage::Upgrading | Stage::Closing
            ) || conn.role == Role::Visitor;
            waits && conn.since + CONNECT_MAX < now
        });
        for token in late {
            let cause = match self.conns.get(token).map(|conn| conn.stage) {
                Some(Stage::Connecting) => "connect: no answer in 10 s",
                Some(Stage::Upgrading) => "upgrade: no answer in 10 s",
                Some(Stage::Closing) => "close: no answer in 10 s",
                _ => "acknowledgement: none in 10 s",
            };
            self.end(token, End::Broken(cause.to_owned()));
        }
    }
}
