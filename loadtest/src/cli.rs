//! The command line of `prism-load`.

use std::net::{SocketAddr, SocketAddrV4, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::engine::{Settings, Target};
use crate::meet::Meeting;
use crate::scenario::{Scenario, ScenarioError};
use crate::{clock, library, output};

/// Load tester for Prism and every server that speaks the same protocol.
#[derive(Debug, Parser)]
#[command(name = "prism-load", version)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one scenario and report. Exit code 0: passed, 1: an expectation failed, 2: could not run, 3: INVALID.
    /// Ctrl-C ends the measurement early and reports what there is, as INVALID.
    Run(RunArgs),
    /// List the built-in scenarios.
    List,
    /// Print an apps file that declares load.app0 to load.app4, for the server under test.
    AppsFile(AppsFileArgs),
    /// Find the highest open-loop rate that keeps a P99 and loses nothing. Exit code 0: found, 1: the first rate
    /// and all below it failed, 2: could not run, 3: the generator gave out first, the server ended, or Ctrl-C.
    ///
    /// All open-loop streams grow in proportion, faults of the scenario are left out. --rate and --duration do not
    /// apply: see --from and --step-s.
    FindCapacity(CapacityArgs),
    /// Compare two result files; cautions where scenario, machine or validity differ. Exit code 0: compared, 1: of different
    /// scenarios, 2: a file cannot be read, 3: a run is INVALID.
    Compare {
        /// First result.
        a: PathBuf,
        /// Second result; ratios are second / first.
        b: PathBuf,
    },
    /// Add up results of testers that ran at the same time (`run --meet`), each against a server process of its own, all servers
    /// on one core. Exit codes as of `run`.
    Sum {
        /// The results.
        #[arg(required = true)]
        parts: Vec<PathBuf>,
        /// Write the JSON result of the whole here.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Make a Markdown table of a folder of <workload>.<server>.<round>.json files.
    Summarise {
        /// The folder.
        folder: PathBuf,
        /// Server whose ratios to the others are given.
        #[arg(long, default_value = "prism")]
        subject: String,
    },
}

/// Kind of server under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetKind {
    /// The whole protocol.
    Prism,
    /// A plain relay.
    Relay,
}

/// Where and how to drive the server.
#[derive(Debug, Clone, Args)]
pub(crate) struct DriveArgs {
    /// Kind of server.
    #[arg(long, value_enum, default_value = "prism")]
    pub(crate) target: TargetKind,
    /// Name or IPv4 address of the server. Plain HTTP: in front of TLS, name what is behind it.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Port of the server.
    #[arg(long, default_value_t = 8002)]
    pub(crate) port: u16,
    /// Secret of the core tokens (the server's AUGMENTOS_AUTH_JWT_SECRET).
    #[arg(
        long,
        env = "AUGMENTOS_AUTH_JWT_SECRET",
        default_value = "load-test-secret",
        hide_env_values = true
    )]
    pub(crate) jwt_secret: String,
    /// API key of every load.appN.
    #[arg(long, default_value = "load-test-key")]
    pub(crate) api_key: String,
    /// Port of the webhook receiver; must be the one in the server's apps file.
    #[arg(long, default_value_t = 7070)]
    pub(crate) webhook_port: u16,
    /// Port of the recognisers (speech only); must be the one in the server's SONIOX_ENDPOINT.
    #[arg(long, default_value_t = 7072)]
    pub(crate) provider_port: u16,
    /// Install each app by REST before starting it.
    #[arg(long)]
    pub(crate) install: bool,
    /// First part of every e-mail; by default a new one, hence new sessions, in every run.
    #[arg(long)]
    pub(crate) user_prefix: Option<String>,
    /// Process of the server, for CPU and memory.
    #[arg(long)]
    pub(crate) server_pid: Option<i32>,
    /// File with the server's pid, read again during the run (for restarts).
    #[arg(long)]
    pub(crate) server_pid_file: Option<PathBuf>,
    /// Shell command of the restart fault; must return quickly or run in the background.
    #[arg(long)]
    pub(crate) restart_command: Option<String>,
    /// Core to run on.
    #[arg(long)]
    pub(crate) cpu: Option<usize>,
    /// Poll without ever sleeping.
    #[arg(long)]
    pub(crate) busy_poll: bool,
    /// Seed of phases and jitter.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// No progress lines.
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Name of the server in reports.
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// Commit of the server in reports.
    #[arg(long, default_value = "unknown")]
    pub(crate) commit: String,
}

