//! The store goes away, hangs, comes back, and changes under a running server: what phones, apps and REST callers see of it.
#![cfg(unix)]

mod support;

use prism::wire::auth::sha256_hex;
use serde_json::json;
use support::postgres::{OwnPostgres, Wire, run, somebody, sql};
use support::{AppServer, Place, Server, Site, eventually, hello, is_alive, wait_for};
use tungstenite::Message;

const USER: &str = "nadia@lumen.io";
const PACKAGE: &str = "com.acme.scribe";
const KEY: &str = "right";
const GLASSES: &str =
    r#"{"type":"glasses_connection_state","modelName":"Mentra Live","status":"CONNECTED"}"#;

/// What the server says when it has other app records than before.
const CHANGED: &str = "app records changed";

fn put(server: &Server, package: &str, key: &str, value: &str) -> u16 {
    let path = format!("/api/sdk/simple-storage/{USER}/k");
    server
        .as_app(package, key, "PUT", &path, &json!({ "value": value }))
        .status
}

/// Writes behind all that waits for the store. An answer of 503 comes when `db_timeout_ms` is over.
fn put_behind(server: &Server, name: &str) {
    let path = format!("/api/sdk/simple-storage/{USER}/{name}");
    let body = json!({ "value": "behind" });
    for _ in 0..8 {
        let answer = server.as_app(PACKAGE, KEY, "PUT", &path, &body);
        if answer.status == 200 {
            return;
        }
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    panic!("nothing was written; log:\n{}", server.log.text());
}

fn stored(server: &Server, key: &str) -> serde_json::Value {
    let path = format!("/api/sdk/simple-storage/{USER}/k");
    let answer = server.as_app(PACKAGE, key, "GET", &path, &json!({}));
    answer.body["data"]["value"].clone()
}

/// A site on PostgreSQL whose one app lives in the store. App records are read again every `refresh_ms`, or when announced.
fn site_with_stored_app(url: &str, app: &AppServer, refresh_ms: &str) -> Site {
    let settings = [
        ("db_timeout_ms", "4000"),
        ("db_retry_ms", "100"),
        ("app_cache_refresh_ms", refresh_ms),
        ("preinstalled_apps", PACKAGE),
    ];
    let site = Site::new(url, &settings);
    let added = site.cli_with_input(&["apps", "add", PACKAGE, "--url", &app.url, "--stdin"], KEY);
    assert!(added.status.success(), "{added:?}");
    site
}

/// Serves and waits for the records: on a busy machine the server goes on without the store before it has read them.
fn serve_with_records(site: &Site) -> Server {
    let server = site.serve();
    let begun = server.log.wait_for("serving", Place::default());
    if begun.contains("app records of the store could not be read") {
        server.log.wait_for(CHANGED, Place::default());
    }
    server
}

#[test]
fn an_outage_of_postgres_is_no_outage_of_sessions() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    let app = AppServer::start(PACKAGE, KEY);
    // Only announcements can bring changed records: the timer is an hour.
    let site = site_with_stored_app(&postgres.url, &app, "3600000");
    let server = serve_with_records(&site);
    app.serve(server.address);
    let mut phone = server.phone(USER);
    let started = server.as_user(USER, "POST", &format!("/apps/{PACKAGE}/start"), &json!({}));
    assert!(started.is_success(), "{started:?}");
    assert_eq!(put(&server, PACKAGE, KEY, "before"), 200);

    postgres.down();
    let mut first = app.socket();
    assert!(is_alive(&mut phone) && is_alive(&mut first));
    // Nobody is told that a right key is wrong, nor the reverse.
    assert_eq!(put(&server, PACKAGE, KEY, "during"), 503);
    assert_eq!(put(&server, PACKAGE, "wrong", "never"), 401);
    let (mut second, answer) = hello(server.address, USER, PACKAGE, KEY).expect("answered");
    assert_eq!(answer["type"], "tpa_connection_ack", "{answer}");
    phone.send(Message::text(GLASSES)).expect("sent");
    assert!(is_alive(&mut phone), "and handled");
    // A user whose record cannot be read has a session all the same.
    let mut stranger = server.phone("stranger@lumen.io");
    stranger
        .send(Message::text(r#"{"type":"ping"}"#))
        .expect("sent");
    wait_for(&mut stranger, "pong");
    stranger.send(Message::text(GLASSES)).expect("sent");
    assert!(is_alive(&mut stranger), "and handled");

    postgres.up();
    // The store is written in order: the write that was not acknowledged, the one that nobody waited for, this one.
    put_behind(&server, "k2");
    assert_eq!(stored(&server, KEY), "during");
    let user = site.cli_json(&["users", "show", USER, "--json"]);
    assert_eq!(user["glassesModels"], json!(["Mentra Live"]), "{user}");
    assert_eq!(user["runningApps"], json!([PACKAGE]), "{user}");
    assert!(is_alive(&mut phone) && is_alive(&mut second) && is_alive(&mut stranger));
    // Of whom something was written before the record could be read.
    let installed = server.as_user("stranger@lumen.io", "GET", "/apps/installed", &json!({}));
    assert!(installed.is_success(), "{installed:?}");
    let user = site.cli_json(&["users", "show", "stranger@lumen.io", "--json"]);
    assert_eq!(user["glassesModels"], json!(["Mentra Live"]), "{user}");
    assert_eq!(user["installedApps"][0]["packageName"], PACKAGE, "{user}");
    eventually(|| {
        server
            .log
            .text()
            .contains("store-write-failed")
            .then_some(())
    })
    .unwrap_or_else(|| panic!("{}", server.log.text()));

    // A key rotated elsewhere: announced, taken, no socket dropped.
    let place = server.log.place();
    let rotated = site.cli_json(&["apps", "rotate-key", PACKAGE, "--json"]);
    let new = rotated["apiKey"].as_str().expect("a key");
    server.log.wait_for(CHANGED, place);
    assert_eq!(put(&server, PACKAGE, new, "rotated"), 200);
    assert_eq!(put(&server, PACKAGE, KEY, "never"), 401);
    let (_, refused) = hello(server.address, USER, PACKAGE, KEY).expect("answered");
    assert_eq!(refused["code"], "INVALID_API_KEY", "{refused}");
    assert!(is_alive(&mut phone) && is_alive(&mut second));
}

#[test]
fn a_server_starts_without_postgres_and_calls_no_key_wrong() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    let app = AppServer::start(PACKAGE, KEY);
    // Only announcements can bring changed records: the timer is an hour.
    let site = site_with_stored_app(&postgres.url, &app, "3600000");
    site.apps(&format!(
        "  - {{packageName: com.acme.file, publicUrl: '{}', apiKey: {KEY}}}",
        app.url
    ));
    postgres.down();
    let server = site.serve();
    let mut phone = server.phone(USER);
    // Unknown so far: an error, but never "wrong key", which would end the app for good.
    assert_eq!(put(&server, PACKAGE, KEY, "early"), 503);
    let (_, answer) = hello(server.address, USER, PACKAGE, KEY).expect("answered");
    assert_eq!(answer["code"], "INTERNAL_ERROR", "{answer}");
    // Known from the file.
    assert_eq!(put(&server, "com.acme.file", KEY, "early"), 503);
    assert_eq!(put(&server, "com.acme.file", "wrong", "never"), 401);
    let place = server.log.place();
    postgres.up();
    server.log.wait_for(CHANGED, place);
    put_behind(&server, "k");
    assert!(is_alive(&mut phone));
}

#[test]
fn a_server_starts_on_a_postgres_that_is_not_yet_the_primary() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    let app = AppServer::start(PACKAGE, KEY);
    let site = site_with_stored_app(&postgres.url, &app, "3600000");
    let alter = |steps: &[&str]| run(sql(&postgres.url, steps));
    // As a standby answers, until the fail-over is over.
    alter(&["ALTER ROLE prism SET default_transaction_read_only = on"]);
    let server = site.serve();
    let mut phone = server.phone(USER);
    // Meanwhile it is read.
    let path = format!("/api/sdk/simple-storage/{USER}/k");
    let read = server.as_app(PACKAGE, KEY, "GET", &path, &json!({}));
    assert_eq!(read.status, 404, "{read:?}");
    assert_eq!(put(&server, PACKAGE, KEY, "early"), 503);
    alter(&[
        "SET default_transaction_read_only = off",
        "ALTER ROLE prism RESET default_transaction_read_only",
    ]);
    put_behind(&server, "k");
    assert!(is_alive(&mut phone));
}

