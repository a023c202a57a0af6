//! `prism`: the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    prism::cli::run()
}
