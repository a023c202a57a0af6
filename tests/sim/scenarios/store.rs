//! Defects of the store's users: writers of one record that undo each other, and what an outage is taken for.

use super::{MAPS, NOTES, SCRIBE, USER, package};
use crate::sim::app::KEY;
use crate::sim::net::Party;
use crate::sim::runs::{registry, world, world_of};
use crate::sim::store::Mood;
use crate::sim::world::World;
use async_trait::async_trait;
use prism::base::ids::{ConnId, Package, UserId};
use prism::base::settings::{Settings, Store as StoreSettings};
use prism::services::store::memory::Memory;
use prism::services::store::writes::Writes;
use prism::services::store::{Change, DocKey, Document, Outcome, Space, Store, StoreError};
use prism::session::effects::StoreOp;
use prism::session::event::Sdk;
use prism::session::managers::apps::AppState;
use prism::session::rest::{Call, Shape};
use prism::wire::auth::AppClaims;
use prism::wire::records::{InstalledApp, Registry, UserRecord};
use prism::wire::upgrade::AppHeaders;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A store that takes its time and now and then fails: before it has written, or after, so that nobody learns of it.
struct Unsteady {
    store: Memory,
    rng: Mutex<fastrand::Rng>,
}

impl Unsteady {
    fn draw(&self, below: u32) -> u32 {
        self.rng.lock().expect("no panic").u32(0..below)
    }

