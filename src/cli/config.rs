//! Command line: finds and reads the configuration.

use super::ConfigArgs;
use crate::base::settings::{self, LoadError, Problem, Settings};
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
    let mut settings = settings::load(&yaml, |name| std::env::var(name).ok())?;
    // A relative apps file stands beside the configuration.
    if let Some(folder) = path.as_deref().and_then(Path::parent) {
        let apps = folder.join(&settings.server.apps_file);
        settings.server.apps_file = apps.to_string_lossy().into_owned();
    }
    Ok(settings)
}