#[test]
fn a_phone_that_came_during_an_outage_gets_its_apps_when_it_is_over() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    let app = AppServer::start(PACKAGE, KEY);
    let site = site_with_stored_app(&postgres.url, &app, "1000");
    let server = serve_with_records(&site);
    app.serve(server.address);
    let phone = server.phone(USER);
    let started = server.as_user(USER, "POST", &format!("/apps/{PACKAGE}/start"), &json!({}));
    assert!(started.is_success(), "{started:?}");
    drop((phone, app.take_sockets()));
    drop(server);

    postgres.down();
    let server = site.serve();
    app.serve(server.address);
    let mut phone = server.phone(USER);
    assert!(is_alive(&mut phone) && app.take_sockets().is_empty());
    postgres.up();
    assert!(is_alive(&mut app.socket()) && is_alive(&mut phone));
}

#[test]
fn connections_that_hang_are_left_behind() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    let app = AppServer::start(PACKAGE, KEY);
    let wire = Wire::to(postgres.address());
    let url = postgres
        .url
        .replace(&postgres.address().to_string(), &wire.address.to_string());
    let site = site_with_stored_app(&url, &app, "3600000");
    let server = serve_with_records(&site);
    wire.swallow();
    // The first call finds out; its write is retried over a new connection.
    assert_eq!(put(&server, PACKAGE, KEY, "during"), 503);
    put_behind(&server, "k2");
    assert_eq!(stored(&server, KEY), "during");
}

