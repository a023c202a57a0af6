//! Layer 2, manager: apps.

use crate::base::ids::{ConnId, Package};
use crate::session::event::Sdk;

/// App session states of behaviour.md §2.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppState {
    /// Not expected to run.
    Stopped,
    /// Start requested, waiting for its socket.
    Connecting,
    /// Authenticated socket attached.
    Running,
    /// v2 socket lost; waiting.
    GracePeriod,
    /// v3 socket lost; waiting.
    TransportDown,
    /// The server is restarting it.
    Resurrecting,
    /// Lost or released while the server may not restart it.
    Dormant,
    /// Deliberate stop in progress.
    Stopping,
}

/// One (user, app) pair. OWNER H3 adds what it needs.
#[derive(Debug)]
pub struct AppSession {
    /// Package.
    pub package: Package,
    /// State.
    pub state: AppState,
    /// Attached socket; set exactly while `Running`.
    pub conn: Option<ConnId>,
    /// Generation of the attached (or last) SDK.
    pub sdk: Sdk,
    /// `mono_ms` of the last attach.
    pub attached_ms: u64,
}

/// All app sessions of the user.
#[derive(Default)]
pub struct Apps {
    list: Vec<AppSession>,
}

impl Apps {
    /// By package.
    #[must_use]
    pub fn get(&self, package: &str) -> Option<&AppSession> {
        self.list.iter().find(|app| &*app.package == package)
    }

    /// By package, to change.
    pub fn get_mut(&mut self, package: &str) -> Option<&mut AppSession> {
        self.list.iter_mut().find(|app| &*app.package == package)
    }

    /// By attached socket.
    #[must_use]
    pub fn by_conn(&self, conn: ConnId) -> Option<&AppSession> {
        self.list.iter().find(|app| app.conn == Some(conn))
    }

    /// The attached socket of a running app.
    #[must_use]
    pub fn open_conn(&self, package: &str) -> Option<ConnId> {
        self.get(package).and_then(|app| app.conn)
    }

    /// Whether the app is `Running`.
    #[must_use]
    pub fn is_running(&self, package: &str) -> bool {
        self.open_conn(package).is_some()
    }

    /// All app sessions.
    pub fn iter(&self) -> impl Iterator<Item = &AppSession> {
        self.list.iter()
    }

    /// All apps with an attached socket.
    pub fn open(&self) -> impl Iterator<Item = (&AppSession, ConnId)> {
        self.list.iter().filter_map(|app| Some((app, app.conn?)))
    }

    /// Adds an app session in state `Stopped` (or returns the one there). For flows and for tests of other managers.
    pub fn ensure(&mut self, package: &Package) -> &mut AppSession {
        if let Some(index) = self.list.iter().position(|app| app.package == *package) {
            return &mut self.list[index];
        }
        self.list.push(AppSession {
            package: package.clone(),
            state: AppState::Stopped,
            conn: None,
            sdk: Sdk::V2,
            attached_ms: 0,
        });
        self.list.last_mut().expect("just pushed")
    }
}
