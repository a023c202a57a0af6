//! Outside thread, REST: uploaded files in the data directory. Names are made here, never taken from a client.

use super::{Handled, refuse};
use crate::services::context::Services;
use crate::services::folder;
use crate::services::lasting::on_a_thread;
use crate::services::lines::{Line, may};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Folder of a kind of file within the data directory.
pub(super) fn folder(cx: &Services, kind: &str) -> PathBuf {
    PathBuf::from(&cx.settings().server.data_dir).join(kind)
}

/// Writes a file durably; an existing one is replaced whole.
pub(super) async fn save(folder: PathBuf, name: String, data: bytes::Bytes) -> Handled<()> {
    let work = on_a_thread(move || {
        folder::create(&folder)?;
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

    #[test]
    fn what_cannot_be_stored_leaves_nothing_behind() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
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
