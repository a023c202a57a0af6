//! What was acknowledged survives `kill -9`: a real server is killed at random moments under REST writes, many times over one
//! store, and after each kill every acknowledged write must be there. On the embedded store, on a real disk, always; on
//! PostgreSQL when `PRISM_TEST_POSTGRES_URL` names a server, whose connections are cut as well.
//! `PRISM_TEST_CRASH_SECONDS` makes it longer, `PRISM_TEST_CRASH_SEED` repeats a run's moments.
#![cfg(unix)]

mod support;

use prism::base::ids::UserId;
use prism::base::settings::Settings;
use prism::services::store::{self, DocKey, Store};
use prism::wire::records::UserRecord;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use support::postgres::{run, somebody};
use support::{AppServer, PATIENCE, Server, Site, Socket, http, token};

const PACKAGE: &str = "com.acme.writer";
const OTHER: &str = "com.acme.other";
const KEY: &str = "key-of-the-writer";
const WRITERS: usize = 6;
/// Acknowledged writes before the kill, at most.
const LOAD_WRITES: usize = 400;

/// What a field may hold: the last acknowledged value, and since then whatever was sent without an answer.
#[derive(Default, Clone, Debug)]
struct Field {
    acknowledged: Option<Value>,
    uncertain: Vec<Value>,
}

type Fields = BTreeMap<&'static str, Field>;

/// One user's writes, one after the other.
struct Writer {
    user: String,
    count: u64,
    fields: Fields,
    acknowledged: u64,
}

impl Writer {
    fn new(prefix: &str, number: usize) -> Self {
        Self {
            user: format!("{prefix}-{number}@lumen.io"),
            count: 0,
            fields: Fields::new(),
            acknowledged: 0,
        }
    }

    /// The next write: field, its value afterwards, method, path, body.
    fn next(&mut self) -> (&'static str, Value, &'static str, String, Value) {
        self.count += 1;
        let text = self.count.to_string();
        let (user, even) = (&self.user, (self.count / 6).is_multiple_of(2));
        match self.count % 6 {
            0 => {
                let path = format!("/api/sdk/simple-storage/{user}/count");
                (
                    "storage",
                    json!(text),
                    "PUT",
                    path,
                    json!({ "value": text }),
                )
            }
            1 => {
                let path = "/api/client/user/settings/key/count".to_owned();
                (
                    "user settings",
                    json!(text),
                    "PUT",
                    path,
                    json!({ "value": text }),
                )
            }
            2 => {
                let path = format!("/appsettings/{PACKAGE}");
                (
                    "app settings",
                    json!(text),
                    "POST",
                    path,
                    json!([{ "key": "count", "value": text }]),
                )
            }
            3 => {
                let verb = if even { "install" } else { "uninstall" };
                (
                    "installed",
                    json!(even),
                    "POST",
                    format!("/api/apps/{verb}/{OTHER}"),
                    json!({}),
                )
            }
            4 => {
                let verb = if even { "start" } else { "stop" };
                (
                    "running",
                    json!(even),
                    "POST",
                    format!("/apps/{PACKAGE}/{verb}"),
                    json!({}),
                )
            }
            _ => {
                let path = format!("/api/sdk/simple-storage/{user}");
                (
                    "storage of many",
                    json!(text),
                    "PUT",
                    path,
                    json!({ "data": { "many": text, "more": text } }),
                )
            }
        }
    }

    /// Writes until the server is gone.
    fn write(&mut self, address: SocketAddr, over: &AtomicBool, written: &Sender<()>) {
        while !over.load(Ordering::SeqCst) {
            let (field, value, method, path, body) = self.next();
            let bearer = if path.starts_with("/api/sdk/") {
                format!("Bearer {PACKAGE}:{KEY}")
            } else {
                format!("Bearer {}", token(&self.user))
            };
            let entry = self.fields.entry(field).or_default();
            entry.uncertain.push(value.clone());
            match http(address, method, &path, &bearer, &body) {
                Ok(answer) if answer.is_success() => {
                    *entry = Field {
                        acknowledged: Some(value),
                        uncertain: Vec::new(),
                    };
                    self.acknowledged += 1;
                    // Nobody counts any more once the round is over.
                    let _ = written.send(());
                }
                // Refused for good: 400 changes nothing ("already installed" after an answer that was cut off).
                Ok(answer) => assert!(
                    [400, 500, 503].contains(&answer.status),
                    "{method} {path}: {answer:?}"
                ),
                Err(_) if over.load(Ordering::SeqCst) => return,
                Err(error) => panic!("{method} {path}: {error}, and nobody killed the server"),
            }
        }
    }