    async fn dawdle(&self) {
        for _ in 0..self.draw(6) {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Store for Unsteady {
    async fn get(&self, key: &DocKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(key).await
    }

    async fn list(
        &self,
        space: Space,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.store.list(space, after, limit).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        self.dawdle().await;
        let fate = self.draw(4);
        if fate == 0 {
            return Err(StoreError::Timeout);
        }
        let outcomes = self.store.commit(changes).await;
        self.dawdle().await;
        if fate == 1 {
            Err(StoreError::Timeout)
        } else {
            outcomes
        }
    }

    async fn apps_changed(&self) {
        self.store.apps_changed().await;
    }

    fn kind(&self) -> &'static str {
        "unsteady"
    }
}

/// One server's writes, in its order, some of them waited for.
async fn write(writes: Writes, changes: Vec<Change>, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    for change in changes {
        if rng.bool() {
            writes.submit(change).expect("room");
        } else {
            drop(writes.begin(change).expect("room"));
        }
        for _ in 0..rng.u32(0..8) {
            tokio::task::yield_now().await;
        }
    }
    assert!(
        writes.close(Duration::from_secs(10)).await,
        "all is written"
    );
}

/// What is stored when servers write to one record at the same time.
fn stored(seed: u64, first: &UserRecord, servers: Vec<Vec<Change>>) -> UserRecord {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let settings = StoreSettings {
        db_write_delay_ms: 0,
        db_retry_ms: 1,
        ..Settings::default().store
    };
    runtime.block_on(async {
        let user = UserId::new(USER);
        let store = Arc::new(Unsteady {
            store: Memory::default(),
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
        });
        let put = Change::PutUser(user.clone(), Box::new(first.clone()));
        store.store.commit(&[put]).await.expect("commits");
        let tasks = servers.into_iter().enumerate().map(|(at, changes)| {
            let shared: Arc<dyn Store> = Arc::clone(&store) as _;
            let writes = Writes::start(shared, settings.clone());
            tokio::spawn(write(writes, changes, seed + at as u64))
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("no panic");
        }
        let json = store.get(&DocKey::user(&user)).await.expect("reads");
        serde_json::from_slice(&json.expect("there")).expect("a record")
    })
}

/// A moment in which much is written about a user: what the session asked for, in its order.
fn busy_moment(record: &UserRecord) -> Vec<Change> {
    let mut w = world(7, [Sdk::V2; 4]);
    w.watch.logging = true;
    w.store.mood = Mood::Slow;
    *w.store.record(USER) = record.clone();
    w.add_phone(USER, 0);
    w.run(6000);
    let phone = w.phone_conn(0);
    let glasses = |model: &str| json!({"type": "glasses_connection_state", "modelName": model, "status": "CONNECTED"});
    for app in [SCRIBE, MAPS] {
        w.start(USER, app);
    }
    w.stop(USER, NOTES);
    w.say(phone, &glasses("Mentra Live"));
    w.say(
        phone,
        &json!({"type": "location_update", "lat": 47.1, "lng": 8.5}),
    );
    w.run(15_000);
    w.say(phone, &glasses("Even Realities G2"));
    w.run(1000);
    w.phones[0].on = false;
    w.rest(USER, Call::Dispose);
    w.run(10_000);
    w.sound();
    let stored = w.watch.stored.iter();
    stored
        .map(|(_, user, op)| Change::Session(UserId::new(user), op.clone()))
        .collect()
}

fn installed(app: usize) -> InstalledApp {
    InstalledApp {
        package_name: package(app).to_owned(),
        installed_ms: 1,
        last_active_ms: 2,
    }
}

/// Another app of the user, started at another server.
const ELSE: &str = "com.acme.else";

fn setting(key: &str) -> Change {
    let changes = [(key.to_owned(), json!(1))].into_iter().collect();
    Change::UserSettings(UserId::new(USER), changes)
}

fn app_setting(key: &str) -> Change {
    let changes = vec![json!({"key": key, "value": true})];
    Change::AppSettings(UserId::new(USER), package(SCRIBE).to_owned(), changes)
}

fn of_session(op: StoreOp) -> Change {
    Change::Session(UserId::new(USER), op)
}

/// What all of them wrote is there.
fn nothing_is_lost(record: &UserRecord, seed: u64) {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list
    };
    let running = [ELSE, package(MAPS), package(SCRIBE)];
    assert_eq!(sorted(&record.running_apps), running, "seed {seed}");
    let models = ["Even Realities G1", "Even Realities G2", "Mentra Live"];
    assert_eq!(sorted(&record.glasses_models), models, "seed {seed}");
    let place = record.location.map(|place| (place.lat, place.lng));
    assert_eq!(place, Some((47.1, 8.5)), "seed {seed}");
    let apps = record.installed_apps.iter();
    let active = apps.filter(|app| app.last_active_ms > 2).count();
    assert_eq!(active, 3, "seed {seed}: {:?}", record.installed_apps);
    let keys: Vec<&str> = record.user_settings.keys().map(String::as_str).collect();
    let wanted = ["brightness", "contextual", "use_metric"];
    assert_eq!(keys, wanted, "seed {seed}");
    let own = &record.app_settings[package(SCRIBE)];
    assert_eq!(own.len(), 2, "seed {seed}: {own:?}");
    assert_eq!(record.onboarded, [ELSE], "seed {seed}");
}

#[test]
fn writers_of_one_record_at_the_same_moment_lose_nothing() {
    let first = UserRecord {
        running_apps: vec![package(NOTES).to_owned()],
        installed_apps: [SCRIBE, MAPS, NOTES].map(installed).to_vec(),
        ..UserRecord::default()
    };
    let session = busy_moment(&first);
    let started = |change: &&Change| matches!(change, Change::Session(_, StoreOp::AddRunning(_)));
    assert_eq!(session.iter().filter(started).count(), 2, "{session:?}");
    // The phone's other calls come between what its session writes; another server knows nothing of either.
    let mut calls = ["sound", "large"].map(app_setting).to_vec();
    calls.extend(["brightness", "use_metric"].map(setting));
    let mut this = Vec::new();
    for change in session {
        this.push(change);
        this.extend(calls.pop());
    }
    assert!(calls.is_empty());
    let other = vec![
        of_session(StoreOp::AddRunning(Package::new(ELSE))),
        setting("contextual"),
        of_session(StoreOp::SetOnboarded(Package::new(ELSE))),
    ];
    for seed in 0..60 {
        let servers = vec![this.clone(), other.clone()];
        nothing_is_lost(&stored(seed, &first, servers), seed);
    }
}

/// A server that began while the store was away: it knows no app, and of its user, who is connected, nothing.
fn outage(sdk: Sdk) -> World {
    let mut w = world_of(7, [sdk; 4], Settings::default(), Registry::default());
    w.watch.logging = true;
    w.store.mood = Mood::Failing;
    w.store.record(USER).running_apps = vec![package(SCRIBE).to_owned()];
    w.add_phone(USER, 0);
    w.run(7000);
    w.sound();
    w
}

impl World {
    /// What refused a socket, and how it was closed.
    fn refused(&self, conn: ConnId) -> (Vec<String>, Vec<(u16, String)>) {
        let errors = self.texts(conn, "tpa_connection_error", 0).into_iter();
        let code =
            |row: (u64, serde_json::Value)| row.1["code"].as_str().unwrap_or_default().to_owned();
        (errors.map(code).collect(), self.closes(conn))
    }
}

/// An SDK takes 1008 for final and 1011 for a reason to come back.
fn our_failure() -> (Vec<String>, Vec<(u16, String)>) {
    let close = (1011, "Internal server error".to_owned());
    (vec!["INTERNAL_ERROR".to_owned()], vec![close])
}

#[test]
fn an_app_that_comes_during_an_outage_is_told_to_come_back_and_gets_in() {
    for sdk in [Sdk::V2, Sdk::V3] {
        let mut w = outage(sdk);
        w.app_connects(SCRIBE, USER);
        let first = w.conn_of(SCRIBE);
        let asked = w.rest(
            USER,
            Call::StartApp {
                package: package(SCRIBE).to_owned(),
                shape: Shape::Phone,
            },
        );
        w.run(500);
        assert_eq!(w.refused(first), our_failure(), "{sdk:?}");
        let status = w.watch.answer(asked).map(|answer| answer.0);
        assert_eq!(
            status,
            Some(500),
            "an app that is not known now is not unknown"
        );
        // It tries after 1, 2 and 4 s; meanwhile the store is back.
        w.run(3000);
        w.store.mood = Mood::Quick;
        w.registry_becomes(registry());
        w.run(40_000);
        w.sound();
        assert_eq!(w.state(SCRIBE), AppState::Running, "{sdk:?}");
        let own = w.conn_of(SCRIBE);
        assert!(!w.texts(own, "tpa_connection_ack", 0).is_empty(), "{sdk:?}");
        let wrong = w
            .watch
            .log
            .iter()
            .filter(|row| row.2.kind() == "tpa_connection_error");
        assert!(wrong.count() >= 2, "{sdk:?}: it tried more than once");
    }
}

#[test]
fn neither_a_reconnect_nor_a_token_is_called_wrong_during_an_outage() {
    let mut w = outage(Sdk::V3);
    let named = AppHeaders {
        user: Some(USER.to_owned()),
        package: Some(package(SCRIBE).to_owned()),
        ..AppHeaders::default()
    };
    let reconnect = AppHeaders {
        api_key: Some(KEY.to_owned()),
        ..named.clone()
    };
    let claims = AppClaims {
        package_name: package(SCRIBE).to_owned(),
        api_key: KEY.to_owned(),
    };
    let token = AppHeaders {
        jwt: Some(claims),
        ..named
    };
    // With a session and without: a parked app would wait for its user.
    for user in [USER, "ops@lumen.io"] {
        let mut headers = reconnect.clone();
        headers.user = Some(user.to_owned());
        let conn = w
            .open_app(Party::Stray, user, package(SCRIBE), headers)
            .expect("room");
        let id = format!("{user}-{}", package(SCRIBE));
        w.say(
            conn,
            &json!({"type": "reconnect", "sessionId": id, "sdkVersion": "3.0.0"}),
        );
        w.run(500);
        w.sound();
        assert_eq!(w.refused(conn), our_failure(), "{user}");
    }
    let conn = w
        .open_app(Party::Stray, USER, package(SCRIBE), token)
        .expect("room");
    w.run(500);
    w.sound();
    assert_eq!(w.refused(conn), our_failure());
}
