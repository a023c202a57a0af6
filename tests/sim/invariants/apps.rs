//! Invariants 9–21, 23, 25, 29: apps, their sockets, webhooks and subscriptions.

use super::super::net::Down;
use super::beside::beside;
use super::{SockView, View, Watch};
use prism::base::ids::ConnId;
use prism::session::effects::StoreOp;
use prism::session::event::Sdk;
use prism::session::managers::apps::{AppSession, AppState, StopWhy};
use prism::wire::records::AppType;
use prism::wire::streams::{Permission, permission_for};
use serde_json::Value;
use std::collections::BTreeSet;

/// How long a REST start or stop may take: load, stop of another app, start, durable write (ms).
const PATIENCE_MS: u64 = 45_000;
const SLACK_MS: u64 = 200;

impl Watch {
    pub(super) fn look_at_apps(&mut self, user: &str, view: &View<'_>) {
        let Some(session) = view.session(user) else {
            return;
        };
        for app in session.m.apps.iter() {
            self.note_transition(user, app, view);
            self.invariant_09_running_means_attached(user, app, view);
            self.invariant_10_few_stay(user, app, view);
            self.invariant_12_stopped_stays_stopped(user, app);
            self.invariant_13_nothing_is_stuck(user, app, view);
            self.invariant_25_stored_set(user, app, view);
        }
        let foreground: Vec<_> = session
            .m
            .apps
            .iter()
            .filter(|app| is_standard(view, &app.package))
            .filter(|app| {
                !matches!(
                    app.state,
                    AppState::Stopped | AppState::Stopping | AppState::Dormant
                )
            })
            .map(|app| app.package.to_string())
            .collect();
        self.invariant_14_one_foreground_app(user, &foreground);
    }

    fn note_transition(&mut self, user: &str, app: &AppSession, view: &View<'_>) {
        let (now_ms, listed) = (view.now_ms, self.before.unread);
        let pair = self.pair(user, &app.package);
        let mut changed = false;
        pair.previous = pair.state;
        pair.was_stopping = std::mem::replace(&mut pair.is_stopping, app.stop.is_some());
        if pair.state != app.state {
            // Not a start that the user asks for in the grace: nothing is restarted then.
            let restart = app.state == AppState::Resurrecting
                && pair.sdk == Sdk::V2
                && matches!(pair.state, AppState::GracePeriod | AppState::Dormant)
                // A recovery offers the old subscriptions (§2.14).
                && pair.recovered_ms != now_ms;
            let over = matches!(app.state, AppState::Stopped | AppState::Stopping)
                || (app.state == AppState::Dormant && app.released);
            changed = (restart || over) && !pair.subs.is_empty();
            if restart || over {
                pair.subs.clear();
                pair.asked.clear();
            }
            // What is stored for a dormant app does not count.
            changed |= app.state == AppState::Dormant || pair.state == AppState::Dormant;
            let (old, old_since_ms) = (pair.state, pair.since_ms);
            let asked =
                now_ms - pair.started_ms <= PATIENCE_MS || pair.recovered_ms == now_ms || listed;
            pair.state = app.state;
            pair.since_ms = now_ms;
            if app.state == AppState::Connecting {
                (pair.attempts, pair.asking_ms) = (0, now_ms);
            }
            // The stored list starts an app once, when the session begins or the list can be read at last.
            if old == AppState::Stopped && old_since_ms > 0 && !asked {
                let text = format!("{} is {:?} though nobody asked", app.package, app.state);
                self.broken(17, "one restart", user, text);
                return;
            }
        }
        let pair = self.pair(user, &app.package);
        // A start that waits for its own stop leaves both flags up for a while.
        // Nor does one for glasses that lack its hardware mean that the user does not want it.
        let incompatible = app
            .stop
            .as_ref()
            .is_some_and(|stop| stop.why == Some(StopWhy::Incompatible));
        let is_stopping = app.state == AppState::Stopping && !incompatible;
        if (app.user_stopped || is_stopping) && app.start.is_none() {
            pair.stopped = true;
        }
        self.note_sockets(user, app, view);
        if changed {
            self.sets_changed(user);
        }
    }

