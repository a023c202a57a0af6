//! Command line: `prism import`: takes users, apps, user settings and simple storage from JSON lines as `mongoexport` writes
//! them (behaviour.md §12.1, §12.2). A record replaces the stored one; running it twice does no harm.

use super::StoreArgs;
use crate::base::ids::UserId;
use crate::services::offline::Offline;
use crate::services::store::{Change, Outcome, Quota};
use crate::wire::members::whole;
use crate::wire::records::{AppRecord, InstalledApp, StoredLocation, UserRecord};
use clap::Args;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;

/// Changes held before they are written.
const BATCH: usize = 500;

#[derive(Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
    /// JSON lines; each is an app, a user, a user's settings or a simple storage, told apart by its members.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Imports all files, in order.
pub(super) fn run(args: &ImportArgs) -> ExitCode {
    super::report(import(args))
}

fn import(args: &ImportArgs) -> Result<(), Box<dyn Error>> {
    let settings = args.store.settings(None)?;
    let messages = &settings.messages;
    let quota = Quota {
        value_chars: messages.storage_value_chars,
        total_chars: messages.storage_total_chars,
    };
    let store = Offline::open(&settings)?;
    let (mut written, mut skipped) = (0, 0);
    for file in &args.files {
        let mut changes = Vec::new();
        for (index, line) in BufReader::new(std::fs::File::open(file)?)
            .lines()
            .enumerate()
        {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            match serde_json::from_str(&line)
                .ok()
                .and_then(|record| change_of(&plain(record), quota))
            {
                Some(change) => changes.push(change),
                None => {
                    skipped += 1;
                    eprintln!("{}:{}: no known record", file.display(), index + 1);
                }
            }
            if changes.len() == BATCH {
                written += write(&store, &mut changes)?;
            }
        }
        written += write(&store, &mut changes)?;
    }
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "imported": written, "skipped": skipped })
        );
    } else {
        println!("{written} records imported, {skipped} lines skipped");
    }
    Ok(())
}

fn write(store: &Offline, changes: &mut Vec<Change>) -> Result<usize, Box<dyn Error>> {
    let outcomes = store.write(changes)?;
    let refused = |outcome: &&Outcome| {
        matches!(
            outcome,
            Outcome::ValueTooLong | Outcome::TotalTooLong | Outcome::Damaged
        )
    };
    let lost = outcomes.iter().filter(refused).count();
    if lost > 0 {
        eprintln!("{lost} records were refused: damaged or beyond the storage quota");
    }
    let written = changes.len() - lost;
    changes.clear();
    Ok(written)
}

/// Numbers as numbers, where the export wrapped them in text with their type; dates stay as they are.
fn plain(value: Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(plain).collect(),
        Value::Object(map) => {
            let wrapped = ["$numberInt", "$numberLong", "$numberDouble"]
                .iter()
                .find_map(|name| map.get(*name)?.as_str()?.parse::<serde_json::Number>().ok());
            match wrapped {
                Some(number) if map.len() == 1 => Value::Number(number),
                _ => Value::Object(
                    map.into_iter()
                        .map(|(name, value)| (name, plain(value)))
                        .collect(),
                ),
            }
        }
        other => other,
    }
}

/// What a record asks for; `None` for an unknown one.
fn change_of(record: &Value, quota: Quota) -> Option<Change> {
    let text = |name: &str| {
        record
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.trim().is_empty())
    };
    let user = || text("email").map(|email| UserId::new(email.trim()));
    match (
        text("packageName"),
        record.get("data"),
        record.get("settings"),
    ) {
        (Some(package), Some(Value::Object(data)), _) => {
            let pair =
                |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
            let data: BTreeMap<_, _> = data.iter().filter_map(pair).collect();
            Some(Change::StorageMerge(
                user()?,
                package.to_owned(),
                data,
                quota,
            ))
        }
        (Some(_), _, _) => {
            let mut app: AppRecord = serde_json::from_value(tidied(record)).ok()?;
            app.public_url
                .truncate(app.public_url.trim_end_matches('/').len());
            app.key_sha256.make_ascii_lowercase();
            Some(Change::PutApp(Box::new(app)))
        }
        (None, _, Some(Value::Object(settings))) => {
            Some(Change::UserSettings(user()?, settings.clone()))
        }
        _ => Some(Change::PutUser(user()?, Box::new(user_of(record)))),
    }
}

