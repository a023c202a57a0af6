//! Outside thread, store semantics: every write as data, and what it does to the one document it touches. Pure; no backend,
//! no clock.

use super::storage::{self, Quota};
use super::{bounds, incidents, settings};
use crate::base::ids::UserId;
use crate::session::effects::StoreOp;
use crate::wire::records::{AppRecord, InstalledApp, UserRecord};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Kinds of documents.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Space {
    /// One [`UserRecord`] a user.
    User,
    /// Simple storage: one map a user and package.
    Storage,
    /// App records that do not stand in the apps file.
    App,
    /// App-server registrations.
    Registration,
    /// Incidents.
    Incident,
}

impl Space {
    /// All.
    pub const ALL: &[Self] = &[
        Self::User,
        Self::Storage,
        Self::App,
        Self::Registration,
        Self::Incident,
    ];

    /// Name in the backends.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Storage => "storage",
            Self::App => "app",
            Self::Registration => "registration",
            Self::Incident => "incident",
        }
    }
}

/// Name of one document.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DocKey {
    /// Kind.
    pub space: Space,
    /// User or unique id.
    pub owner: String,
    /// Package of simple storage, else empty.
    pub name: String,
}

impl DocKey {
    fn one(space: Space, owner: &str) -> Self {
        Self {
            space,
            owner: owner.to_owned(),
            name: String::new(),
        }
    }

    /// An app record.
    #[must_use]
    pub fn app(package: &str) -> Self {
        Self::one(Space::App, package)
    }

    /// A user's record.
    #[must_use]
    pub fn user(user: &UserId) -> Self {
        Self::one(Space::User, user)
    }

    /// A user's simple storage for one package.
    #[must_use]
    pub fn storage(user: &UserId, package: &str) -> Self {
        Self {
            space: Space::Storage,
            owner: user.to_string(),
            name: package.to_owned(),
        }
    }

    /// An incident.
    #[must_use]
    pub fn incident(id: &str) -> Self {
        Self::one(Space::Incident, id)
    }
}

/// A registered app server (behaviour.md §2.14).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// UUID.
    pub id: String,
    /// App.
    pub package: String,
    /// Hash of the key it registered with.
    pub key_sha256: String,
    /// Where recovery webhooks go.
    pub webhook_url: String,
    /// WebSocket bases for recovery.
    #[serde(default)]
    pub server_urls: Vec<String>,
    /// Milliseconds since the Unix epoch.
    pub registered_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub last_seen_ms: u64,
    /// Addresses it registered from.
    #[serde(default)]
    pub source_ips: Vec<String>,
    /// Made by us when the server's first socket attached.
    #[serde(default)]
    pub implicit: bool,
    /// Heard of recently; an inactive one has no sessions.
    #[serde(default = "yes")]
    pub active: bool,
}

fn yes() -> bool {
    true
}

/// One write. Each touches exactly one document.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Creates the user with these packages installed unless there is one that has been loaded before; answers
    /// [`Outcome::User`].
    EnsureUser {
        /// The user.
        user: UserId,
        /// Pre-installed packages.
        packages: Vec<String>,
        /// Now (ms since the Unix epoch).
        at_ms: u64,
    },
    /// What a session asked for.
    Session(UserId, StoreOp),
    /// Installs; [`Outcome::Installed`] or [`Outcome::Exists`].
    Install(UserId, InstalledApp),
    /// Uninstalls, also from the running list; [`Outcome::Done`] or [`Outcome::Absent`].
    Uninstall(UserId, String),
    /// Merges `[{key, value}]` into an app's settings; [`Outcome::AppSettings`] with all of them, or [`Outcome::TotalTooLong`].
    AppSettings(UserId, String, Vec<Value>),
    /// Merges user settings, null deletes; [`Outcome::UserSettings`] with all of them, or [`Outcome::TotalTooLong`].
    UserSettings(UserId, Map<String, Value>),
    /// Merges into simple storage; [`Outcome::Done`], [`Outcome::ValueTooLong`] or [`Outcome::TotalTooLong`].
    StorageMerge(UserId, String, BTreeMap<String, String>, Quota),
    /// Deletes one value; [`Outcome::Done`], or [`Outcome::Absent`] without any storage.
    StorageDelete(UserId, String, String),
    /// Deletes all; [`Outcome::Done`] or [`Outcome::Absent`].
    StorageClear(UserId, String),
    /// Adds or replaces an app record.
    PutApp(Box<AppRecord>),
    /// Removes an app record.
    RemoveApp(String),
    /// Adds or replaces a registration.
    PutRegistration(Registration),
    /// Removes a registration.
    RemoveRegistration(String),
    /// Opens an incident.
    PutIncident(String, Value),
    /// Removes an incident.
    RemoveIncident(String),
    /// Counts an incident among its user's, of whom so many are kept; [`Outcome::Forgotten`].
    NoteIncident(UserId, String, usize),
    /// These, the oldest first, are what [`incidents_of`](super::incidents_of) found of the user's incidents.
    CountIncidents(UserId, Vec<String>),
    /// Appends to an incident's member `logs` or `attachments`; [`Outcome::Absent`] without incident, [`Outcome::TotalTooLong`]
    /// past `max` entries or too many bytes.
    AppendIncident {
        /// Id of the incident.
        id: String,
        /// Member.
        list: &'static str,
        /// Entries.
        entries: Vec<Value>,
        /// Bound of the list.
        max: usize,
    },
    /// Changes nothing; it is acknowledged when all that was written before to this document is durable.
    Barrier(DocKey),
    /// Replaces a user's record (import); user settings stay where the new record has none, for they are exported apart.
    PutUser(UserId, Box<UserRecord>),
}

