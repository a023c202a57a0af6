//! Invariants 1–8, 22, 46: sessions and their sockets.

use super::super::net::{Down, Party, Up};
use super::{Cause, Pair, Seen, View, Watch, fingerprint, must_be_quiet};
use prism::base::close::CloseReason;
use prism::base::ids::ConnId;
use prism::session::State;
use prism::session::rest::Call;

/// Deadlines are met within this (ms): one turn of the shard.
const SLACK_MS: u64 = 60;

impl Watch {
    pub(super) fn look_at_session(&mut self, user: &str, cause: &Cause, view: &View<'_>) {
        let session = view.session(user);
        let epoch = session.map(|session| session.epoch);
        let current = session.and_then(|session| session.m.phone.open());
        let known = self.users.entry(user.to_owned()).or_default();
        let (old_epoch, old_current) = (known.epoch, known.current);
        if old_epoch != epoch {
            let stopping = |(name, pair): (String, Pair)| pair.is_stopping.then_some(name);
            let pairs = std::mem::take(&mut known.pairs);
            known.stopping_at_end = pairs.into_iter().filter_map(stopping).collect();
            known.mic_changes.clear();
            known.need_since_ms = view.now_ms;
        }
        known.epoch = epoch;
        known.current = current;
        if current != old_current {
            known.current_since_ms = view.now_ms;
            known.forced_ms = view.now_ms;
            if let Some(old) = old_current {
                self.socks.entry(old).or_default().behind |= view.is_stalled(old);
            }
            if let Some(new) = current {
                self.socks.entry(new).or_default().repainted |= view.is_stalled(new);
            }
        }
        let lost_ms = known.lost_ms;
        if current.is_none() && (old_current.is_some() || old_epoch != epoch) {
            known.lost_ms = view.now_ms;
        }
        if let (Some(old), new) = (old_epoch, epoch)
            && new != Some(old)
        {
            let lost_ms = old_current.is_none().then_some(lost_ms);
            self.invariant_02_grace_is_exact(user, lost_ms, cause, view);
            self.invariant_04_every_socket_is_closed(user, view);
        }
        if old_epoch.is_some() && epoch.is_none() {
            self.ended.push(user.to_owned());
        }
        if epoch.is_some() && old_epoch != epoch {
            self.invariant_01_sessions_are_made_by_phones(user);
        }
        if let Some(session) = session {
            let (lost_ms, state) = (self.users[user].lost_ms, session.state);
            self.invariant_02_no_session_outlives_its_grace(user, current, lost_ms, view);
            if state == State::Disposed {
                let text = "a disposed session is still found".to_owned();
                self.broken(4, "nothing after disposal", user, text);
            }
        }
    }

    /// 1 and 4: only a phone's connection makes a session; no callback, REST call or app does.
    fn invariant_01_sessions_are_made_by_phones(&mut self, user: &str) {
        if self.opening.as_deref() != Some(user) {
            let text = "a session was made though no phone connected".to_owned();
            self.broken(1, "one session per user", user, text);
        }
    }

    /// 2: a session ends at the end of the grace, or because somebody asked for it.
    fn invariant_02_grace_is_exact(
        &mut self,
        user: &str,
        lost_ms: Option<u64>,
        cause: &Cause,
        view: &View<'_>,
    ) {
        let asked = matches!(cause, Cause::Rest(_, _, Call::Goodbye | Call::Dispose))
            || self.defective.as_deref() == Some(user);
        let waited_ms = lost_ms.map(|lost_ms| view.now_ms - lost_ms);
        // That of its beginning: a reload does not move what is due.
        let grace_ms =
            lost_ms.map(|lost_ms| self.at(lost_ms, |cfg| cfg.connections.reconnect_grace_ms));
        let due = waited_ms
            .zip(grace_ms)
            .is_some_and(|(ms, grace_ms)| ms >= grace_ms && ms <= grace_ms + SLACK_MS);
        if !asked && !due {
            let text = format!("ended {waited_ms:?} ms after its phone left, by {cause:?}");
            self.broken(2, "grace", user, text);
        }
    }

