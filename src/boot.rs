//! Layer 5: builds the process and takes it down: cores, mesh of mailboxes, listeners, the outside thread, signals, shutdown.
//! It decides nothing about connections or sessions.

mod alarm;
mod cpus;
mod limits;
mod shutdown;

use crate::base::clock::Clock;
use crate::base::ids::ShardId;
use crate::base::settings::{DEVELOPMENT_SECRET, Settings, unknown_variables, unused_variables};
use crate::logs::Logs;
use crate::net::{Datagrams, DriverError, Listener, NodeParts, Taken, run_shard};
use crate::services::{self, Reload, Running, Start, StartError};
use crate::shard::Parts;
use crate::shard::mailbox::{Mailboxes, ToOutside, ToShard};
use crate::shard::shared::Shared;
use crate::wire::auth::TokenKeys;
use crate::wire::records::Registry;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::net::SocketAddr;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::sync::Arc;

pub use crate::net::Echo;

/// Messages that may wait for a shard or for the outside thread.
const INBOX_MESSAGES: usize = 65_536;

/// What is started.
pub struct Plan {
    /// Settings in force.
    pub settings: Settings,
    /// Folder of the configuration file.
    pub config_dir: PathBuf,
    /// Reads settings again, for SIGHUP and the admin call.
    pub reload: Reload,
    /// Serve `/echo`.
    pub echo: Echo,
}

/// Why the process did not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// `host` is no address.
    #[error("server.host {0:?} cannot be resolved: {1}")]
    Host(String, io::Error),
    /// The port is taken, or not ours to take.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// The UDP port is taken, or not ours to take, and phones are told to use it.
    #[error("cannot take datagrams on {0}: {1}; choose another udp_port or leave udp_host empty")]
    Datagrams(SocketAddr, io::Error),
    /// A shard has no I/O driver.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A limit of processes, usually (`RLIMIT_NPROC`, `pids.max`).
    #[error("cannot start the thread of {0}: {1}")]
    Thread(&'static str, io::Error),
    /// The operating system refused something else.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// The outside thread could not start (store, apps file).
    #[error(transparent)]
    Outside(#[from] StartError),
}

/// The environment.
pub(crate) fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, text)| {
        let name = name.into_string().ok()?;
        Some((name, text.to_string_lossy().into_owned()))
    })
}

/// Runs the server until SIGTERM or SIGINT, or until a shard ends. Does not return once it has started.
///
/// # Errors
/// The process could not start.
pub fn run(plan: Plan, logs: Logs) -> Result<(), BootError> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let watchdog =
        shutdown::Watchdog::start().map_err(|error| BootError::Thread("the watchdog", error))?;
    let clock = Clock::start();
    let mut settings = plan.settings;
    if settings.server.auth_jwt_secret == DEVELOPMENT_SECRET {
        tracing::warn!("the development secret signs tokens; set AUGMENTOS_AUTH_JWT_SECRET");
    }
    for (variable, key) in unused_variables(variables()) {
        tracing::warn!(variable, key, "this variable is not used; see the key");
    }
    for variable in unknown_variables(variables().map(|(name, _)| name)) {
        tracing::warn!(variable, "no key has this variable's name");
    }
    let cpus = cpus::Cpus::detect();
    let shards = match settings.server.shards {
        0 => cpus.shards(),
        count => count as u16,
    };
    let descriptors = limits::take_descriptors();
    limits::outlive_file_limit();
    let shared = Arc::new(Shared::new(shards));
    let listeners = bind(&settings, shards)?;
    let door = listeners.door()?;
    let (datagrams, port) = bind_datagrams(&settings, listeners.address, shards)?;
    let is_heard = !datagrams.is_empty();
    let reload = know_datagrams(&mut settings, plan.reload, is_heard, port);
    let settings = Arc::new(settings);
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..shards)
        .map(|_| flume::bounded::<ToShard>(INBOX_MESSAGES))
        .unzip();
    let mail = Mailboxes::new(senders);
    let (outside, outside_inbox) = flume::bounded(INBOX_MESSAGES);
    let services = services::start(Start {
        settings: settings.clone(),
        config_dir: plan.config_dir,
        inbox: outside_inbox,
        shards: mail.clone(),
        clock,
        shared: shared.clone(),
        reload,
        dropped_log_lines: crate::logs::dropped_lines,
    })?;
    let alarm = alarm::Alarm::new(signals.handle(), shared.clone());
    let mesh = Mesh {
        alarm: alarm.clone(),
        settings: settings.clone(),
        shared: shared.clone(),
        mail: mail.clone(),
        outside,
        clock,
        echo: plan.echo,
        cpus,
        registry: services.registry.clone(),
    };
    let driver = start_shards(&mesh, listeners.sockets, datagrams, inboxes)?;
    tracing::info!(address = %listeners.address, shards, driver, descriptors, "serving");
    crate::logs::announce(&format!("prism: listening on http://{}", listeners.address));
    wait(signals, &services);
    let closing = shutdown::Closing {
        alarm: &alarm,
        settings: &settings,
        shared: &shared,
        mail: &mail,
        services,
        logs,
        door: &door,
    };
    shutdown::run(closing, &watchdog)
}

