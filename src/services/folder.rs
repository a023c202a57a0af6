//! Outside thread: folders of the data directory. What is in them is the users' alone: nobody else of the machine may look.

use std::ffi::CString;
use std::fs::DirBuilder;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Creates what is missing of a folder, for this process's user alone; one that is there keeps its mode.
///
/// # Errors
/// Of the file system.
pub(super) fn create(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Free bytes of a folder's disk, and all; 0 where the file system does not say.
///
/// # Errors
/// Of the file system.
pub(super) fn disk(folder: &Path) -> io::Result<(u64, u64)> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    let mut disk = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends in NUL, and all-zero is a valid value of what is filled in.
    let disk = unsafe {
        if libc::statvfs(path.as_ptr(), disk.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        disk.assume_init()
    };
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok((bytes(disk.f_bavail), bytes(disk.f_blocks)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn new_folders_are_closed_to_others_and_existing_ones_left_alone() {
        let place = tempfile::tempdir().expect("a folder");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let given = place.path().join("given");
        fs::create_dir(&given).expect("created");
        fs::set_permissions(&given, Permissions::from_mode(0o750)).expect("set");
        let folder = given.join("data/photos");
        create(&folder).expect("created");
        create(&folder).expect("it is there");
        assert_eq!(
            [&given, &given.join("data"), &folder].map(|path| mode(path)),
            [0o750, 0o700, 0o700]
        );
    }

    #[test]
    fn a_disk_says_how_much_of_it_is_free() {
        let (free, all) = disk(Path::new("/")).expect("there");
        assert!(free <= all && all > 0, "{free} of {all}");
        assert!(disk(Path::new("/nowhere")).is_err());
    }
}