    /// Holds what was acknowledged against what is stored. What was unanswered stays uncertain: PostgreSQL may still be
    /// finishing a commit whose sender is dead.
    fn check(&self, store: &dyn Store, runtime: &tokio::runtime::Runtime) {
        let user = UserId::new(&self.user);
        let get = |key| runtime.block_on(store.get(&key)).expect("the store reads");
        let record: UserRecord = get(DocKey::user(&user))
            .map(|json| serde_json::from_slice(&json).expect("a whole record"))
            .unwrap_or_default();
        let storage: BTreeMap<String, String> = get(DocKey::storage(&user, PACKAGE))
            .map(|json| serde_json::from_slice(&json).expect("a whole map"))
            .unwrap_or_default();
        for (name, field) in &self.fields {
            let found = match *name {
                "storage" => json!(storage.get("count")),
                "storage of many" => {
                    assert_eq!(
                        storage.get("many"),
                        storage.get("more"),
                        "one write, not half of it"
                    );
                    json!(storage.get("many"))
                }
                "user settings" => json!(record.user_settings.get("count")),
                "app settings" => {
                    let list = record.app_settings.get(PACKAGE);
                    json!(
                        list.and_then(|list| list.first())
                            .map(|entry| &entry["value"])
                    )
                }
                "installed" => json!(
                    record
                        .installed_apps
                        .iter()
                        .any(|app| app.package_name == OTHER)
                ),
                _ => json!(record.running_apps.iter().any(|app| app == PACKAGE)),
            };
            let nothing = [json!(null), json!(false)];
            let expected = match &field.acknowledged {
                Some(value) => std::slice::from_ref(value),
                None => &nothing[..],
            };
            assert!(
                expected.contains(&found) || field.uncertain.contains(&found),
                "{}: {name} is {found}, acknowledged was {:?}, unanswered {:?}",
                self.user,
                field.acknowledged,
                field.uncertain
            );
        }
    }
}

/// Cuts every connection of the server under test to PostgreSQL but the one that asks.
fn cut_connections(url: &str, name: &str) {
    run(async {
        let cut =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
        let client = somebody(url).await;
        client.execute(cut, &[&name]).await.expect("cuts");
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn seconds() -> u64 {
    let wanted = std::env::var("PRISM_TEST_CRASH_SECONDS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(12)
}

fn seed() -> u64 {
    let wanted = std::env::var("PRISM_TEST_CRASH_SEED").ok();
    wanted
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..))
}

/// Waits until so many writes were acknowledged.
fn take(written: &Receiver<()>, count: usize) {
    for _ in 0..count {
        written.recv_timeout(PATIENCE).expect("the load goes on");
    }
}

/// One life of the server: load of so many writes, disturbance, as much load again, death.
fn round(server: &mut Server, writers: &mut [Writer], load: usize, disturb: impl FnOnce()) {
    let phones: Vec<Socket> = writers
        .iter()
        .map(|writer| server.phone(&writer.user))
        .collect();
    let (over, (report, written)) = (AtomicBool::new(false), channel());
    let address = server.address;
    std::thread::scope(|scope| {
        for writer in writers.iter_mut() {
            let (over, report) = (&over, report.clone());
            scope.spawn(move || writer.write(address, over, &report));
        }
        take(&written, 1 + load / 2);
        disturb();
        take(&written, load / 2);
        over.store(true, Ordering::SeqCst);
        server.kill_9();
    });
    drop(phones);
}

fn kill_many_times(store_url: &str, disturb: impl Fn()) {
    let seed = seed();
    let (mut random, clock) = (
        fastrand::Rng::with_seed(seed),
        prism::base::clock::Clock::start(),
    );
    let site = Site::new(store_url, &[]);
    let app = AppServer::start(PACKAGE, KEY);
    let entry = |package: &str| {
        format!(
            "  - {{packageName: {package}, appType: background, publicUrl: '{}', apiKey: {KEY}}}",
            app.url
        )
    };
    site.apps(&[entry(PACKAGE), entry(OTHER)].join("\n"));
    let prefix = format!("crash{:x}", fastrand::u64(..));
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|number| Writer::new(&prefix, number))
        .collect();
    let mut settings = Settings::default();
    settings.server.data_dir = site.path("data").display().to_string();
    settings.server.store_url = store_url.to_owned();
    let (mut kills, runtime) = (0, runtime());
    while kills < 5 || clock.now().mono_ms < seconds() * 1000 {
        let mut server = site.serve();
        app.serve(server.address);
        let load = random.usize(0..LOAD_WRITES);
        round(&mut server, &mut writers, load, || {
            if random.bool() {
                disturb();
            }
        });
        kills += 1;
        let store: Arc<dyn Store> =
            runtime
                .block_on(store::open(&settings))
                .unwrap_or_else(|error| {
                    panic!("kill {kills} of seed {seed}: it does not open: {error}")
                });
        for writer in &writers {
            writer.check(store.as_ref(), &runtime);
        }
    }
    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    eprintln!("seed {seed}: {kills} kills, {acknowledged} acknowledged writes, none lost");
    for writer in &writers {
        assert_eq!(writer.fields.len(), 6, "every kind of write was tried");
    }
}

#[test]
fn acknowledged_writes_survive_kill_9_on_the_embedded_store() {
    kill_many_times("", || {});
}

#[test]
fn acknowledged_writes_survive_kill_9_and_cut_connections_on_postgres() {
    let Some(url) = support::postgres_url() else {
        return;
    };
    let name = format!("prism-crash-{:x}", fastrand::u64(..));
    let mark = if url.contains('?') { '&' } else { '?' };
    kill_many_times(&format!("{url}{mark}application_name={name}"), || {
        cut_connections(&url, &name)
    });
}
