//! Load tester for the real-time tier: simulated phones, app servers and a webhook receiver in one thread.
//! Speaks only the public protocol and shares no code with the server.

mod bounds;
mod capacity;
mod cli;
mod clock;
mod engine;
mod frame;
mod golden;
mod hist;
mod http;
mod interrupt;
mod library;
mod meet;
mod output;
mod procfs;
mod report;
mod rng;
mod scenario;
mod schedule;
mod sys;
mod tag;
mod token;
mod track;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use cli::{AppsFileArgs, CapacityArgs, Cli, Command, DriveArgs, RunArgs};
use report::{RunResult, build::Context};

/// Exit codes; see `prism-load --help`.
const FAILED: u8 = 1;
const NOT_RUN: u8 = 2;
const INVALID: u8 = 3;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::List => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        Command::AppsFile(args) => {
            output::say(&apps_file(&args));
            Ok(ExitCode::SUCCESS)
        }
        Command::FindCapacity(args) => find_capacity(&args),
        Command::Compare { a, b } => compare(&a, &b),
        Command::Sum { parts, json } => sum(&parts, json.as_deref()),
        Command::Summarise { folder, subject } => summarise(&folder, &subject),
    };
    outcome.unwrap_or_else(|message| {
        output::progress(&format!("prism-load: {message}"));
        ExitCode::from(NOT_RUN)
    })
}

fn list() {
    for (name, text) in library::ALL {
        let about =
            scenario::Scenario::parse(text).map_or_else(|error| error.to_string(), |own| own.about);
        output::say(&format!("{name:<20}{about}\n"));
    }
}

/// The apps file for the server under test: `load.app0` to `load.app4`.
fn apps_file(args: &AppsFileArgs) -> String {
    let mut out = String::from("apps:\n");
    for app in 0..scenario::APPS_MAX {
        out.push_str(&format!(
            "  - packageName: load.app{app}\n    name: Load {app}\n    appType: background\n    \
             publicUrl: http://{}:{}\n    apiKey: {}\n    permissions: [ALL]\n    settings: []\n    tools: []\n",
            args.webhook_host, args.webhook_port, args.api_key
        ));
    }
    out
}

/// Descriptors for everything but the sockets of the users: the receiver, REST, the terminal.
const DESCRIPTORS_KEPT: u64 = 64;

/// A server that takes longer than this to take a connection is not there.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

fn prepare(
    drive: &DriveArgs,
    settings: &engine::Settings,
    scenario: &scenario::Scenario,
) -> Result<(), String> {
    if let Some(pid) = settings.server_pid
        && procfs::process(pid).is_none()
    {
        return Err(format!("there is no server process {pid} to watch"));
    }
    TcpStream::connect_timeout(&settings.address.into(), CONNECT_WAIT)
        .map_err(|error| format!("no server at {} (--host, --port): {error}", settings.host))?;

    if let Some(cpu) = drive.cpu {
        sys::pin_to(cpu).map_err(|error| format!("core {cpu}: {error}"))?;
    }
    let descriptors = sys::prepare_process();
    interrupt::catch();
    if scenario.sockets() + DESCRIPTORS_KEPT > descriptors {
        return Err(format!(
            "{} needs {} sockets and {descriptors} descriptors are allowed: raise the limit (ulimit -n) or lower --scale",
            scenario.name,
            scenario.sockets()
        ));
    }
    let heard = scenario.has(scenario::Kind::Speech) || scenario.has(scenario::Kind::Lc3);
    if heard && drive.target == cli::TargetKind::Relay {
        return Err(
            "speech and lc3 need --target prism: relays recognise and decode nothing".into(),
        );
    }
    if !drive.quiet {
        output::progress(&format!(
            "{descriptors} descriptors; {}",
            drive.description()
        ));
    }
    Ok(())
}

fn context(drive: &DriveArgs) -> Context {
    Context {
        label: drive.label(),
        commit: drive.commit.clone(),
        driver: drive.description(),
        started: clock::iso(clock::wall_ms()),
        bring_up_s: 0.0,
        bring_up_errors: std::collections::BTreeMap::new(),
        watched: drive.server_pid.is_some() || drive.server_pid_file.is_some(),
    }
}

