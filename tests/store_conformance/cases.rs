//! The cases: what every backend must do.

use prism::base::ids::{Package, UserId};
use prism::base::settings::Settings;
use prism::services::store::changes::Registration;
use prism::services::store::writes::Writes;
use prism::services::store::{Change, DocKey, Outcome, Quota, Space, Store, incidents_of};
use prism::session::effects::StoreOp;
use prism::wire::records::{AppRecord, InstalledApp, StoredLocation, UserRecord};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

type Texts = BTreeMap<String, String>;

/// What is stored of a user's simple storage.
pub(crate) async fn storage(store: &dyn Store, user: &UserId, package: &str) -> Texts {
    let json = store.get(&DocKey::storage(user, package)).await;
    let json = json.expect("reads").expect("stored");
    serde_json::from_slice(&json).expect("a map of texts")
}

pub(crate) const QUOTA: Quota = Quota {
    value_chars: 10,
    total_chars: 25,
};

/// Names of one run, so that a database that has been used before does not matter.
pub(crate) struct Names {
    pub(crate) user: UserId,
    pub(crate) package: String,
}

impl Names {
    pub(crate) fn fresh() -> Self {
        let id = fastrand::u64(..);
        Self {
            user: UserId::new(&format!("user-{id:x}@lumen.io")),
            package: format!("com.acme.app{id:x}"),
        }
    }
}

