//! Events that must change nothing, and what is compared to see that.

use super::super::net::{Party, Up};
use super::{Cause, View};
use prism::base::ids::ConnId;
use prism::session::Session;
use prism::session::managers::phone::SentSoFar;

/// Whether a frame is one of a superseded phone socket whose place nobody can take any more: the current one, or the last, has
/// sent more than pings.
pub(super) fn is_stale(conn: ConnId, view: &View<'_>) -> bool {
    let Some(sock) = view.net.get(conn).filter(|sock| sock.package.is_empty()) else {
        return false;
    };
    view.session(&sock.user).is_some_and(|session| {
        let phone = &session.m.phone;
        phone.current != Some(conn) && phone.sent_so_far == SentSoFar::More
    })
}

/// Whether the event may be one that changes nothing, so that it pays to look closely.
pub(super) fn must_be_quiet(cause: &Cause, view: &View<'_>) -> bool {
    match cause {
        Cause::Ended(_) | Cause::Frame(_, Up::Pong(_) | Up::Ping | Up::Close(..)) => true,
        Cause::Frame(conn, _) => {
            view.net
                .get(*conn)
                .is_some_and(|sock| sock.party == Party::Stray)
                || is_stale(*conn, view)
        }
        _ => false,
    }
}

/// Everything of a session that a stray event must not change.
pub(super) fn fingerprint(session: &Session) -> String {
    let apps: Vec<_> = session
        .m
        .apps
        .iter()
        .map(|app| (&app.package, app.state, app.conn, app.user_stopped))
        .collect();
    let lists = session.m.subscriptions.iter();
    let lists: Vec<_> = lists.map(|one| (&one.package, one.list().len())).collect();
    format!(
        "{:?} {:?} {apps:?} {lists:?} {:?} {:?} {:?}",
        session.state,
        session.m.phone.open(),
        session.m.device.state(),
        session.m.location.last(),
        session.m.speech.voice(),
    )
}