#[test]
fn tls_is_verified_against_the_given_authority() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    let authority = postgres.tls();
    let url = format!("{}?sslmode=require", postgres.url);
    let trusting = Site::new(&url, &[("store_ca_file", &authority)]);
    assert_eq!(trusting.cli_json(&["users", "list", "--json"]), json!([]));
    let stranger = Site::new(&url, &[]);
    let refused = stranger.cli(&["users", "list"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && error.contains("UnknownIssuer"),
        "{error}"
    );
    let missing = Site::new(&url, &[("store_ca_file", "/nowhere/ca.pem")]);
    let refused = missing.cli(&["users", "list"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && error.contains("store_ca_file"),
        "{error}"
    );
}

/// Changes the stored key behind everybody's back: nothing is announced.
fn change_key_silently(url: &str, old: &str, new: &str) {
    run(async {
        let sql = "UPDATE prism_documents SET doc = replace(doc, $1, $2), revision = revision + 1 WHERE position($1 in doc) > 0";
        let changed = somebody(url)
            .await
            .execute(sql, &[&sha256_hex(old), &sha256_hex(new)])
            .await
            .expect("changed");
        assert_eq!(changed, 1);
    });
}

#[test]
fn a_key_changed_without_an_announcement_counts_within_the_refresh_period() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    let app = AppServer::start(PACKAGE, KEY);
    let site = site_with_stored_app(&postgres.url, &app, "1000");
    let server = serve_with_records(&site);
    let place = server.log.place();
    change_key_silently(&postgres.url, KEY, "newer");
    server.log.wait_for(CHANGED, place);
    assert_eq!(put(&server, PACKAGE, "newer", "new"), 200);
    assert_eq!(put(&server, PACKAGE, KEY, "never"), 401);
}

