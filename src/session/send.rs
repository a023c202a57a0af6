//! Layer 2: sending. Never changes any state (behaviour.md §2.16): what cannot be delivered is dropped and counted.

use super::effects::Class;
use super::{Cx, Session, State};
use crate::base::ids::ConnId;
use crate::base::metrics::Counter;

/// What became of a message.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendOutcome {
    /// Handed to an open socket.
    Sent,
    /// No open socket; dropped and counted.
    NotOpen,
}

impl SendOutcome {
    /// Whether it was handed over.
    #[must_use]
    pub fn is_sent(self) -> bool {
        self == Self::Sent
    }
}

/// Out of whose share of what waits for the phone a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payer<'a> {
    /// An app's, which asked for it.
    App(&'a str),
    /// Nobody's: it is the session's own and rare, or the phone's.
    Session,
}

impl Session {
    /// Sends to the current phone socket, once it has its `connection_ack`: nothing but `pong` comes before (invariant 6).
    pub fn send_phone(
        &self,
        cx: &mut Cx<'_>,
        class: Class,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> SendOutcome {
        let acked = self.state != State::Initializing;
        to_socket(self.m.phone.open().filter(|_| acked), cx, class, write)
    }

    /// Sends what `package` asks of the phone. Where its part of what waits for the phone is full, it is dropped and the app
    /// told; without a socket of the app nobody is.
    pub fn ask_phone(
        &self,
        package: &str,
        cx: &mut Cx<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> SendOutcome {
        let acked = self.state != State::Initializing;
        let phone = self.m.phone.open().filter(|_| acked);
        match (phone, self.m.apps.open_conn(package)) {
            (Some(phone), Some(by)) => {
                cx.fx.asked(phone, by, write);
                SendOutcome::Sent
            }
            (phone, _) => to_socket(phone, cx, Class::Control, write),
        }
    }

    /// [`Session::ask_phone`] or [`Session::send_phone`], whoever pays for it.
    pub fn tell_phone(
        &self,
        payer: Payer<'_>,
        cx: &mut Cx<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> SendOutcome {
        match payer {
            Payer::App(package) => self.ask_phone(package, cx, write),
            Payer::Session => self.send_phone(cx, Class::Control, write),
        }
    }

    /// Sends to an app's attached socket (state running).
    pub fn send_app(
        &self,
        package: &str,
        cx: &mut Cx<'_>,
        class: Class,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> SendOutcome {
        to_socket(self.m.apps.open_conn(package), cx, class, write)
    }
}

fn to_socket(
    conn: Option<ConnId>,
    cx: &mut Cx<'_>,
    class: Class,
    write: impl FnOnce(&mut Vec<u8>),
) -> SendOutcome {
    match conn {
        Some(conn) => {
            cx.fx.text(conn, class, write);
            SendOutcome::Sent
        }
        None => {
            cx.metrics.inc(Counter::DroppedClosed);
            SendOutcome::NotOpen
        }
    }
}