    fn invariant_02_no_session_outlives_its_grace(
        &mut self,
        user: &str,
        current: Option<ConnId>,
        lost_ms: u64,
        view: &View<'_>,
    ) {
        let grace_ms = self.most(lost_ms, |cfg| cfg.connections.reconnect_grace_ms);
        let limit_ms = grace_ms + SLACK_MS;
        if current.is_none() && !self.draining && view.now_ms > lost_ms + limit_ms {
            let text = format!("alive {} ms after its phone left", view.now_ms - lost_ms);
            self.broken(2, "grace", user, text);
        }
    }

    /// 4: every socket that belonged to a session is closed with it.
    fn invariant_04_every_socket_is_closed(&mut self, user: &str, view: &View<'_>) {
        let open = view.net.socks.iter().find(|(conn, sock)| {
            let own = self.socks.get(conn);
            let is_member = sock.package.is_empty()
                || own.is_some_and(|own| own.acks > 0 || (own.hello && own.deferred_ms.is_none()));
            // Strays of another kind keep their own deadlines.
            let owned = sock.user == user && is_member && sock.party != Party::Stray;
            owned && sock.is_open() && sock.stalled_until_ms == 0 && sock.opened_ms < view.now_ms
        });
        if let Some((conn, _)) = open {
            let text = format!("{conn:?} is still open after the session ended");
            self.broken(4, "nothing after disposal", user, text);
        }
    }

    /// 5: whoever ends a session that has ended gets an answer, and that is all.
    pub(super) fn invariant_05_ended_once(&mut self, seen: &[Seen]) {
        let more = |one: &&Seen| !matches!(one, Seen::Answered(..));
        if self.before.over
            && let Some(more) = seen.iter().find(more)
        {
            let (user, text) = (self.before.user.clone(), format!("ended twice: {more:?}"));
            self.broken(5, "dispose twice", &user, text);
        }
    }

    /// 6: one `connection_ack` per initialisation, before anything but `pong`.
    pub(super) fn invariant_06_ack_first(&mut self, conn: ConnId, frame: &Down, user: &str) {
        let own = self.socks.entry(conn).or_default();
        match frame.kind() {
            "" | "pong" => return,
            "connection_ack" => own.acks += 1,
            _ if own.acks > 0 => return,
            kind => {
                let text = format!("{conn:?} got {kind} before its connection_ack");
                return self.broken(6, "ack first", user, text);
            }
        }
        if own.acks > 1 + own.inits {
            let text = format!("{conn:?} got {} acks for {} inits", own.acks, 1 + own.inits);
            self.broken(6, "ack first", user, text);
        }
    }

    /// 7: `ping` is answered on the same socket, at once.
    pub(super) fn invariant_07_pings_are_answered(&mut self, seen: &[Seen]) {
        let Some(conn) = self.before.ping else {
            return;
        };
        let answered = seen.iter().any(
            |one| matches!(one, Seen::Sent(to, frame) if *to == conn && frame.kind() == "pong"),
        );
        if !answered {
            let user = self.before.user.clone();
            let text = format!("a ping on {conn:?} got no pong");
            self.broken(7, "pings are answered", &user, text);
        }
    }

    /// What must not have changed, by cause.
    pub(super) fn look_at_cause(&mut self, cause: &Cause, seen: &[Seen], view: &View<'_>) {
        let (conn, frame) = match cause {
            Cause::Frame(conn, frame) => (*conn, Some(frame)),
            Cause::Ended(conn) => (*conn, None),
            Cause::PhoneOpened(conn) => return self.invariant_06_ack_comes(*conn, view),
            Cause::Rest(user, _, Call::DeviceState { body }) => {
                return self.invariant_43_same_state_is_silent(user, body, seen);
            }
            _ => return,
        };
        let Some(sock) = view.net.get(conn) else {
            return;
        };
        if !must_be_quiet(cause, view) {
            return;
        }
        let user = sock.user.clone();
        let after = view.session(&user).map(fingerprint).unwrap_or_default();
        if sock.package.is_empty() {
            let stale = self.before.current != Some(conn);
            let quiet = !matches!(frame, Some(Up::Text(_) | Up::Binary(_))) || self.before.stale;
            if stale && quiet {
                self.invariant_03_stale_sockets_change_nothing(&user, conn, &after);
            }
        } else if sock.party == Party::Stray {
            self.invariant_20_wrong_key_changes_nothing(&user, &after);
        }
    }