pub(crate) async fn one(store: &dyn Store, change: Change) -> Outcome {
    let mut outcomes = store.commit(&[change]).await.expect("commits");
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

async fn user(store: &dyn Store, names: &Names) -> UserRecord {
    let json = store
        .get(&DocKey::user(&names.user))
        .await
        .expect("reads")
        .expect("the user exists");
    serde_json::from_slice(&json).expect("a user record")
}

async fn users_are_created_once(store: &dyn Store, names: &Names) {
    let ensure = |package: &str, at_ms| Change::EnsureUser {
        user: names.user.clone(),
        packages: vec![package.to_owned()],
        at_ms,
    };
    assert_eq!(
        store.get(&DocKey::user(&names.user)).await.expect("reads"),
        None
    );
    let first = one(store, ensure("com.acme.first", 5)).await;
    let second = one(store, ensure("com.acme.second", 6)).await;
    assert_eq!(first, second);
    let installed = user(store, names).await.installed_apps;
    assert_eq!(installed.len(), 1);
    assert_eq!(
        (
            installed[0].package_name.as_str(),
            installed[0].installed_ms
        ),
        ("com.acme.first", 5)
    );
}

async fn who_was_written_of_first_is_created_all_the_same(store: &dyn Store, names: &Names) {
    let model = StoreOp::AddGlassesModel("Mentra Live".into());
    one(store, Change::Session(names.user.clone(), model)).await;
    for (at_ms, package) in [(5, "com.acme.first"), (6, "com.acme.second")] {
        let ensure = Change::EnsureUser {
            user: names.user.clone(),
            packages: vec![package.to_owned()],
            at_ms,
        };
        one(store, ensure).await;
        let record = user(store, names).await;
        assert_eq!(record.installed_apps.len(), 1);
        assert_eq!(record.installed_apps[0].package_name, "com.acme.first");
        assert_eq!(record.glasses_models, ["Mentra Live"]);
    }
}

async fn session_writes_keep_their_order(store: &dyn Store, names: &Names) {
    let package = Package::new(&names.package);
    let op = |op| Change::Session(names.user.clone(), op);
    let location = StoredLocation {
        lat: 38.7,
        lng: -9.1,
        accuracy: Some(5.0),
        unix_ms: 7,
    };
    let changes = [
        op(StoreOp::AddRunning(package.clone())),
        op(StoreOp::AddRunning(package.clone())),
        op(StoreOp::RemoveRunning(package.clone())),
        op(StoreOp::AddRunning(Package::new("b"))),
        op(StoreOp::SetLocation(location)),
        op(StoreOp::AddGlassesModel("Mentra Live".into())),
        op(StoreOp::AddGlassesModel("Mentra Live".into())),
        op(StoreOp::SetOnboarded(package)),
    ];
    assert_eq!(
        store.commit(&changes).await.expect("commits"),
        vec![Outcome::Done; 8]
    );
    let record = user(store, names).await;
    assert_eq!(record.running_apps, ["b"]);
    assert_eq!(record.location, Some(location));
    assert_eq!(record.glasses_models, ["Mentra Live"]);
    assert_eq!(record.onboarded, std::slice::from_ref(&names.package));
}

async fn installs_are_unique_and_uninstall_forgets_intent(store: &dyn Store, names: &Names) {
    let entry = InstalledApp {
        package_name: names.package.clone(),
        installed_ms: 9,
        last_active_ms: 0,
    };
    let install = Change::Install(names.user.clone(), entry.clone());
    assert_eq!(one(store, install.clone()).await, Outcome::Installed(entry));
    assert_eq!(one(store, install).await, Outcome::Exists);
    let package = Package::new(&names.package);
    let op = |op| Change::Session(names.user.clone(), op);
    let touched = [
        op(StoreOp::AddRunning(package.clone())),
        op(StoreOp::TouchApp(package, 77)),
    ];
    store.commit(&touched).await.expect("commits");
    let record = user(store, names).await;
    assert!(
        record
            .installed_apps
            .iter()
            .any(|app| app.package_name == names.package && app.last_active_ms == 77)
    );
    let uninstall = Change::Uninstall(names.user.clone(), names.package.clone());
    assert_eq!(one(store, uninstall.clone()).await, Outcome::Done);
    assert_eq!(one(store, uninstall).await, Outcome::Absent);
    assert!(
        !user(store, names)
            .await
            .running_apps
            .contains(&names.package)
    );
}

async fn settings_merge(store: &dyn Store, names: &Names) {
    let app = |list: Vec<Value>| Change::AppSettings(names.user.clone(), "a.b.c".into(), list);
    one(
        store,
        app(vec![
            json!({"key":"lang","value":"en"}),
            json!({"key":"size","value":2}),
        ]),
    )
    .await;
    let merged = one(store, app(vec![json!({"key":"lang","value":"pt"})])).await;
    let wanted = vec![
        json!({"key":"lang","value":"pt"}),
        json!({"key":"size","value":2}),
    ];
    assert_eq!(merged, Outcome::AppSettings(wanted.clone()));
    assert_eq!(user(store, names).await.app_settings["a.b.c"], wanted);

    let os = |value: Value| {
        Change::UserSettings(
            names.user.clone(),
            value.as_object().expect("a map").clone(),
        )
    };
    one(
        store,
        os(json!({"brightness": 40, "timezone": "Europe/Lisbon", "odd.key": "\u{0}"})),
    )
    .await;
    let merged = one(
        store,
        os(json!({"brightness": null, "metric_system": true})),
    )
    .await;
    let wanted: Map<String, Value> =
        json!({"timezone": "Europe/Lisbon", "odd.key": "\u{0}", "metric_system": true})
            .as_object()
            .expect("a map")
            .clone();
    assert_eq!(merged, Outcome::UserSettings(wanted.clone()));
    assert_eq!(user(store, names).await.user_settings, wanted);
}

async fn storage_has_quotas_and_literal_keys(store: &dyn Store, names: &Names) {
    let merge = |key: &str, value: &str| {
        let data = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        Change::StorageMerge(names.user.clone(), names.package.clone(), data, QUOTA)
    };
    let clear = Change::StorageClear(names.user.clone(), names.package.clone());
    let delete = |key: &str| {
        Change::StorageDelete(names.user.clone(), names.package.clone(), key.to_owned())
    };
    assert_eq!(one(store, clear.clone()).await, Outcome::Absent);
    assert_eq!(one(store, delete("x")).await, Outcome::Absent);
    assert_eq!(one(store, merge("a.b", "0123456789")).await, Outcome::Done);
    assert_eq!(
        one(store, merge("a", "01234567890")).await,
        Outcome::ValueTooLong
    );
    assert_eq!(one(store, merge("c", "0123456789")).await, Outcome::Done);
    assert_eq!(
        one(store, merge("d", "012345")).await,
        Outcome::TotalTooLong
    );
    assert_eq!(one(store, merge("a.b", "1")).await, Outcome::Done);
    assert_eq!(one(store, merge("d", "012345")).await, Outcome::Done);
    assert_eq!(one(store, delete("c")).await, Outcome::Done);
    assert_eq!(
        storage(store, &names.user, &names.package).await,
        BTreeMap::from([("a.b".into(), "1".into()), ("d".into(), "012345".into())])
    );
    // Another user's storage of the same package is another document.
    assert_eq!(
        store
            .get(&DocKey::storage(&UserId::new("other@x"), &names.package))
            .await
            .expect("reads"),
        None
    );
    assert_eq!(one(store, clear).await, Outcome::Done);
    assert_eq!(
        store
            .get(&DocKey::storage(&names.user, &names.package))
            .await
            .expect("reads"),
        None
    );
}

async fn incidents_are_found_by_their_user(store: &dyn Store, names: &Names) {
    let user = UserId::new(&format!("O'Neil+%_{}", names.user));
    let id = |n: u32| format!("{}-{n}", names.package);
    let put = |n: u32, of: &str, day: u32| {
        let incident = json!({"user": of, "createdAt": format!("2026-01-{day:02}"), "feedback": {"user": user.as_str()}});
        Change::PutIncident(id(n), incident)
    };
    // More than a page of a search.
    for n in 0..130 {
        let of = if n % 2 == 0 {
            user.as_str()
        } else {
            "other@x.io"
        };
        one(store, put(n, of, 28 - n % 3)).await;
    }
    let found = incidents_of(store, &user).await.expect("finds");
    let mut expected: Vec<u32> = (0..130).step_by(2).collect();
    expected.sort_by_key(|n| (28 - n % 3, id(*n)));
    assert_eq!(found, expected.into_iter().map(id).collect::<Vec<_>>());
    let text = format!("\"user\":\"{user}\"");
    let page = store.find(Space::Incident, &text, &id(5), 3).await;
    let mut owners: Vec<_> = (0..130).map(id).filter(|owner| *owner > id(5)).collect();
    owners.sort();
    let page: Vec<_> = page
        .expect("finds")
        .into_iter()
        .map(|one| one.owner)
        .collect();
    assert_eq!(page, owners[..3]);
}

async fn what_a_lowered_quota_does_not_allow_may_shrink(store: &dyn Store, names: &Names) {
    let (user, package) = (&names.user, "com.acme.lowered");
    let merge = |data: &[(&str, &str)], quota| {
        let text = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let data = data.iter().map(text).collect();
        Change::StorageMerge(user.clone(), package.to_owned(), data, quota)
    };
    let wide = Quota {
        value_chars: 100,
        total_chars: 100,
    };
    let (long, longer) = ("x".repeat(40), "x".repeat(41));
    let first = merge(&[("a", &long), ("b", &long)], wide);
    assert_eq!(one(store, first).await, Outcome::Done);
    for (data, outcome) in [
        (&[("c", "0")][..], Outcome::TotalTooLong),
        (&[("a", "0"), ("c", &*longer)], Outcome::ValueTooLong),
        (&[("b", "0123456789")], Outcome::Done),
        // Written once more, as after an answer that was lost.
        (&[("b", "0123456789")], Outcome::Done),
        (&[("b", "01234567"), ("c", "012")], Outcome::TotalTooLong),
        (&[("b", "01234567"), ("c", "01")], Outcome::Done),
        (&[("a", "0123456789")], Outcome::Done),
        (&[("d", "012345")], Outcome::TotalTooLong),
    ] {
        assert_eq!(one(store, merge(data, QUOTA)).await, outcome, "{data:?}");
    }
}

async fn records_are_listed_in_order_and_pages(store: &dyn Store, names: &Names) {
    let package = |index: u32| format!("{}.{index}", names.package);
    let record = |index| AppRecord {
        package_name: package(index),
        name: "n".into(),
        ..AppRecord::default()
    };
    let puts: Vec<_> = [2, 0, 1]
        .into_iter()
        .map(|index| Change::PutApp(Box::new(record(index))))
        .collect();
    store.commit(&puts).await.expect("commits");
    let page = store
        .list(Space::App, &names.package, 2)
        .await
        .expect("lists");
    assert_eq!(
        page.iter().map(|doc| doc.owner.clone()).collect::<Vec<_>>(),
        [package(0), package(1)]
    );
    let next = store.list(Space::App, &package(1), 1).await.expect("lists");
    assert_eq!(next[0].owner, package(2));
    assert_eq!(
        serde_json::from_slice::<AppRecord>(&next[0].json).expect("a record"),
        record(2)
    );
    for index in 0..3 {
        assert_eq!(
            one(store, Change::RemoveApp(package(index))).await,
            Outcome::Done
        );
    }
    assert_eq!(
        one(store, Change::RemoveApp(package(0))).await,
        Outcome::Absent
    );

    let registration = Registration {
        id: names.package.clone(),
        package: "p".into(),
        ..Registration::default()
    };
    one(store, Change::PutRegistration(registration.clone())).await;
    let key = Change::RemoveRegistration(registration.id.clone()).key();
    let json = store.get(&key).await.expect("reads").expect("stored");
    assert_eq!(
        serde_json::from_slice::<Registration>(&json).expect("a registration"),
        registration
    );
    assert_eq!(
        one(store, Change::RemoveRegistration(registration.id)).await,
        Outcome::Done
    );
}

async fn incidents_take_a_bounded_number_of_entries(store: &dyn Store, names: &Names) {
    let append = |count: usize| Change::AppendIncident {
        id: names.package.clone(),
        list: "logs",
        entries: vec![json!({"a": 1}); count],
        max: 3,
    };
    assert_eq!(one(store, append(1)).await, Outcome::Absent);
    one(
        store,
        Change::PutIncident(names.package.clone(), json!({"user": "u"})),
    )
    .await;
    assert_eq!(one(store, append(2)).await, Outcome::Done);
    assert_eq!(one(store, append(2)).await, Outcome::TotalTooLong);
    let json = store
        .get(&DocKey::incident(&names.package))
        .await
        .expect("reads")
        .expect("stored");
    let incident: Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(incident["logs"].as_array().map(Vec::len), Some(2));
}

pub(crate) async fn one_batch_may_touch_a_document_many_times(store: &dyn Store, names: &Names) {
    let quota = Quota {
        value_chars: 10,
        total_chars: 10_000,
    };
    let put = |index: u32| {
        let data = BTreeMap::from([(format!("k{index:03}"), "v".to_owned())]);
        Change::StorageMerge(names.user.clone(), "batch".into(), data, quota)
    };
    let outcomes = store
        .commit(&(0..300).map(put).collect::<Vec<_>>())
        .await
        .expect("commits");
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done));
    let stored = storage(store, &names.user, "batch").await;
    assert_eq!(stored.len(), 300);
}

