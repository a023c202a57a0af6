//! Outside thread, store semantics: merging settings into a user's record, bounded. Pure, as `changes.rs`.

use super::changes::Outcome;
use crate::wire::records::UserRecord;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Settings of a user, and of each app for a user. Nobody has as many, and each is looked for among all.
const SETTINGS_MAX: usize = 1000;

/// How many there may be where there are so many now. Who was imported with more keeps them, changes and deletes them.
fn most(now: usize) -> usize {
    now.max(SETTINGS_MAX)
}

/// Merges `[{key, value}]` into an app's settings.
pub(super) fn merge_app(record: &mut UserRecord, package: &str, changes: &[Value]) -> Outcome {
    fn key(setting: &Value) -> Option<&str> {
        setting.get("key")?.as_str()
    }
    let stored = record
        .app_settings
        .get(package)
        .map_or(&[][..], Vec::as_slice);
    let now: BTreeSet<_> = stored.iter().filter_map(key).collect();
    let most = most(now.len());
    let new: BTreeSet<_> = changes.iter().filter_map(key).collect();
    if changes.len() > most || now.union(&new).count() > most {
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
    let (mut new, mut gone) = (0, 0);
    for (key, value) in changes {
        match (record.user_settings.contains_key(key), value.is_null()) {
            (true, true) => gone += 1,
            (false, false) => new += 1,
            _ => {}
        }
    }
    let now = record.user_settings.len();
    if now + new - gone > most(now) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changes(value: &Value) -> &Map<String, Value> {
        value.as_object().expect("an object")
    }

    #[test]
    fn who_has_more_settings_than_the_bound_changes_and_deletes_them_but_adds_none() {
        let key = |n: usize| format!("key{n}");
        let mut record = UserRecord {
            user_settings: (0..1500).map(|n| (key(n), json!(n))).collect(),
            ..UserRecord::default()
        };
        let merged = merge_user(
            &mut record,
            changes(&json!({"key1": "x", "key2": null, "none": null})),
        );
        assert!(matches!(merged, Outcome::UserSettings(all) if all.len() == 1499));
        assert_eq!(record.user_settings["key1"], "x");
        let refused = merge_user(&mut record, changes(&json!({"new": 1})));
        assert_eq!(refused, Outcome::TotalTooLong);
        // As many as go may come.
        let swapped = merge_user(&mut record, changes(&json!({"new": 1, "key3": null})));
        assert!(matches!(swapped, Outcome::UserSettings(all) if all.len() == 1499));
        for n in 0..1500 {
            let _ = merge_user(&mut record, changes(&json!({key(n): null})));
        }
        let added = merge_user(&mut record, changes(&json!({"newer": 1})));
        assert!(matches!(added, Outcome::UserSettings(all) if all.len() == 2));
    }

    #[test]
    fn an_apps_settings_beyond_the_bound_can_be_changed_too() {
        let setting = |n: usize, value: u64| json!({"key": format!("key{n}"), "value": value});
        let mut record = UserRecord::default();
        let many = (0..1500).map(|n| setting(n, 0)).collect();
        record.app_settings.insert("a.b".into(), many);
        // A phone may send the whole list.
        let all: Vec<_> = (0..1500).map(|n| setting(n, 1)).collect();
        for changes in [&all[..1], &all] {
            let merged = merge_app(&mut record, "a.b", changes);
            assert!(matches!(merged, Outcome::AppSettings(all) if all.len() == 1500));
        }
        let refused = merge_app(&mut record, "a.b", &[setting(1500, 1)]);
        assert_eq!(refused, Outcome::TotalTooLong);
        assert_eq!(record.app_settings["a.b"][7]["value"], 1);
        // Where there are few the bound holds for all that is sent.
        assert_eq!(merge_app(&mut record, "c.d", &all), Outcome::TotalTooLong);
    }
}