/// Which scenario, and what to change in it.
#[derive(Debug, Clone, Args)]
pub(crate) struct ScenarioArgs {
    /// Name of a built-in scenario, or a YAML file.
    pub(crate) scenario: String,
    /// Multiply everything that counts users (and visitors per second).
    #[arg(long, default_value_t = 1.0)]
    pub(crate) scale: f64,
    /// Users, instead of the scenario's.
    #[arg(long)]
    pub(crate) users: Option<u32>,
    /// Apps of each user, instead of the scenario's.
    #[arg(long)]
    pub(crate) apps: Option<usize>,
    /// Measured seconds, instead of the scenario's.
    #[arg(long)]
    pub(crate) duration: Option<f64>,
    /// Warm-up seconds, instead of the scenario's.
    #[arg(long)]
    pub(crate) warmup: Option<f64>,
    /// Users brought up per second, instead of the scenario's.
    #[arg(long)]
    pub(crate) ramp: Option<f64>,
    /// Messages per second of each user in every open-loop stream (or visitors per second).
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Messages under way in every closed-loop stream.
    #[arg(long)]
    pub(crate) in_flight: Option<u32>,
}

/// Where the result goes.
#[derive(Debug, Clone, Args)]
pub(crate) struct OutputArgs {
    /// Write the JSON result here.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Write the HTML page here.
    #[arg(long)]
    pub(crate) html: Option<PathBuf>,
    /// Write both as <scenario>.<label>.<number> into this folder, or into loadtest/results/<date>-<host>-<commit>.
    #[arg(long, num_args = 0..=1, value_name = "FOLDER")]
    pub(crate) out: Option<Option<PathBuf>>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArgs,
    #[command(flatten)]
    pub(crate) drive: DriveArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Begin the traffic together with other testers, each with its share of the users: all leave a file in this new folder when
    /// their users are ready, and begin a second after the last. `sum` adds the results up.
    #[arg(long, value_name = "FOLDER", requires = "of")]
    pub(crate) meet: Option<PathBuf>,
    /// How many testers meet.
    #[arg(long, requires = "meet")]
    pub(crate) of: Option<usize>,
}

/// Arguments of `find-capacity`.
#[derive(Debug, Args)]
pub(crate) struct CapacityArgs {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArgs,
    #[command(flatten)]
    pub(crate) drive: DriveArgs,
    /// P99 that must hold, milliseconds.
    #[arg(long, default_value_t = 100.0)]
    pub(crate) p99_ms: f64,
    /// First rate tried, messages per second of all users together.
    #[arg(long, default_value_t = 5000.0)]
    pub(crate) from: f64,
    /// Stop when the bounds are this close, as a share of the lower one.
    #[arg(long, default_value_t = 0.05)]
    pub(crate) precision: f64,
    /// Seconds measured at each rate. Longer than a minute shows pauses that come once a minute.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) step_s: f64,
    /// What is written is the highest rate that held; with --out as <scenario>-capacity.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `apps-file`.
#[derive(Debug, Args)]
pub(crate) struct AppsFileArgs {
    /// Where the server reaches this machine: name or address.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) webhook_host: String,
    /// Port of the webhook receiver.
    #[arg(long, default_value_t = 7070)]
    pub(crate) webhook_port: u16,
    /// API key of every app.
    #[arg(long, default_value = "load-test-key")]
    pub(crate) api_key: String,
}

impl RunArgs {
    /// The meeting of several testers, where there is one.
    pub(crate) fn meeting(&self) -> Option<Meeting> {
        Some(Meeting::new(self.meet.clone()?, self.of?))
    }
}

impl CapacityArgs {
    /// The scenario without its faults: what they cost is no statement about a rate.
    pub(crate) fn load(&self) -> Result<Scenario, String> {
        let mut own = self.scenario.load().map_err(|error| error.to_string())?;
        if !own.faults.is_empty() {
            own.faults.clear();
            output::progress(&format!(
                "the faults of {} are left out of the search",
                own.name
            ));
        }
        Ok(own)
    }

