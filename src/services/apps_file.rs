//! Outside thread: reads the apps file (`apps.yaml` is a sample). Unknown keys are errors with line and caret; every other problem is
//! listed, not just the first. It fetches nothing and opens no store.

use crate::base::network::{Network, is_url};
use crate::base::settings::Profile;
use crate::services::store::DocKey;
use crate::wire::auth::sha256_hex;
use crate::wire::records::{
    AppRecord, AppType, HardwareRequirement, Organization, PermissionEntry,
};
use serde::Deserialize;
use std::collections::HashSet;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    apps: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    package_name: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    app_type: AppType,
    #[serde(default)]
    public_url: String,
    api_key: Option<String>,
    api_key_sha256: Option<String>,
    #[serde(default)]
    permissions: Vec<Permission>,
    #[serde(default)]
    hardware_requirements: Vec<Hardware>,
    #[serde(default)]
    settings: Vec<serde_json::Value>,
    #[serde(default)]
    tools: Vec<serde_json::Value>,
    #[serde(default)]
    allowed_ips: Vec<String>,
    #[serde(default, rename = "webviewURL")]
    webview_url: String,
    #[serde(default, rename = "logoURL")]
    logo_url: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    onboarding_instructions: String,
    organization: Option<Organization>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Permission {
    Name(String),
    Full(Described),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    #[serde(rename = "type")]
    kind: String,
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hardware {
    #[serde(rename = "type")]
    kind: String,
    level: String,
    description: Option<String>,
}

/// What is wrong with an apps file, one text a problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppsFileError(pub Vec<String>);

impl std::fmt::Display for AppsFileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for AppsFileError {}

/// Parses and checks the text of an apps file. Profile production refuses plain keys. `None`: it has no list, not even an empty one, as
/// when it is being written or was lost.
///
/// # Errors
/// Every problem found.
pub fn parse(yaml: &str, profile: Profile) -> Result<Option<Vec<AppRecord>>, AppsFileError> {
    let file: Option<File> =
        serde_saphyr::from_str(yaml).map_err(|error| AppsFileError(vec![error.to_string()]))?;
    let Some(apps) = file.and_then(|file| file.apps) else {
        return Ok(None);
    };
    let mut problems = Vec::new();
    let mut names = HashSet::new();
    for (index, entry) in apps.iter().enumerate() {
        let place = if entry.package_name.is_empty() {
            format!("apps[{index}]")
        } else {
            entry.package_name.clone()
        };
        let mut problem = |text: &str| problems.push(format!("{place}: {text}"));
        if entry.package_name.trim().is_empty() {
            problem("packageName is empty");
        } else if !DocKey::app(&entry.package_name).is_nameable() {
            problem("packageName is longer than 512 bytes, or has NUL in it");
        } else if !names.insert(entry.package_name.clone()) {
            problem("packageName stands twice in the file");
        }
        check(entry, profile, &mut problem);
    }
    if problems.is_empty() {
        Ok(Some(apps.into_iter().map(Entry::into_record).collect()))
    } else {
        Err(AppsFileError(problems))
    }
}

fn check(entry: &Entry, profile: Profile, problem: &mut impl FnMut(&str)) {
    match (&entry.api_key, &entry.api_key_sha256) {
        (Some(_), Some(_)) => problem("give apiKey or apiKeySha256, not both"),
        (None, None) => problem("needs apiKey or apiKeySha256"),
        (Some(key), None) if key.is_empty() => problem("apiKey is empty"),
        (Some(_), None) if profile == Profile::Production => {
            problem("profile production wants apiKeySha256, not apiKey")
        }
        (None, Some(hash))
            if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            problem("apiKeySha256 is not 64 hexadecimal digits");
        }
        _ => {}
    }
    let url = &entry.public_url;
    if url.is_empty() {
        if entry.app_type != AppType::SystemDashboard {
            problem("publicUrl is missing");
        }
    } else if !is_url(url, &["http://", "https://"]) {
        problem("publicUrl is no http or https URL");
    }
    for address in &entry.allowed_ips {
        if address.parse::<Network>().is_err() {
            problem(&format!("allowedIps: {address:?} is no address or CIDR"));
        }
    }
}