    /// Which socket is attached, and which others are still there.
    fn note_sockets(&mut self, user: &str, app: &AppSession, view: &View<'_>) {
        let now_ms = view.now_ms;
        let beside = beside(view, user, &app.package);
        let pair = self.pair(user, &app.package);
        if pair.conn != app.conn {
            if let (Some(old), Some(_)) = (pair.conn, app.conn) {
                pair.replaced.push((old, now_ms));
                if (pair.sdk, app.sdk) == (Sdk::V2, Sdk::V2) {
                    pair.may_stay.insert(old);
                }
            }
            pair.conn = app.conn;
        }
        if app.conn.is_some() {
            pair.sdk = app.sdk;
            pair.attached_ms = app.attached_ms;
        }
        for (conn, at_ms) in &mut pair.replaced {
            if beside.contains(conn) && pair.may_stay.contains(conn) {
                *at_ms = now_ms;
            }
        }
        let replaced = pair.replaced.clone();
        let is_over = |at_ms: u64| {
            let linger_ms = self.most(at_ms, |cfg| cfg.connections.replaced_linger_ms);
            now_ms > at_ms + linger_ms + SLACK_MS
        };
        let lingering = replaced.iter().filter(|row| is_over(row.1));
        let lingering: Vec<ConnId> = lingering.map(|row| row.0).collect();
        let pair = self.pair(user, &app.package);
        pair.replaced.retain(|(conn, _)| !lingering.contains(conn));
        for conn in lingering {
            self.invariant_10_replaced_sockets_go(user, conn, view);
        }
    }

    /// 9: running means an open, authenticated socket of this user and app, and nothing else does.
    fn invariant_09_running_means_attached(
        &mut self,
        user: &str,
        app: &AppSession,
        view: &View<'_>,
    ) {
        let running = app.state == AppState::Running;
        let problem = match app.conn {
            None if running => Some("is running without a socket".to_owned()),
            Some(conn) if !running => Some(format!("has {conn:?} while {:?}", app.state)),
            Some(conn) => match view.net.get(conn) {
                Some(sock) if sock.user == user && sock.package == *app.package => {
                    (!sock.is_open() && sock.stalled_until_ms == 0 && !self.draining)
                        .then(|| format!("runs on {conn:?}, which is closed"))
                }
                _ => Some(format!("runs on {conn:?}, which is somebody else's")),
            },
            None => None,
        };
        if let Some(problem) = problem {
            let text = format!("{} {problem}", app.package);
            self.broken(9, "running means attached", user, text);
        }
        if let Some(conn) = app.conn {
            self.invariant_46_dead_sockets_go(user, conn, view);
        }
    }

    /// 10: a replaced socket is closed 5 s later.
    fn invariant_10_replaced_sockets_go(&mut self, user: &str, conn: ConnId, view: &View<'_>) {
        let open = view
            .net
            .get(conn)
            .is_some_and(|sock| sock.is_open() && sock.stalled_until_ms == 0);
        if open && !self.draining {
            let text = format!("{conn:?} is open more than 5 s after it was replaced");
            self.broken(10, "one socket per app", user, text);
        }
    }

    /// 11: at most one session request in flight per user and app.
    pub(super) fn invariant_11_one_webhook_in_flight(
        &mut self,
        user: &str,
        package: &str,
        open: usize,
    ) {
        if open > 0 {
            let text = format!("{package} is asked again while a session request is open");
            self.broken(11, "one webhook", user, text);
        }
    }

    /// 12: what was stopped on purpose stays stopped until somebody starts it.
    fn invariant_12_stopped_stays_stopped(&mut self, user: &str, app: &AppSession) {
        let stopped = self.pair(user, &app.package).stopped;
        if stopped && !matches!(app.state, AppState::Stopped | AppState::Stopping) {
            let text = format!("{} was stopped but is {:?}", app.package, app.state);
            self.broken(12, "stopped stays stopped", user, text);
        }
    }