fn entry(package: &str, url: &str, key: &str) -> String {
    format!(
        "  - {{packageName: {package}, appType: background, publicUrl: '{url}', apiKey: {key}}}\n"
    )
}

#[test]
fn a_reload_takes_new_apps_and_keys_and_drops_no_socket() {
    let app = AppServer::start(PACKAGE, KEY);
    let site = Site::new("", &[("admin_emails", "boss@lumen.io")]);
    site.apps(&entry(PACKAGE, &app.url, KEY));
    let server = site.serve();
    app.serve(server.address);
    let mut phone = server.phone(USER);
    let started = server.as_user(USER, "POST", &format!("/apps/{PACKAGE}/start"), &json!({}));
    assert!(started.is_success(), "{started:?}");

    site.apps(&(entry(PACKAGE, &app.url, "new") + &entry("com.acme.second", &app.url, "k2")));
    let place = server.log.place();
    server.signal("-HUP");
    server.log.wait_for("configuration reloaded", place);
    assert_eq!(put(&server, "com.acme.second", "k2", "v"), 200);
    assert_eq!(put(&server, PACKAGE, "new", "v"), 200);
    assert_eq!(put(&server, PACKAGE, KEY, "v"), 401);
    let mut socket = app.socket();
    assert!(is_alive(&mut phone) && is_alive(&mut socket));

    // A broken file changes nothing and says so; the admin call reads the same file.
    site.apps("  - {packageName: broken}");
    let reload = |email: &str| server.as_user(email, "POST", "/api/admin/reload", &json!({}));
    let refused = reload("boss@lumen.io");
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(
        refused.body["error"]
            .as_str()
            .is_some_and(|text| text.contains("publicUrl is missing"))
    );
    assert_eq!(put(&server, PACKAGE, "new", "v"), 200);
    site.apps(&entry(PACKAGE, &app.url, "newer"));
    assert!(!reload(USER).is_success());
    assert_eq!(reload("boss@lumen.io").body["apps"], 1);
    assert_eq!(put(&server, PACKAGE, "newer", "v"), 200);
    assert_eq!(put(&server, PACKAGE, "new", "v"), 401);
    assert!(is_alive(&mut phone) && is_alive(&mut socket));
    assert!(app.take_sockets().is_empty(), "it was never called again");
}

#[test]
fn an_apps_file_that_was_lost_takes_no_app_away_at_a_reload() {
    let app = AppServer::start(PACKAGE, KEY);
    let site = Site::new("", &[("admin_emails", "boss@lumen.io")]);
    site.apps(&entry(PACKAGE, &app.url, KEY));
    let server = site.serve();
    let reload = || server.as_user("boss@lumen.io", "POST", "/api/admin/reload", &json!({}));
    let file = site.path("apps.yaml");
    for lost in [Some(""), Some("# soon\n"), Some("apps:\n"), None] {
        match lost {
            Some(text) => std::fs::write(&file, text).expect("writable"),
            None => std::fs::remove_file(&file).expect("writable"),
        }
        let refused = reload();
        let why = refused.body["error"].as_str().unwrap_or_default();
        assert_eq!(refused.status, 400, "{lost:?}: {refused:?}");
        assert!(why.contains("apps.yaml"), "{lost:?}: {why}");
        assert_eq!(put(&server, PACKAGE, KEY, "v"), 200, "{lost:?}");
    }
    let place = server.log.place();
    server.signal("-HUP");
    server.log.wait_for("reload refused", place);

    std::fs::write(&file, "apps: []\n").expect("writable");
    assert_eq!(reload().body["apps"], 0, "said, and so meant");
    assert_eq!(put(&server, PACKAGE, KEY, "v"), 401);
    // Where there are none, a file without any is no mistake.
    std::fs::write(&file, "").expect("writable");
    assert!(reload().is_success());
}
