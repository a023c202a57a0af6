//! Outside thread, store backend of a fleet: PostgreSQL. Documents are locked in one order, so that instances never deadlock
//! each other; app-record changes are announced with NOTIFY. TLS follows `sslmode` of the URL and always verifies. It starts
//! without its database and migrates when that comes back; a call that ran out of time takes its connection with it.

mod connect;
mod probe;

use super::changes::Edit;
use super::{Change, DocKey, Document, Outcome, Space, Store, StoreError};
use crate::base::settings::Settings;
use crate::services::lasting;
use async_trait::async_trait;
use connect::{Lease, failed, refused};
use deadpool_postgres::{Object, Pool};
use futures_util::FutureExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{sleep, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

const CHANNEL: &str = "prism_apps";
/// Connections for writes.
const WRITING: usize = 2;
/// The writer waits for a lock for this part of `db_timeout_ms`: it tries several times to find out whose document is locked, and all
/// others wait meanwhile.
const LOCK_SHARE: u32 = 4;
/// Documents that one statement writes, but for a single one (bytes).
const STATEMENT_BYTES_MAX: usize = 16 << 20;
/// Any number will do; all instances take the same advisory lock while they migrate.
const MIGRATION_LOCK: i64 = 0x0070_7269_736d;
/// One entry per schema version, applied in order; never edited once released.
const MIGRATIONS: &[&str] = &["
CREATE TABLE prism_documents (
  space text NOT NULL,
  owner text COLLATE \"C\" NOT NULL,
  name text COLLATE \"C\" NOT NULL,
  doc text NOT NULL,
  revision bigint NOT NULL DEFAULT 1,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (space, owner, name)
)"];

/// The backend.
pub struct Postgres {
    reading: Pool,
    /// The writer's own, however many reads wait for theirs: one, and one for what takes long.
    writing: Pool,
    limit: Duration,
    migrated: OnceCell<()>,
    apps_changed: Arc<Notify>,
    listener: tokio::task::JoinHandle<()>,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Postgres {
    /// Connects, migrates and starts to listen for app changes. A server that cannot be reached now is no error: every call
    /// tries again.
    ///
    /// # Errors
    /// For a bad URL or CA file, refused credentials, or a schema newer than this program.
    pub async fn open(settings: &Settings) -> Result<Self, StoreError> {
        let limit = Duration::from_millis(settings.store.db_timeout_ms);
        let config = connect::config(&settings.server.store_url, limit)?;
        let tls = connect::tls(&settings.server.store_ca_file)?;
        let readers = (settings.store.db_pool_size as usize)
            .saturating_sub(WRITING)
            .max(1);
        let pool = |size, lock| connect::pool(config.clone(), tls.clone(), size, limit, lock);
        let (reading, writing) = (pool(readers, limit)?, pool(WRITING, limit / LOCK_SHARE)?);
        let apps_changed = Arc::new(Notify::new());
        let (changed, retry_ms) = (Arc::clone(&apps_changed), settings.store.db_retry_ms);
        let listener = lasting::keep("store listener", move || {
            listen(config.clone(), tls.clone(), Arc::clone(&changed), retry_ms)
        });
        let this = Self {
            reading,
            writing,
            limit,
            migrated: OnceCell::new(),
            apps_changed,
            listener,
        };
        match this.bounded(this.lease(&this.writing)).await {
            Ok(lease) => lease.give_back(),
            Err(
                error @ (StoreError::Unreachable(_)
                | StoreError::Unfinished(_)
                | StoreError::Timeout
                | StoreError::Panicked),
            ) => {
                tracing::error!(%error, "started without the store; sessions get defaults until it answers");
            }
            Err(error) => return Err(error),
        }
        Ok(this)
    }

    async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        // The look-up of the database's name takes a thread; where there is none, it panics.
        let caught = AssertUnwindSafe(call).catch_unwind();
        let outcome = match timeout(self.limit, caught).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(StoreError::Panicked),
            Err(_) => Err(StoreError::Timeout),
        };
        if matches!(
            outcome,
            Err(StoreError::Unreachable(_) | StoreError::Timeout)
        ) {
            self.forget_idle();
        }
        outcome
    }

    /// After a fail-over all idle connections lead to where no database answers, or none that takes writes: they are not tried one
    /// after another.
    fn forget_idle(&self) {
        for pool in [&self.reading, &self.writing] {
            drop(pool.retain(|_, _| false));
        }
    }

    /// A connection to a database whose schema is ours.
    async fn lease(&self, pool: &Pool) -> Result<Lease, StoreError> {
        let mut lease = Lease::new(pool.get().await.map_err(failed)?);
        self.migrated
            .get_or_try_init(|| migrate(lease.client()))
            .await?;
        Ok(lease)
    }

    /// A read that meets a connection cut since its last use goes over another one.
    async fn read(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let once = async || {
            let mut lease = self.lease(&self.reading).await?;
            let client = lease.client();
            let query = client.prepare_cached(sql).await.map_err(failed)?;
            let rows = client.query(&query, values).await.map_err(failed)?;
            lease.give_back();
            Ok(rows)
        };
        self.bounded(async {
            match once().await {
                Err(StoreError::Unreachable(_)) => {
                    self.forget_idle();
                    once().await
                }
                result => result,
            }
        })
        .await
    }
}

/// Version of the schema that is there; 0 = none. It needs no right but to read, and no database that takes writes.
async fn version(client: &Object) -> Result<i64, StoreError> {
    let there =
        "SELECT to_regclass('prism_schema') IS NOT NULL, current_setting('server_encoding')";
    let row = client.query_one(there, &[]).await.map_err(failed)?;
    let encoding: &str = row.get(1);
    if !matches!(encoding, "UTF8" | "SQL_ASCII") {
        tracing::warn!(encoding, "store-encoding");
    }
    if !row.get::<_, bool>(0) {
        return Ok(0);
    }
    let version = "SELECT coalesce(max(version), 0) FROM prism_schema";
    let row = client.query_one(version, &[]).await.map_err(failed)?;
    Ok(row.get(0))
}

async fn migrate(client: &mut Object) -> Result<(), StoreError> {
    if version(client).await? == MIGRATIONS.len() as i64 {
        return Ok(());
    }
    let work = client.transaction().await.map_err(failed)?;
    work.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK])
        .await
        .map_err(failed)?;
    work.batch_execute("CREATE TABLE IF NOT EXISTS prism_schema (version bigint NOT NULL)")
        .await
        .map_err(failed)?;
    let row = work
        .query_one("SELECT coalesce(max(version), 0) FROM prism_schema", &[])
        .await
        .map_err(failed)?;
    let found: i64 = row.get(0);
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(StoreError::Newer {
            found: found as u64,
            known: known as u64,
        });
    }
    for (index, step) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        work.batch_execute(step).await.map_err(failed)?;
        work.execute(
            "INSERT INTO prism_schema VALUES ($1)",
            &[&(index as i64 + 1)],
        )
        .await
        .map_err(failed)?;
    }
    work.commit().await.map_err(failed)
}