    /// Checks what the search itself is given.
    pub(crate) fn check(&self) -> Result<(), String> {
        let bounds = [
            ("--p99-ms", self.p99_ms, 0.001, 60_000.0),
            ("--from", self.from, 0.01, 1e9),
            ("--precision", self.precision, 0.001, 1.0),
            ("--step-s", self.step_s, 0.1, 86_400.0),
        ];
        for (name, value, low, high) in bounds {
            if !(low..=high).contains(&value) {
                return Err(format!("{name} must be {low} to {high}, not {value}"));
            }
        }
        if self.scenario.rate.is_some() || self.scenario.duration.is_some() {
            return Err("--rate and --duration do not apply: see --from and --step-s".into());
        }
        Ok(())
    }
}

impl DriveArgs {
    /// Where the server is.
    fn address(&self) -> Result<SocketAddrV4, String> {
        let named = |error: String| format!("--host {}: {error}", self.host);
        let mut found = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| named(error.to_string()))?;
        found
            .find_map(|address| match address {
                SocketAddr::V4(address) => Some(address),
                SocketAddr::V6(_) => None,
            })
            .ok_or_else(|| named("has no IPv4 address".to_owned()))
    }

    /// The engine's settings.
    pub(crate) fn settings(&self) -> Result<Settings, String> {
        let target = match self.target {
            TargetKind::Prism => Target::Prism {
                jwt_secret: self.jwt_secret.clone(),
                api_key: self.api_key.clone(),
                webhook_port: self.webhook_port,
                provider_port: self.provider_port,
                install: self.install,
            },
            TargetKind::Relay => Target::Relay,
        };
        let from_file = self.server_pid_file.as_deref().map(pid_in).transpose()?;
        Ok(Settings {
            address: self.address()?,
            host: format!("{}:{}", self.host, self.port),
            target,
            server_pid: self.server_pid.or(from_file),
            pid_file: self.server_pid_file.clone(),
            restart_command: self.restart_command.clone(),
            busy_poll: self.busy_poll,
            user_prefix: self
                .user_prefix
                .clone()
                .unwrap_or_else(|| format!("r{:x}", clock::wall_ms() & 0xffff_ffff)),
            seed: self.seed,
            progress: !self.quiet,
        })
    }

    /// Name of the server in reports.
    pub(crate) fn label(&self) -> String {
        self.label.clone().unwrap_or_else(|| {
            match self.target {
                TargetKind::Prism => "prism",
                TargetKind::Relay => "relay",
            }
            .to_owned()
        })
    }

    /// How the server is driven, for reports.
    pub(crate) fn description(&self) -> String {
        let core = self
            .cpu
            .map_or_else(|| "any core".to_owned(), |cpu| format!("core {cpu}"));
        let polling = if self.busy_poll {
            "busy polling"
        } else {
            "sleeping when idle"
        };
        format!(
            "generator: one thread, epoll, {polling}, {core}; target {:?}",
            self.target
        )
    }
}

