//! Command line: `prism apps list|key|remove`.

use super::{ConfigArgs, config};
use crate::services::offline::Offline;
use crate::services::registry::read_apps_file;
use crate::services::store::{Change, Outcome};
use crate::wire::auth::sha256_hex;
use crate::wire::records::AppRecord;
use clap::{Args, Subcommand};
use std::error::Error;
use std::io::Read as _;
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct AppsArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the apps of the apps file and of the store.
    List,
    /// Make a fresh API key, or hash the one given on standard input, for `apiKeySha256`.
    Key {
        /// Read the key from standard input instead of making one.
        #[arg(long)]
        stdin: bool,
    },
    /// Remove an app record from the store.
    Remove {
        /// Which.
        package: String,
    },
}

/// Does what the command says.
pub(super) fn run(args: &AppsArgs) -> ExitCode {
    super::report(match &args.command {
        Command::List => list(args),
        Command::Key { stdin } => key(*stdin),
        Command::Remove { package } => remove(args, package),
    })
}

fn list(args: &AppsArgs) -> Result<(), Box<dyn Error>> {
    let settings = config::load(&args.config)?;
    let show = |place: &str, app: &AppRecord| {
        let kind = app.app_type.as_str();
        println!(
            "{:<40} {kind:<16} {place:<6} {}",
            app.package_name, app.public_url
        );
    };
    for app in read_apps_file(&settings, &config::folder(&args.config))? {
        show("file", &app);
    }
    for app in Offline::open(&settings)?.apps()? {
        show("store", &app);
    }
    Ok(())
}

fn key(stdin: bool) -> Result<(), Box<dyn Error>> {
    let key = if stdin {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text.trim().to_owned()
    } else {
        let mut bytes = [0; 32];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    if key.is_empty() {
        return Err("the key is empty".into());
    }
    if !stdin {
        println!("apiKey: {key}");
    }
    println!("apiKeySha256: {}", sha256_hex(&key));
    Ok(())
}

fn remove(args: &AppsArgs, package: &str) -> Result<(), Box<dyn Error>> {
    let store = Offline::open(&config::load(&args.config)?)?;
    match store
        .write(&[Change::RemoveApp(package.to_owned())])?
        .first()
    {
        Some(Outcome::Done) => Ok(()),
        _ => Err(format!("the store has no app {package}").into()),
    }
}