/// Answers SIGHUP until a signal asks the process to go, or a shard ends.
fn wait(mut signals: Signals, services: &Running) {
    for signal in signals.forever() {
        if signal != SIGHUP {
            tracing::info!(signal, "going down");
            return;
        }
        services.reload();
    }
    tracing::error!("a shard ended: going down");
}

fn bind(settings: &Settings, shards: u16) -> Result<crate::net::Listeners, BootError> {
    let host = &settings.server.host;
    let address = (host.as_str(), settings.server.port as u16)
        .to_socket_addrs()
        .and_then(|mut found| {
            found
                .next()
                .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
        })
        .map_err(|error| BootError::Host(host.clone(), error))?;
    crate::net::bind(address, shards).map_err(|error| BootError::Listen(address, error))
}

/// Sockets for audio datagrams, one per shard, and their port; none where they are switched off, or where the port is taken and
/// no phone is told of it anyway.
fn bind_datagrams(
    settings: &Settings,
    listening: SocketAddr,
    shards: u16,
) -> Result<(Vec<Datagrams>, u64), BootError> {
    let udp = &settings.udp;
    if !udp.udp_enabled {
        return Ok((Vec::new(), udp.udp_port));
    }
    let address = SocketAddr::new(listening.ip(), udp.udp_port as u16);
    let taken = if udp.udp_host.is_empty() {
        Taken::GiveUp
    } else {
        Taken::Wait
    };
    match crate::net::bind_datagrams(address, shards, taken) {
        Ok(bound) => {
            tracing::info!(address = %bound.address, "taking audio datagrams");
            Ok((bound.sockets, bound.address.port().into()))
        }
        Err(error) if taken == Taken::GiveUp => {
            tracing::warn!(%address, %error, "no audio datagrams");
            Ok((Vec::new(), udp.udp_port))
        }
        Err(error) => Err(BootError::Datagrams(address, error)),
    }
}

/// Phones are told the port that was found where 0 was asked for, and of none where nobody listens, also after a reload.
fn know_datagrams(settings: &mut Settings, reload: Reload, is_heard: bool, port: u64) -> Reload {
    settings.udp.udp_port = port;
    settings.udp.udp_enabled &= is_heard;
    reload.with(move |settings| {
        let udp = &mut settings.udp;
        udp.udp_port = port;
        if udp.udp_enabled && !udp.udp_host.is_empty() && !is_heard {
            tracing::warn!("phones are not told of UDP: no socket for it was opened at the start");
        }
        udp.udp_enabled &= is_heard;
    })
}

/// What every shard's thread is given a part of.
struct Mesh {
    alarm: alarm::Alarm,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    mail: Mailboxes,
    outside: flume::Sender<ToOutside>,
    clock: Clock,
    echo: Echo,
    cpus: cpus::Cpus,
    registry: Arc<Registry>,
}

/// Starts all shards and waits until each accepts connections; says which driver they run on.
fn start_shards(
    mesh: &Mesh,
    listeners: Vec<Listener>,
    datagrams: Vec<Datagrams>,
    inboxes: Vec<flume::Receiver<ToShard>>,
) -> Result<&'static str, BootError> {
    let (started, starting) = flume::unbounded::<Result<&'static str, DriverError>>();
    let keys = TokenKeys::new(&mesh.settings.server.auth_jwt_secret);
    let mut datagrams = datagrams.into_iter();
    for (index, (listener, inbox)) in listeners.into_iter().zip(inboxes).enumerate() {
        let id = ShardId(index as u16);
        let (ready, failed, alarm) = (started.clone(), started.clone(), mesh.alarm.clone());
        let parts = NodeParts {
            shard: Parts {
                id,
                cfg: mesh.settings.clone(),
                apps: mesh.registry.clone(),
                shared: mesh.shared.clone(),
                mail: mesh.mail.clone(),
                outside: mesh.outside.clone(),
                driver: "",
                seed: fastrand::u64(..),
            },
            inbox,
            listener,
            datagrams: datagrams.next(),
            clock: mesh.clock,
            keys: keys.clone(),
            echo: mesh.echo,
            ready: Box::new(move |driver| {
                let _ = ready.send(Ok(driver));
            }),
        };
        let core = mesh
            .cpus
            .core_for(index)
            .filter(|_| mesh.settings.server.pin_cores);
        std::thread::Builder::new()
            .name(format!("shard-{index}"))
            .spawn(move || {
                cpus::block_signals();
                if let Some(core) = core {
                    cpus::pin(core);
                }
                let Err(error) = run_shard(parts);
                tracing::error!(shard = id.0, %error, "shard ended");
                let _ = failed.send(Err(error));
                alarm.raise(id);
            })
            .map_err(|error| BootError::Thread("a shard", error))?;
    }
    let mut driver = "";
    for _ in 0..mesh.mail.shards() {
        driver = starting
            .recv()
            .map_err(|_| io::Error::other("a shard ended before it began"))??;
    }
    Ok(driver)
}
