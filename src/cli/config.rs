//! Command line: finds and reads the configuration.

use super::ConfigArgs;
use crate::base::settings::{self, LoadError, Problem, Settings, Sources};
use std::path::{Path, PathBuf};

/// The file that is read; `None` for built-in defaults alone.
pub(super) fn path(args: &ConfigArgs) -> Option<PathBuf> {
    let default = || {
        let path = Path::new("config.yaml");
        path.is_file().then(|| path.to_owned())
    };
    args.config.clone().or_else(default)
}

/// File and environment, checked.
///
/// # Errors
/// All problems.
pub(super) fn load(args: &ConfigArgs) -> Result<Settings, LoadError> {
    load_with(args, &[])
}

/// The same with keys and values of the command line, which win.
///
/// # Errors
/// All problems.
pub(super) fn load_with(
    args: &ConfigArgs,
    flags: &[(&'static str, String)],
) -> Result<Settings, LoadError> {
    let path = path(args);
    let yaml = match &path {
        Some(path) => std::fs::read_to_string(path).map_err(|error| {
            LoadError(vec![Problem {
                place: path.display().to_string(),
                text: error.to_string(),
            }])
        })?,
        None => String::new(),
    };
    let sources = Sources {
        file: &path.map_or_else(String::new, |path| path.display().to_string()),
        yaml: &yaml,
        flags,
    };
    settings::load_from(&sources, |name| std::env::var(name).ok())
}

/// Folder of the configuration file; a relative apps file stands beside it.
pub(super) fn folder(args: &ConfigArgs) -> PathBuf {
    path(args)
        .as_deref()
        .and_then(Path::parent)
        .map(Path::to_owned)
        .unwrap_or_default()
}
