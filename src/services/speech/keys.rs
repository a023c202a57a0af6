//! Outside thread, speech: keys of a provider (behaviour.md §8.6.3): the first one while it works, else the others in turn. A
//! key that failed rests.

use super::classify::KeyTrouble;
use crate::base::settings::Settings;
use crate::wire::auth::sha256_hex;

/// Hex digits of a key's hash that name it in logs.
const ID_DIGITS: usize = 12;

/// A key to use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    /// For logs and reports: says nothing about the key.
    pub(super) id: String,
    pub(super) secret: String,
}

/// Why there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoKey {
    /// None is configured, or all are refused.
    Never,
    /// The first one is back at this time (ms).
    Until(u64),
}

struct Entry {
    key: Key,
    trouble: Option<KeyTrouble>,
    rests_until: u64,
    failed_at: u64,
    /// The longest rest that was logged since the key could last be used (ms).
    told_ms: u64,
}

impl Entry {
    fn refused(&self) -> bool {
        self.trouble == Some(KeyTrouble::Authentication)
    }

    fn available(&self, now: u64) -> bool {
        !self.refused() && self.rests_until <= now
    }
}

/// How many keys are in which state.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct KeyStates {
    /// Can be used.
    pub(crate) available: u64,
    /// Rest.
    pub(crate) resting: u64,
    /// Refused by the provider.
    pub(crate) refused: u64,
}

/// All keys; the first is the primary one.
#[derive(Default)]
pub(super) struct Keys {
    entries: Vec<Entry>,
    turn: usize,
}

pub(super) fn id_of(secret: &str) -> String {
    let mut id = sha256_hex(secret);
    id.truncate(ID_DIGITS);
    id
}

/// How long a key rests after that; `None` = for good.
fn rest_ms(trouble: KeyTrouble, settings: &Settings) -> Option<u64> {
    let speech = &settings.speech;
    match trouble {
        KeyTrouble::Authentication => None,
        KeyTrouble::Concurrency => Some(speech.key_cooldown_concurrency_ms),
        KeyTrouble::Rate => Some(speech.key_cooldown_rate_ms),
        KeyTrouble::Quota => Some(speech.key_cooldown_quota_ms),
        KeyTrouble::Transient => Some(speech.key_cooldown_transient_ms),
    }
}