/// Keeps one connection listening; a gap counts as a change.
async fn listen(config: Config, tls: MakeRustlsConnect, changed: Arc<Notify>, retry_ms: u64) {
    loop {
        if let Ok((client, mut connection)) = config.connect(tls.clone()).await {
            let listening = async {
                client
                    .batch_execute(&format!("LISTEN {CHANNEL}"))
                    .await
                    .is_ok()
                    && {
                        changed.notify_one();
                        std::future::pending().await
                    }
            };
            let messages = async {
                while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                    if matches!(message, AsyncMessage::Notification(_)) {
                        changed.notify_one();
                    }
                }
            };
            tokio::select! {
                _ = listening => {}
                () = messages => {}
            }
        }
        sleep(Duration::from_millis(retry_ms)).await;
    }
}

/// Locks every document that `changes` touch, missing ones included, and returns them.
async fn lock(
    work: &deadpool_postgres::Transaction<'_>,
    changes: &[Change],
) -> Result<BTreeMap<DocKey, Option<Vec<u8>>>, StoreError> {
    let mut documents: BTreeMap<DocKey, Option<Vec<u8>>> =
        changes.iter().map(|change| (change.key(), None)).collect();
    let (mut spaces, mut owners, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for key in documents.keys() {
        spaces.push(key.space.as_str());
        owners.push(key.owner.as_str());
        names.push(key.name.as_str());
    }
    // Advisory locks also hold what does not exist yet; taken in key order.
    let lock = "SELECT pg_advisory_xact_lock(h) FROM (SELECT DISTINCT hashtextextended(k.s || chr(1) || k.o || chr(1) || k.n, 0) AS h
         FROM unnest($1::text[], $2::text[], $3::text[]) AS k(s, o, n) ORDER BY h) AS locks";
    let lock = work.prepare_cached(lock).await.map_err(refused)?;
    work.execute(&lock, &[&spaces, &owners, &names])
        .await
        .map_err(refused)?;
    let read = "SELECT d.space, d.owner, d.name, d.doc FROM prism_documents d
             JOIN unnest($1::text[], $2::text[], $3::text[]) AS k(s, o, n) ON d.space = k.s AND d.owner = k.o AND d.name = k.n";
    let read = work.prepare_cached(read).await.map_err(refused)?;
    let rows = work
        .query(&read, &[&spaces, &owners, &names])
        .await
        .map_err(refused)?;
    for row in rows {
        let space: &str = row.get(0);
        if let Some(space) = Space::ALL.iter().find(|known| known.as_str() == space) {
            let key = DocKey {
                space: *space,
                owner: row.get(1),
                name: row.get(2),
            };
            documents.insert(key, Some(row.get::<_, String>(3).into_bytes()));
        }
    }
    Ok(documents)
}

