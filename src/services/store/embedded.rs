//! Outside thread, store backend of one node: redb in the data directory. Reads see the last commit and never wait for a
//! write; a commit is on disk when it returns. It refuses a file of a newer schema and a directory another process has open.

use super::changes::Edit;
use super::{Change, DocKey, Document, Outcome, Space, Store, StoreError};
use crate::services::folder;
use crate::services::lasting::on_a_thread;
use async_trait::async_trait;
use redb::{Database, ReadableDatabase, ReadableTable as _, TableDefinition};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Schema written by this version.
const SCHEMA: u64 = 1;
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
/// File within the data directory.
const FILE: &str = "prism.redb";
/// Page cache; the data that matters is small.
const CACHE_BYTES: usize = 64 << 20;

type Key = (&'static str, &'static str);

fn table(space: Space) -> TableDefinition<'static, Key, &'static [u8]> {
    TableDefinition::new(space.as_str())
}

fn failed(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Embedded(error.into().to_string())
}

/// The backend.
#[derive(Clone)]
pub struct Embedded {
    file: PathBuf,
    /// `None` only while it is reopened after an I/O error.
    database: Arc<RwLock<Option<Database>>>,
}

impl Embedded {
    /// Opens or creates the database in `folder`, which is created when missing.
    ///
    /// # Errors
    /// When the folder or file cannot be used, is open elsewhere, or comes from a newer version.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        folder::create(folder).map_err(|error| {
            StoreError::Embedded(format!("data_dir {}: {error}", folder.display()))
        })?;
        let file = folder.join(FILE);
        let database = open_file(&file)?;
        Ok(Self {
            file,
            database: Arc::new(RwLock::new(Some(database))),
        })
    }

    fn with<T>(
        &self,
        run: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard.as_ref().ok_or(StoreError::Closed)?;
        judged(&self.file, || run(database))
    }

    /// After an I/O error (a full disk) redb refuses everything until the file is opened again.
    fn reopen(&self) {
        let mut guard = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        drop(guard.take());
        match open_file(&self.file) {
            Ok(database) => *guard = Some(database),
            Err(error) => tracing::error!(%error, "the embedded store cannot be opened again"),
        }
    }
}

/// redb notices some damage to its file by a panic.
fn judged<T>(file: &Path, run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let file = file.display();
        Err(StoreError::Embedded(format!("{file} is damaged")))
    })
}

fn open_file(file: &Path) -> Result<Database, StoreError> {
    judged(file, || open_whole(file))
}

fn open_whole(file: &Path) -> Result<Database, StoreError> {
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(file)
        .map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(file.to_owned()),
            error => StoreError::Embedded(format!("{}: {error}", file.display())),
        })?;
    let write = database.begin_write().map_err(failed)?;
    {
        let mut meta = write.open_table(META).map_err(failed)?;
        let found = meta
            .get("schema")
            .map_err(failed)?
            .map(|version| version.value());
        match found {
            Some(found) if found > SCHEMA => {
                return Err(StoreError::Newer {
                    found,
                    known: SCHEMA,
                });
            }
            Some(_) => {}
            None => drop(meta.insert("schema", SCHEMA).map_err(failed)?),
        }
        for space in Space::ALL {
            write.open_table(table(*space)).map_err(failed)?;
        }
    }
    write.commit().map_err(failed)?;
    Ok(database)
}

fn commit(database: &Database, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
    let write = database.begin_write().map_err(failed)?;
    let mut outcomes = Vec::with_capacity(changes.len());
    for change in changes {
        let key = change.key();
        let mut table = write.open_table(table(key.space)).map_err(failed)?;
        let name = (key.owner.as_str(), key.name.as_str());
        let (edit, outcome) = {
            let document = table.get(name).map_err(failed)?;
            change.apply(document.as_ref().map(redb::AccessGuard::value))
        };
        match edit {
            Edit::Keep => {}
            Edit::Put(json) => drop(table.insert(name, json.as_slice()).map_err(failed)?),
            Edit::Delete => drop(table.remove(name).map_err(failed)?),
        }
        outcomes.push(outcome);
    }
    write.commit().map_err(failed)?;
    Ok(outcomes)
}

#[async_trait]
impl Store for Embedded {
    async fn get(&self, key: &DocKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|database| {
            let read = database.begin_read().map_err(failed)?;
            let table = read.open_table(table(key.space)).map_err(failed)?;
            let document = table
                .get((key.owner.as_str(), key.name.as_str()))
                .map_err(failed)?;
            Ok(document.map(|json| json.value().to_vec()))
        })
    }

    async fn list(
        &self,
        space: Space,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.with(|database| {
            let read = database.begin_read().map_err(failed)?;
            let table = read.open_table(table(space)).map_err(failed)?;
            let mut found = Vec::new();
            let from = (after, "");
            let rows = table
                .range::<(&str, &str)>((Bound::Included(from), Bound::Unbounded))
                .map_err(failed)?;
            for row in rows {
                let (key, json) = row.map_err(failed)?;
                let (owner, name) = key.value();
                if owner == after {
                    continue;
                }
                if found.len() == limit {
                    break;
                }
                found.push(Document {
                    owner: owner.into(),
                    name: name.into(),
                    json: json.value().to_vec(),
                });
            }
            Ok(found)
        })
    }

    async fn commit(&self, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        let (this, changes) = (self.clone(), changes.to_vec());
        // The commit waits for the disk; the outside thread does not.
        let work = on_a_thread(move || {
            let result = this.with(|database| commit(database, &changes));
            if result.is_err() {
                this.reopen();
            }
            result
        });
        work.await
            .map_err(|error| StoreError::Embedded(error.to_string()))?
    }

    async fn apps_changed(&self) {
        std::future::pending().await
    }

    fn kind(&self) -> &'static str {
        "embedded"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        drop(Embedded::open(folder.path()).expect("a new store"));
        let file = folder.path().join(FILE);
        let whole = std::fs::read(&file).expect("readable");
        // Its first page alone, and cut in the middle.
        let mut first_page = whole[..4096].to_vec();
        first_page.resize(whole.len(), 0);
        for damaged in [&first_page, &whole[..whole.len() / 2]] {
            std::fs::write(&file, damaged).expect("writable");
            let error = Embedded::open(folder.path()).err().expect("damaged");
            assert!(error.to_string().contains(FILE), "{error}");
        }
    }

    #[test]
    fn a_file_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        drop(Embedded::open(folder.path()).expect("a new store"));
        let database = Database::create(folder.path().join(FILE)).expect("opens");
        let write = database.begin_write().expect("begins");
        write
            .open_table(META)
            .expect("meta")
            .insert("schema", SCHEMA + 1)
            .expect("inserts");
        write.commit().expect("commits");
        drop(database);
        assert!(matches!(
            Embedded::open(folder.path()),
            Err(StoreError::Newer { found: 2, known: 1 })
        ));
    }
}
