//! Layer 2, part of the apps manager: app sockets of this session that are not attached to a running app. Data only.

use crate::base::close::CloseReason;
use crate::base::footprint::{flat, owns};
use crate::base::ids::{ConnId, Package};
use crate::session::event::AppHello;

flat!(Replaced);
owns! {
    AppHello: api_key, session_id;
    EarlyHello: hello;
    Parked: hello;
    Lingering: hello;
    Sockets: waiting, parked, lingering, replaced;
}

/// A socket whose hello came before the user record was read.
#[derive(Debug)]
pub struct EarlyHello {
    /// Socket.
    pub conn: ConnId,
    /// What it said.
    pub hello: AppHello,
    /// Unparsable messages in a row.
    pub invalid_json: u32,
}

/// A parked socket (behaviour.md §2.7.1); only `ping` is answered on it.
#[derive(Debug)]
pub struct Parked {
    /// Socket.
    pub conn: ConnId,
    /// Its `reconnect`, key already checked.
    pub hello: AppHello,
    /// `mono_ms` of its rejection.
    pub expires_ms: u64,
    /// Unparsable messages in a row.
    pub invalid_json: u32,
}

/// A socket whose `reconnect` was rejected and whose close waits, because an init may follow (protocol.md §3.4).
#[derive(Debug)]
pub struct Lingering {
    /// Socket.
    pub conn: ConnId,
    /// What it said.
    pub hello: AppHello,
    /// The close that waits.
    pub reason: CloseReason,
    /// Unparsable messages in a row.
    pub invalid_json: u32,
}

/// Sockets of one app that may stay beside its attached one: an SDK that runs so many sessions of one user is not one that we know.
pub const BESIDE_MAX: usize = 4;

/// A socket whose app has a newer one (behaviour.md §2.13).
#[derive(Debug)]
pub struct Replaced {
    /// Socket.
    pub conn: ConnId,
    /// Its app.
    pub package: Package,
    /// It stays until its app ends, and what it asks for counts: SDKs before 2.1.29 forget their user when either socket closes.
    pub stays: bool,
}

/// All of them. Each list is short: at most a few entries per app.
#[derive(Default, Debug)]
pub struct Sockets {
    /// Hellos that came before the user record was read.
    pub waiting: Vec<EarlyHello>,
    /// Parked ones, one per package.
    pub parked: Vec<Parked>,
    /// Rejected ones whose close waits.
    pub lingering: Vec<Lingering>,
    /// Replaced ones, until their own close, the linger's end or, of those that stay, the end of their app.
    pub replaced: Vec<Replaced>,
}

impl Sockets {
    /// Takes the parked socket of a package.
    pub fn take_parked(&mut self, package: &str) -> Option<Parked> {
        let index = self
            .parked
            .iter()
            .position(|parked| &*parked.hello.package == package)?;
        Some(self.parked.remove(index))
    }

    /// Takes a lingering socket.
    pub fn take_lingering(&mut self, conn: ConnId) -> Option<Lingering> {
        let index = self.lingering.iter().position(|row| row.conn == conn)?;
        Some(self.lingering.remove(index))
    }

    /// A lingering socket's hello.
    #[must_use]
    pub fn lingering(&self, conn: ConnId) -> Option<&AppHello> {
        let row = self.lingering.iter().find(|row| row.conn == conn)?;
        Some(&row.hello)
    }

    /// Takes a replaced socket.
    pub fn take_replaced(&mut self, conn: ConnId) -> Option<Replaced> {
        let index = self.replaced.iter().position(|row| row.conn == conn)?;
        Some(self.replaced.remove(index))
    }

    /// A replaced socket.
    #[must_use]
    pub fn replaced(&self, conn: ConnId) -> Option<&Replaced> {
        self.replaced.iter().find(|row| row.conn == conn)
    }

    /// Sockets that stay beside the attached one of an app.
    pub fn beside(&self, package: &str) -> impl Iterator<Item = ConnId> {
        let own = move |row: &&Replaced| row.stays && &*row.package == package;
        self.replaced.iter().filter(own).map(|row| row.conn)
    }

    /// Whether the socket is in any of the lists.
    #[must_use]
    pub fn contains(&self, conn: ConnId) -> bool {
        self.is_waiting(conn)
            || self.parked.iter().any(|row| row.conn == conn)
            || self.lingering(conn).is_some()
            || self.replaced(conn).is_some()
    }

    /// Whether its hello waits for the user record.
    #[must_use]
    pub fn is_waiting(&self, conn: ConnId) -> bool {
        self.waiting.iter().any(|row| row.conn == conn)
    }

    /// Unparsable messages in a row of a socket that may still become an app's; `None` for a replaced one.
    pub fn invalid_json(&mut self, conn: ConnId) -> Option<&mut u32> {
        let waiting = self.waiting.iter_mut().find(|row| row.conn == conn);
        let parked = self.parked.iter_mut().find(|row| row.conn == conn);
        let lingering = self.lingering.iter_mut().find(|row| row.conn == conn);
        waiting
            .map(|row| &mut row.invalid_json)
            .or_else(|| parked.map(|row| &mut row.invalid_json))
            .or_else(|| lingering.map(|row| &mut row.invalid_json))
    }

    /// Sockets that wait for the user record or for the start of their app.
    pub fn expectant(&self) -> impl Iterator<Item = ConnId> {
        let waiting = self.waiting.iter().map(|row| row.conn);
        waiting.chain(self.parked.iter().map(|row| row.conn))
    }

    /// Forgets a socket that is gone; says whether it was known.
    pub fn forget(&mut self, conn: ConnId) -> bool {
        let known = self.contains(conn);
        self.waiting.retain(|row| row.conn != conn);
        self.parked.retain(|row| row.conn != conn);
        self.lingering.retain(|row| row.conn != conn);
        self.replaced.retain(|row| row.conn != conn);
        known
    }
}