/// Writes the documents of these names as they are to be, some megabytes at a time: few round trips, and statements that no limit
/// of the server meets.
async fn put(
    work: &deadpool_postgres::Transaction<'_>,
    dirty: &BTreeSet<DocKey>,
    documents: &BTreeMap<DocKey, Option<Vec<u8>>>,
) -> Result<(), StoreError> {
    let (mut kept, mut gone) = (Rows::default(), Rows::default());
    for key in dirty {
        let document = documents.get(key).and_then(Option::as_deref);
        let Some(document) = document else {
            gone.push(key, None);
            continue;
        };
        let document = std::str::from_utf8(document).map_err(failed)?;
        if kept.bytes + document.len() > STATEMENT_BYTES_MAX {
            std::mem::take(&mut kept).run(work, UPSERT).await?;
        }
        kept.push(key, Some(document));
    }
    kept.run(work, UPSERT).await?;
    gone.run(work, DELETE).await
}

const UPSERT: &str = "INSERT INTO prism_documents (space, owner, name, doc)
     SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
     ON CONFLICT (space, owner, name) DO UPDATE
     SET doc = excluded.doc, revision = prism_documents.revision + 1, updated_at = now()";
const DELETE: &str =
    "DELETE FROM prism_documents d USING unnest($1::text[], $2::text[], $3::text[]) AS k(s, o, n)
     WHERE d.space = k.s AND d.owner = k.o AND d.name = k.n";

/// Rows of one statement, by columns.
#[derive(Default)]
struct Rows<'a> {
    spaces: Vec<&'a str>,
    owners: Vec<&'a str>,
    names: Vec<&'a str>,
    documents: Vec<&'a str>,
    bytes: usize,
}

impl<'a> Rows<'a> {
    fn push(&mut self, key: &'a DocKey, document: Option<&'a str>) {
        self.spaces.push(key.space.as_str());
        self.owners.push(&key.owner);
        self.names.push(&key.name);
        self.documents.extend(document);
        self.bytes += document.map_or(0, str::len);
    }

