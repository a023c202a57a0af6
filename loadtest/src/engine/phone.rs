//! The phone of a user (`protocol.md §2.4`): connects, pings every 5 s, comes back 5 s after any close, and
//! at once when a ping stays unanswered.

use super::conn::Role;
use super::io::End;
use super::timers::Timer;
use super::{Engine, Target};
use crate::clock::SECOND;
use crate::frame::Opcode;
use crate::hist::Class;

/// A phone tries again so long after a close.
pub(super) const RETRY: u64 = 5 * SECOND;
/// A phone pings so often.
pub(super) const PING_EVERY: u64 = 5 * SECOND;

impl Engine {
    /// Opens the phone's socket; `due` is when it was meant to happen.
    pub(super) fn connect_phone(&mut self, user: u32, due: u64) {
        let Some(own) = self.users.get_mut(user as usize) else {
            return;
        };
        if own.phone.is_some() {
            return;
        }
        own.attempt = due;
        let path = match self.settings.target {
            Target::Prism { .. } if self.scenario.seals() => {
                format!("/glasses-ws?token={}&udpEncryption=true", own.token)
            }
            Target::Prism { .. } => format!("/glasses-ws?token={}", own.token),
            Target::Relay => format!("/glasses-ws?user={}", own.email),
        };
        let token = self.open_socket(Role::Phone(user), self.settings.address, &path, due, None);
        match token {
            Some(_) => self.users[user as usize].phone = token,
            None => self.timers.at(due + RETRY, Timer::PhoneConnect(user)),
        }
    }

    pub(super) fn on_phone_open(&mut self, user: u32, now: u64) {
        if self.settings.target == Target::Relay {
            self.on_phone_ack(user, now);
        }
    }

    /// The server knows the phone now.
    fn on_phone_ack(&mut self, user: u32, now: u64) {
        let in_window = self.in_window(now);
        let own = &mut self.users[user as usize];
        if own.acked {
            return;
        }
        own.acked = true;
        let waited = now.saturating_sub(own.attempt);
        self.stats.phone_acks += 1;
        self.stats.latency(Class::PhoneConnect, waited, in_window);
        if own.begun {
            // As the real phone does on every open; a display needs connected glasses.
            self.post_device_state(user, now);
        } else {
            self.begin_user(user, now);
        }
        self.ask_on_ack(user, now);
    }

    pub(super) fn on_phone_message(&mut self, user: u32, opcode: Opcode, payload: &[u8], now: u64) {
        if opcode != Opcode::Text {
            return;
        }
        match message_type(payload) {
            b"pong" => {
                let in_window = self.in_window(now);
                let own = &mut self.users[user as usize];
                if own.ping_sent > 0 {
                    let waited = now.saturating_sub(own.ping_sent);
                    own.ping_sent = 0;
                    self.stats.latency(Class::Ping, waited, in_window);
                }
            }
            b"connection_ack" => {
                self.on_udp_offer(user, payload, now);
                self.on_phone_ack(user, now);
            }
            b"udp_ping_ack" => self.on_udp_ack(user),
            b"display_event" => self.on_display(user, payload, now),
            _ => {}
        }
    }

    /// The phone's five-second tick, meant to come at `due`.
    pub(super) fn ping(&mut self, user: u32, due: u64, now: u64) {
        let own = &mut self.users[user as usize];
        let Some(token) = own.phone.filter(|_| own.acked) else {
            return;
        };
        if own.ping_sent > 0 {
            self.stats.ping_timeouts += 1;
            // Else the slowest pongs would be those that are in no latency.
            let sent = own.ping_sent;
            let in_window = self.in_window(sent) || self.in_window(now);
            self.stats
                .latency(Class::Ping, now.saturating_sub(sent), in_window);
            self.cut(token);
            self.timers.at(now, Timer::PhoneConnect(user));
            return;
        }
        own.ping_sent = due;
        self.send_frame(token, Opcode::Text, br#"{"type":"ping"}"#);
    }

    pub(super) fn on_phone_end(&mut self, token: u64, user: u32, end: &End) {
        let own = &mut self.users[user as usize];
        if own.phone != Some(token) {
            return;
        }
        own.phone_went_away();
        if *end != End::Ours {
            let due = crate::clock::mono_ns() + RETRY;
            self.timers.at(due, Timer::PhoneConnect(user));
        }
    }

    /// The phone vanishes; a fault has planned its return.
    pub(super) fn cut_phone(&mut self, user: u32) {
        if let Some(token) = self.user_conn(user) {
            self.cut(token);
        }
    }

    /// The phone vanishes; it returns after its usual time.
    pub(super) fn drop_phone(&mut self, user: u32) {
        if let Some(token) = self.user_conn(user) {
            self.cut(token);
            let due = crate::clock::mono_ns() + RETRY;
            self.timers.at(due, Timer::PhoneConnect(user));
        }
    }
}

/// Value of the first member of a message when that is `type`; every server writes it first. Falls back to
/// a parse.
pub(super) fn message_type(text: &[u8]) -> &[u8] {
    const HEAD: &[u8] = b"{\"type\":\"";
    let Some(rest) = text.strip_prefix(HEAD) else {
        return slow_type(text);
    };
    match rest.iter().position(|byte| *byte == b'"') {
        Some(end) => &rest[..end],
        None => b"",
    }
}

/// The same for other spellings (blanks, another order of members).
fn slow_type(text: &[u8]) -> &[u8] {
    #[derive(serde::Deserialize)]
    struct Typed<'a> {
        #[serde(borrow, rename = "type")]
        kind: &'a str,
    }
    serde_json::from_slice::<Typed<'_>>(text).map_or(b"", |typed| typed.kind.as_bytes())
}
