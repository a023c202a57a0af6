//! The misbehaving client: one user who opens sockets without end, floods a REST route and sends garbage.

use std::collections::VecDeque;
use std::rc::Rc;

use super::conn::{Role, Token};
use super::io::End;
use super::rest::Purpose;
use super::timers::{AbuseKind, Timer};
use super::{Engine, Target};
use crate::clock::{SECOND, mono_ns};
use crate::frame::Opcode;
use crate::scenario::Abuse;

/// Sockets kept open; the oldest is cut beyond it.
const SOCKETS_MAX: usize = 3;

/// State of the client.
#[derive(Debug, Default)]
pub(super) struct Abuser {
    sockets: VecDeque<Token>,
    spec: Option<Abuse>,
    name: Option<(String, Rc<str>)>,
}

impl Abuser {
    fn per_s(&self, kind: AbuseKind) -> f64 {
        self.spec.as_ref().map_or(0.0, |spec| match kind {
            AbuseKind::Open => spec.opens_per_min / 60.0,
            AbuseKind::DeviceState => spec.device_state_per_s,
            AbuseKind::Garbage => spec.garbage_per_s,
        })
    }
}

impl Engine {
    /// Begins the abuse at `due`.
    pub(super) fn begin_abuse(&mut self, spec: &Abuse, due: u64) {
        if self.abuser.name.is_none() {
            match self.identity("x", 0) {
                Ok((email, token)) => self.abuser.name = Some((email, token.into())),
                Err(error) => {
                    self.stats.errors.add(&format!("abuser: {error}"));
                    return;
                }
            }
        }
        self.abuser.spec = Some(spec.clone());
        let until = due + (spec.for_s * SECOND as f64) as u64;
        for kind in [AbuseKind::Open, AbuseKind::DeviceState, AbuseKind::Garbage] {
            if self.abuser.per_s(kind) > 0.0 {
                self.timers.at(due, Timer::Abuse(kind, until));
            }
        }
    }

    /// One act, and the plan for the next.
    pub(super) fn abuse(&mut self, kind: AbuseKind, until: u64, due: u64) {
        if due >= until {
            for token in std::mem::take(&mut self.abuser.sockets) {
                self.cut(token);
            }
            return;
        }
        let gap = (SECOND as f64 / self.abuser.per_s(kind).max(0.001)) as u64;
        self.timers.at(due + gap.max(1), Timer::Abuse(kind, until));
        let Some((email, token)) = self.abuser.name.clone() else {
            return;
        };
        match kind {
            AbuseKind::Open => {
                let path = match self.settings.target {
                    Target::Prism { .. } => format!("/glasses-ws?token={token}"),
                    Target::Relay => format!("/glasses-ws?user={email}"),
                };
                let address = self.settings.address;
                let socket = self.open_socket(Role::Abuser, address, &path, mono_ns(), None);
                self.abuser.sockets.extend(socket);
                if self.abuser.sockets.len() > SOCKETS_MAX
                    && let Some(oldest) = self.abuser.sockets.pop_front()
                {
                    self.end(oldest, End::Ours);
                }
            }
            AbuseKind::DeviceState if self.settings.target != Target::Relay => {
                let path = "/api/client/device/state".to_owned();
                self.call(Purpose::Abuse, path, token, r#"{"connected":true}"#, due);
            }
            AbuseKind::DeviceState => {}
            AbuseKind::Garbage => {
                if let Some(socket) = self.abuser.sockets.back().copied()
                    && !self.is_backed_up(socket)
                {
                    self.send_frame(socket, Opcode::Text, b"{\"type\":\"button_press\",,,");
                }
            }
        }
    }
}
