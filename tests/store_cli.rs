//! `prism import`, `prism apps` and `prism users` as an operator uses them, on both stores.
#![cfg(unix)]

mod support;

use serde_json::{Value, json};
use std::process::Output;
use support::{Site, postgres_url};

fn sites() -> Vec<Site> {
    // On a busy machine the first call over a fresh connection may take long.
    let patient = [("db_timeout_ms", "30000")];
    let mut sites = vec![Site::new("", &patient)];
    sites.extend(postgres_url().map(|url| Site::new(&url, &patient)));
    sites
}

/// A name nobody used before: the database may be an old one.
fn fresh(what: &str) -> String {
    format!("{what}{:x}", fastrand::u64(..))
}

fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_exported_deployment_is_imported_and_works() {
    for site in sites() {
        let (user, package) = (fresh("nadia") + "@lumen.io", fresh("com.acme.scribe"));
        let key = "the-key-the-app-has-always-had";
        let lines = [
            json!({
                "_id": {"$oid": "65f0c1"}, "packageName": package, "name": "Scribe", "appType": "standard",
                "publicUrl": "https://scribe.example/", "hashedApiKey": prism::wire::auth::sha256_hex(key),
                "permissions": [{"type": "MICROPHONE", "description": "to hear"}], "logoURL": null,
                "appStoreStatus": "PUBLISHED", "createdAt": {"$date": "2026-01-01T00:00:00.000Z"}, "__v": 3,
            }),
            json!({
                "_id": {"$oid": "65f0c2"}, "email": user.to_uppercase(), "runningApps": [package],
                "installedApps": [{"packageName": package, "installedDate": {"$date": "2026-03-14T09:26:53.589Z"}}],
                "appSettings": { package.replace('.', "%2E"): [{"key": "lang", "value": {"$numberInt": "7"}}] },
                "location": {"lat": {"$numberDouble": "38.7"}, "lng": -9.1},
            }),
            json!({"email": user, "settings": {"brightness": 3}, "version": 1}),
            json!({"email": user, "packageName": package, "data": {"k": "v"}}),
        ];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(site.path("dump.json"), text + "not JSON\n").expect("writable");
        let counts = json!({"imported": 4, "skipped": 1});
        assert_eq!(site.cli_json(&["import", "--json", "dump.json"]), counts);
        // Once more does no harm.
        assert_eq!(site.cli_json(&["import", "--json", "dump.json"]), counts);

        let shown = site.cli_json(&["users", "show", &user, "--json"]);
        assert_eq!(shown["runningApps"], json!([package]));
        assert_eq!(
            shown["appSettings"][&package],
            json!([{"key": "lang", "value": 7}])
        );
        assert_eq!(shown["userSettings"], json!({"brightness": 3}));
        assert_eq!(shown["location"]["lat"], json!(38.7));
        let users = site.cli_json(&["users", "list", "--json"]);
        assert!(
            users
                .as_array()
                .is_some_and(|users| users.contains(&json!(user)))
        );

        let server = site.serve();
        let path = format!("/api/sdk/simple-storage/{user}");
        let answer = server.as_app(&package, key, "GET", &path, &json!({}));
        assert_eq!(answer.body["data"], json!({"k": "v"}), "{answer:?}");
    }
}