    /// 3: the end (or a pong) of a superseded socket changes nothing, nor does a frame of one that cannot take over.
    fn invariant_03_stale_sockets_change_nothing(&mut self, user: &str, conn: ConnId, after: &str) {
        if self.before.fingerprint != after {
            let text = format!(
                "{conn:?} was not current, but its end or frame changed {} to {after}",
                self.before.fingerprint
            );
            self.broken(3, "stale sockets", user, text);
        }
    }

    /// 20: a wrong key changes nothing but a start that waits.
    fn invariant_20_wrong_key_changes_nothing(&mut self, user: &str, after: &str) {
        if self.before.fingerprint != after && !self.before.starting {
            let text = format!("{} became {after}", self.before.fingerprint);
            self.broken(20, "wrong key", user, text);
        }
    }

    /// 6: once the user is loaded, a socket that just opened has its ack.
    fn invariant_06_ack_comes(&mut self, conn: ConnId, view: &View<'_>) {
        let Some(sock) = view.net.get(conn) else {
            return;
        };
        let loaded = view
            .session(&sock.user)
            .is_some_and(|session| session.state != State::Initializing);
        let acks = self.socks.entry(conn).or_default().acks;
        if loaded && sock.is_open() && acks == 0 {
            let text = format!("{conn:?} got no connection_ack");
            self.broken(6, "ack first", &sock.user.clone(), text);
        }
    }

    /// 22: only the codes and reasons of the table, each to whom it is meant for.
    pub(super) fn invariant_22_close_codes(
        &mut self,
        conn: ConnId,
        code: u16,
        reason: &str,
        view: &View<'_>,
    ) {
        let Some(sock) = view.net.get(conn) else {
            return;
        };
        let known = CloseReason::ALL
            .iter()
            .any(|one| one.code() == code && one.text() == reason);
        let echo = reason.is_empty();
        let to_phone = sock.package.is_empty();
        let fits = match code {
            1000 => !to_phone || reason == "User session ended",
            1001 => {
                (self.draining && reason == "Server shutting down")
                    || reason == "Connection timeout detected"
            }
            1008 => !to_phone,
            // A panic where a scenario makes one, or an app whose record could not be read yet.
            1011 => self.defective.as_ref() == Some(&sock.user) || (!to_phone && !view.apps.loaded),
            _ => true,
        };
        let in_table = known && fits;
        if !echo && !in_table {
            let text = format!("{conn:?} {} was closed {code} {reason:?}", sock.package);
            self.broken(22, "close codes", &sock.user.clone(), text);
        }
        if reason == "Connection timeout detected" {
            let (silent_ms, health) = (view.now_ms - self.heard_ms(conn, view), &view.cfg.health);
            let limit_ms = if to_phone {
                health.glasses_timeout_ms
            } else {
                health.app_timeout_ms
            };
            if silent_ms < limit_ms {
                let text = format!("{conn:?} was timed out after {silent_ms} ms of silence");
                self.broken(46, "liveness", &sock.user.clone(), text);
            }
        }
    }

    /// 46: no dead socket stays.
    pub(super) fn invariant_46_dead_sockets_go(
        &mut self,
        user: &str,
        conn: ConnId,
        view: &View<'_>,
    ) {
        let Some(sock) = view.net.get(conn) else {
            return;
        };
        let health = &view.cfg.health;
        let proven = self.socks.get(&conn).is_some_and(|own| own.pongs);
        let limit_ms = if sock.package.is_empty() || !proven {
            health.glasses_timeout_ms
        } else {
            health.app_timeout_ms
        };
        let silent_ms = view.now_ms - self.heard_ms(conn, view);
        let late = silent_ms > limit_ms + health.heartbeat_interval_ms + 1000;
        if late && sock.stalled_until_ms == 0 && !self.draining {
            let text = format!("{conn:?} is kept after {silent_ms} ms of silence");
            self.broken(46, "liveness", user, text);
        }
    }
}
