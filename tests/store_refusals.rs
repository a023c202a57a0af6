//! PostgreSQL refuses a value, is far away, leads nowhere, answers slowly or gives few rights: no other write waits for it.
#![cfg(unix)]

mod support;

use futures_util::future::join_all;
use prism::base::ids::UserId;
use prism::base::settings::Settings;
use prism::services::store::postgres::Postgres;
use prism::services::store::writes::Writes;
use prism::services::store::{Change, DocKey, Outcome, Quota, Space, Store as _, StoreError};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::postgres::{OwnPostgres, Wire, postgres_url, run, somebody, sql};
use support::{AppServer, Server, Site, eventually};

const PACKAGE: &str = "com.acme.scribe";
const KEY: &str = "right";

async fn open(url: &str, timeout_ms: u64, pool_size: u64) -> Result<Postgres, StoreError> {
    let mut settings = Settings::default();
    settings.server.store_url = url.to_owned();
    settings.store.db_timeout_ms = timeout_ms;
    settings.store.db_pool_size = pool_size;
    Postgres::open(&settings).await
}

/// A user that no other run knows.
fn fresh_user() -> UserId {
    UserId::new(&format!("user-{:x}@lumen.io", fastrand::u64(..)))
}

fn put(user: &UserId, value: &str) -> Change {
    let quota = Quota {
        value_chars: 1000,
        total_chars: 10_000,
    };
    let data = BTreeMap::from([("k".to_owned(), value.to_owned())]);
    Change::StorageMerge(user.clone(), PACKAGE.into(), data, quota)
}

fn through(wire: &Wire, url: &str, postgres: &str) -> String {
    url.replace(postgres, &wire.address.to_string())
}

/// Status of a write to simple storage over REST.
fn write(server: &Server, user: &str, value: &str) -> u16 {
    let path = format!("/api/sdk/simple-storage/{user}/k");
    server
        .as_app(PACKAGE, KEY, "PUT", &path, &json!({ "value": value }))
        .status
}

#[test]
fn a_value_that_the_database_refuses_holds_nobody_up() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    let create =
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    run(sql(&postgres.url, &[create]));
    let (server, _) = postgres.url.rsplit_once('/').expect("a database");
    let url = format!("{server}/latin");
    let app = AppServer::start(PACKAGE, KEY);
    let site = Site::new(&url, &[("db_timeout_ms", "4000")]);
    site.apps(&format!(
        "  - {{packageName: {PACKAGE}, publicUrl: '{}', apiKey: {KEY}}}",
        app.url
    ));
    let server = site.serve();
    assert_eq!(write(&server, "nadia@lumen.io", "caf\u{e9}"), 200);
    // Its encoding has no such character; a constraint that the operator added.
    assert_eq!(write(&server, "omar@lumen.io", "\u{1f600}"), 400);
    let check = "ALTER TABLE prism_documents ADD CHECK (doc NOT LIKE '%poison%')";
    run(sql(&url, &[check]));
    assert_eq!(write(&server, "omar@lumen.io", "poison"), 400);
    assert_eq!(write(&server, "omar@lumen.io", "fine"), 200);
    assert_eq!(write(&server, "nadia@lumen.io", "more"), 200);
    for line in ["store-write-dropped", "store-encoding"] {
        eventually(|| server.log.text().contains(line).then_some(()))
            .unwrap_or_else(|| panic!("{line}: {}", server.log.text()));
    }
    let log = server.log.text();
    for quoted in ["\u{1f600}", "poison", "omar"] {
        assert!(!log.contains(quoted), "{quoted}: {log}");
    }
}

#[test]
fn a_database_far_away_takes_many_documents_in_time() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    let wire = Wire::to(postgres.address());
    let url = through(&wire, &postgres.url, &postgres.address().to_string());
    run(async {
        // Document by document, 300 would take 12 s.
        let store = open(&url, 8000, 2).await.expect("opens");
        wire.lengthen(20);
        let users: Vec<_> = (0..300).map(|_| fresh_user()).collect();
        let changes: Vec<_> = users.iter().map(|user| put(user, "v")).collect();
        let outcomes = store.commit(&changes).await.expect("in time");
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done));
        let cleared = |user: &UserId| Change::StorageClear(user.clone(), PACKAGE.into());
        let mut changes: Vec<_> = users[1..].iter().map(cleared).collect();
        changes.push(put(&users[0], "w"));
        store.commit(&changes).await.expect("in time");
        let first = store.get(&DocKey::storage(&users[0], PACKAGE)).await;
        assert_eq!(first.expect("reads").as_deref(), Some(&br#"{"k":"w"}"#[..]));
        let other = store.get(&DocKey::storage(&users[1], PACKAGE)).await;
        assert_eq!(other.expect("reads"), None);
    });
}

