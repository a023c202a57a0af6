//! Invariant 25 for the mini-apps that run on the phone itself (behaviour.md §2.17): they subscribe together, as `__phone__`.

use super::{View, Watch};
use prism::base::ids::{ConnId, Package};
use prism::session::State;
use serde_json::Value;
use std::collections::BTreeSet;

impl Watch {
    /// A phone's list reached the server: what must be stored afterwards, where it is the current socket's and need not wait.
    pub(super) fn note_mini_apps(&mut self, conn: ConnId, message: &Value, view: &View<'_>) {
        if message["type"] != "phone_subscription_update" {
            return;
        }
        let Some(sock) = view.net.get(conn).filter(|sock| sock.is_open()) else {
            return;
        };
        let user = sock.user.clone();
        let is_current = view.session(&user).is_some_and(|session| {
            session.state == State::Connected && session.m.phone.open() == Some(conn)
        });
        if !is_current {
            self.before.unsure_list = true;
            return;
        }
        let list = message["subscriptions"].as_array().into_iter().flatten();
        let wanted = list.filter_map(Value::as_str).map(str::to_owned).collect();
        self.mini_app_lists += 1;
        self.mini_apps_want(&user, wanted);
    }

    fn mini_apps_want(&mut self, user: &str, wanted: BTreeSet<String>) {
        let pair = self.pair(user, Package::PHONE);
        if pair.subs != wanted {
            pair.subs = wanted;
            self.sets_changed(user);
        }
    }

    /// 25: the stored set is the last one asked for.
    pub(super) fn invariant_25_mini_apps(&mut self, user: &str, view: &View<'_>) {
        let Some(session) = view.session(user) else {
            return;
        };
        let stored = session.m.subscriptions.get(Package::PHONE);
        let stored = stored.map(|one| one.list()).unwrap_or_default();
        let stored: BTreeSet<String> = stored.iter().map(|one| one.text.to_string()).collect();
        // What waited for the user record comes with it, or with the end of the wait.
        let loading = session.state == State::Initializing;
        let view = self.users.entry(user.to_owned()).or_default();
        let was_loading = std::mem::replace(&mut view.loading, loading);
        let unsure = self.before.unsure_list && self.before.user == user;
        if was_loading || unsure {
            return self.mini_apps_want(user, stored);
        }
        let wanted = &self.pair(user, Package::PHONE).subs;
        if stored != *wanted {
            let text = format!("mini-apps have {stored:?} instead of {wanted:?}");
            self.broken(25, "stored subscriptions", user, text);
        }
    }
}