/// The pid in a file. A file that is not there would be a run without CPU and memory.
fn pid_in(path: &Path) -> Result<i32, String> {
    let named = |error: String| format!("--server-pid-file {}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    (text.trim().parse()).map_err(|_| named("holds no process id".to_owned()))
}

impl ScenarioArgs {
    /// Options that change nothing are mistakes.
    fn fits(&self, own: &Scenario) -> Result<(), ScenarioError> {
        let fail = |text: String| Err(ScenarioError::Value(text));
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            return fail(format!("--scale must be above 0, not {}", self.scale));
        }
        let open = own.connects.is_some()
            || (own.streams.iter()).any(|stream| stream.per_user_per_s.is_some());
        if self.rate.is_some() && !open {
            return fail(format!("--rate: {} has no open-loop stream", own.name));
        }
        let closed = own.streams.iter().any(|stream| stream.in_flight.is_some());
        if self.in_flight.is_some() && !closed {
            return fail(format!(
                "--in-flight: {} has no closed-loop stream",
                own.name
            ));
        }
        Ok(())
    }

    /// The scenario with scale and overrides.
    pub(crate) fn load(&self) -> Result<Scenario, ScenarioError> {
        let mut own = library::find(&self.scenario)?;
        self.fits(&own)?;
        if let Some(users) = self.users {
            own.users = users;
        }
        own.scale(self.scale);
        if let Some(apps) = self.apps {
            own.apps_per_user = apps;
        }
        if let Some(duration) = self.duration {
            own.duration_s = duration;
        }
        if let Some(warmup) = self.warmup {
            own.warmup_s = warmup;
        }
        if let Some(ramp) = self.ramp {
            own.ramp_users_per_s = ramp;
        }
        for stream in &mut own.streams {
            if stream.per_user_per_s.is_some() {
                stream.per_user_per_s = self.rate.or(stream.per_user_per_s);
            }
            if stream.in_flight.is_some() {
                stream.in_flight = self.in_flight.or(stream.in_flight);
            }
        }
        if let (Some(connects), Some(rate)) = (&mut own.connects, self.rate) {
            connects.per_s = rate;
        }
        own.check()?;
        if let Some(missed) = own.faults_missed().first()
            && !own.any_fault_comes()
        {
            return Err(ScenarioError::Value(format!(
                "{}: {missed}; give a longer --duration",
                own.name
            )));
        }
        Ok(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(words: &str) -> Result<Scenario, String> {
        let words = ["prism-load", "run"].into_iter().chain(words.split(' '));
        let Command::Run(args) = Cli::try_parse_from(words).unwrap().command else {
            panic!("run was asked for");
        };
        args.scenario.load().map_err(|error| error.to_string())
    }

    #[test]
    fn options_that_make_no_sense_are_refused_by_name() {
        for (words, name) in [
            ("steady-day --scale nan", "--scale"),
            ("steady-day --scale 0", "--scale"),
            ("steady-day --scale 1e9", "users"),
            ("audio-open --rate 0", "per_user_per_s"),
            ("audio-open --rate nan", "per_user_per_s"),
            ("audio-open --in-flight 2", "--in-flight"),
            ("event-relay --rate 5", "--rate"),
            ("connect-rate --rate 0", "connects.per_s"),
            ("audio-open --duration 0", "duration_s"),
            ("audio-open --ramp 0", "ramp_users_per_s"),
            ("audio-open --apps 6", "apps_per_user"),
            ("herd --duration 3", "herd at 5 s"),
        ] {
            let text = load(words).unwrap_err();
            assert!(text.contains(name), "{name} is not named in: {text}");
        }
        assert!(load("soak --duration 4").is_ok(), "its churn comes");
        assert_eq!(load("steady-day --scale 0.0001").unwrap().users, 1);
        assert_eq!(load("steady-day").unwrap().users, 10_000);
    }

    #[test]
    fn a_search_without_bounds_is_refused() {
        for words in [
            "--from 0",
            "--precision 0",
            "--step-s nan",
            "--p99-ms -1",
            "--rate 5",
        ] {
            let all = format!("prism-load find-capacity audio-open {words}");
            // A negative number needs the other spelling.
            let all = all.replace(" -1", "=-1");
            let Command::FindCapacity(args) = Cli::try_parse_from(all.split(' ')).unwrap().command
            else {
                panic!("find-capacity was asked for");
            };
            assert!(args.check().is_err(), "{words}");
        }
    }
}