/// What a change came to.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Applied.
    Done,
    /// The user, created or found.
    User(Box<UserRecord>),
    /// The new entry.
    Installed(InstalledApp),
    /// All settings of the app.
    AppSettings(Vec<Value>),
    /// All settings of the user.
    UserSettings(Map<String, Value>),
    /// Ids of incidents that the user has no more.
    Forgotten(Vec<String>),
    /// It was there already; nothing changed.
    Exists,
    /// There was nothing to change.
    Absent,
    /// A value is beyond the quota; nothing changed.
    ValueTooLong,
    /// All values together are beyond the quota, and more than before; nothing changed.
    TotalTooLong,
    /// The stored document cannot be read; nothing changed.
    Damaged,
    /// The document would be larger than any may be; nothing changed.
    TooLarge,
    /// It can never be stored, for this reason; nothing changed.
    Refused(String),
}

/// What becomes of the document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// Stays.
    Keep,
    /// Is replaced.
    Put(Vec<u8>),
    /// Goes.
    Delete,
}

impl Change {
    /// The document it touches.
    #[must_use]
    pub fn key(&self) -> DocKey {
        match self {
            Self::EnsureUser { user, .. }
            | Self::Session(user, _)
            | Self::Install(user, _)
            | Self::Uninstall(user, _)
            | Self::AppSettings(user, ..)
            | Self::UserSettings(user, _)
            | Self::NoteIncident(user, ..)
            | Self::CountIncidents(user, _)
            | Self::PutUser(user, _) => DocKey::user(user),
            Self::StorageMerge(user, package, ..)
            | Self::StorageDelete(user, package, _)
            | Self::StorageClear(user, package) => DocKey::storage(user, package),
            Self::PutApp(record) => DocKey::one(Space::App, &record.package_name),
            Self::RemoveApp(package) => DocKey::one(Space::App, package),
            Self::PutRegistration(registration) => {
                DocKey::one(Space::Registration, &registration.id)
            }
            Self::RemoveRegistration(id) => DocKey::one(Space::Registration, id),
            Self::PutIncident(id, _)
            | Self::RemoveIncident(id)
            | Self::AppendIncident { id, .. } => DocKey::incident(id),
            Self::Barrier(key) => key.clone(),
        }
    }

    /// Whether `later` makes this one pointless, both being unacknowledged and nothing of the document between them.
    #[must_use]
    pub fn is_superseded_by(&self, later: &Self) -> bool {
        let (Self::Session(user, mine), Self::Session(other, theirs)) = (self, later) else {
            return false;
        };
        user == other
            && match (mine, theirs) {
                (StoreOp::SetLocation(_), StoreOp::SetLocation(_)) => true,
                (StoreOp::TouchApp(mine, _), StoreOp::TouchApp(theirs, _)) => mine == theirs,
                (
                    StoreOp::AddRunning(mine) | StoreOp::RemoveRunning(mine),
                    StoreOp::AddRunning(theirs) | StoreOp::RemoveRunning(theirs),
                ) => mine == theirs,
                (mine, theirs) => mine == theirs,
            }
    }

    /// Applies it to the document as it stands.
    #[must_use]
    pub fn apply(&self, document: Option<&[u8]>) -> (Edit, Outcome) {
        let (edit, outcome) = self.edit(document);
        match &edit {
            Edit::Put(json) => match bounds::refusal(self, document, json) {
                Some(refusal) => (Edit::Keep, refusal),
                None => (edit, outcome),
            },
            Edit::Keep | Edit::Delete => (edit, outcome),
        }
    }

