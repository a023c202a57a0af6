//! Command line: `prism serve`.

use super::{ServeArgs, WRONG_INPUT, config};
use crate::boot::{self, BootError, Echo, Plan};
use crate::logs::{self, LogError};
use crate::services::{Reload, StartError};
use std::process::ExitCode;

/// Serves until told to stop.
pub(super) fn run(args: ServeArgs) -> ExitCode {
    let settings = match args.settings() {
        Ok(settings) => settings,
        Err(error) => {
            logs::announce(&format!("prism: {error}"));
            return ExitCode::from(WRONG_INPUT);
        }
    };
    let logs = match logs::start(&settings) {
        Ok(logs) => logs,
        Err(error) => {
            logs::announce(&format!("prism: {error}"));
            return match error {
                LogError::Thread(_) => ExitCode::FAILURE,
                _ => ExitCode::from(WRONG_INPUT),
            };
        }
    };
    let echo = if args.enable_echo {
        Echo::On
    } else {
        Echo::Off
    };
    let filter = logs.handle();
    let config_dir = config::folder(&args.config);
    let reload = Reload::new(
        move || args.settings(),
        move |settings| {
            if let Err(error) = filter.set(&settings.observability.log_level) {
                tracing::error!(%error, "the log filter stays as it was");
            }
        },
    );
    let plan = Plan {
        settings,
        config_dir,
        reload,
        echo,
    };
    match boot::run(plan, logs) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logs::announce(&format!("prism: {error}"));
            match error {
                BootError::Host(..) | BootError::Outside(StartError::Apps(_)) => {
                    ExitCode::from(WRONG_INPUT)
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}