impl Keys {
    /// Takes the keys of the settings over; what is known of a key that stays is kept.
    pub(super) fn set<'a>(&mut self, secrets: impl Iterator<Item = &'a str>) {
        let mut old = std::mem::take(&mut self.entries);
        for secret in secrets.map(str::trim) {
            let known = |entry: &Entry| entry.key.secret == secret;
            if secret.is_empty() || self.entries.iter().any(known) {
                continue;
            }
            let entry = match old.iter().position(known) {
                Some(at) => old.swap_remove(at),
                None => Entry {
                    key: Key {
                        id: id_of(secret),
                        secret: secret.to_owned(),
                    },
                    trouble: None,
                    rests_until: 0,
                    failed_at: 0,
                    told_ms: 0,
                },
            };
            self.entries.push(entry);
        }
    }

    /// The key to use now.
    pub(super) fn pick(&mut self, now: u64) -> Result<Key, NoKey> {
        let Some((primary, others)) = self.entries.split_first() else {
            return Err(NoKey::Never);
        };
        if primary.available(now) {
            return Ok(primary.key.clone());
        }
        for step in 0..others.len() {
            let at = (self.turn + step) % others.len();
            if others[at].available(now) {
                self.turn = (at + 1) % others.len();
                return Ok(others[at].key.clone());
            }
        }
        Err(self.first_back(now).err().unwrap_or(NoKey::Never))
    }

    /// When a key can be used again, if none can now.
    pub(super) fn first_back(&self, now: u64) -> Result<(), NoKey> {
        if self.any(now) {
            return Ok(());
        }
        let resting = self.entries.iter().filter(|entry| !entry.refused());
        let first = resting.map(|entry| entry.rests_until).min();
        Err(first.map_or(NoKey::Never, NoKey::Until))
    }

    /// Whether a stream that starts now would get a key.
    pub(super) fn any(&self, now: u64) -> bool {
        self.entries.iter().any(|entry| entry.available(now))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Something was recognised on a connection that `began` then. One from before the key failed proves nothing.
    pub(super) fn worked(&mut self, id: &str, began: u64) {
        if let Some(entry) = self.entry(id)
            && !entry.refused()
            && began > entry.failed_at
        {
            entry.trouble = None;
            entry.rests_until = 0;
        }
    }

    /// The key failed.
    pub(super) fn failed(&mut self, id: &str, trouble: KeyTrouble, settings: &Settings, now: u64) {
        let rest = rest_ms(trouble, settings);
        let Some(entry) = self.entry(id) else {
            return;
        };
        if entry.refused() {
            return;
        }
        // All recognisers of a key fail at once: the first failure is logged, and those that make it rest longer.
        let longest_ms = rest.unwrap_or(u64::MAX);
        let is_news = entry.available(now) || longest_ms > entry.told_ms;
        entry.trouble = Some(trouble);
        entry.failed_at = now;
        entry.rests_until = entry.rests_until.max(now.saturating_add(rest.unwrap_or(0)));
        if !is_news {
            return;
        }
        entry.told_ms = longest_ms;
        let available = self.entries.iter().filter(|other| other.available(now));
        tracing::warn!(
            key = id,
            trouble = trouble.name(),
            rest_ms = rest,
            available = available.count(),
            "speech-key-failed"
        );
    }

    /// For reports.
    pub(super) fn states(&self, now: u64) -> KeyStates {
        let mut states = KeyStates::default();
        for entry in &self.entries {
            if entry.refused() {
                states.refused += 1;
            } else if entry.available(now) {
                states.available += 1;
            } else {
                states.resting += 1;
            }
        }
        states
    }

    fn entry(&mut self, id: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.key.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[&str]) -> Keys {
        let mut keys = Keys::default();
        keys.set(secrets.iter().copied());
        keys
    }

    fn pick(keys: &mut Keys, now: u64) -> String {
        keys.pick(now).expect("a key").secret
    }

    fn fail(keys: &mut Keys, secret: &str, trouble: KeyTrouble, now: u64) {
        keys.failed(&id_of(secret), trouble, &Settings::default(), now);
    }

    #[test]
    fn the_first_one_while_it_works_else_the_others_in_turn() {
        let mut keys = keys(&["a", " b ", "c", "b", ""]);
        assert_eq!(keys.len(), 3, "trimmed, and each once");
        assert_eq!(
            (pick(&mut keys, 1), pick(&mut keys, 1)),
            ("a".into(), "a".into())
        );
        fail(&mut keys, "a", KeyTrouble::Concurrency, 1000);
        let turns: Vec<_> = (0..3).map(|_| pick(&mut keys, 1000)).collect();
        assert_eq!(turns, ["b", "c", "b"]);
        assert_eq!(pick(&mut keys, 5999), "c");
        assert_eq!(pick(&mut keys, 6000), "a", "rested for 5 s");
    }

    #[test]
    fn each_trouble_has_its_rest() {
        for (trouble, rest) in [
            (KeyTrouble::Concurrency, 5000),
            (KeyTrouble::Rate, 60_000),
            (KeyTrouble::Quota, 1_800_000),
            (KeyTrouble::Transient, 10_000),
        ] {
            let mut keys = keys(&["a"]);
            fail(&mut keys, "a", trouble, 100);
            assert_eq!(keys.pick(100), Err(NoKey::Until(100 + rest)));
            assert!(keys.pick(100 + rest).is_ok());
        }
        let mut keys = keys(&["a"]);
        fail(&mut keys, "a", KeyTrouble::Authentication, 100);
        assert_eq!(keys.pick(u64::MAX), Err(NoKey::Never));
    }

    #[test]
    fn a_shorter_rest_does_not_end_a_longer_one_and_refused_is_refused() {
        let mut keys = keys(&["a", "b"]);
        fail(&mut keys, "a", KeyTrouble::Quota, 0);
        fail(&mut keys, "a", KeyTrouble::Concurrency, 1);
        fail(&mut keys, "b", KeyTrouble::Rate, 0);
        assert_eq!(keys.pick(2), Err(NoKey::Until(60_000)));
        assert!(!keys.any(2));
        fail(&mut keys, "a", KeyTrouble::Authentication, 3);
        fail(&mut keys, "a", KeyTrouble::Transient, 4);
        let expected = KeyStates {
            available: 1,
            resting: 0,
            refused: 1,
        };
        assert_eq!(keys.states(60_000), expected);
    }

    #[test]
    fn only_a_success_that_began_after_the_failure_ends_the_rest() {
        let mut keys = keys(&["a"]);
        fail(&mut keys, "a", KeyTrouble::Rate, 1000);
        keys.worked(&id_of("a"), 900);
        assert!(!keys.any(1001));
        keys.worked(&id_of("a"), 1001);
        assert!(keys.any(1001));
        fail(&mut keys, "a", KeyTrouble::Authentication, 2000);
        keys.worked(&id_of("a"), 3000);
        assert!(!keys.any(u64::MAX), "refused stays refused");
    }

    #[test]
    fn a_key_that_fails_for_all_at_once_is_told_once() {
        let mut keys = keys(&["a"]);
        let mut told = |trouble, now| {
            let fail_all = || (0..100).for_each(|_| fail(&mut keys, "a", trouble, now));
            crate::base::log_capture::lines_of(fail_all).len()
        };
        for (trouble, now, lines) in [
            (KeyTrouble::Concurrency, 0, 1),
            (KeyTrouble::Rate, 1, 1),
            (KeyTrouble::Concurrency, 2, 0),
            (KeyTrouble::Rate, 3, 0),
            (KeyTrouble::Rate, 70_000, 1),
            (KeyTrouble::Authentication, 70_001, 1),
        ] {
            assert_eq!(told(trouble, now), lines, "{now}");
        }
    }

    #[test]
    fn new_settings_keep_what_is_known() {
        let mut keys = keys(&["a", "b"]);
        fail(&mut keys, "a", KeyTrouble::Authentication, 0);
        keys.set(["a", "c"].into_iter());
        assert_eq!(pick(&mut keys, 0), "c");
        keys.set(["d"].into_iter());
        assert_eq!(pick(&mut keys, 0), "d");
    }

    #[test]
    fn an_id_tells_nothing() {
        assert_eq!(id_of("abc"), "ba7816bf8f01");
    }
}
