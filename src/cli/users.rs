//! Command line: `prism users list|show`.

use super::StoreArgs;
use crate::base::ids::UserId;
use crate::services::offline::Offline;
use clap::{Args, Subcommand};
use std::error::Error;
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct UsersArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Print JSON on one line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print every user, one a line.
    List,
    /// Print a user's record, indented JSON.
    Show {
        /// The user's e-mail address.
        email: String,
    },
}

/// Does what the command says.
pub(super) fn run(args: &UsersArgs) -> ExitCode {
    super::report(read(args))
}

fn read(args: &UsersArgs) -> Result<(), Box<dyn Error>> {
    let store = Offline::open(&args.store.settings(None)?)?;
    match &args.command {
        Command::List if args.json => {
            let mut users = Vec::new();
            store.each_user(|user| users.push(user.to_owned()))?;
            println!("{}", serde_json::to_string(&users)?);
        }
        Command::List => store.each_user(|user| println!("{user}"))?,
        Command::Show { email } => match store.user(&UserId::new(email))? {
            Some(record) if args.json => println!("{}", serde_json::to_string(&record)?),
            Some(record) => println!("{}", serde_json::to_string_pretty(&record)?),
            None => return Err(format!("no user {email}").into()),
        },
    }
    Ok(())
}
