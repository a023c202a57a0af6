//! The app side of a user, as the official 2.x SDK behaves: dials where the webhook says, identifies itself
//! by message, and after a loss tries three times, after 1, 2 and 4 s, unless the close was final.

use std::fmt::Write as _;

use super::conn::Role;
use super::io::End;
use super::timers::Timer;
use super::user::package;
use super::{Engine, Target};
use crate::clock::{self, SECOND};
use crate::frame::Opcode;
use crate::golden;
use crate::hist::Class;
use crate::scenario::{Fault, Kind};

/// Waits before the tries after a loss, seconds.
const BACK_OFF_S: [u64; 3] = [1, 2, 4];
/// Close codes after which the SDK does not come back.
const FINAL_CODES: [u16; 3] = [1000, 1001, 1008];

impl Engine {
    /// Connects the app's socket; `due` is when it was meant to happen.
    pub(super) fn dial_app(&mut self, user: u32, app: u8, due: u64) {
        if self.app_server_gone {
            return;
        }
        let relay = self.settings.target == Target::Relay;
        let address = self.settings.address;
        let buffer = self.stuck_buffer(user, app);
        let wanted = self.relay_subscriptions();
        let own = &mut self.users[user as usize];
        let email = own.email.clone();
        let link = &mut own.apps[usize::from(app)];
        if link.conn.is_some() {
            return;
        }
        if relay {
            link.session = format!("{email}-{}", package(usize::from(app)));
            let path = format!("/app-ws?user={email}&sub={wanted}&session={}", link.session);
            link.dial = Some((address, path));
        }
        let Some((to, path)) = link.dial.clone() else {
            return;
        };
        link.dialled = due;
        let token = self.open_socket(Role::App(user, app), to, &path, due, buffer);
        if token.is_some() {
            self.users[user as usize].apps[usize::from(app)].conn = token;
        } else {
            self.back_off(user, app);
        }
    }

    /// Receive buffer of an app that a stuck-readers fault will stop.
    fn stuck_buffer(&self, user: u32, app: u8) -> Option<i32> {
        self.scenario.faults.iter().find_map(|fault| match fault {
            Fault::StuckReaders(stuck) if self.is_stuck(user, app, stuck.share) => {
                Some(stuck.receive_buffer)
            }
            _ => None,
        })
    }

    /// Whether a stuck-readers fault of this share means this app: the last one of the first users.
    pub(super) fn is_stuck(&self, user: u32, app: u8, share: f64) -> bool {
        usize::from(app) + 1 == self.scenario.apps_per_user
            && f64::from(user) < share * f64::from(self.scenario.users)
    }

    /// Whether a fault stops this app's reading: what it hears late or never is its own doing and counts for nobody.
    pub(super) fn is_left_out(&self, user: u32, app: u8) -> bool {
        self.scenario.faults.iter().any(|fault| match fault {
            Fault::StuckReaders(stuck) => self.is_stuck(user, app, stuck.share),
            _ => false,
        })
    }