#[test]
fn after_a_failover_one_call_finds_out_for_all_connections() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    let wire = Wire::to(postgres.address());
    let url = through(&wire, &postgres.url, &postgres.address().to_string());
    run(async {
        let store = open(&url, 3000, 8).await.expect("opens");
        let key = DocKey::storage(&fresh_user(), PACKAGE);
        for read in join_all((0..8).map(|_| store.get(&key))).await {
            assert_eq!(read.expect("reads"), None);
        }
        wire.swallow();
        assert!(matches!(store.get(&key).await, Err(StoreError::Timeout)));
        for _ in 0..8 {
            assert_eq!(store.get(&key).await.expect("reads"), None);
        }
        store
            .commit(&[put(&fresh_user(), "v")])
            .await
            .expect("writes");
    });
}

#[test]
fn the_writer_does_not_wait_behind_slow_reads() {
    let Some(url) = postgres_url() else { return };
    let schema = format!("slow_{:x}", fastrand::u64(..));
    run(async {
        // What a search calls takes its time here.
        let create = format!("CREATE SCHEMA {schema}");
        let slow = format!(
            "CREATE FUNCTION {schema}.strpos(text, text) RETURNS integer LANGUAGE plpgsql
             AS 'BEGIN PERFORM pg_sleep(1); RETURN 0; END'"
        );
        sql(&url, &[&create, &slow]).await;
        let path = format!("{url}?options=-c%20search_path%3D{schema},pg_catalog");
        let store = Arc::new(open(&path, 5000, 2).await.expect("opens"));
        let incident = Change::PutIncident("id".into(), json!({}));
        store.commit(&[incident]).await.expect("writes");
        let searches: Vec<_> = (0..8)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.find(Space::Incident, "x", "", 1).await })
            })
            .collect();
        tokio::task::yield_now().await;
        store
            .commit(&[put(&fresh_user(), "v")])
            .await
            .expect("writes");
        searches.iter().for_each(tokio::task::JoinHandle::abort);
        sql(&url, &[&format!("DROP SCHEMA {schema} CASCADE")]).await;
    });
}

#[test]
fn a_role_that_may_create_nothing_is_enough_once_the_tables_are_there() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    run(async {
        drop(open(&postgres.url, 5000, 2).await.expect("migrates"));
        let grants = [
            "CREATE ROLE serving LOGIN",
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON prism_documents TO serving",
            "GRANT SELECT ON prism_schema TO serving",
        ];
        sql(&postgres.url, &grants).await;
        let url = postgres.url.replace("prism@", "serving@");
        let store = open(&url, 5000, 2).await.expect("opens");
        store
            .commit(&[put(&fresh_user(), "v")])
            .await
            .expect("writes");
        let newer = "INSERT INTO prism_schema VALUES (99)";
        sql(&postgres.url, &[newer]).await;
        assert!(
            open(&url, 5000, 2).await.is_err(),
            "a newer schema is refused"
        );
    });
}

#[test]
fn a_row_that_an_operator_locks_holds_up_no_other() {
    let Some(url) = postgres_url() else { return };
    run(async {
        const LIMIT_MS: u64 = 2000;
        let store = Arc::new(open(&url, LIMIT_MS, 3).await.expect("opens"));
        let (locked, other) = (fresh_user(), fresh_user());
        let put_all = [put(&locked, "v"), put(&other, "v")];
        store.commit(&put_all).await.expect("writes");
        let mut settings = Settings::default().store;
        settings.db_timeout_ms = LIMIT_MS;
        // What fails otherwise is not tried again in this test.
        settings.db_retry_ms = 60_000;
        let writes = Writes::start(store.clone(), settings);

        let client = somebody(&url).await;
        client.batch_execute("BEGIN").await.expect("begins");
        let lock =
            "SELECT 1 FROM prism_documents WHERE space = 'storage' AND owner = $1 FOR UPDATE";
        client
            .query(lock, &[&locked.as_str()])
            .await
            .expect("locks");
        let waits = writes.apply(put(&locked, "w")).await;
        assert!(matches!(waits, Err(StoreError::Timeout)), "{waits:?}");
        for value in ["1", "2", "3"] {
            writes.apply(put(&other, value)).await.expect("durable");
        }
        client.batch_execute("COMMIT").await.expect("unlocks");
        assert!(
            writes.close(Duration::from_secs(20)).await,
            "soon after it is free"
        );
        let stored = store.get(&DocKey::storage(&locked, PACKAGE)).await;
        assert_eq!(
            stored.expect("reads").as_deref(),
            Some(&br#"{"k":"w"}"#[..])
        );
    });
}

#[test]
fn the_database_gives_up_on_a_lock_before_we_do_and_keeps_none_of_its_own() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    let url = &postgres.url;
    run(async {
        let store = open(url, 8000, 3).await.expect("opens");
        let (locked, other) = (fresh_user(), fresh_user());
        let both = [put(&other, "v"), put(&locked, "v")];
        store.commit(&both).await.expect("writes");
        let client = somebody(url).await;
        let lock = "BEGIN; SELECT 1 FROM prism_documents WHERE owner =";
        let lock = format!("{lock} '{}' FOR UPDATE", locked.as_str());
        client.batch_execute(&lock).await.expect("locks");
        let refused = store.commit(&both).await;
        assert!(
            matches!(refused, Err(StoreError::Unfinished(_))),
            "{refused:?}"
        );
        // Else all other documents of a batch would stay locked for as long as the database waits for one of them.
        let kept = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
        let kept = client.query_one(kept, &[]).await.expect("reads");
        assert_eq!(kept.get::<_, i64>(0), 0);
    });
}

