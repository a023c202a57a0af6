//! A phone and apps that are simply there, and messages that go straight to their handlers.

use super::bench::Bench;
use crate::base::ids::{ConnId, Package};
use crate::session::State;
use crate::session::event::Sdk;
use crate::session::flow::relay;
use crate::session::handlers::app::APP;
use crate::session::handlers::phone::PHONE;
use crate::session::handlers::{AppMessage, PhoneMessage, Reject};
use crate::session::managers::apps::AppState;
use crate::wire::json::kind;
use crate::wire::kinds::{AppKind, PhoneKind};

/// The phone's socket.
pub(crate) const PHONE_CONN: ConnId = ConnId(1);

impl Bench {
    /// The phone is there.
    pub(crate) fn phone_is_there(&mut self) {
        self.s.state = State::Connected;
        self.s.m.phone.current = Some(PHONE_CONN);
    }

    /// An app is there and runs.
    pub(crate) fn app_is_there(&mut self, package: &str, conn: ConnId, sdk: Sdk) {
        let now_ms = self.now.mono_ms;
        let app = self.s.m.apps.ensure(&Package::new(package));
        app.state = AppState::Running;
        app.conn = Some(conn);
        app.sdk = sdk;
        app.attached_ms = now_ms;
    }

    /// A message of the phone, by its own handler; without one it is relayed.
    pub(crate) fn phone_says(&mut self, text: &str) -> Result<(), Reject> {
        let name = kind(text).expect("typed").into_owned();
        self.with(|s, cx| {
            let message = PhoneMessage {
                conn: PHONE_CONN,
                name: &name,
                text: text.as_bytes(),
            };
            let Some(kind) = PhoneKind::from_wire(&name) else {
                relay::phone_message(s, &name, text.as_bytes(), cx);
                return Ok(());
            };
            (PHONE[kind as usize].run)(s, &message, cx)
        })
    }

    /// A message of an app, by its own handler. An app without a socket may have sent it just before.
    pub(crate) fn app_says(&mut self, package: &str, text: &str) -> Result<(), Reject> {
        let name = kind(text).expect("typed").into_owned();
        let kind = AppKind::from_wire(&name).expect("a known type");
        let package = Package::new(package);
        let conn = self.s.m.apps.open_conn(&package).unwrap_or(ConnId(99));
        self.with(|s, cx| {
            let message = AppMessage {
                conn,
                package: &package,
                text: text.as_bytes(),
            };
            (APP[kind as usize].run)(s, &message, cx)
        })
    }
}
