//! Invariants 21, 34, 36, 37, 39, 40: what the screen shows.

use super::super::net::Down;
use super::{View, Watch};
use prism::base::ids::ConnId;
use prism::session::managers::apps::AppState;
use serde_json::Value;

impl Watch {
    /// A phone pings on its current socket.
    pub(super) fn note_ping(&mut self, user: &str, conn: ConnId, view: &View<'_>) {
        let session = view.session(user);
        let session = session.filter(|session| session.m.phone.open() == Some(conn));
        if let Some(session) = session {
            self.screen(user, Some(session.epoch)).pings += 1;
        }
    }

    pub(super) fn look_at_screen(&mut self, conn: ConnId, frame: &Down, view: &View<'_>) {
        let Down::Text(message) = frame else {
            return;
        };
        if message["type"] != "display_event" {
            return;
        }
        let Some(sock) = view.net.get(conn) else {
            return;
        };
        let user = sock.user.clone();
        let package = message["packageName"].as_str().unwrap_or_default();
        let text = message["layout"]["text"].as_str().unwrap_or_default();
        let os = view.cfg.display.os_package_name.as_str();
        if message["view"] == "dashboard" {
            return self.invariant_40_dashboard_is_ours(&user, package, os);
        }
        self.note_shown(&user, conn, message, os);
        let is_clear = package == os && text.is_empty();
        self.invariant_39_one_clear(&user, conn, is_clear, view);
        if let Some(tag) = text.strip_prefix('#') {
            self.look_at_content(&user, conn, package, tag, message, view);
        }
    }

    fn look_at_content(
        &mut self,
        user: &str,
        conn: ConnId,
        package: &str,
        tag: &str,
        message: &Value,
        view: &View<'_>,
    ) {
        let mut parts = tag.split('|');
        let (painter, app) = (parts.next(), parts.next());
        let number: u64 = parts.next().and_then(|text| text.parse().ok()).unwrap_or(0);
        self.invariant_21_attribution(user, package, painter, app);
        self.invariant_36_nothing_of_stopped_apps(user, package, conn, view);
        self.invariant_37_the_newest_stands(user, conn, package, number);
        let last = self.pair(user, package).shown;
        let fresh = number > last;
        self.pair(user, package).shown = number.max(last);
        if fresh && view.is_timely(conn) {
            let forced = message["forceDisplay"] == true || self.is_after_boot(user);
            self.invariant_34_throttle(user, forced, view);
        }
    }

    /// 21: content is shown under the name of the socket it came on, to the user of that socket.
    fn invariant_21_attribution(
        &mut self,
        user: &str,
        package: &str,
        painter: Option<&str>,
        app: Option<&str>,
    ) {
        if painter != Some(user) || app != Some(package) {
            let text = format!("content of {app:?} for {painter:?} came as {package}");
            self.broken(21, "attribution", user, text);
        }
    }

    /// 34: main-view content is at least the throttle apart, unless forced.
    fn invariant_34_throttle(&mut self, user: &str, forced: bool, view: &View<'_>) {
        let Some(known) = self.users.get_mut(user) else {
            return;
        };
        let last_ms = std::mem::replace(&mut known.display_ms, view.now_ms);
        let gap_ms = view.now_ms - last_ms;
        let throttle_ms = self.least(last_ms, |cfg| cfg.display.display_throttle_ms);
        if !forced && gap_ms < throttle_ms {
            let text = format!("new content {gap_ms} ms after the last");
            self.broken(34, "display throttle", user, text);
        }
    }

    /// 36: nothing of a stopped app.
    fn invariant_36_nothing_of_stopped_apps(
        &mut self,
        user: &str,
        package: &str,
        conn: ConnId,
        view: &View<'_>,
    ) {
        let pair = self.pair(user, package);
        // The message that stops an app may also bring a phone's socket back, which is repainted first.
        let (state, earlier) = (pair.state, pair.since_ms < view.now_ms);
        let stopped = matches!(state, AppState::Stopped | AppState::Stopping) && earlier;
        if stopped && view.is_timely(conn) && !self.before.loading {
            let text = format!("content of {package} was shown while it is {state:?}");
            self.broken(36, "stopped apps are not shown", user, text);
        }
    }

    /// 37: what is superseded never overtakes, on a socket and from one to the next. What waited for a socket that did not read
    /// when another took its place comes late, even if it is the current one again.
    fn invariant_37_the_newest_stands(
        &mut self,
        user: &str,
        conn: ConnId,
        package: &str,
        number: u64,
    ) {
        let current = self.users.get(user).and_then(|known| known.current);
        let elsewhere = self.pair(user, package).shown;
        let own = self.socks.entry(conn).or_default();
        let here = own.shown.entry(package.to_owned()).or_default();
        let last = match current == Some(conn) && !own.behind {
            true => elsewhere.max(*here),
            false => *here,
        };
        *here = number.max(*here);
        // 0 marks texts that are not counted.
        if number > 0 && number < last {
            let text = format!("{package} is shown {number} after {last}");
            self.broken(37, "the newest stands", user, text);
        }
    }

    /// 39: one clear per transition.
    fn invariant_39_one_clear(
        &mut self,
        user: &str,
        conn: ConnId,
        is_clear: bool,
        view: &View<'_>,
    ) {
        let forced_ms = self.users.get(user).map_or(0, |known| known.forced_ms);
        let own = self.socks.entry(conn).or_default();
        let again = std::mem::replace(&mut own.cleared, is_clear) && is_clear;
        // A repaint after phone or glasses came back says it once more.
        let again = again && !own.repainted;
        if again && forced_ms != view.now_ms {
            let text = format!("the screen of {conn:?} is cleared twice");
            self.broken(39, "one clear", user, text);
        }
    }

    /// 40: only the server writes the dashboard.
    fn invariant_40_dashboard_is_ours(&mut self, user: &str, package: &str, os: &str) {
        if package != os {
            let text = format!("{package} wrote the dashboard");
            self.broken(40, "the dashboard is ours", user, text);
        }
    }
}
