//! Outside thread: app records of the apps file merged with those of the store, handed to every shard as one immutable
//! snapshot. Where both know a package the file wins. It never changes a record.

use super::apps_file::{self, AppsFileError};
use super::context::Services;
use super::lock::lock;
use super::store::{Space, Store, StoreError};
use crate::base::settings::Settings;
use crate::shard::mailbox::ToShard;
use crate::wire::capabilities::Profiles;
use crate::wire::records::{AppRecord, Registry};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Records read at a time.
const PAGE: usize = 500;
/// Until a shard that took no mail is told again.
const TOLD_AGAIN: Duration = Duration::from_secs(1);
/// Largest apps file.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Why the apps file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AppsError {
    /// It cannot be read.
    #[error("apps file {0}: {1}")]
    Read(String, std::io::Error),
    /// It is wrong.
    #[error("apps file {0}:\n{1}")]
    Wrong(String, AppsFileError),
    /// It is missing or has no list, where there were apps before.
    #[error(
        "apps file {0}: {1}; the {2} apps that were read from it before stay. `apps: []` takes them away"
    )]
    Lost(String, &'static str, usize),
    /// The file of capability profiles cannot be read or is wrong.
    #[error("capabilities file {0}: {1}")]
    Profiles(String, String),
}

/// The current records.
pub(crate) struct AppRecords {
    file: Mutex<Vec<AppRecord>>,
    profiles: Mutex<Profiles>,
    current: RwLock<Arc<Registry>>,
    refreshed_ms: AtomicU64,
    /// Refreshes that were asked for; their number is their place in time.
    asked: AtomicU64,
    /// The latest of them whose answer was taken.
    taken: AtomicU64,
    /// Some shard did not take the current ones, or the settings.
    untold: Notify,
}

/// Reads and checks the apps file of `settings`; a missing file of the default name, or one without a list, means no apps.
///
/// # Errors
/// See [`AppsError`].
pub fn read_apps_file(settings: &Settings, config_dir: &Path) -> Result<Vec<AppRecord>, AppsError> {
    reread_apps_file(settings, config_dir, 0)
}

/// The same where `known` apps were read before: it has them, or says that there are none.
///
/// # Errors
/// See [`AppsError`].
pub(crate) fn reread_apps_file(
    settings: &Settings,
    config_dir: &Path,
    known: usize,
) -> Result<Vec<AppRecord>, AppsError> {
    let name = &settings.server.apps_file;
    if name.is_empty() {
        return Ok(Vec::new());
    }
    let path = config_dir.join(name);
    let nothing = |why| {
        let path = path.display().to_string();
        if known > 0 {
            return Err(AppsError::Lost(path, why, known));
        }
        tracing::warn!(path, why, "no apps file: only apps of the store are known");
        Ok(Vec::new())
    };
    let shown = path.display().to_string();
    let text = match std::fs::metadata(&path).and_then(|meta| {
        if meta.len() > FILE_BYTES_MAX {
            return Err(std::io::Error::new(
                std::io::ErrorKind::FileTooLarge,
                "larger than 64 MiB",
            ));
        }
        std::fs::read_to_string(&path)
    }) {
        Ok(text) => text,
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound
                && *name == Settings::default().server.apps_file =>
        {
            return nothing("it is missing");
        }
        Err(error) => return Err(AppsError::Read(shown, error)),
    };
    let apps = apps_file::parse(&text, settings.server.profile);
    match apps.map_err(|error| AppsError::Wrong(shown, error))? {
        Some(apps) => Ok(apps),
        None => nothing("it has no list of apps"),
    }
}

/// Reads and checks the file of capability profiles, if there is one.
///
/// # Errors
/// See [`AppsError::Profiles`].
pub fn read_profiles(settings: &Settings, config_dir: &Path) -> Result<Profiles, AppsError> {
    let name = &settings.server.capabilities_file;
    if name.is_empty() {
        return Ok(Profiles::default());
    }
    let path = config_dir.join(name);
    let wrong = |error| AppsError::Profiles(path.display().to_string(), error);
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    Profiles::parse(&text).map_err(wrong)
}

