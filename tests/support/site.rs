//! A place for one deployment: configuration, apps file, data. Servers come and go on it.

use super::{SECRET, Server};
use serde_json::Value;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// An app whose server nobody calls.
const SILENT_APP: &str =
    "  - {packageName: com.acme.x, name: X, publicUrl: \"http://127.0.0.1:9\", apiKey: k1}";

/// A folder on the disk that holds the build: what must survive a crash must not lie in memory.
pub(crate) fn disk_folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// The place; gone when dropped.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
    flags: Vec<String>,
}

impl Site {
    /// `settings` win over the defaults.
    pub(crate) fn new(store_url: &str, settings: &[(&str, &str)]) -> Self {
        let folder = disk_folder();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (data, apps) = (path("data"), path("apps.yaml"));
        let own = [
            ("store_url", store_url),
            ("data_dir", &data),
            ("apps_file", &apps),
            ("port", "0"),
        ];
        let settings = own
            .iter()
            .chain(settings)
            .map(|(name, value)| {
                (
                    format!("PRISM_{}", name.to_uppercase()),
                    (*value).to_owned(),
                )
            })
            .collect();
        let site = Self {
            folder,
            settings,
            flags: Vec::new(),
        };
        site.apps("");
        site
    }

    /// For tests of the transport: this I/O driver, `/echo`, and one app.
    pub(crate) fn on(driver: &str) -> Self {
        let mut site = Self::new("", &[]);
        site.flags = ["--enable-echo", "--io-driver", driver]
            .map(str::to_owned)
            .to_vec();
        site.apps(SILENT_APP);
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the apps file: entries of a YAML list, one a line.
    pub(crate) fn apps(&self, entries: &str) {
        let text = if entries.is_empty() {
            String::new()
        } else {
            format!("apps:\n{entries}\n")
        };
        std::fs::write(self.path("apps.yaml"), text).expect("writable");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prism"));
        command
            .env("AUGMENTOS_AUTH_JWT_SECRET", SECRET)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path());
        command
    }

    /// `prism serve` on a free port with two shards (or `shards`), not yet started.
    pub(crate) fn serve_command(&self) -> Command {
        let mut command = self.command();
        command.args(["serve", "--host", "127.0.0.1"]);
        if !self.settings.iter().any(|(name, _)| name == "PRISM_SHARDS") {
            command.args(["--shards", "2"]);
        }
        command.args(&self.flags);
        command
    }

    /// Starts the server and waits until it listens.
    pub(crate) fn serve(&self) -> Server {
        Server::spawn(self.serve_command())
    }

    /// Runs a command of the command line to its end.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.command().args(args).output().expect("it runs")
    }

    /// As [`Site::cli`], with something on standard input.
    pub(crate) fn cli_with_input(&self, args: &[&str], input: &str) -> Output {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("taken");
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }

    /// Its standard output as JSON.
    pub(crate) fn cli_json(&self, args: &[&str]) -> Value {
        let output = self.cli(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{args:?}: {text} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }
}
