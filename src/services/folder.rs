//! Outside thread: folders of the data directory. What is in them is the users' alone: nobody else of the machine may look.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Creates what is missing of a folder, for this process's user alone; one that is there keeps its mode.
///
/// # Errors
/// Of the file system.
pub(super) fn create(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
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
}
