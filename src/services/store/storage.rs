//! Outside thread, store semantics: simple storage (behaviour.md §7.11), bounded. Pure, as `changes.rs`.

use super::changes::{Edit, Outcome, json, parse};
use std::collections::BTreeMap;

/// Limits of simple storage (behaviour.md §7.11), in characters as JavaScript counts them (UTF-16 units).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// Largest value.
    pub value_chars: u64,
    /// All values of one user and package.
    pub total_chars: u64,
}

/// Keys of one user and package in simple storage.
const KEYS_MAX: usize = 10_000;

/// Merges into a user's storage of one package.
pub(super) fn merge(
    document: Option<&[u8]>,
    data: &BTreeMap<String, String>,
    quota: Quota,
) -> (Edit, Outcome) {
    let chars = |text: &String| text.encode_utf16().count() as u64;
    let Ok(stored) = parse::<BTreeMap<String, String>>(document) else {
        return (Edit::Keep, Outcome::Damaged);
    };
    if data.values().any(|value| chars(value) > quota.value_chars) {
        return (Edit::Keep, Outcome::ValueTooLong);
    }
    let mut stored = stored.unwrap_or_default();
    let total = |stored: &BTreeMap<String, String>| stored.values().map(chars).sum::<u64>();
    let (chars_before, keys_before) = (total(&stored), stored.len());
    stored.extend(data.iter().map(|(key, value)| (key.clone(), value.clone())));
    // Only values count on the wire; the number of keys is bounded too, so that empty values are no way around the limit. What
    // was stored under a larger quota may stay and shrink.
    if total(&stored) > quota.total_chars.max(chars_before)
        || stored.len() > KEYS_MAX.max(keys_before)
    {
        return (Edit::Keep, Outcome::TotalTooLong);
    }
    (Edit::Put(json(&stored)), Outcome::Done)
}

/// Deletes one value.
pub(super) fn delete(document: Option<&[u8]>, key: &str) -> (Edit, Outcome) {
    match parse::<BTreeMap<String, String>>(document) {
        Err(_) => (Edit::Keep, Outcome::Damaged),
        Ok(None) => (Edit::Keep, Outcome::Absent),
        Ok(Some(mut stored)) => match stored.remove(key) {
            Some(_) => (Edit::Put(json(&stored)), Outcome::Done),
            None => (Edit::Keep, Outcome::Done),
        },
    }
}
