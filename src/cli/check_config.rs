//! Command line: `prism check-config`.

use super::{ServeArgs, WRONG_INPUT, config};
use crate::base::settings::{unknown_variables, unused_variables};
use crate::boot::variables;
use crate::services::registry::{read_apps_file, read_profiles};
use std::process::ExitCode;

/// Prints every problem, or that there is none; warnings too, which stop nothing.
pub(super) fn run(args: &ServeArgs) -> ExitCode {
    for (variable, key) in unused_variables(variables()) {
        eprintln!("warning: {variable} is not used; see the key {key}");
    }
    for variable in unknown_variables(variables().map(|(name, _)| name)) {
        eprintln!("warning: {variable} is no key's name");
    }
    let problems = problems(args);
    if problems.is_empty() {
        println!("configuration is valid");
        return ExitCode::SUCCESS;
    }
    for problem in problems {
        eprintln!("{problem}");
    }
    ExitCode::from(WRONG_INPUT)
}

/// Of the settings, or else of the files that they name.
fn problems(args: &ServeArgs) -> Vec<String> {
    let settings = match args.settings() {
        Ok(settings) => settings,
        Err(error) => return vec![error.to_string()],
    };
    let folder = config::folder(&args.config);
    let apps = read_apps_file(&settings, &folder).map(drop);
    let profiles = read_profiles(&settings, &folder).map(drop);
    [apps, profiles]
        .into_iter()
        .filter_map(Result::err)
        .map(|error| error.to_string())
        .collect()
}
