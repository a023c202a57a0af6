//! Layer 3: mail from other shards and from the outside thread, and REST calls for this shard's sessions.

use super::Shard;
use super::conns::Role;
use super::mailbox::{Answer, ToShard};
use crate::base::close::CloseReason;
use crate::base::ids::{ConnId, Package, ReplyTo, UserId};
use crate::base::metrics::Counter;
use crate::session::effects::RestAnswer;
use crate::session::event::Event;
use crate::session::rest::Call;
use crate::session::rest::device::NO_PHOTO;
use std::any::Any;

/// Mail that `net/` itself handles.
pub enum ForNet {
    /// See [`ToShard::Handoff`].
    Handoff(Box<dyn Any + Send>),
    /// See [`ToShard::Reply`].
    Reply(u64, Answer),
    /// See [`ToShard::ReportNow`].
    Report,
}

impl Shard {
    /// Handles one message; what is not for this layer comes back. [`Shard::at`] was called before.
    pub fn receive(&mut self, message: ToShard) -> Option<ForNet> {
        match message {
            ToShard::Handoff(content) => return Some(ForNet::Handoff(content)),
            ToShard::Reply { id, answer } => return Some(ForNet::Reply(id, answer)),
            ToShard::ReportNow(round) => {
                self.report_round = round;
                return Some(ForNet::Report);
            }
            ToShard::Drain => self.drain(),
            ToShard::Call { user, reply, call } => self.call(&user, reply, call),
            ToShard::ReplyGone { user, reply } => self.reply_gone(&user, reply),
            ToShard::Result { user, epoch, event } => self.result(&user, epoch, event),
            ToShard::MassDisconnect {
                user,
                package,
                jitter_ms,
            } => self.mass_disconnect(&user, package, jitter_ms),
            ToShard::AppMessage { to, message } => self.app_message_arrived(to, &message),
            ToShard::AppRooms(outgoing) => self.rooms(*outgoing),
            ToShard::UdpClaim {
                hash,
                user,
                epoch,
                shard,
            } => self.claimed(hash, user, epoch, shard),
            ToShard::UdpRelease { hash, user, epoch } => self.udp_released(hash, user, epoch),
            ToShard::Datagram { to, mut bytes } => match to {
                Some((user, epoch)) => self.hear(&user, epoch, &mut bytes),
                None => self.steer(&mut bytes),
            },
            // Two that are sent at a time may overtake each other.
            ToShard::Registry(apps) if apps.version < self.apps.version => {}
            ToShard::Registry(apps) => {
                self.apps = apps;
                self.ticks.registry_changed = Some(0);
            }
            ToShard::Settings(cfg) => {
                if cfg.speech != self.cfg.speech {
                    self.ticks.speech_changed = Some(0);
                }
                self.cfg = cfg;
                self.settings_changed();
            }
        }
        None
    }

    /// A REST call for `user`, who lives here.
    pub fn call(&mut self, user: &UserId, reply: ReplyTo, call: Call) {
        let at = self.users.get(user).copied().filter(|_| !self.draining);
        match at {
            Some(at) => {
                if matches!(call, Call::Connections) {
                    self.tell_sent(at);
                }
                self.drive(at, |session, cx| {
                    session.on_event(Event::Rest { reply, call }, cx);
                });
            }
            None => {
                let number = self.rng.u64(..);
                self.reply(reply, Answer::Whole(without_session(&call, number)));
            }
        }
    }

    /// Who asks for the connections is told what was sent on them, too; only the shard knows.
    fn tell_sent(&mut self, at: u32) {
        let Some(entry) = self.entries.get_mut(at) else {
            return;
        };
        for id in &entry.conns {
            if let Some(conn) = self.out.conns.get(*id) {
                let sent = conn.sent();
                entry.session.bytes_went(*id, sent.messages, sent.bytes);
            }
        }
    }

    /// The client of a streaming answer went away.
    pub fn reply_gone(&mut self, user: &UserId, reply: ReplyTo) {
        if let Some(at) = self.users.get(user).copied() {
            self.drive(at, |session, cx| {
                session.on_event(Event::ReplyGone { reply }, cx);
            });
        }
    }

    fn result(&mut self, user: &UserId, epoch: u64, event: Event) {
        let at = self.users.get(user).copied();
        let at = at.filter(|at| self.entries.epoch(*at) == Some(epoch));
        match at {
            Some(at) if !self.draining => self.drive(at, |session, cx| session.on_event(event, cx)),
            _ => {
                self.workspace.metrics.inc(Counter::CorrelationOrphans);
                self.answered_too_late(user, epoch, &event);
            }
        }
    }

    fn mass_disconnect(&mut self, user: &UserId, package: Package, jitter_ms: u64) {
        if let Some(at) = self.users.get(user).copied().filter(|_| !self.draining) {
            let event = Event::MassDisconnect { package, jitter_ms };
            self.drive(at, |session, cx| session.on_event(event, cx));
        }
    }

    /// Shutdown: 1001 to every socket, whoever owns it. Sessions only hand over their last locations and remove
    /// their live inputs: nothing else of theirs may change now (behaviour.md §10.6).
    fn drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        let ids: Vec<ConnId> = self.out.conns.iter().map(|conn| conn.id).collect();
        tracing::info!(
            shard = self.id.0,
            sockets = ids.len(),
            "closing all sockets"
        );
        for id in ids {
            if let Some(conn) = self.out.conns.get(id) {
                conn.role = Role::Detached;
            }
            self.out.close(id, CloseReason::ServerShutdown);
        }
        let sessions: Vec<u32> = self.users.values().copied().collect();
        for at in sessions {
            self.drive(at, |session, cx| session.process_ends(cx));
            self.remember_calls_of(at);
        }
    }

    /// Whether every socket is gone.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.draining && self.out.conns.len() == 0
    }

    /// Whether the process is going away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }
}

/// Answers for users without a session (protocol.md §18.1, 18.8, 18.11, 18.17); `number` makes ids.
fn without_session(call: &Call, number: u64) -> RestAnswer {
    match call {
        Call::Goodbye => RestAnswer::json(200, r#"{"success":true}"#),
        Call::AudioStream { .. } => RestAnswer::json(404, r#"{"error":"Session not found"}"#),
        // No session, no app that wants the press.
        Call::ButtonPress { .. } => RestAnswer::json(
            200,
            format!(
                r#"{{"success":true,"action":"take_photo","requestId":"p{:015x}"}}"#,
                number >> 4
            ),
        ),
        Call::SystemPhoto { .. } => RestAnswer::json(404, NO_PHOTO),
        Call::Connections | Call::Subscriptions => RestAnswer::json(200, "[]"),
        _ => RestAnswer::no_session(),
    }
}
