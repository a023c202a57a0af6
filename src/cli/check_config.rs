//! Command line: `prism check-config`.

use super::{ConfigArgs, config};
use std::process::ExitCode;

/// Prints every problem, or that there is none.
pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    match config::load(args) {
        Ok(_) => {
            println!("configuration is valid");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