    fn edit(&self, document: Option<&[u8]>) -> (Edit, Outcome) {
        match self {
            Self::Barrier(_) => (Edit::Keep, Outcome::Done),
            Self::PutApp(record) => (Edit::Put(json(record)), Outcome::Done),
            Self::PutUser(_, record) => {
                (Edit::Put(json(&imported(document, record))), Outcome::Done)
            }
            Self::PutRegistration(registration) => (Edit::Put(json(registration)), Outcome::Done),
            Self::PutIncident(_, value) => (Edit::Put(json(value)), Outcome::Done),
            Self::RemoveApp(_)
            | Self::RemoveRegistration(_)
            | Self::RemoveIncident(_)
            | Self::StorageClear(..) => match document {
                Some(_) => (Edit::Delete, Outcome::Done),
                None => (Edit::Keep, Outcome::Absent),
            },
            Self::AppendIncident {
                list, entries, max, ..
            } => incidents::append(document, list, entries, *max),
            Self::StorageMerge(_, _, data, quota) => storage::merge(document, data, *quota),
            Self::StorageDelete(_, _, key) => storage::delete(document, key),
            _ => self.apply_to_user(document),
        }
    }

    fn apply_to_user(&self, document: Option<&[u8]>) -> (Edit, Outcome) {
        let Ok(existing) = parse::<UserRecord>(document) else {
            return (Edit::Keep, Outcome::Damaged);
        };
        if let (Self::EnsureUser { .. }, Some(record)) = (self, &existing)
            && !record.provisional
        {
            return (Edit::Keep, Outcome::User(Box::new(record.clone())));
        }
        let before = existing.unwrap_or_else(|| UserRecord {
            provisional: true,
            ..UserRecord::default()
        });
        let mut record = before.clone();
        let outcome = self.change_user(&mut record);
        // A created user is written even when the record equals the empty one.
        if record == before && document.is_some() {
            (Edit::Keep, outcome)
        } else {
            (Edit::Put(json(&record)), outcome)
        }
    }

    fn change_user(&self, record: &mut UserRecord) -> Outcome {
        match self {
            Self::EnsureUser {
                packages, at_ms, ..
            } => {
                record.provisional = false;
                for package in packages {
                    install(
                        record,
                        InstalledApp {
                            package_name: package.clone(),
                            installed_ms: *at_ms,
                            last_active_ms: 0,
                        },
                    );
                }
                return Outcome::User(Box::new(record.clone()));
            }
            Self::Session(_, op) => session_op(record, op),
            Self::Install(_, app) => {
                return match install(record, app.clone()) {
                    true => Outcome::Installed(app.clone()),
                    false => Outcome::Exists,
                };
            }
            Self::Uninstall(_, package) => {
                record.running_apps.retain(|running| running != package);
                let before = record.installed_apps.len();
                record
                    .installed_apps
                    .retain(|entry| entry.package_name != *package);
                if record.installed_apps.len() == before {
                    return Outcome::Absent;
                }
            }
            Self::AppSettings(_, package, changes) => {
                return settings::merge_app(record, package, changes);
            }
            Self::UserSettings(_, changes) => return settings::merge_user(record, changes),
            Self::NoteIncident(_, id, max) => return incidents::note(record, id, *max),
            Self::CountIncidents(_, found) => incidents::count(record, found),
            _ => {}
        }
        Outcome::Done
    }
}

fn imported(document: Option<&[u8]>, record: &UserRecord) -> UserRecord {
    let mut record = record.clone();
    if let Ok(Some(stored)) = parse::<UserRecord>(document) {
        if record.user_settings.is_empty() {
            record.user_settings = stored.user_settings;
        }
        record.incidents = stored.incidents;
        record.incidents_counted = stored.incidents_counted;
    }
    record
}

/// `false`: it is there already.
fn install(record: &mut UserRecord, app: InstalledApp) -> bool {
    let mut installed = record.installed_apps.iter();
    let is_new = !installed.any(|entry| entry.package_name == app.package_name);
    if is_new {
        record.installed_apps.push(app);
    }
    is_new
}

fn session_op(record: &mut UserRecord, op: &StoreOp) {
    let add = |list: &mut Vec<String>, text: &str| {
        if !list.iter().any(|entry| entry == text) {
            list.push(text.to_owned());
        }
    };
    match op {
        StoreOp::AddRunning(package) => add(&mut record.running_apps, package),
        StoreOp::RemoveRunning(package) => {
            record.running_apps.retain(|running| **running != **package)
        }
        StoreOp::TouchApp(package, at_ms) => {
            if let Some(entry) = record
                .installed_apps
                .iter_mut()
                .find(|entry| *entry.package_name == **package)
            {
                entry.last_active_ms = entry.last_active_ms.max(*at_ms);
            }
        }
        StoreOp::SetLocation(location) => record.location = Some(*location),
        StoreOp::AddGlassesModel(model) => add(&mut record.glasses_models, model),
        StoreOp::SetOnboarded(package) => add(&mut record.onboarded, package),
    }
}

/// A stored document as its type; `None` without one.
pub(crate) fn parse<T: DeserializeOwned>(
    document: Option<&[u8]>,
) -> Result<Option<T>, serde_json::Error> {
    document.map(serde_json::from_slice).transpose()
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records have text keys only and serialize to memory")
}