async fn stored(store: &Arc<dyn Store>, limit: Duration) -> Result<Vec<AppRecord>, StoreError> {
    let mut records = Vec::new();
    let mut after = String::new();
    loop {
        let page = timeout(limit, store.list(Space::App, &after, PAGE))
            .await
            .map_err(|_| StoreError::Timeout)??;
        let full = page.len() == PAGE;
        for document in page {
            match serde_json::from_slice::<AppRecord>(&document.json) {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::error!(package = document.owner, %error, "a stored app record is damaged")
                }
            }
            after = document.owner;
        }
        if !full {
            return Ok(records);
        }
    }
}

fn same(left: &Registry, right: &Registry) -> bool {
    left.loaded == right.loaded
        && left.profiles == right.profiles
        && left.len() == right.len()
        && left
            .iter()
            .all(|(package, record)| right.get(package) == Some(record))
}

impl AppRecords {
    /// The first snapshot. Without an answer of the store it holds the file's records and is not `loaded`.
    pub(crate) async fn load(
        file: Vec<AppRecord>,
        store: &Arc<dyn Store>,
        limit: Duration,
    ) -> Self {
        let registry = match stored(store, limit).await {
            Ok(records) => Registry::new(records.into_iter().chain(file.iter().cloned()), 1),
            Err(error) => {
                tracing::error!(%error, "app records of the store could not be read");
                let mut registry = Registry::new(file.iter().cloned(), 1);
                registry.loaded = false;
                registry
            }
        };
        Self {
            file: Mutex::new(file),
            profiles: Mutex::default(),
            current: RwLock::new(Arc::new(registry)),
            refreshed_ms: 0.into(),
            asked: 0.into(),
            taken: 0.into(),
            untold: Notify::new(),
        }
    }

    /// The same with these capability profiles from the start.
    pub(crate) fn with_profiles(self, profiles: Profiles) -> Self {
        let mut registry = Registry::clone(&self.current());
        registry.profiles = profiles.clone();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(registry);
        self.set_profiles(profiles);
        self
    }

    /// Replaces the profiles; the next [`refresh`] shows them.
    pub(crate) fn set_profiles(&self, profiles: Profiles) {
        *lock(&self.profiles) = profiles;
    }

    pub(crate) fn current(&self) -> Arc<Registry> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// As if the store had never answered.
    #[cfg(test)]
    pub(crate) fn set_unread(&self) {
        let mut registry = Registry::clone(&self.current());
        registry.loaded = false;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(registry);
    }

    /// Apps of the file.
    pub(crate) fn in_file(&self) -> usize {
        lock(&self.file).len()
    }

    /// Replaces the file's records; the next [`refresh`] shows them.
    pub(crate) fn set_file(&self, records: Vec<AppRecord>) {
        *lock(&self.file) = records;
    }
}

/// Reads the store again and tells all shards when anything changed. Of two at once the one that was asked for later knows more, also
/// if its answer comes first.
pub(crate) async fn refresh(cx: &Services) {
    let settings = cx.settings();
    let now_ms = cx.clock.now().mono_ms;
    let number = cx.apps.asked.fetch_add(1, Relaxed) + 1;
    let records = match stored(
        cx.writes.store(),
        Duration::from_millis(settings.store.db_timeout_ms),
    )
    .await
    {
        Ok(_) if cx.apps.taken.fetch_max(number, Relaxed) > number => return,
        Ok(records) => {
            cx.apps.refreshed_ms.store(now_ms, Relaxed);
            records
        }
        Err(error) => {
            let age_ms = now_ms.saturating_sub(cx.apps.refreshed_ms.load(Relaxed));
            if age_ms > settings.apps.app_cache_stale_warn_ms {
                tracing::warn!(%error, age_ms, "app records are stale");
            }
            return;
        }
    };
    let old = cx.apps.current();
    let file = lock(&cx.apps.file).clone();
    let new = Registry::new(records.into_iter().chain(file), old.version + 1);
    let mut new = new.after(&old);
    new.profiles = lock(&cx.apps.profiles).clone();
    if same(&old, &new) {
        return;
    }
    let new = Arc::new(new);
    *cx.apps
        .current
        .write()
        .unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new);
    tell(cx).await;
    // Said when it holds: whoever waits for the line may use a new key.
    tracing::info!(
        apps = new.len(),
        version = new.version,
        "app records changed"
    );
}

