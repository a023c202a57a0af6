//! Layer 1: app and user documents as the apps file, the store and the import know them (behaviour.md §12).

use super::streams::Permission;
use crate::base::ids::Package;
use crate::base::network::any_contains;
use crate::wire::capabilities::Profiles;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Type of an app. An absent value means background (behaviour.md §12.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum AppType {
    /// Foreground: one at a time.
    #[serde(rename = "standard")]
    Standard,
    /// Any number at a time.
    #[default]
    #[serde(rename = "background")]
    Background,
    /// The dashboard of `dashboard_mode: app`.
    #[serde(rename = "system_dashboard")]
    SystemDashboard,
}

impl AppType {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Background => "background",
            Self::SystemDashboard => "system_dashboard",
        }
    }
}

/// One granted permission.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PermissionEntry {
    /// `MICROPHONE`, `LOCATION`, …; unknown names are kept and grant nothing.
    #[serde(rename = "type")]
    pub kind: String,
    /// Shown to the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// One hardware requirement (protocol.md §17.4).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HardwareRequirement {
    /// `CAMERA`, `DISPLAY`, `MICROPHONE`, `SPEAKER`, `IMU`, `BUTTON`, `LIGHT`, `WIFI`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `REQUIRED` or `OPTIONAL`.
    pub level: String,
    /// Shown to the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Everything the server knows of one app.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppRecord {
    /// Unique name.
    pub package_name: String,
    /// Display name; empty = the package name.
    #[serde(default)]
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Type.
    #[serde(default)]
    pub app_type: AppType,
    /// Base of `/webhook`, `/settings`, `/tool`, `/health`, `/photo-upload`, without trailing slash. May be empty.
    #[serde(default)]
    pub public_url: String,
    /// Lower-case hex SHA-256 of the API key; empty = no key is valid.
    #[serde(default, rename = "hashedApiKey")]
    pub key_sha256: String,
    /// Permissions.
    #[serde(default)]
    pub permissions: Vec<PermissionEntry>,
    /// Hardware needs.
    #[serde(default)]
    pub hardware_requirements: Vec<HardwareRequirement>,
    /// Declared settings, as the console wrote them (objects; see behaviour.md §12.1).
    #[serde(default)]
    pub settings: Vec<serde_json::Value>,
    /// Declared tools.
    #[serde(default)]
    pub tools: Vec<serde_json::Value>,
    /// Web view.
    #[serde(default, rename = "webviewURL")]
    pub webview_url: String,
    /// Logo.
    #[serde(default, rename = "logoURL")]
    pub logo_url: String,
    /// Addresses or CIDRs an app server may come from; empty = any.
    #[serde(default)]
    pub allowed_ips: Vec<String>,
    /// Served as it is by `GET /appsettings/:pkg`.
    #[serde(default)]
    pub version: String,
    /// Shown once at the first start, when onboarding is on.
    #[serde(default)]
    pub onboarding_instructions: String,
    /// Who publishes it; shown beside its settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<Organization>,
}

/// A publisher, as `GET /appsettings/:pkg` shows it (protocol.md §18.13). What is not known is left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Organization {
    /// Its name.
    pub name: String,
    /// Its site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website: Option<String>,
    /// Where to write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact_email: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// URL of its logo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo: Option<String>,
}

impl AppRecord {
    /// What people call it.
    #[must_use]
    pub fn display_name(&self) -> &str {
        if self.name.is_empty() {
            &self.package_name
        } else {
            &self.name
        }
    }

    /// Where its server answers, without a trailing slash; empty where it has none.
    #[must_use]
    pub fn base_url(&self) -> &str {
        self.public_url.trim_end_matches('/')
    }

    /// The URL of `path` (`/webhook`) at its server; `None` where it has none.
    #[must_use]
    pub fn endpoint(&self, path: &str) -> Option<String> {
        let base = self.base_url();
        (!base.is_empty()).then(|| format!("{base}{path}"))
    }

    /// Whether the record grants `wanted`; `ALL` grants everything, the legacy `NOTIFICATIONS` grants reading them.
    #[must_use]
    pub fn grants(&self, wanted: Permission) -> bool {
        self.permissions
            .iter()
            .any(|entry| match entry.kind.parse::<Permission>() {
                Ok(Permission::All) => true,
                Ok(Permission::Notifications) => {
                    matches!(
                        wanted,
                        Permission::Notifications | Permission::ReadNotifications
                    )
                }
                Ok(granted) => granted == wanted,
                Err(_) => false,
            })
    }

    /// Whether an app server may come from `address`; any may where the record lists none (behaviour.md §2.5).
    #[must_use]
    pub fn admits(&self, address: Option<IpAddr>) -> bool {
        let listed = |address| any_contains(&self.allowed_ips, address);
        self.allowed_ips.is_empty() || address.is_some_and(listed)
    }
}

/// Records of apps that are gone which a snapshot remembers, beside those that went with it.
const FORMER_MAX: usize = 4096;

/// Immutable snapshot of all app records, shared by every shard and replaced whole.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    apps: HashMap<Package, Arc<AppRecord>>,
    /// The last records of apps that are gone: some of them run on.
    former: HashMap<Package, Arc<AppRecord>>,
    /// What the glasses can do.
    pub profiles: Profiles,
    /// Counts replacements, for logs and admin answers.
    pub version: u64,
    /// False while no store could be read yet: an unknown app is then an internal error, never a wrong key.
    pub loaded: bool,
}

