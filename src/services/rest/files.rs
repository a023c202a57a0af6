//! Outside thread, REST: uploaded files in the data directory. Names are made here, never taken from a client.

use super::{Handled, refuse};
use crate::services::context::Services;
use crate::services::folder;
use crate::services::lasting::on_a_thread;
use crate::services::lines::{Line, may};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// Uploads leave this part of the disk to the store. Whoever is let in may send as much as fits, and a full disk is everybody's.
const KEPT_PART: u64 = 20;
/// They need leave no more (bytes).
const KEPT_BYTES_MAX: u64 = 1 << 30;

/// Free bytes of a folder's disk, and all.
type Disk = fn(&Path) -> std::io::Result<(u64, u64)>;

/// # Errors
/// The store needs the room.
fn check_room(folder: &Path, bytes: usize, disk: Disk) -> std::io::Result<()> {
    // Some file systems do not say.
    let (free, all) = disk(folder).unwrap_or_default();
    let kept = (all / KEPT_PART).min(KEPT_BYTES_MAX);
    if all == 0 || free >= kept.saturating_add(bytes as u64) {
        return Ok(());
    }
    let text = format!("only {free} bytes of the disk are free");
    Err(std::io::Error::new(ErrorKind::StorageFull, text))
}

/// Folder of a kind of file within the data directory.
pub(super) fn folder(cx: &Services, kind: &str) -> PathBuf {
    PathBuf::from(&cx.settings().server.data_dir).join(kind)
}

/// Writes a file durably; an existing one is replaced whole.
pub(super) async fn save(folder: PathBuf, name: String, data: bytes::Bytes) -> Handled<()> {
    save_on(folder::disk, folder, name, data).await
}

async fn save_on(disk: Disk, folder: PathBuf, name: String, data: bytes::Bytes) -> Handled<()> {
    let work = on_a_thread(move || {
        folder::create(&folder)?;
        check_room(&folder, data.len(), disk)?;
        let scratch = folder.join(format!("{name}.part"));
        let written =
            write(&scratch, &data).and_then(|()| std::fs::rename(&scratch, folder.join(name)));
        if written.is_err() {
            // The part that was written before the disk was full must not keep it full.
            let _ = std::fs::remove_file(scratch);
        }
        written
    });
    work.await.flatten().map_err(|error| {
        if let Some(more) = may(Line::UploadFailed) {
            tracing::error!(%error, more, "an upload could not be stored");
        }
        refuse(500, "Failed to store file")
    })
}

fn write(path: &Path, data: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(data)?;
    file.sync_all()
}

/// Deletes files of a folder that were written before `unix_s`.
pub(super) fn delete_older(folder: &Path, unix_s: u64) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let written = entry.metadata().and_then(|meta| meta.modified()).ok();
        let written = written.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        if written.is_some_and(|written| written.as_secs() < unix_s) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
    }

    #[test]
    fn uploads_leave_the_store_its_part_of_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let save = |disk: Disk, bytes: usize| {
            let data = vec![1; bytes].into();
            let saved = save_on(disk, folder.path().to_owned(), "a".into(), data);
            runtime().block_on(saved).is_ok()
        };
        // Of a small disk a twentieth is kept, of a large one 1 GiB.
        assert!(save(|_| Ok((60 << 20, 1 << 30)), 1 << 20));
        assert!(!save(|_| Ok((60 << 20, 1 << 30)), 10 << 20));
        assert!(save(|_| Ok((1100 << 20, 1 << 40)), 1 << 20));
        assert!(!save(|_| Ok((1000 << 20, 1 << 40)), 1));
        assert!(save(|_| Ok((0, 0)), 1), "nothing is known of it");
    }

    #[test]
    fn what_cannot_be_stored_leaves_nothing_behind() {
        let runtime = runtime();
        let folder = tempfile::tempdir().expect("a folder");
        // A file cannot take the place of a folder.
        std::fs::create_dir(folder.path().join("taken")).expect("made");
        let save = save(
            folder.path().to_owned(),
            "taken".into(),
            vec![1; 100].into(),
        );
        let refusal = runtime.block_on(save).expect_err("refused");
        assert_eq!(refusal.status, 500);
        let left = std::fs::read_dir(folder.path()).expect("readable").count();
        assert_eq!(left, 1, "the folder alone");
    }
}