    /// 13: no app stays in between for longer than `app_stuck_ms`.
    fn invariant_13_nothing_is_stuck(&mut self, user: &str, app: &AppSession, view: &View<'_>) {
        let between = matches!(
            app.state,
            AppState::Connecting | AppState::Stopping | AppState::Resurrecting
        );
        let since_ms = self.pair(user, &app.package).since_ms;
        let limit_ms = self.most(since_ms, |cfg| cfg.apps.app_stuck_ms) + SLACK_MS;
        if between && view.now_ms > since_ms + limit_ms && !self.draining {
            let text = format!("{} is {:?} since {since_ms}", app.package, app.state);
            self.broken(13, "nothing is stuck", user, text);
        }
    }

    /// 14: at most one foreground app.
    fn invariant_14_one_foreground_app(&mut self, user: &str, foreground: &[String]) {
        if foreground.len() > 1 {
            let text = format!("{foreground:?} are all in the foreground");
            self.broken(14, "one foreground app", user, text);
        }
    }

    /// 25: the stored set is the last one asked for.
    fn invariant_25_stored_set(&mut self, user: &str, app: &AppSession, view: &View<'_>) {
        let Some(session) = view.session(user) else {
            return;
        };
        let subscriber = session.m.subscriptions.get(&app.package);
        let stored = subscriber.map(|one| one.list()).unwrap_or_default();
        let wanted = &self.pair(user, &app.package).subs;
        let same =
            stored.len() == wanted.len() && stored.iter().all(|one| wanted.contains(&*one.text));
        if !same {
            let stored: Vec<_> = stored.iter().map(|one| &one.text).collect();
            let text = format!("{} has {stored:?} instead of {wanted:?}", app.package);
            self.broken(25, "stored subscriptions", user, text);
        }
    }

    pub(super) fn look_at_app_frame(&mut self, conn: ConnId, frame: &Down, view: &View<'_>) {
        let Some(sock) = view.net.get(conn) else {
            return;
        };
        let (user, package) = (sock.user.clone(), sock.package.clone());
        let own = self.socks.entry(conn).or_default();
        let kind = frame.kind();
        match kind {
            "tpa_connection_ack" | "reconnect_ack" => {
                own.acks += 1;
                own.deferred_ms = None;
                if let Down::Text(message) = frame {
                    self.invariant_15_ack_tells_the_set(&user, &package, message);
                }
                return;
            }
            "reconnect_deferred" => {
                own.deferred_ms = Some(view.now_ms);
                return self.invariant_23_one_parked_per_app(&user, &package, view);
            }
            _ => {}
        }
        let speaks_early = matches!(
            kind,
            "pong" | "tpa_connection_error" | "reconnect_rejected" | "app_stopped"
        );
        let is_data = matches!(frame, Down::Binary(_)) || (!kind.is_empty() && !speaks_early);
        if is_data && own.acks == 0 {
            let text = format!("{package} got {kind:?} on {conn:?} before its ack");
            self.broken(15, "ack first", &user, text);
        }
        if is_data {
            self.invariant_12_no_data_after_a_stop(&user, &package, conn, kind, view);
            self.invariant_29_microphone_permission(&user, &package, frame, view);
        }
    }

    /// 12: from the stop on, nothing but `app_stopped` reaches the app.
    fn invariant_12_no_data_after_a_stop(
        &mut self,
        user: &str,
        package: &str,
        conn: ConnId,
        kind: &str,
        view: &View<'_>,
    ) {
        let now_ms = self.now_ms;
        let pair = self.pair(user, package);
        let state = pair.state;
        let stopped = matches!(state, AppState::Stopped | AppState::Stopping);
        // Glasses that stop an app are announced to it first.
        let stopped = stopped && (kind != "capabilities_update" || pair.since_ms < now_ms);
        let ordered = view.is_timely(conn) && !self.before.loading;
        if stopped && ordered && view.session(user).is_some() {
            let text = format!("{package} is {state:?} and got {kind:?} on {conn:?}");
            self.broken(12, "stopped stays stopped", user, text);
        }
    }

