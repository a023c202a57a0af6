//! One suite over all store backends: memory and embedded always, PostgreSQL when `PRISM_TEST_POSTGRES_URL` names a server
//! (`scripts/postgres` starts one).

#[path = "store_conformance/cases.rs"]
mod cases;
#[path = "support/postgres.rs"]
mod postgres;

use cases::{Names, QUOTA, one, storage, suite};
use postgres::{postgres_url, run};
use prism::base::settings::Settings;
use prism::services::store::{Change, DocKey, Quota, Store as _, StoreError};
use prism::wire::records::AppRecord;
use std::collections::BTreeMap;
use std::sync::Arc;

#[test]
fn memory() {
    run(suite(Arc::new(
        prism::services::store::memory::Memory::default(),
    )));
}

#[test]
fn embedded() {
    let folder = tempfile::tempdir().expect("a folder");
    run(async {
        let store = prism::services::store::embedded::Embedded::open(folder.path()).expect("opens");
        suite(Arc::new(store)).await;
    });
}

#[test]
fn embedded_finds_everything_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = Names::fresh();
    run(async {
        let store = prism::services::store::embedded::Embedded::open(folder.path()).expect("opens");
        let data = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        one(
            &store,
            Change::StorageMerge(names.user.clone(), "p".into(), data, QUOTA),
        )
        .await;
        assert!(matches!(
            prism::services::store::embedded::Embedded::open(folder.path()),
            Err(StoreError::InUse(_))
        ));
    });
    run(async {
        let store =
            prism::services::store::embedded::Embedded::open(folder.path()).expect("opens again");
        let json = store
            .get(&DocKey::storage(&names.user, "p"))
            .await
            .expect("reads");
        assert_eq!(json.as_deref(), Some(&br#"{"k":"v"}"#[..]));
    });
}

#[test]
fn postgres() {
    let Some(url) = postgres_url() else { return };
    run(async {
        let mut settings = Settings::default();
        settings.server.store_url = url;
        let open = || prism::services::store::postgres::Postgres::open(&settings);
        suite(Arc::new(open().await.expect("opens and migrates"))).await;

        // Two instances change one document at the same time; nothing is lost.
        let (left, right) = (open().await.expect("opens"), open().await.expect("opens"));
        let names = Names::fresh();
        let quota = Quota {
            value_chars: 10,
            total_chars: 10_000,
        };
        let put = |index: u32| {
            let data = BTreeMap::from([(format!("k{index:03}"), "v".to_owned())]);
            Change::StorageMerge(names.user.clone(), "shared".into(), data, quota)
        };
        for index in 0..20 {
            let (mine, theirs) = ([put(index)], [put(100 + index)]);
            let (one, two) = tokio::join!(left.commit(&mine), right.commit(&theirs));
            assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
        }
        let stored = storage(&left, &names.user, "shared").await;
        assert_eq!(stored.len(), 40);
    });
}

#[test]
fn postgres_announces_app_changes_to_other_instances() {
    let Some(url) = postgres_url() else { return };
    run(async {
        let mut settings = Settings::default();
        settings.server.store_url = url;
        let open = || prism::services::store::postgres::Postgres::open(&settings);
        let (left, right) = (open().await.expect("opens"), open().await.expect("opens"));
        // Listening began: the first announcement is the listener's own.
        left.apps_changed().await;
        let names = Names::fresh();
        let record = AppRecord {
            package_name: names.package.clone(),
            ..AppRecord::default()
        };
        right
            .commit(&[Change::PutApp(Box::new(record))])
            .await
            .expect("commits");
        left.apps_changed().await;
        right
            .commit(&[Change::RemoveApp(names.package)])
            .await
            .expect("commits");
    });
}