impl Registry {
    /// A loaded snapshot of these records; of two with one name the later wins.
    #[must_use]
    pub fn new(records: impl IntoIterator<Item = AppRecord>, version: u64) -> Self {
        let apps = records
            .into_iter()
            .map(|record| (Package::new(&record.package_name), Arc::new(record)))
            .collect();
        Self {
            apps,
            former: HashMap::new(),
            profiles: Profiles::default(),
            version,
            loaded: true,
        }
    }

    /// One record.
    #[must_use]
    pub fn get(&self, package: &str) -> Option<&Arc<AppRecord>> {
        self.apps.get(package)
    }

    /// This snapshot, remembering the apps of the one before it that it does not have, and of those that went earlier as many as
    /// there is room for. One that is forgotten counts as never known.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        let is_gone = |row: &(&Package, &Arc<AppRecord>)| !self.apps.contains_key(row.0);
        let now = before.apps.iter().filter(is_gone);
        let earlier = before.former.iter().filter(is_gone);
        let most = FORMER_MAX.max(now.clone().count());
        self.former = now
            .chain(earlier)
            .take(most)
            .map(|(package, record)| (package.clone(), Arc::clone(record)))
            .collect();
        self
    }

    /// One record, or its last version where it is gone: what an app that runs on is, and what it may have.
    #[must_use]
    pub fn last_known(&self, package: &str) -> Option<&Arc<AppRecord>> {
        self.get(package).or_else(|| self.former.get(package))
    }

    /// Whether an app is, or was, one of those of which a user has one at a time.
    #[must_use]
    pub fn is_standard(&self, package: &str) -> bool {
        self.last_known(package)
            .is_some_and(|record| record.app_type == AppType::Standard)
    }

    /// `package` as a [`Package`]; all users of a known app share one allocation, which is likely to be in the cache.
    #[must_use]
    pub fn name(&self, package: &str) -> Package {
        match self.apps.get_key_value(package) {
            Some((name, _)) => name.clone(),
            None => Package::new(package),
        }
    }

    /// All records, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Package, &Arc<AppRecord>)> {
        self.apps.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.apps.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.apps.is_empty()
    }
}

/// One installed app of a user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstalledApp {
    /// Package of the app.
    pub package_name: String,
    /// Milliseconds since the Unix epoch.
    pub installed_ms: u64,
    /// Milliseconds since the Unix epoch; 0 = never.
    #[serde(default)]
    pub last_active_ms: u64,
}

/// A stored fix.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct StoredLocation {
    /// Degrees.
    pub lat: f64,
    /// Degrees.
    pub lng: f64,
    /// Metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Milliseconds since the Unix epoch.
    #[serde(default)]
    pub unix_ms: u64,
}

/// What a session loads at its start: one bounded read (behaviour.md §12.2).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserRecord {
    /// User intent: which apps should run.
    #[serde(default)]
    pub running_apps: Vec<String>,
    /// Installed apps.
    #[serde(default)]
    pub installed_apps: Vec<InstalledApp>,
    /// Package → `[{key, value}]`.
    #[serde(default)]
    pub app_settings: HashMap<String, Vec<serde_json::Value>>,
    /// User (OS) settings.
    #[serde(default)]
    pub user_settings: serde_json::Map<String, serde_json::Value>,
    /// Last known location.
    #[serde(default)]
    pub location: Option<StoredLocation>,
    /// Models ever connected.
    #[serde(default)]
    pub glasses_models: Vec<String>,
    /// Packages whose instructions were shown.
    #[serde(default)]
    pub onboarded: Vec<String>,
    /// Ids of incidents, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<String>,
    /// Whether `incidents` names all that the store has; if not, those from before there was a list are still to be looked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incidents_counted: bool,
    /// Something was written of the user before the record was ever loaded: pre-installed apps are still to come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub provisional: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app_with(permissions: &[&str]) -> AppRecord {
        let permissions = permissions.iter().map(|kind| PermissionEntry {
            kind: (*kind).to_owned(),
            description: None,
        });
        AppRecord {
            permissions: permissions.collect(),
            ..AppRecord::default()
        }
    }

    #[test]
    fn apps_that_went_are_remembered_up_to_a_bound_the_latest_first() {
        let named = |n: usize| AppRecord {
            package_name: format!("com.acme.n{n}"),
            ..AppRecord::default()
        };
        let all = Registry::new((0..FORMER_MAX + 10).map(named), 1);
        let none = Registry::new([], 2).after(&all);
        assert!((0..FORMER_MAX + 10).all(|n| none.last_known(&named(n).package_name).is_some()));
        let one = Registry::new([named(1_000_000)], 3).after(&none);
        let none = Registry::new([], 4).after(&one);
        assert!(none.last_known("com.acme.n1000000").is_some());
        assert_eq!(none.former.len(), FORMER_MAX);
    }

    #[test]
    fn an_app_may_what_its_record_names_and_no_more() {
        for permission in Permission::ALL {
            assert_eq!(permission.as_str().parse(), Ok(permission));
            assert!(app_with(&[permission.as_str()]).grants(permission));
            assert!(app_with(&["ALL"]).grants(permission), "{permission:?}");
            assert!(!app_with(&[]).grants(permission), "{permission:?}");
        }
        assert!(app_with(&["NOTIFICATIONS"]).grants(Permission::ReadNotifications));
        assert!(!app_with(&["READ_NOTIFICATIONS"]).grants(Permission::Notifications));
        assert!(!app_with(&["POST_NOTIFICATIONS"]).grants(Permission::ReadNotifications));
        assert!(!app_with(&["BACKGROUND_LOCATION"]).grants(Permission::Location));
        assert!(!app_with(&["microphone", "FLY"]).grants(Permission::Microphone));
        assert!(app_with(&["FLY", "CAMERA"]).grants(Permission::Camera));
    }
}