    pub(super) fn relay_subscriptions(&self) -> &'static str {
        match (
            self.scenario.has(Kind::Audio),
            [Kind::Event, Kind::Transcript, Kind::Mix]
                .into_iter()
                .any(|kind| self.scenario.has(kind)),
        ) {
            (true, true) => "audio,event",
            (true, false) => "audio",
            (false, true) => "event",
            (false, false) => "",
        }
    }

    pub(super) fn on_app_open(&mut self, user: u32, app: u8, now: u64) {
        let Target::Prism { api_key, .. } = &self.settings.target else {
            self.on_app_ack(user, app, now);
            self.greet(user);
            return;
        };
        let link = &self.users[user as usize].apps[usize::from(app)];
        let init = serde_json::json!({
            "type": "tpa_connection_init",
            "sessionId": link.session,
            "packageName": package(usize::from(app)),
            "apiKey": api_key,
            "timestamp": clock::iso(clock::wall_ms()),
        });
        if let Some(token) = link.conn {
            self.send_frame(token, Opcode::Text, init.to_string().as_bytes());
        }
    }

    fn on_app_ack(&mut self, user: u32, app: u8, now: u64) {
        let in_window = self.in_window(now);
        let link = &mut self.users[user as usize].apps[usize::from(app)];
        let waited = now.saturating_sub(link.dialled);
        link.tries = 0;
        link.ready = true;
        let (token, session) = (link.conn, link.session.clone());
        self.stats.latency(Class::AppConnect, waited, in_window);
        if matches!(self.settings.target, Target::Prism { .. }) {
            let update = self.subscription_update(app, &session);
            if let Some(token) = token {
                self.send_frame(token, Opcode::Text, update.as_bytes());
            }
        }
    }

    fn subscription_update(&self, app: u8, session: &str) -> String {
        let mut wanted = Vec::new();
        if self.scenario.has(Kind::Audio) || self.scenario.has(Kind::Lc3) {
            wanted.push("audio_chunk");
        }
        if self.scenario.has(Kind::Speech) {
            wanted.push(super::provider::SUBSCRIPTION);
        }
        if self.scenario.has(Kind::Event) && !self.scenario.has(Kind::Mix) {
            wanted.push("button_press");
        }
        if self.scenario.has(Kind::Transcript) {
            // Not `transcription:en-US`: that would ask the server for a recogniser of its own.
            wanted.push("local_transcription");
        }
        if self.scenario.has(Kind::Mix) {
            wanted.extend(golden::PHONE.iter().map(|(kind, _)| *kind));
        }
        // An idle app has subscribed to something as well.
        if wanted.is_empty() {
            wanted.push("button_press");
        }
        serde_json::json!({
            "type": "subscription_update",
            "packageName": package(usize::from(app)),
            "sessionId": session,
            "subscriptions": wanted,
            "timestamp": clock::iso(clock::wall_ms()),
        })
        .to_string()
    }

    pub(super) fn on_app_message(
        &mut self,
        user: u32,
        app: u8,
        opcode: Opcode,
        payload: &[u8],
        now: u64,
    ) {
        if opcode == Opcode::Binary {
            self.on_audio(user, app, payload, now);
            return;
        }
        match super::phone::message_type(payload) {
            b"data_stream" => self.on_event(user, app, payload, now),
            b"tpa_connection_ack" => self.on_app_ack(user, app, now),
            b"tpa_connection_error" => {
                let mut cause = String::from("refused: ");
                let _ = write!(cause, "{}", error_code(payload));
                self.count_error(Role::App(user, app), &cause);
            }
            b"permission_error" => self.count_error(Role::App(user, app), "permission_error"),
            _ => {}
        }
    }

    pub(super) fn on_app_end(&mut self, token: u64, user: u32, app: u8, end: &End) {
        let link = &mut self.users[user as usize].apps[usize::from(app)];
        if link.conn != Some(token) {
            return;
        }
        link.went_away();
        match end {
            End::Ours => {}
            End::Closed(code, reason)
                if FINAL_CODES.contains(code) || reason.contains("User session ended") =>
            {
                link.tries = 0;
                // A relay sends no webhooks; its apps would stay away for ever.
                if self.settings.target == Target::Relay {
                    self.back_off(user, app);
                }
            }
            _ => self.back_off(user, app),
        }
    }

    /// Plans the next try after a loss, if there is one.
    fn back_off(&mut self, user: u32, app: u8) {
        let link = &mut self.users[user as usize].apps[usize::from(app)];
        let wait = match BACK_OFF_S.get(link.tries) {
            Some(wait) => *wait,
            // A relay has no webhooks that would bring the app back.
            None if self.settings.target == Target::Relay => 4,
            None => {
                self.stats.errors.add("app gave up after three tries");
                return;
            }
        };
        link.tries += 1;
        let due = clock::mono_ns() + wait * SECOND;
        self.timers.at(due, Timer::AppDial(user, app));
    }

    /// Every app of the user pings, as SDK 3.x does.
    pub(super) fn ping_apps(&mut self, user: u32) {
        if self.settings.target == Target::Relay {
            return;
        }
        for app in 0..self.scenario.apps_per_user {
            let link = &self.users[user as usize].apps[app];
            if let Some(token) = link.conn.filter(|_| link.ready) {
                self.send_frame(token, Opcode::Text, br#"{"type":"ping"}"#);
            }
        }
    }

    /// The app's socket vanishes; the SDK comes back by itself.
    pub(super) fn drop_app(&mut self, user: u32, app: u8) {
        if let Some(token) = self.users[user as usize].apps[usize::from(app)].conn {
            self.cut(token);
            self.back_off(user, app);
        }
    }
}

fn error_code(payload: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        code: Option<String>,
    }
    serde_json::from_slice::<Refusal>(payload)
        .ok()
        .and_then(|refusal| refusal.code)
        .unwrap_or_else(|| "no code".to_owned())
}
