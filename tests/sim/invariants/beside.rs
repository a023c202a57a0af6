//! Invariant 10: replaced sockets that stay beside the attached one of their app.

use super::{View, Watch};
use prism::base::ids::ConnId;
use prism::session::managers::apps::sockets::BESIDE_MAX;
use prism::session::managers::apps::{AppSession, AppState};

impl Watch {
    /// 10: few replaced sockets stay, and none longer than its app.
    pub(super) fn invariant_10_few_stay(&mut self, user: &str, app: &AppSession, view: &View<'_>) {
        let beside = beside(view, user, &app.package);
        let ended = app.state == AppState::Stopped && app.stop.is_none();
        if beside.len() > BESIDE_MAX || (ended && !beside.is_empty()) {
            let text = format!("{beside:?} stay beside {}, {:?}", app.package, app.state);
            self.broken(10, "one socket per app", user, text);
        }
    }
}

/// Replaced sockets of an app that stay.
pub(super) fn beside(view: &View<'_>, user: &str, package: &str) -> Vec<ConnId> {
    let session = view.session(user);
    let sockets = session.map(|session| &session.m.apps.sockets);
    sockets.map_or_else(Vec::new, |sockets| sockets.beside(package).collect())
}
