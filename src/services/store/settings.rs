//! Outside thread, store semantics: merging settings into a user's record, bounded. Pure, as `changes.rs`.

use super::changes::Outcome;
use crate::wire::records::UserRecord;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Settings of a user, and of each app for a user. Nobody has as many, and each is looked for among all.
const SETTINGS_MAX: usize = 1000;

/// Merges `[{key, value}]` into an app's settings.
pub(super) fn merge_app(record: &mut UserRecord, package: &str, changes: &[Value]) -> Outcome {
    let stored = record.app_settings.get(package).into_iter().flatten();
    let keys = stored
        .chain(changes)
        .filter_map(|one| one.get("key")?.as_str());
    if changes.len() > SETTINGS_MAX || are_too_many(keys) {
        return Outcome::TotalTooLong;
    }
    let settings = record.app_settings.entry(package.to_owned()).or_default();
    for change in changes {
        let known = settings
            .iter_mut()
            .find(|entry| entry.get("key") == change.get("key"));
        match known {
            Some(entry) => *entry = change.clone(),
            None => settings.push(change.clone()),
        }
    }
    Outcome::AppSettings(settings.clone())
}

/// Merges user settings; null deletes.
pub(super) fn merge_user(record: &mut UserRecord, changes: &Map<String, Value>) -> Outcome {
    let keys = record.user_settings.keys().chain(changes.keys());
    if are_too_many(keys.map(String::as_str)) {
        return Outcome::TotalTooLong;
    }
    for (key, value) in changes {
        if value.is_null() {
            record.user_settings.remove(key);
        } else {
            record.user_settings.insert(key.clone(), value.clone());
        }
    }
    Outcome::UserSettings(record.user_settings.clone())
}

fn are_too_many<'k>(keys: impl Iterator<Item = &'k str>) -> bool {
    keys.collect::<BTreeSet<_>>().len() > SETTINGS_MAX
}
