//! Command line: `prism token --email E`.

use super::{ConfigArgs, config};
use crate::wire::auth::TokenKeys;
use clap::Args;
use serde::Serialize;
use std::error::Error;
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The user's e-mail address: the user id.
    #[arg(long)]
    email: String,
}

/// Claims of a core token (protocol.md §1.5).
#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    email: &'a str,
    iat: u64,
}

/// Prints a core token.
pub(super) fn run(args: &TokenArgs) -> ExitCode {
    super::report(mint(args))
}

fn mint(args: &TokenArgs) -> Result<(), Box<dyn Error>> {
    let settings = config::load(&args.config)?;
    let claims = Claims {
        sub: &args.email,
        email: &args.email,
        iat: crate::base::clock::Clock::start().now().unix_s(),
    };
    let token = TokenKeys::new(&settings.server.auth_jwt_secret).mint(&claims)?;
    println!("{token}");
    Ok(())
}
