//! Outside thread, REST: which users' sessions of an app have a socket or wait for one, and when many of them are lost at once
//! (behaviour.md §2.14). Plain state, fed by the shards' reports; it sends nothing.

use crate::base::ids::UserId;
use crate::base::settings::Settings;
use std::collections::{HashMap, VecDeque};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Socket {
    Attached,
    /// Kept for recovery.
    Lost,
}

#[derive(Debug)]
struct Link {
    /// Hash of the key that the app used.
    key: String,
    socket: Socket,
}

/// Recent losses of one package, newest last, one per user.
#[derive(Default, Debug)]
struct Losses {
    recent: VecDeque<(u64, UserId)>,
    /// The threshold was reached and the losses go on.
    mass: bool,
}

/// The users whose restarts are to be spread over time, and whether this loss is where the mass disconnect begins.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Spread {
    pub(super) users: Vec<UserId>,
    pub(super) begins: bool,
}

/// All links of all packages.
#[derive(Default)]
pub(super) struct Links {
    sessions: HashMap<String, HashMap<UserId, Link>>,
    losses: HashMap<String, Losses>,
    /// Last sign of life of an app's sockets (ms since the Unix epoch), by key hash.
    seen: HashMap<String, u64>,
}

impl Links {
    pub(super) fn attached(&mut self, package: &str, user: UserId, key: &str, unix_ms: u64) {
        let link = Link {
            key: key.to_owned(),
            socket: Socket::Attached,
        };
        let sessions = self.sessions.entry(package.to_owned()).or_default();
        sessions.insert(user, link);
        self.seen.insert(key.to_owned(), unix_ms);
    }

    /// A socket was lost; from `mass_disconnect_threshold` sessions within the window on, restarts are to be spread.
    pub(super) fn lost(
        &mut self,
        package: &str,
        user: &UserId,
        mono_ms: u64,
        settings: &Settings,
    ) -> Spread {
        if let Some(link) = self
            .sessions
            .get_mut(package)
            .and_then(|users| users.get_mut(user))
        {
            link.socket = Socket::Lost;
        }
        let apps = &settings.apps;
        let (threshold, window_ms) = (
            apps.mass_disconnect_threshold as usize,
            apps.mass_disconnect_window_ms,
        );
        let losses = self.losses.entry(package.to_owned()).or_default();
        losses
            .recent
            .retain(|(at_ms, other)| mono_ms.saturating_sub(*at_ms) <= window_ms && other != user);
        losses.recent.push_back((mono_ms, user.clone()));
        let is_mass = losses.recent.len() >= threshold;
        let was_mass = std::mem::replace(&mut losses.mass, is_mass);
        let begins = is_mass && !was_mass;
        let users = match (is_mass, begins) {
            (false, _) => Vec::new(),
            (true, false) => vec![user.clone()],
            (true, true) => losses.recent.iter().map(|loss| loss.1.clone()).collect(),
        };
        // More than that nobody needs to remember.
        while losses.recent.len() > threshold {
            losses.recent.pop_front();
        }
        Spread { users, begins }
    }

    pub(super) fn ended(&mut self, package: &str, user: &UserId) {
        let Some(sessions) = self.sessions.get_mut(package) else {
            return;
        };
        sessions.remove(user);
        if sessions.is_empty() {
            self.sessions.remove(package);
            self.losses.remove(package);
        }
    }

    /// Users whose session of the package is attached or lost.
    pub(super) fn users_of(&self, package: &str) -> Vec<UserId> {
        let sessions = self.sessions.get(package).into_iter().flatten();
        sessions.map(|(user, _)| user.clone()).collect()
    }

    /// The active sessions of a registration: those whose app used its key.
    pub(super) fn sessions_of(&self, package: &str, key: &str) -> Vec<UserId> {
        let sessions = self.sessions.get(package).into_iter().flatten();
        sessions
            .filter(|(_, link)| link.key == key)
            .map(|(user, _)| user.clone())
            .collect()
    }

    /// A deactivated registration has no sessions any more.
    pub(super) fn forget(&mut self, package: &str, key: &str) {
        if let Some(sessions) = self.sessions.get_mut(package) {
            sessions.retain(|_, link| link.key != key);
        }
    }

    /// Last sign of life of the sockets with this key (ms since the Unix epoch); `now_ms` while one is attached, 0 for none.
    pub(super) fn seen_ms(&self, package: &str, key: &str, now_ms: u64) -> u64 {
        let mut sessions = self.sessions.get(package).into_iter().flatten();
        if sessions.any(|(_, link)| link.key == key && link.socket == Socket::Attached) {
            return now_ms;
        }
        self.seen.get(key).copied().unwrap_or(0)
    }

    /// Forgets signs of life before that moment.
    pub(super) fn forget_seen_before(&mut self, unix_ms: u64) {
        self.seen.retain(|_, seen_ms| *seen_ms > unix_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let mut settings = Settings::default();
        settings.apps.mass_disconnect_threshold = 3;
        settings.apps.mass_disconnect_window_ms = 5000;
        settings
    }

    fn user(name: &str) -> UserId {
        UserId::new(name)
    }

    #[test]
    fn restarts_are_spread_from_the_threshold_on_and_until_the_losses_end() {
        let (mut links, settings) = (Links::default(), settings());
        let mut lose = |name: &str, at_ms| links.lost("x", &user(name), at_ms, &settings);
        assert_eq!(lose("a", 1000), Spread::default());
        assert_eq!(lose("b", 2000), Spread::default());
        let all = Spread {
            users: vec![user("a"), user("b"), user("c")],
            begins: true,
        };
        assert_eq!(lose("c", 3000), all);
        let one_more = Spread {
            users: vec![user("d")],
            begins: false,
        };
        assert_eq!(lose("d", 3100), one_more);
        assert_eq!(lose("e", 60_000), Spread::default());
        assert_eq!(lose("f", 60_001), Spread::default());
        assert!(lose("g", 60_002).begins, "a second crash is a new one");
    }

    #[test]
    fn neither_slow_losses_nor_one_flapping_session_are_a_crash() {
        let (mut links, settings) = (Links::default(), settings());
        for round in 0..10 {
            let slow = links.lost("x", &user(&round.to_string()), round * 3000, &settings);
            assert_eq!(slow, Spread::default());
            let flapping = links.lost("y", &user("a"), round, &settings);
            assert_eq!(flapping, Spread::default());
        }
    }

    #[test]
    fn an_attached_socket_is_a_sign_of_life_and_a_lost_one_was() {
        let (mut links, settings) = (Links::default(), settings());
        links.attached("x", user("a"), "key", 100);
        assert_eq!(links.seen_ms("x", "key", 900), 900);
        links.lost("x", &user("a"), 1, &settings);
        assert_eq!(links.seen_ms("x", "key", 900), 100);
        assert_eq!(links.sessions_of("x", "key"), [user("a")]);
        assert!(links.sessions_of("x", "other").is_empty());
        links.forget("x", "key");
        assert!(links.users_of("x").is_empty());
    }
}