/// A document without null members, which stand for absent ones.
fn tidied(record: &Value) -> Value {
    let kept = |(name, value): (&String, &Value)| {
        (!value.is_null()).then(|| (name.clone(), value.clone()))
    };
    Value::Object(
        record
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(kept)
            .collect::<Map<_, _>>(),
    )
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Packages are map keys there, with their dots escaped.
fn unescaped(package: &str) -> String {
    package
        .replace("%2E", ".")
        .replace("\\u002e", ".")
        .replace("__dot__", ".")
}

fn user_of(record: &Value) -> UserRecord {
    let map = |name: &str| {
        record
            .get(name)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    };
    let installed = record
        .get("installedApps")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    UserRecord {
        running_apps: texts(record.get("runningApps")),
        installed_apps: installed
            .filter_map(|entry| {
                Some(InstalledApp {
                    package_name: entry.get("packageName")?.as_str()?.to_owned(),
                    installed_ms: date_ms(entry.get("installedDate")).unwrap_or(0),
                    last_active_ms: date_ms(entry.get("lastActiveAt")).unwrap_or(0),
                })
            })
            .collect(),
        app_settings: map("appSettings")
            .map(|(package, list)| {
                (
                    unescaped(package),
                    list.as_array().cloned().unwrap_or_default(),
                )
            })
            .collect(),
        location: record.get("location").and_then(location),
        glasses_models: texts(record.get("glassesModels")),
        onboarded: map("onboardingStatus")
            .filter(|(_, shown)| **shown == true)
            .map(|(package, _)| unescaped(package))
            .collect(),
        ..UserRecord::default()
    }
}

fn location(value: &Value) -> Option<StoredLocation> {
    Some(StoredLocation {
        lat: value.get("lat")?.as_f64()?,
        lng: value.get("lng")?.as_f64()?,
        accuracy: value.get("accuracy").and_then(Value::as_f64),
        unix_ms: date_ms(value.get("timestamp")).unwrap_or(0),
    })
}

/// Milliseconds since the Unix epoch of a number, ISO text, or either within `$date`.
fn date_ms(value: Option<&Value>) -> Option<u64> {
    match value? {
        number @ Value::Number(_) => whole(number),
        Value::String(text) => iso_ms(text),
        Value::Object(map) => match map.get("$date") {
            Some(inner) => date_ms(Some(inner)),
            None => map.get("$numberLong")?.as_str()?.parse().ok(),
        },
        _ => None,
    }
}

/// `2026-02-01T10:00:00.000Z`, fraction optional, UTC only.
fn iso_ms(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, mark: char| -> Option<Vec<u64>> {
        text.split(mark).map(|part| part.parse().ok()).collect()
    };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let ([year, month, day], [hour, minute, second]) = (
        <[u64; 3]>::try_from(numbers(date, '-')?).ok()?,
        <[u64; 3]>::try_from(numbers(clock, ':')?).ok()?,
    );
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let ms: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    // Years that begin in March, so that the leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const QUOTA: Quota = Quota {
        value_chars: 100,
        total_chars: 1000,
    };

    #[test]
    fn dates_read_as_they_are_exported() {
        let wanted = Some(1_773_480_413_589);
        assert_eq!(
            date_ms(Some(&json!({"$date": "2026-03-14T09:26:53.589Z"}))),
            wanted
        );
        assert_eq!(
            date_ms(Some(&json!({"$date": {"$numberLong": "1773480413589"}}))),
            wanted
        );
        assert_eq!(
            date_ms(Some(&json!("2000-02-29T00:00:00Z"))),
            Some(951_782_400_000)
        );
        assert_eq!(date_ms(Some(&json!("1970-01-01T00:00:00.000Z"))), Some(0));
        assert_eq!(date_ms(Some(&json!("yesterday"))), None);
        assert_eq!(date_ms(Some(&json!(5000.0))), Some(5000));
    }

    #[test]
    fn a_user_keeps_intent_installs_and_settings() {
        let record = json!({
            "_id": {"$oid": "65f"},
            "email": " Nadia@Lumen.io",
            "runningApps": ["com.acme.scribe"],
            "installedApps": [{"packageName": "com.acme.scribe", "installedDate": {"$date": "2026-03-14T09:26:53.589Z"}}],
            "appSettings": {"com%2Eacme%2Escribe": [{"key": "lang", "value": "pt"}]},
            "onboardingStatus": {"com%2Eacme%2Escribe": true, "x": false},
            "location": {"lat": 1.5, "lng": 2.0},
        });
        let Some(Change::PutUser(user, stored)) = change_of(&record, QUOTA) else {
            panic!("a user")
        };
        assert_eq!(user, UserId::new("nadia@lumen.io"));
        assert_eq!(stored.running_apps, ["com.acme.scribe"]);
        assert_eq!(stored.installed_apps[0].installed_ms, 1_773_480_413_589);
        assert_eq!(
            stored.app_settings["com.acme.scribe"],
            [json!({"key": "lang", "value": "pt"})]
        );
        assert_eq!(stored.onboarded, ["com.acme.scribe"]);
        assert_eq!(stored.location.map(|fix| fix.lat), Some(1.5));
    }

    #[test]
    fn apps_settings_and_storage_are_told_apart() {
        let app = json!({"packageName": "a", "publicUrl": "http://a/", "appType": "standard", "hashedApiKey": "AB", "logoURL": null});
        let Some(Change::PutApp(app)) = change_of(&app, QUOTA) else {
            panic!("an app")
        };
        assert_eq!(
            (app.public_url.as_str(), app.key_sha256.as_str()),
            ("http://a", "ab")
        );
        let storage = json!({"email": "n@l", "packageName": "a", "data": {"k": "v", "n": 1}});
        assert!(
            matches!(change_of(&storage, QUOTA), Some(Change::StorageMerge(_, _, data, _)) if data.len() == 1)
        );
        let settings = json!({"email": "n@l", "settings": {"brightness": 3}});
        assert!(matches!(
            change_of(&settings, QUOTA),
            Some(Change::UserSettings(..))
        ));
        assert_eq!(change_of(&json!({"hello": 1}), QUOTA), None);
    }
}
