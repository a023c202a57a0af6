//! Command line: `prism serve`.

use super::{ServeArgs, config};
use crate::base::settings::{LoadError, Problem, Settings};
use crate::boot::{self, BootError, Echo, Plan};
use crate::logs;
use crate::services::{Reload, StartError};
use std::process::ExitCode;
use std::sync::Arc;

/// Exit code for a configuration or apps file that is wrong, as for a wrong command line; anything else is 1.
const WRONG_INPUT: u8 = 2;

/// Settings with the command line's word last.
fn load(args: &ServeArgs) -> Result<Settings, LoadError> {
    let mut settings = config::load(&args.config)?;
    let given = [
        ("apps_file", args.apps.clone()),
        ("data_dir", args.data_dir.clone()),
        ("host", args.host.clone()),
        ("port", args.port.map(|port| port.to_string())),
        ("shards", args.shards.map(|shards| shards.to_string())),
        ("io_driver", args.io_driver.clone()),
    ];
    for (key, value) in given {
        if let Some(value) = value {
            settings.set(key, &value).map_err(|expected| {
                LoadError(vec![Problem {
                    place: format!("--{}", key.replace('_', "-")),
                    text: format!("expected {expected}, found {value:?}"),
                }])
            })?;
        }
    }
    Ok(settings)
}

/// Serves until told to stop.
pub(super) fn run(args: ServeArgs) -> ExitCode {
    let settings = match load(&args) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("prism: {error}");
            return ExitCode::from(WRONG_INPUT);
        }
    };
    let logs = match logs::start(&settings) {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("prism: {error}");
            return ExitCode::from(WRONG_INPUT);
        }
    };
    let echo = if args.enable_echo {
        Echo::On
    } else {
        Echo::Off
    };
    let filter = logs.handle();
    let config_dir = config::folder(&args.config);
    let reload: Reload = Arc::new(move || {
        let settings = load(&args).map_err(|error| error.to_string())?;
        filter
            .set(&settings.observability.log_level)
            .map_err(|error| error.to_string())?;
        Ok(settings)
    });
    let plan = Plan {
        settings,
        config_dir,
        reload,
        echo,
    };
    match boot::run(plan, logs) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("prism: {error}");
            match error {
                BootError::Host(..) | BootError::Outside(StartError::Apps(_)) => {
                    ExitCode::from(WRONG_INPUT)
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}