#[test]
fn a_start_beside_an_instance_that_migrates_for_long_is_refused_nothing() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    let url = &postgres.url;
    run(async {
        let client = somebody(url).await;
        // What all instances take while they migrate.
        let migrating = "SELECT pg_advisory_lock(x'707269736d'::bigint)";
        client.batch_execute(migrating).await.expect("locks");
        let store = open(url, 4000, 3).await.expect("starts without the store");
        let user = fresh_user();
        let early = store.commit(&[put(&user, "v")]).await;
        assert!(early.is_err(), "{early:?}");
        client
            .batch_execute("SELECT pg_advisory_unlock_all()")
            .await
            .expect("unlocks");
        store.commit(&[put(&user, "v")]).await.expect("writes");
    });
}

#[test]
fn the_database_is_asked_whether_it_takes_writes_at_all() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    let url = &postgres.url;
    run(async {
        let store = open(url, 4000, 3).await.expect("opens");
        let (user, other) = (fresh_user(), fresh_user());
        store.commit(&[put(&user, "v")]).await.expect("writes");
        let client = somebody(url).await;
        let run = async |sql: &str| client.batch_execute(sql).await.expect("done");
        store.probe().await.expect("nothing is wrong");
        run("BEGIN; SELECT 1 FROM prism_documents FOR UPDATE").await;
        store.probe().await.expect("rows are not the whole");
        run("ROLLBACK; BEGIN; LOCK TABLE prism_documents IN SHARE MODE").await;
        let asked = store.probe().await;
        assert!(matches!(asked, Err(StoreError::Unfinished(_))), "{asked:?}");
        run("ROLLBACK; ALTER TABLE prism_documents RENAME TO elsewhere").await;
        let asked = store.probe().await;
        assert!(matches!(asked, Err(StoreError::Postgres(_))), "{asked:?}");
        run("ALTER TABLE elsewhere RENAME TO prism_documents").await;
        // As of a standby.
        run("ALTER ROLE prism SET default_transaction_read_only = on").await;
        let standby = open(url, 4000, 3).await.expect("opens");
        let asked = standby.probe().await;
        assert!(
            matches!(asked, Err(StoreError::Unreachable(_))),
            "{asked:?}"
        );
        run("SET default_transaction_read_only = off").await;
        run("ALTER ROLE prism RESET default_transaction_read_only").await;
        // It changes nothing.
        store.probe().await.expect("nothing is wrong");
        let stored = store.get(&DocKey::storage(&user, PACKAGE)).await;
        assert_eq!(
            stored.expect("reads").as_deref(),
            Some(&br#"{"k":"v"}"#[..])
        );
        let absent = store.get(&DocKey::storage(&other, PACKAGE)).await;
        assert_eq!(absent.expect("reads"), None);
    });
}

#[test]
fn while_a_standby_holds_up_commits_nothing_is_set_aside_and_all_is_written_when_it_is_back() {
    let Some(postgres) = OwnPostgres::start() else {
        return;
    };
    run(async {
        const LIMIT_MS: u64 = 1000;
        let store = Arc::new(open(&postgres.url, LIMIT_MS, 3).await.expect("opens"));
        let mut settings = Settings::default().store;
        settings.db_timeout_ms = LIMIT_MS;
        settings.db_retry_ms = 100;
        let writes = Writes::start(store.clone(), settings);
        let client = somebody(&postgres.url).await;
        let standby = async |command: &str| {
            let command = format!("ALTER SYSTEM {command}");
            client.batch_execute(&command).await.expect("done");
            let reload = "SELECT pg_reload_conf()";
            client.batch_execute(reload).await.expect("reloads");
        };
        standby("SET synchronous_standby_names = 'nobody'").await;
        // The server's processes read it when they get to it.
        let asked = async { while store.probe().await.is_ok() {} };
        let asked = tokio::time::timeout(Duration::from_secs(20), asked).await;
        asked.expect("a commit is part of what is asked");
        let users: Vec<_> = (0..3).map(|_| fresh_user()).collect();
        for user in &users {
            let waits = writes.apply(put(user, "v")).await;
            assert!(matches!(waits, Err(StoreError::Timeout)), "{waits:?}");
        }
        let asked = store.probe().await;
        assert!(asked.is_err(), "no write gets done");
        standby("RESET synchronous_standby_names").await;
        assert!(writes.close(Duration::from_secs(20)).await);
        for user in &users {
            let stored = store.get(&DocKey::storage(user, PACKAGE)).await;
            assert!(stored.expect("reads").is_some());
        }
    });
}
