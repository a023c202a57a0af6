//! Command line: `prism import`: takes users, apps, user settings and simple storage from JSON lines as `mongoexport` writes
//! them (behaviour.md §12.1, §12.2). A record replaces the stored one; running it twice does no harm.

use super::StoreArgs;
use crate::base::ids::UserId;
use crate::services::offline::Offline;
use crate::services::store::{Change, Outcome, Quota};
use crate::wire::dates::iso_unix_ms;
use crate::wire::json;
use crate::wire::members::whole;
use crate::wire::records::{AppRecord, InstalledApp, StoredLocation, UserRecord};
use clap::Args;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
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
        let mut import = Import {
            store: &store,
            quota,
            file,
            waiting: Vec::new(),
            lines: Vec::new(),
            written: 0,
            skipped: 0,
        };
        import
            .run()
            .map_err(|error| format!("{}: {error}", file.display()))?;
        written += import.written;
        skipped += import.skipped;
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

/// The import of one file.
struct Import<'a> {
    store: &'a Offline,
    quota: Quota,
    file: &'a Path,
    /// What is to be written next, and the lines in which it stands.
    waiting: Vec<Change>,
    lines: Vec<usize>,
    written: usize,
    skipped: usize,
}

impl Import<'_> {
    fn run(&mut self) -> Result<(), Box<dyn Error>> {
        let lines = BufReader::new(std::fs::File::open(self.file)?).split(b'\n');
        for (index, line) in lines.enumerate() {
            let line = line?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            match read(&line, self.quota) {
                Ok(change) => {
                    self.waiting.push(change);
                    self.lines.push(index + 1);
                }
                Err(why) => self.skip(index + 1, &why),
            }
            if self.waiting.len() == BATCH {
                self.write()?;
            }
        }
        self.write()
    }

    fn write(&mut self) -> Result<(), Box<dyn Error>> {
        let outcomes = self.store.write(&self.waiting)?;
        self.waiting.clear();
        for (line, outcome) in std::mem::take(&mut self.lines).into_iter().zip(outcomes) {
            match lost(&outcome) {
                Some(why) => self.skip(line, why),
                None => self.written += 1,
            }
        }
        Ok(())
    }

    fn skip(&mut self, line: usize, why: &str) {
        self.skipped += 1;
        eprintln!("{}:{line}: {why}", self.file.display());
    }
}

/// Why a record was not written.
fn lost(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::ValueTooLong => Some("a value is beyond the quota of simple storage"),
        Outcome::TotalTooLong => Some("more than may be stored of one user"),
        Outcome::TooLarge => Some("larger than any record may be"),
        Outcome::Damaged => Some("what is stored there is damaged"),
        Outcome::Refused(why) => Some(why),
        _ => None,
    }
}

/// What a line asks for, or why it cannot be had.
fn read(line: &[u8], quota: Quota) -> Result<Change, String> {
    // Some programs put a mark before the first line.
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let record = json::from_slice(line).map_err(|error| {
        let error = error.to_string().replace(" at line 1 column", " at column");
        format!("no JSON: {error}")
    })?;
    let change = change_of(&plain(record), quota)?;
    if change.key().is_nameable() {
        Ok(change)
    } else {
        Err("nothing can have this name".to_owned())
    }
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

/// What a record asks for.
fn change_of(record: &Value, quota: Quota) -> Result<Change, String> {
    let text = |name: &str| {
        record
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.trim().is_empty())
    };
    let user = || match text("email") {
        Some(email) => Ok(UserId::new(email.trim())),
        None => Err("no known record".to_owned()),
    };
    match (
        text("packageName"),
        record.get("data"),
        record.get("settings"),
    ) {
        (Some(package), Some(Value::Object(data)), _) => {
            let pair =
                |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
            let data: BTreeMap<_, _> = data.iter().filter_map(pair).collect();
            Ok(Change::StorageMerge(
                user()?,
                package.to_owned(),
                data,
                quota,
            ))
        }
        (Some(_), _, _) => {
            let mut app = app_of(record)?;
            app.public_url
                .truncate(app.public_url.trim_end_matches('/').len());
            app.key_sha256.make_ascii_lowercase();
            Ok(Change::PutApp(Box::new(app)))
        }
        (None, _, Some(Value::Object(settings))) => {
            Ok(Change::UserSettings(user()?, settings.clone()))
        }
        _ => Ok(Change::PutUser(user()?, Box::new(user_of(record)))),
    }
}

/// An app's record, or the member that none can have.
fn app_of(record: &Value) -> Result<AppRecord, String> {
    let record = tidied(record);
    let of = |record| serde_json::from_value::<AppRecord>(Value::Object(record));
    of(record.clone()).map_err(|error| {
        let name = record.get("packageName").cloned().unwrap_or_default();
        let wrong = record.into_iter().find_map(|(key, value)| {
            let alone = [
                ("packageName".to_owned(), name.clone()),
                (key.clone(), value),
            ];
            let error = of(alone.into_iter().collect()).err()?;
            Some(format!("app {name}: {key}: {error}"))
        });
        wrong.unwrap_or_else(|| format!("app {name}: {error}"))
    })
}

/// A document without null members, which stand for absent ones.
fn tidied(record: &Value) -> Map<String, Value> {
    let kept = |(name, value): (&String, &Value)| {
        (!value.is_null()).then(|| (name.clone(), value.clone()))
    };
    let members = record.as_object().into_iter().flatten();
    members.filter_map(kept).collect()
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
        Value::String(text) => iso_unix_ms(text),
        Value::Object(map) => match map.get("$date") {
            Some(inner) => date_ms(Some(inner)),
            None => map.get("$numberLong")?.as_str()?.parse().ok(),
        },
        _ => None,
    }
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
        for nonsense in ["yesterday", "2026-01-01T18446744073709551615:00:00Z"] {
            assert_eq!(date_ms(Some(&json!(nonsense))), None);
        }
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
        let Ok(Change::PutUser(user, stored)) = change_of(&record, QUOTA) else {
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
        let Ok(Change::PutApp(app)) = change_of(&app, QUOTA) else {
            panic!("an app")
        };
        assert_eq!(
            (app.public_url.as_str(), app.key_sha256.as_str()),
            ("http://a", "ab")
        );
        let storage = json!({"email": "n@l", "packageName": "a", "data": {"k": "v", "n": 1}});
        assert!(
            matches!(change_of(&storage, QUOTA), Ok(Change::StorageMerge(_, _, data, _)) if data.len() == 1)
        );
        let settings = json!({"email": "n@l", "settings": {"brightness": 3}});
        assert!(matches!(
            change_of(&settings, QUOTA),
            Ok(Change::UserSettings(..))
        ));
        let unknown = change_of(&json!({"hello": 1}), QUOTA);
        assert_eq!(unknown, Err("no known record".to_owned()));
    }
}