    /// 15: `subscriptions` of an ack are what is stored.
    fn invariant_15_ack_tells_the_set(&mut self, user: &str, package: &str, message: &Value) {
        let told: BTreeSet<String> = message["subscriptions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_str().or_else(|| item["stream"].as_str()))
            .map(str::to_owned)
            .collect();
        let pair = self.pair(user, package);
        if told != pair.subs {
            let text = format!("{package} was told {told:?}, stored is {:?}", pair.subs);
            self.broken(15, "ack tells the set", user, text);
        }
    }

    /// 29: no audio and no speech without the permission.
    fn invariant_29_microphone_permission(
        &mut self,
        user: &str,
        package: &str,
        frame: &Down,
        view: &View<'_>,
    ) {
        let heard = match frame {
            Down::Binary(_) => true,
            Down::Text(message) => {
                let stream = message["streamType"].as_str().unwrap_or_default();
                let inner = message["data"]["type"].as_str().unwrap_or_default();
                [stream, inner]
                    .iter()
                    .any(|name| permission_for(name) == Some(Permission::Microphone))
            }
            _ => false,
        };
        let granted = view
            .apps
            .last_known(package)
            .is_some_and(|record| record.grants(Permission::Microphone));
        if heard && !granted {
            let text = format!("{package} heard the microphone");
            self.broken(29, "microphone permission", user, text);
        }
    }

    pub(super) fn look_at_webhook(
        &mut self,
        user: &str,
        package: &str,
        body: &Value,
        view: &View<'_>,
    ) {
        let now_ms = self.now_ms;
        let shared = self.waits_with_a_start(user, package);
        // Whether there is to be another is decided after each: one that is due is made, whatever a reload says meanwhile.
        let asking_ms = self.pair(user, package).asking_ms;
        let most = self.most(asking_ms, |cfg| cfg.apps.webhook_attempts) + u64::from(shared);
        let pair = self.pair(user, package);
        let (state, recent) = (pair.state, now_ms - pair.started_ms <= 15_000);
        let phone_away = view
            .session(user)
            .is_none_or(|session| session.m.phone.open().is_none());
        let kind = body["type"].as_str().unwrap_or_default();
        if kind == "session_request" && pair.ended > 0 {
            pair.ended -= 1;
        } else if kind == "session_request" {
            pair.attempts += 1;
            if pair.attempts > most {
                let text = format!("{package} is asked for the {}th time", pair.attempts);
                self.broken(17, "one restart", user, text);
                return;
            }
            let retry = matches!(pair.previous, AppState::Connecting | AppState::Resurrecting)
                || pair.webhooks.len() > 1
                || state == AppState::Connecting;
            if phone_away && !recent && !retry {
                let text = format!("{package} is asked to start while the phone is away");
                self.broken(17, "no restart without a phone", user, text);
            }
        }
        if matches!(state, AppState::GracePeriod | AppState::TransportDown) {
            let text = format!("{package} got {kind} while it may still come back");
            self.broken(16, "grace is silent", user, text);
        }
    }

    /// 16 and 18: the stored list changes only where behaviour.md §12.4 says so.
    pub(super) fn invariant_18_stored_list(&mut self, user: &str, op: &StoreOp, view: &View<'_>) {
        let session = view.session(user);
        let live = session.is_some();
        let now_ms = self.now_ms;
        let problem = match op {
            StoreOp::AddRunning(package) => {
                // What waited for the user record may start and stop an app within one event.
                let at_once = self.before.loading && self.before.user == user;
                let pair = self.pair(user, package);
                let at_once = at_once && pair.state == AppState::Stopping;
                let back = matches!(
                    pair.previous,
                    AppState::GracePeriod | AppState::TransportDown
                );
                (back || !at_once && pair.state != AppState::Running)
                    .then(|| format!("{package} added while {:?}", pair.state))
            }
            StoreOp::RemoveRunning(package) => {
                let pair = self.pair(user, package);
                let gave_up = pair.state == AppState::Stopped && now_ms - pair.started_ms < 30_000;
                let stopping = pair.was_stopping;
                let load_ms = view.cfg.store.db_timeout_ms + 1000;
                let allowed = if live {
                    // A stop of a stopped app may write once more what is not yet known to be durable. One that came while the
                    // user was loading waits for that.
                    let asked = now_ms - pair.stop_asked_ms <= load_ms && pair.stop_asked_ms > 0;
                    pair.stopped || gave_up || stopping || asked
                } else {
                    // A disposal in the middle of a deliberate stop finishes it.
                    self.users[user].stopping_at_end.contains(&**package)
                };
                (!allowed).then(|| format!("{package} removed though nobody stopped it"))
            }
            _ => None,
        };
        if let Some(text) = problem {
            self.broken(18, "stored running list", user, text);
        }
    }

    /// 19: exactly one answer.
    pub(super) fn invariant_19_answered_once(&mut self, id: u64, status: u16, body: &Value) {
        let Some(asked) = self.asked.get_mut(&id) else {
            return;
        };
        let user = asked.user.clone();
        if asked.answer.replace((status, body.clone())).is_some() {
            let text = format!("call {id} was answered twice");
            self.broken(19, "one answer", &user, text);
        }
    }

    pub(super) fn invariant_19_nobody_waits_for_ever(&mut self) {
        let now_ms = self.now_ms;
        let waiting = self
            .asked
            .iter()
            .find(|(_, asked)| asked.answer.is_none() && now_ms - asked.asked_ms > PATIENCE_MS)
            .map(|(id, asked)| (*id, asked.user.clone()));
        if let Some((id, user)) = waiting.filter(|_| !self.draining) {
            let text = format!("call {id} has no answer after {PATIENCE_MS} ms");
            self.broken(19, "one answer", &user, text);
        }
    }

    /// 23: one parked socket per user and app.
    fn invariant_23_one_parked_per_app(&mut self, user: &str, package: &str, view: &View<'_>) {
        let parked = view.net.socks.iter().filter(|(conn, sock)| {
            let own = self.socks.get(conn);
            let waits = own.is_some_and(|own| own.deferred_ms.is_some() && own.acks == 0);
            waits && sock.user == user && sock.package == package && sock.is_open()
        });
        if parked.count() > 1 {
            let text = format!("two sockets of {package} are parked");
            self.broken(23, "parked sockets", user, text);
        }
    }

    /// 23: nothing stays parked.
    pub(super) fn look_at_sockets(&mut self, view: &View<'_>) {
        let waits = |own: &SockView| own.behind || own.repainted;
        for (conn, own) in self.socks.iter_mut().filter(|row| waits(row.1)) {
            let unread = view.is_stalled(*conn);
            own.behind &= unread;
            own.repainted &= unread;
        }
        let limit_ms = |from_ms| self.most(from_ms, |cfg| cfg.apps.deferred_timeout_ms) + SLACK_MS;
        let forgotten = self.socks.iter().find(|(conn, own)| {
            let late = own
                .deferred_ms
                .is_some_and(|at_ms| view.now_ms > at_ms + limit_ms(at_ms));
            late && own.acks == 0 && view.net.get(**conn).is_some_and(|sock| sock.is_open())
        });
        if let Some((conn, _)) = forgotten {
            let text = format!("{conn:?} is parked for too long");
            let user = view.net.get(*conn).map(|sock| sock.user.clone());
            self.broken(23, "parked sockets", &user.unwrap_or_default(), text);
        }
    }
}

pub(super) fn is_standard(view: &View<'_>, package: &str) -> bool {
    view.apps
        .last_known(package)
        .is_some_and(|record| record.app_type == AppType::Standard)
}
