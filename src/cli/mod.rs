//! Command line: what `prism` can be told. Each command is a module; `serve` is also what plain `prism` does.

mod apps;
mod check_config;
mod config;
pub mod demo;
mod import;
mod serve;
mod token;
mod users;

use crate::base::settings::{LoadError, Settings};
use crate::services::registry::AppsError;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Real-time server for smart-glasses sessions.
#[derive(Parser)]
#[command(name = "prism", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Serve phones and apps (the default).
    Serve(ServeArgs),
    /// Show a server, an app and a phone at work, live, for a few seconds.
    Demo(DemoArgs),
    /// Print a token with which a user's phone may connect, signed with the configured secret.
    Token(token::TokenArgs),
    /// Check what `serve` would start with, given the same flags, and print every problem.
    CheckConfig(ServeArgs),
    /// List, add and remove app records, make and rotate API keys.
    Apps(apps::AppsArgs),
    /// List users and show their records.
    Users(users::UsersArgs),
    /// Import apps, users, settings and storage of an existing deployment.
    Import(import::ImportArgs),
}

/// Where the configuration is.
#[derive(Args, Clone)]
struct ConfigArgs {
    /// Configuration file; without it config.yaml, if there is one, else defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Where configuration and store are, for the commands that open the store.
#[derive(Args, Clone)]
struct StoreArgs {
    /// Configuration file; without it config.yaml, if there is one, else defaults.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Folder of the embedded store: that which `serve` was given.
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,
}

impl StoreArgs {
    fn config(&self) -> ConfigArgs {
        ConfigArgs {
            config: self.config.clone(),
        }
    }

    /// Settings with the command line's word last; `apps` is that of the commands that read the apps file.
    fn settings(&self, apps: Option<&str>) -> Result<Settings, LoadError> {
        let given = [
            ("data_dir", self.data_dir.clone()),
            ("apps_file", apps.map(from_here)),
        ];
        config::load_with(&self.config(), &flags(given))
    }
}

/// The keys that the command line gives a value.
fn flags(
    given: impl IntoIterator<Item = (&'static str, Option<String>)>,
) -> Vec<(&'static str, String)> {
    given
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

/// A path of the command line starts where the command was given; that of the configuration file, beside the file.
fn from_here(path: &str) -> String {
    let whole = std::path::absolute(path).ok();
    whole.map_or_else(|| path.to_owned(), |whole| whole.to_string_lossy().into())
}

/// Flags of `prism serve`; they win over file and environment.
#[derive(Args, Clone)]
struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// App records.
    #[arg(long, value_name = "FILE")]
    apps: Option<String>,
    /// Folder of the embedded store and of uploaded files.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Address to listen on.
    #[arg(long, value_name = "ADDR")]
    host: Option<String>,
    /// TCP port; 0 takes a free one.
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Shards: threads that each own a part of the users; 0 = one per CPU that the process may use.
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
    /// How sockets are served: auto takes io_uring where the kernel allows it, else epoll.
    #[arg(long, value_name = "DRIVER", value_parser = ["auto", "uring", "epoll"])]
    io_driver: Option<String>,
    /// Serve a WebSocket echo at /echo, for conformance suites.
    #[arg(long)]
    enable_echo: bool,
}

impl ServeArgs {
    /// Settings with the command line's word last.
    fn settings(&self) -> Result<Settings, LoadError> {
        let given = [
            ("apps_file", self.apps.as_deref().map(from_here)),
            ("data_dir", self.data_dir.clone()),
            ("host", self.host.clone()),
            ("port", self.port.map(|port| port.to_string())),
            ("shards", self.shards.map(|shards| shards.to_string())),
            ("io_driver", self.io_driver.clone()),
        ];
        config::load_with(&self.config, &flags(given))
    }
}

/// Flags of `prism demo`.
#[derive(Args, Clone)]
struct DemoArgs {
    /// Seconds of speech.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// How sockets are served: auto takes io_uring where the kernel allows it, else epoll.
    #[arg(long, value_name = "DRIVER", default_value = "auto", value_parser = ["auto", "uring", "epoll"])]
    io_driver: String,
}

fn demo(args: &DemoArgs) -> ExitCode {
    let shown = std::env::current_exe()
        .map_err(demo::DemoError::io("finding this program"))
        .and_then(|server| {
            demo::run(&demo::DemoOptions {
                seconds: args.seconds,
                io_driver: args.io_driver.clone(),
                server,
            })
        });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("prism demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Exit code for a configuration or apps file that is wrong, as for a wrong command line; any other failure is 1.
const WRONG_INPUT: u8 = 2;

/// Success, or the cause of failure on standard error.
fn report(result: Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("prism: {error}");
            if error.is::<LoadError>() || error.is::<AppsError>() {
                ExitCode::from(WRONG_INPUT)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Reads the command line and does what it says.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => serve::run(cli.serve),
        Some(Command::Serve(args)) => serve::run(args),
        Some(Command::Demo(args)) => demo(&args),
        Some(Command::Token(args)) => token::run(&args),
        Some(Command::CheckConfig(args)) => check_config::run(&args),
        Some(Command::Apps(args)) => apps::run(&args),
        Some(Command::Users(args)) => users::run(&args),
        Some(Command::Import(args)) => import::run(&args),
    }
}