#[test]
fn what_cannot_be_imported_is_named_and_keeps_nothing_else_back() {
    for site in sites() {
        let user = fresh("nadia") + "@lumen.io";
        let lines: [(Vec<u8>, Option<&str>); 10] = [
            (format!("\u{feff}{}", json!({"email": user})).into(), None),
            (
                json!({"email": "a\0b@lumen.io"}).to_string().into(),
                Some("nothing can have this name"),
            ),
            (
                json!({"email": "x".repeat(600)}).to_string().into(),
                Some("nothing can have this name"),
            ),
            (
                b"{\"email\":\"caf\xe9@lumen.io\"}".into(),
                Some("no JSON: invalid unicode code point at column"),
            ),
            (b"{\"email\":".into(), Some("no JSON: EOF")),
            (b"[]".into(), Some("no known record")),
            (
                json!({"packageName": "com.acme.old", "appType": "tpa"})
                    .to_string()
                    .into(),
                Some("app \"com.acme.old\": appType: unknown variant `tpa`"),
            ),
            (
                json!({"packageName": "com.acme.old", "version": 3})
                    .to_string()
                    .into(),
                Some("app \"com.acme.old\": version: invalid type: integer `3`"),
            ),
            (
                json!({"email": user, "packageName": "com.acme.old", "data": {"k": "x".repeat(200_000)}})
                    .to_string()
                    .into(),
                Some("a value is beyond the quota of simple storage"),
            ),
            (
                json!({"email": user, "settings": {"gain": 20.790271923561818}})
                    .to_string()
                    .into(),
                None,
            ),
        ];
        let text = lines.iter().map(|(line, _)| &line[..]);
        std::fs::write(
            site.path("dump.json"),
            text.collect::<Vec<_>>().join(&b'\n'),
        )
        .expect("writable");
        let output = site.cli(&["import", "--json", "dump.json"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        for (index, (_, why)) in lines.iter().enumerate() {
            let place = format!("dump.json:{}: ", index + 1);
            let found = told.lines().find_map(|line| line.strip_prefix(&place));
            let is_as_wanted = match (found, why) {
                (Some(found), Some(why)) => found.starts_with(why),
                (found, why) => found.is_none() && why.is_none(),
            };
            assert!(is_as_wanted, "{place}{why:?} in {told}");
        }
        let counts: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(counts, json!({"imported": 2, "skipped": 8}));
        let shown = site.cli_json(&["users", "show", &user, "--json"]);
        assert_eq!(
            shown["userSettings"],
            json!({"gain": 20.790271923561818_f64})
        );
    }
}

#[test]
fn a_file_that_cannot_be_imported_is_named() {
    let site = Site::new("", &[]);
    let refused = refusal(&site.cli(&["import", "nowhere.json"]));
    assert!(refused.contains("nowhere.json: "), "{refused}");
}

#[test]
fn commands_find_the_store_and_the_apps_file_that_serve_was_given() {
    let site = Site::new("", &[]);
    std::fs::write(
        site.path("mine.yaml"),
        "apps:\n  - {packageName: com.acme.file, publicUrl: 'http://x', apiKey: k}\n",
    )
    .expect("writable");
    std::fs::write(
        site.path("dump.json"),
        r#"{"email": "nadia@lumen.io", "runningApps": []}"#,
    )
    .expect("writable");
    // A path of the command line starts where the command is given, not beside the file.
    std::fs::create_dir(site.path("etc")).expect("a folder");
    std::fs::write(site.path("etc/config.yaml"), "").expect("writable");
    let place = [
        "--data-dir",
        "mine",
        "--apps",
        "mine.yaml",
        "--config",
        "etc/config.yaml",
    ];
    let add = [
        "apps",
        "add",
        "com.acme.stored",
        "--url",
        "http://x",
        "--json",
    ];
    site.cli_json(&[&add, &place[..]].concat());
    let listed = site.cli_json(&[&["apps", "list", "--json"], &place[..]].concat());
    let names: Vec<_> = listed
        .as_array()
        .into_iter()
        .flatten()
        .map(|app| app["packageName"].clone())
        .collect();
    assert_eq!(names, ["com.acme.file", "com.acme.stored"]);
    let data = &place[..2];
    site.cli_json(&[&["import", "--json", "dump.json"], data].concat());
    let users = site.cli_json(&[&["users", "list", "--json"], data].concat());
    assert_eq!(users, json!(["nadia@lumen.io"]));
    assert!(!site.path("data").exists(), "no other store is made");
}

#[test]
fn apps_are_added_given_new_keys_and_removed() {
    for site in sites() {
        let package = fresh("com.acme.scribe");
        let listed = |wanted: &str| -> Value {
            let apps = site.cli_json(&["apps", "list", "--json"]);
            let apps = apps.as_array().cloned().unwrap_or_default();
            apps.into_iter()
                .find(|app| app["packageName"] == wanted)
                .unwrap_or_default()
        };
        let add = [
            "apps",
            "add",
            &package,
            "--url",
            "http://127.0.0.1:7010/",
            "--permission",
            "CAMERA",
            "--json",
        ];
        let added = site.cli_json(&add);
        let hash =
            |made: &Value| prism::wire::auth::sha256_hex(made["apiKey"].as_str().expect("a key"));
        assert_eq!(listed(&package)["hashedApiKey"], hash(&added));
        assert_eq!(listed(&package)["publicUrl"], "http://127.0.0.1:7010");
        assert_eq!(listed(&package)["permissions"][0]["type"], "CAMERA");
        assert_eq!(listed(&package)["source"], "store");
        assert!(refusal(&site.cli(&add)).contains("already"));

        let rotated = site.cli_json(&["apps", "rotate-key", &package, "--json"]);
        assert_ne!(hash(&rotated), hash(&added));
        assert_eq!(listed(&package)["hashedApiKey"], hash(&rotated));
        assert_eq!(
            listed(&package)["permissions"][0]["type"],
            "CAMERA",
            "the rest stays"
        );

        // The file wins over the store, so a key rotated there would change nothing.
        site.apps(&format!(
            "  - {{packageName: {package}, publicUrl: 'http://x', apiKey: k}}"
        ));
        assert_eq!(listed(&package)["source"], "file");
        assert!(refusal(&site.cli(&["apps", "rotate-key", &package])).contains("apps file"));
        site.apps("");

        let removed = site.cli_json(&["apps", "remove", &package, "--json"]);
        assert_eq!(removed, json!({"packageName": package, "removed": true}));
        assert_eq!(listed(&package), Value::Null);
        assert!(refusal(&site.cli(&["apps", "remove", &package])).contains("no app"));
        assert!(refusal(&site.cli(&["apps", "rotate-key", &package])).contains("no app"));
        let bad = ["apps", "add", &package, "--url", "ftp://x"];
        assert!(refusal(&site.cli(&bad)).contains("no http or https URL"));
    }
}