fn run(args: &RunArgs) -> Result<ExitCode, String> {
    let scenario = args.scenario.load().map_err(|error| error.to_string())?;
    let settings = args.drive.settings()?;
    prepare(&args.drive, &settings, &scenario)?;
    let files = output::Files::prepare(&args.output, &args.drive, &scenario.name)?;
    let mut context = context(&args.drive);
    let say = |error: engine::EngineError| error.to_string();
    let mut engine = engine::Engine::new(settings, scenario.clone()).map_err(say)?;
    context.bring_up_s = engine.bring_up().map_err(say)?;
    context.bring_up_errors = std::mem::take(&mut engine.bring_up_errors.0);
    engine.settle(scenario.settle_s).map_err(say)?;
    if let Some(meeting) = args.meeting() {
        engine.meet(&meeting).map_err(say)?;
    }
    let measured = engine
        .run_phase(1.0, scenario.warmup_s, scenario.duration_s)
        .map_err(say)?;
    let result = report::build::result(&scenario, &context, measured);
    let written = files.write(&result);
    output::say(&report::text::summary(&result));
    written.map(|()| code(&result))
}

fn code(result: &RunResult) -> ExitCode {
    match result.verdict.word() {
        "INVALID" => ExitCode::from(INVALID),
        "FAILED" => ExitCode::from(FAILED),
        _ => ExitCode::SUCCESS,
    }
}

fn find_capacity(args: &CapacityArgs) -> Result<ExitCode, String> {
    args.check()?;
    let scenario = args.load()?;
    // Displays are throttled: their latency is no bound of the server's.
    let bounded = |stream: &scenario::Stream| {
        stream.per_user_per_s.is_some() && stream.kind.class() != hist::Class::Display
    };
    if !scenario.streams.iter().any(bounded) {
        return Err(format!(
            "{} has no open-loop stream of audio, speech or events",
            scenario.name
        ));
    }
    let settings = args.drive.settings()?;
    prepare(&args.drive, &settings, &scenario)?;
    let name = format!("{}-capacity", scenario.name);
    let files = output::Files::prepare(&args.output, &args.drive, &name)?;
    let found = capacity::find(args, settings, &scenario, &context(&args.drive))
        .map_err(|error| error.to_string())?;
    let written = found.best.as_ref().map_or(Ok(()), |best| files.write(best));
    output::say(&format!("capacity: {}\n", found.sentence(args.p99_ms)));
    if let Some(best) = &found.best {
        output::say(&report::text::summary(best));
    }
    written?;
    Ok(match (&found.end, &found.best) {
        (capacity::End::Server, Some(_)) => ExitCode::SUCCESS,
        (capacity::End::Server, None) => ExitCode::from(FAILED),
        _ => ExitCode::from(INVALID),
    })
}

fn compare(a: &Path, b: &Path) -> Result<ExitCode, String> {
    let (a, b) = (RunResult::load(a)?, RunResult::load(b)?);
    output::say(&report::compare::table(&a, &b));
    let obstacles = report::compare::obstacles(&a, &b);
    if obstacles.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    output::progress(&format!("prism-load: {}", obstacles.join("; ")));
    let invalid = [&a, &b].iter().any(|run| !run.verdict.invalid.is_empty());
    Ok(ExitCode::from(if invalid { INVALID } else { FAILED }))
}

/// Parts of one measurement as the whole.
fn sum(paths: &[PathBuf], json: Option<&Path>) -> Result<ExitCode, String> {
    let parts: Vec<RunResult> = (paths.iter())
        .map(|path| RunResult::load(path))
        .collect::<Result<_, _>>()?;
    let whole = report::sum::whole(&parts)?;
    let written = json.map_or(Ok(()), |path| output::write_json(path, &whole));
    output::say(&report::text::summary(&whole));
    output::say(&report::sum::lines(&parts));
    written.map(|()| code(&whole))
}

fn summarise(folder: &Path, subject: &str) -> Result<ExitCode, String> {
    let rounds = report::summary::load(folder)?;
    output::say(&report::summary::markdown(&rounds, subject));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_apps_file_declares_five_background_apps() {
        let text = apps_file(&AppsFileArgs {
            webhook_host: "10.0.0.7".into(),
            webhook_port: 7071,
            api_key: "key".into(),
        });
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let apps = value["apps"].as_array().unwrap();
        assert_eq!(apps.len(), 5);
        assert_eq!(apps[4]["packageName"], "load.app4");
        assert_eq!(apps[0]["publicUrl"], "http://10.0.0.7:7071");
        assert_eq!(
            (&apps[2]["appType"], &apps[2]["permissions"][0]),
            (&"background".into(), &"ALL".into())
        );
    }
}