    async fn run(
        self,
        work: &deadpool_postgres::Transaction<'_>,
        sql: &str,
    ) -> Result<(), StoreError> {
        if self.owners.is_empty() {
            return Ok(());
        }
        let statement = work.prepare_cached(sql).await.map_err(refused)?;
        let mut columns: Vec<&(dyn ToSql + Sync)> = vec![&self.spaces, &self.owners, &self.names];
        if !self.documents.is_empty() {
            columns.push(&self.documents);
        }
        work.execute(&statement, &columns).await.map_err(refused)?;
        Ok(())
    }
}

async fn commit(client: &mut Object, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
    let work = client.transaction().await.map_err(failed)?;
    let mut documents = lock(&work, changes).await?;
    let mut dirty = BTreeSet::new();
    let mut outcomes = Vec::with_capacity(changes.len());
    for change in changes {
        let key = change.key();
        let current = documents.get(&key).and_then(Option::as_deref);
        let (edit, outcome) = change.apply(current);
        outcomes.push(outcome);
        let next = match edit {
            Edit::Keep => continue,
            Edit::Put(json) => Some(json),
            Edit::Delete => None,
        };
        documents.insert(key.clone(), next);
        dirty.insert(key);
    }
    let apps = dirty.iter().any(|key| key.space == Space::App);
    put(&work, &dirty, &documents).await?;
    if apps {
        work.execute("SELECT pg_notify($1, '')", &[&CHANNEL])
            .await
            .map_err(failed)?;
    }
    work.commit().await.map_err(refused)?;
    Ok(outcomes)
}

fn documents(rows: &[tokio_postgres::Row]) -> Vec<Document> {
    let document = |row: &tokio_postgres::Row| Document {
        owner: row.get(0),
        name: row.get(1),
        json: row.get::<_, String>(2).into_bytes(),
    };
    rows.iter().map(document).collect()
}

#[async_trait]
impl Store for Postgres {
    async fn get(&self, key: &DocKey) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self
            .read(
                "SELECT doc FROM prism_documents WHERE space = $1 AND owner = $2 AND name = $3",
                &[&key.space.as_str(), &key.owner, &key.name],
            )
            .await?;
        Ok(rows.first().map(|row| row.get::<_, String>(0).into_bytes()))
    }

    async fn list(
        &self,
        space: Space,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let rows = self
            .read(
                "SELECT owner, name, doc FROM prism_documents WHERE space = $1 AND owner > $2
                 ORDER BY owner, name LIMIT $3",
                &[&space.as_str(), &after, &(limit as i64)],
            )
            .await?;
        Ok(documents(&rows))
    }

    async fn find(
        &self,
        space: Space,
        text: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let rows = self
            .read(
                "SELECT owner, name, doc FROM prism_documents WHERE space = $1 AND owner > $2 AND strpos(doc, $3) > 0
                 ORDER BY owner, name LIMIT $4",
                &[&space.as_str(), &after, &text, &(limit as i64)],
            )
            .await?;
        Ok(documents(&rows))
    }

    async fn commit(&self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        self.bounded(async {
            let mut lease = self.lease(&self.writing).await?;
            let outcomes = commit(lease.client(), changes).await;
            // What was refused is rolled back; the connection is as good as before.
            if matches!(outcomes, Ok(_) | Err(StoreError::Refused(_))) {
                lease.give_back();
            }
            outcomes
        })
        .await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.bounded(async {
            let mut lease = self.lease(&self.writing).await?;
            probe::ask(lease.client()).await?;
            lease.give_back();
            Ok(())
        })
        .await
    }

    async fn apps_changed(&self) {
        self.apps_changed.notified().await;
    }

    fn kind(&self) -> &'static str {
        "postgres"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::lasting::tests::without_threads;

    #[test]
    fn a_host_whose_name_cannot_be_looked_up_is_an_outage_and_the_listener_goes_on() {
        without_threads().block_on(async {
            let mut settings = Settings::default();
            settings.server.store_url = "postgres://prism@localhost:1/prism".into();
            let store = Postgres::open(&settings).await.expect("starts without it");
            let key = DocKey::app("com.acme.scribe");
            assert!(matches!(store.get(&key).await, Err(StoreError::Panicked)));
            // The listener has its turn.
            tokio::task::yield_now().await;
            assert!(!store.listener.is_finished());
        });
    }
}
