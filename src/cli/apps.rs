//! Command line: `prism apps list|add|rotate-key|key|remove`. Records of the apps file are only read: its keys change there.

use super::{StoreArgs, config};
use crate::base::settings::{LoadError, Profile, Settings};
use crate::services::apps_file;
use crate::services::offline::Offline;
use crate::services::registry::read_apps_file;
use crate::services::store::{Change, Outcome};
use crate::wire::auth::sha256_hex;
use crate::wire::records::AppRecord;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::error::Error;
use std::io::Read as _;
use std::process::ExitCode;

type Done = Result<(), Box<dyn Error>>;

#[derive(Args)]
pub(super) struct AppsArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The apps file: that which `serve` was given.
    #[arg(long = "apps", value_name = "FILE", global = true)]
    apps_file: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

impl AppsArgs {
    fn settings(&self) -> Result<Settings, LoadError> {
        self.store.settings(self.apps_file.as_deref())
    }
}

#[derive(Subcommand)]
enum Command {
    /// List the apps of the apps file and of the store.
    List,
    /// Add an app record to the store and print its fresh API key, which is shown once.
    Add(AddArgs),
    /// Give an app of the store a fresh API key; running servers on PostgreSQL take it at once.
    RotateKey {
        /// Package name of the app.
        package: String,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Make a fresh API key, or hash the one given on standard input, for `apiKeySha256`; stores nothing.
    Key {
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Remove an app record from the store.
    Remove {
        /// Package name of the app.
        package: String,
    },
}

#[derive(Args)]
struct KeyArgs {
    /// Read the key from standard input instead of making one.
    #[arg(long = "stdin")]
    from_stdin: bool,
}

#[derive(Args)]
struct AddArgs {
    /// Unique package name.
    package: String,
    /// Base URL of the app server.
    #[arg(long, value_name = "URL", default_value = "")]
    url: String,
    /// Display name.
    #[arg(long, default_value = "")]
    name: String,
    /// standard (one at a time), background or `system_dashboard`.
    #[arg(long = "type", value_name = "TYPE", default_value = "background", value_parser = ["standard", "background", "system_dashboard"])]
    kind: String,
    /// A permission the app declares, such as MICROPHONE; may be repeated.
    #[arg(long = "permission", value_name = "NAME")]
    permissions: Vec<String>,
    /// An address or CIDR the app server may come from; may be repeated.
    #[arg(long = "allowed-ip", value_name = "CIDR")]
    allowed_ips: Vec<String>,
    #[command(flatten)]
    key: KeyArgs,
}

/// A key and whether it was made here.
struct Key {
    text: String,
    made: bool,
}

impl Key {
    fn take(args: &KeyArgs) -> Result<Self, Box<dyn Error>> {
        let text = if args.from_stdin {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text.trim().to_owned()
        } else {
            let mut bytes = [0; 32];
            std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        if text.is_empty() {
            return Err("the key is empty".into());
        }
        Ok(Self {
            text,
            made: !args.from_stdin,
        })
    }

    /// A key that came from outside is not repeated.
    fn show(&self, package: Option<&str>, json: bool) {
        let mut lines = Vec::new();
        lines.extend(package.map(|package| ("packageName", package.to_owned())));
        if self.made {
            lines.push(("apiKey", self.text.clone()));
        }
        lines.push(("apiKeySha256", sha256_hex(&self.text)));
        if json {
            let object = lines
                .into_iter()
                .map(|(name, value)| (name.to_owned(), Value::String(value)));
            println!("{}", Value::Object(object.collect()));
        } else {
            lines
                .iter()
                .for_each(|(name, value)| println!("{name}: {value}"));
        }
    }
}

/// Does what the command says.
pub(super) fn run(args: &AppsArgs) -> ExitCode {
    super::report(match &args.command {
        Command::List => list(args),
        Command::Add(app) => add(args, app),
        Command::RotateKey { package, key } => rotate(args, package, key),
        Command::Key { key } => Key::take(key).map(|key| key.show(None, args.json)),
        Command::Remove { package } => remove(args, package),
    })
}

fn list(args: &AppsArgs) -> Done {
    let settings = args.settings()?;
    let mut found: Vec<(&str, AppRecord)> = Vec::new();
    for app in from_file(args, &settings)? {
        found.push(("file", app));
    }
    for app in Offline::open(&settings)?.apps()? {
        // The file wins over the store.
        if !found
            .iter()
            .any(|(_, known)| known.package_name == app.package_name)
        {
            found.push(("store", app));
        }
    }
    if args.json {
        let described = |(place, app): &(&str, AppRecord)| -> Result<Value, serde_json::Error> {
            let mut value = serde_json::to_value(app)?;
            value["source"] = json!(place);
            Ok(value)
        };
        let list = found.iter().map(described).collect::<Result<Vec<_>, _>>()?;
        println!("{}", Value::Array(list));
        return Ok(());
    }
    for (place, app) in found {
        let kind = app.app_type.as_str();
        println!(
            "{:<40} {kind:<16} {place:<6} {}",
            app.package_name, app.public_url
        );
    }
    Ok(())
}

fn from_file(args: &AppsArgs, settings: &Settings) -> Result<Vec<AppRecord>, Box<dyn Error>> {
    Ok(read_apps_file(
        settings,
        &config::folder(&args.store.config()),
    )?)
}

/// The store, for a package that the apps file does not hold.
fn store_for(args: &AppsArgs, package: &str) -> Result<Offline, Box<dyn Error>> {
    let settings = args.settings()?;
    if from_file(args, &settings)?
        .iter()
        .any(|app| app.package_name == package)
    {
        return Err(format!(
            "{package} stands in the apps file, which wins over the store: change it there"
        )
        .into());
    }
    Ok(Offline::open(&settings)?)
}

fn add(args: &AppsArgs, app: &AddArgs) -> Done {
    let key = Key::take(&app.key)?;
    let entry = json!({ "apps": [{
        "packageName": app.package,
        "name": app.name,
        "appType": app.kind,
        "publicUrl": app.url,
        "permissions": app.permissions,
        "allowedIps": app.allowed_ips,
        "apiKeySha256": sha256_hex(&key.text),
    }]});
    // JSON is YAML: the rules of the apps file hold here too.
    let records = apps_file::parse(&entry.to_string(), Profile::Production)?;
    let record = records.unwrap_or_default().remove(0);
    let store = store_for(args, &app.package)?;
    if store.app(&app.package)?.is_some() {
        return Err(format!("the store has an app {} already", app.package).into());
    }
    store.write(&[Change::PutApp(Box::new(record))])?;
    key.show(Some(&app.package), args.json);
    Ok(())
}

fn rotate(args: &AppsArgs, package: &str, key: &KeyArgs) -> Done {
    let key = Key::take(key)?;
    let store = store_for(args, package)?;
    let mut record = store
        .app(package)?
        .ok_or_else(|| format!("the store has no app {package}"))?;
    record.key_sha256 = sha256_hex(&key.text);
    store.write(&[Change::PutApp(Box::new(record))])?;
    key.show(Some(package), args.json);
    Ok(())
}

fn remove(args: &AppsArgs, package: &str) -> Done {
    let store = Offline::open(&args.settings()?)?;
    match store
        .write(&[Change::RemoveApp(package.to_owned())])?
        .first()
    {
        Some(Outcome::Done) => {
            if args.json {
                println!("{}", json!({ "packageName": package, "removed": true }));
            }
            Ok(())
        }
        _ => Err(format!("the store has no app {package}").into()),
    }
}