/// Tells all shards the current records.
async fn tell(cx: &Services) {
    let current = cx.apps.current();
    let told = cx.broadcast(|| ToShard::Registry(Arc::clone(&current)));
    if !told.await {
        cx.apps.untold.notify_one();
    }
}

/// Tells all shards the settings in force.
pub(crate) async fn tell_settings(cx: &Services) {
    let told = cx.broadcast(|| ToShard::Settings(cx.settings()));
    if !told.await {
        cx.apps.untold.notify_one();
    }
}

/// Refreshes on announced changes and every `app_cache_refresh_ms`; a shard whose inbox was full is told again, the settings too.
pub(crate) async fn keep_fresh(cx: Arc<Services>) {
    loop {
        let pause = Duration::from_millis(cx.settings().apps.app_cache_refresh_ms);
        tokio::select! {
            () = cx.apps.untold.notified() => {
                sleep(TOLD_AGAIN).await;
                tell_settings(&cx).await;
                tell(&cx).await;
            }
            _ = timeout(pause, cx.writes.store().apps_changed()) => refresh(&cx).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::store::{Change, memory::Memory};

    fn record(package: &str, name: &str) -> AppRecord {
        AppRecord {
            package_name: package.into(),
            name: name.into(),
            ..AppRecord::default()
        }
    }

    #[test]
    fn the_file_wins_over_the_store_and_a_dead_store_leaves_the_file() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let memory = Arc::new(Memory::default());
            let put = |package: &str| Change::PutApp(Box::new(record(package, "stored")));
            memory.commit(&[put("a"), put("b")]).await.expect("commits");
            let store: Arc<dyn Store> = memory.clone();
            let limit = Duration::from_secs(5);
            let registry = AppRecords::load(vec![record("a", "file")], &store, limit)
                .await
                .current();
            assert_eq!(registry.get("a").expect("known").name, "file");
            assert_eq!(registry.get("b").expect("known").name, "stored");
            assert!(registry.loaded);
            memory.set_failing(true);
            let registry = AppRecords::load(vec![record("a", "file")], &store, limit)
                .await
                .current();
            assert!(registry.get("a").is_some() && !registry.loaded);
        });
    }

    #[test]
    fn what_an_app_that_is_gone_was_is_remembered_until_it_is_back() {
        use crate::services::rest::testkit::Kit;
        Kit::run(|kit| async move {
            for (records, known, last_known) in [
                (vec![record("com.acme.new", "first")], true, "first"),
                (vec![], false, "first"),
                (vec![record("com.acme.other", "x")], false, "first"),
                (vec![record("com.acme.new", "second")], true, "second"),
            ] {
                kit.cx.apps.set_file(records);
                refresh(&kit.cx).await;
                let registry = kit.cx.registry();
                assert_eq!(registry.get("com.acme.new").is_some(), known);
                let last = registry.last_known("com.acme.new").expect("known once");
                assert_eq!(last.name, last_known);
            }
        });
    }

    #[test]
    fn a_shard_that_took_no_mail_for_a_while_gets_the_records_all_the_same() {
        use crate::services::rest::testkit::Kit;
        Kit::run(|kit| async move {
            kit.deafen(true).await;
            kit.cx.apps.set_file(vec![record("com.acme.new", "new")]);
            refresh(&kit.cx).await;
            let version = kit.cx.registry().version;
            assert!(kit.told_version() < version);
            kit.deafen(false).await;
            let fresh = kit.cx.keep("app records", keep_fresh);
            let told = async {
                while kit.told_version() < version {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(Duration::from_secs(10), told).await.expect("told");
            fresh.abort();
        });
    }

    #[test]
    fn a_shard_that_took_no_mail_for_a_while_gets_the_settings_all_the_same() {
        use crate::services::rest::testkit::Kit;
        Kit::run(|kit| async move {
            kit.deafen(true).await;
            let mut settings = Settings::default();
            settings.health.latency_ring = 77;
            *kit.cx.settings.write().expect("whole") = Arc::new(settings);
            tell_settings(&kit.cx).await;
            assert_eq!(kit.told_settings(), None);
            kit.deafen(false).await;
            let fresh = kit.cx.keep("app records", keep_fresh);
            let told = async {
                while kit.told_settings().is_none() {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(Duration::from_secs(10), told).await.expect("told");
            let told = kit.told_settings().expect("told");
            assert_eq!(told.health.latency_ring, 77);
            fresh.abort();
        });
    }

    #[test]
    fn of_two_refreshes_the_later_one_counts_whichever_is_answered_first() {
        use crate::services::rest::testkit::Kit;
        Kit::run(|kit| async move {
            let put = |name: &str| Change::PutApp(Box::new(record("com.acme.new", name)));
            kit.store.commit(&[put("first")]).await.expect("commits");
            let answer = kit.store.hold_next_list();
            let cx = Arc::clone(&kit.cx);
            let slow = tokio::spawn(async move { refresh(&cx).await });
            while kit.store.holds_next_list() {
                tokio::task::yield_now().await;
            }
            kit.store.commit(&[put("second")]).await.expect("commits");
            refresh(&kit.cx).await;
            let name = || {
                kit.cx
                    .registry()
                    .get("com.acme.new")
                    .expect("known")
                    .name
                    .clone()
            };
            assert_eq!(name(), "second");
            answer.send(()).expect("it waits");
            slow.await.expect("ends");
            assert_eq!(name(), "second");
            // One that fails does not keep an earlier answer from being taken.
            let answer = kit.store.hold_next_list();
            kit.store.commit(&[put("third")]).await.expect("commits");
            let cx = Arc::clone(&kit.cx);
            let slow = tokio::spawn(async move { refresh(&cx).await });
            while kit.store.holds_next_list() {
                tokio::task::yield_now().await;
            }
            kit.store.set_failing(true);
            refresh(&kit.cx).await;
            answer.send(()).expect("it waits");
            slow.await.expect("ends");
            assert_eq!(name(), "third");
        });
    }

    const ACME: &str = r#"{"modelName":"Acme X","hasCamera":true,"hasDisplay":false,"hasMicrophone":false,"hasSpeaker":false,"hasIMU":false,"hasButton":false,"hasLight":false,"hasWifi":true,"power":{"hasExternalBattery":false}}"#;

    #[test]
    fn profiles_are_read_beside_the_config_file_and_reach_the_shards_at_a_reload() {
        use crate::services::rest::testkit::Kit;
        Kit::run(|kit| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let mut settings = Settings::default();
            assert_eq!(
                read_profiles(&settings, folder.path()).ok(),
                Some(Profiles::default())
            );
            settings.server.capabilities_file = "glasses.jsonl".into();
            let missing = read_profiles(&settings, folder.path()).expect_err("no file");
            assert!(missing.to_string().contains("glasses.jsonl"), "{missing}");
            std::fs::write(folder.path().join("glasses.jsonl"), ACME).expect("writes");
            let profiles = read_profiles(&settings, folder.path()).expect("good");
            let version = kit.cx.registry().version;
            kit.cx.apps.set_profiles(profiles);
            refresh(&kit.cx).await;
            let registry = kit.cx.registry();
            assert_eq!(registry.version, version + 1);
            assert!(registry.profiles.of_model("Acme X").is_some());
        });
    }
}