async fn many_writers_lose_nothing(store: &Arc<dyn Store>, names: &Names) {
    let writes = Writes::start(Arc::clone(store), Settings::default().store);
    let quota = Quota {
        value_chars: 10,
        total_chars: 10_000,
    };
    let tasks: Vec<_> = (0..200)
        .map(|index| {
            let (writes, user) = (writes.clone(), names.user.clone());
            tokio::spawn(async move {
                let data = BTreeMap::from([(format!("k{index:03}"), "v".to_owned())]);
                writes
                    .apply(Change::StorageMerge(user, "parallel".into(), data, quota))
                    .await
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(
            task.await.expect("no panic").expect("durable"),
            Outcome::Done
        );
    }
    let stored: Option<BTreeMap<String, String>> = writes
        .read(DocKey::storage(&names.user, "parallel"))
        .await
        .expect("reads");
    assert_eq!(stored.expect("stored").len(), 200);
}

pub(crate) async fn suite(store: Arc<dyn Store>) {
    let names = Names::fresh();
    users_are_created_once(&*store, &names).await;
    who_was_written_of_first_is_created_all_the_same(&*store, &Names::fresh()).await;
    session_writes_keep_their_order(&*store, &names).await;
    installs_are_unique_and_uninstall_forgets_intent(&*store, &names).await;
    settings_merge(&*store, &names).await;
    storage_has_quotas_and_literal_keys(&*store, &names).await;
    incidents_are_found_by_their_user(&*store, &names).await;
    what_a_lowered_quota_does_not_allow_may_shrink(&*store, &names).await;
    records_are_listed_in_order_and_pages(&*store, &names).await;
    incidents_take_a_bounded_number_of_entries(&*store, &names).await;
    one_batch_may_touch_a_document_many_times(&*store, &names).await;
    many_writers_lose_nothing(&store, &names).await;
}