impl Entry {
    fn into_record(self) -> AppRecord {
        let permission = |entry| match entry {
            Permission::Name(kind) => PermissionEntry {
                kind,
                description: None,
            },
            Permission::Full(entry) => PermissionEntry {
                kind: entry.kind,
                description: entry.description,
            },
        };
        let hardware = |entry: Hardware| HardwareRequirement {
            kind: entry.kind,
            level: entry.level,
            description: entry.description,
        };
        let hash = self.api_key_sha256.map(|hash| hash.to_ascii_lowercase());
        AppRecord {
            key_sha256: hash
                .or_else(|| self.api_key.map(sha256_hex))
                .unwrap_or_default(),
            package_name: self.package_name,
            name: self.name,
            description: self.description,
            app_type: self.app_type,
            public_url: self.public_url.trim_end_matches('/').to_owned(),
            permissions: self.permissions.into_iter().map(permission).collect(),
            hardware_requirements: self
                .hardware_requirements
                .into_iter()
                .map(hardware)
                .collect(),
            settings: self.settings,
            tools: self.tools,
            webview_url: self.webview_url,
            logo_url: self.logo_url,
            allowed_ips: self.allowed_ips,
            version: self.version,
            onboarding_instructions: self.onboarding_instructions,
            organization: self.organization,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
apps:
  - packageName: com.acme.scribe
    name: Scribe
    appType: standard
    publicUrl: http://127.0.0.1:7010/
    apiKey: plain-for-development
    permissions: [MICROPHONE, {type: LOCATION, description: where you are}]
    allowedIps: [10.0.0.0/8]
    organization: {name: Acme, contactEmail: hello@acme.com}
";

    #[test]
    fn a_plain_key_is_kept_only_as_its_hash_and_the_slash_goes() {
        let apps = parse(GOOD, Profile::Development).expect("valid");
        let apps = apps.expect("a list");
        assert_eq!(apps[0].key_sha256, sha256_hex("plain-for-development"));
        assert_eq!(apps[0].public_url, "http://127.0.0.1:7010");
        assert_eq!(apps[0].app_type, AppType::Standard);
        assert_eq!(
            apps[0].permissions[1].description.as_deref(),
            Some("where you are")
        );
        let publisher = apps[0].organization.as_ref().expect("a publisher");
        assert_eq!(publisher.contact_email.as_deref(), Some("hello@acme.com"));
    }

    #[test]
    fn production_refuses_plain_keys() {
        let error = parse(GOOD, Profile::Production).expect_err("plain key");
        assert!(error.to_string().contains("com.acme.scribe"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = parse(
            "apps:\n  - packageName: a\n    publicURL: x\n",
            Profile::Development,
        )
        .expect_err("typo");
        assert!(
            error.to_string().contains("publicURL") && error.to_string().contains('3'),
            "{error}"
        );
    }

    #[test]
    fn all_problems_are_listed() {
        let text = "
apps:
  - {packageName: a, publicUrl: 'http://a', apiKey: k, apiKeySha256: f}
  - {packageName: a, apiKey: k}
  - {packageName: b, publicUrl: 'ftp://b', allowedIps: [x]}
";
        let error = parse(text, Profile::Development)
            .expect_err("many")
            .to_string();
        for part in [
            "not both",
            "twice",
            "publicUrl is missing",
            "no http",
            "needs apiKey",
            "allowedIps",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn a_name_that_nothing_can_be_stored_under_and_a_url_that_cannot_be_called_are_refused() {
        let refused = |name: &str, url: &str| {
            let text =
                format!("apps: [{{packageName: \"{name}\", publicUrl: '{url}', apiKey: k}}]");
            parse(&text, Profile::Development).map_err(|error| error.to_string())
        };
        let (longest, url) = ("p".repeat(512), "http://127.0.0.1:65535");
        assert!(refused(&longest, url).is_ok());
        for name in [format!("{longest}p"), "a\\0b".into()] {
            let error = refused(&name, url).expect_err("no name");
            assert!(error.contains("packageName"), "{error}");
        }
        let error = refused("com.acme.scribe", "http://127.0.0.1:65536").expect_err("no port");
        assert!(error.contains("com.acme.scribe: publicUrl"), "{error}");
    }

    #[test]
    fn an_absent_type_means_background() {
        let apps = parse(
            "apps: [{packageName: a, publicUrl: 'http://a', apiKey: k}]",
            Profile::Development,
        )
        .expect("valid");
        let apps = apps.expect("a list");
        assert_eq!(apps[0].app_type, AppType::Background);
    }

    #[test]
    fn no_list_is_not_an_empty_list() {
        for text in [
            "",
            "\n \n",
            "# apps:\n",
            "---\n",
            "{}",
            "apps:\n",
            "apps: ~",
        ] {
            let apps = parse(text, Profile::Production).expect(text);
            assert!(apps.is_none(), "{text:?}");
        }
        let apps = parse("apps: []", Profile::Production).expect("valid");
        assert_eq!(apps.map(|apps| apps.len()), Some(0));
    }
}
