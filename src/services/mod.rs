//! Layer 3, the outside thread: everything that may wait for somebody else. Webhooks, the store, app records, REST answers
//! that need no live session, metrics and health. One OS thread with a tokio runtime; the only module that names tokio. It
//! never touches a session: it sends messages to shards, and whatever it cannot do in time it answers as failed.

mod addresses;
mod admin_listener;
pub mod apps_file;
mod context;
mod crowd;
mod dispatch;
mod folder;
mod lasting;
mod lines;
mod lock;
mod metrics;
mod names;
pub mod offline;
mod outbound;
pub mod registry;
mod removals;
mod rest;
pub mod speech;
pub mod store;
mod upstream;
mod weather;
mod webhooks;

use crate::base::clock::Clock;
use crate::base::settings::{LoadError, Settings};
use crate::shard::mailbox::{Mailboxes, ToOutside};
use crate::shard::shared::Shared;
use crate::wire::auth::TokenKeys;
use crate::wire::records::Registry;
use context::Services;
use futures_util::FutureExt as _;
use metrics::Aggregate;
use registry::AppRecords;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use store::writes::Writes;
use tokio::time::timeout;
use webhooks::Webhooks;

/// Time for what is being removed at the streaming provider when the process ends.
const REMOVALS: Duration = Duration::from_secs(1);
/// What the thread may take beyond its waits to end, on a machine with other work.
const ENDING: Duration = Duration::from_secs(1);

/// How settings are read anew, as on SIGHUP.
#[derive(Clone)]
pub struct Reload {
    read: Arc<dyn Fn() -> Result<Settings, LoadError> + Send + Sync>,
    apply: Arc<dyn Fn(&Settings) + Send + Sync>,
}

impl Reload {
    /// `read` reads and checks; `apply` does what belongs to the process (its log filter), once everything else was accepted.
    pub fn new(
        read: impl Fn() -> Result<Settings, LoadError> + Send + Sync + 'static,
        apply: impl Fn(&Settings) + Send + Sync + 'static,
    ) -> Self {
        Self {
            read: Arc::new(read),
            apply: Arc::new(apply),
        }
    }

    /// This way to read, with a change to whatever was read.
    #[must_use]
    pub fn with(self, change: impl Fn(&mut Settings) + Send + Sync + 'static) -> Self {
        let read = self.read;
        Self {
            read: Arc::new(move || {
                let mut settings = read()?;
                change(&mut settings);
                Ok(settings)
            }),
            apply: self.apply,
        }
    }
}

/// What the outside thread needs.
pub struct Start {
    /// Settings at start.
    pub settings: Arc<Settings>,
    /// Folder of the configuration file: a relative `apps_file` is looked up there.
    pub config_dir: PathBuf,
    /// Messages of the shards.
    pub inbox: flume::Receiver<ToOutside>,
    /// The shards.
    pub shards: Mailboxes,
    /// The process's clock.
    pub clock: Clock,
    /// Flags all threads read.
    pub shared: Arc<Shared>,
    /// See [`Reload`].
    pub reload: Reload,
    /// Log lines dropped so far.
    pub dropped_log_lines: fn() -> u64,
}

/// Why the outside thread cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The apps file.
    #[error(transparent)]
    Apps(#[from] registry::AppsError),
    /// Its port is taken, or not ours to take.
    #[error("cannot listen on server.admin_host:admin_port {0}:{1}: {2}")]
    Admin(String, u16, std::io::Error),
    /// Thread or runtime.
    #[error("outside thread: {0}")]
    Io(#[from] std::io::Error),
}

enum Control {
    Reload,
    Stop(Duration),
}

struct Ready {
    registry: Arc<Registry>,
    admin: Option<SocketAddr>,
}

/// The running outside thread.
pub struct Running {
    /// First snapshot of the app records, for shards to start with.
    pub registry: Arc<Registry>,
    /// Where the admin listener listens, when there is one.
    pub admin: Option<SocketAddr>,
    control: flume::Sender<Control>,
    done: flume::Receiver<()>,
    thread: std::thread::JoinHandle<()>,
}

/// Starts the thread and returns when store and app records are loaded.
///
/// # Errors
/// See [`StartError`].
pub fn start(start: Start) -> Result<Running, StartError> {
    let (ready_in, ready) = flume::bounded(1);
    let (control_in, control) = flume::bounded(16);
    let (done_in, done) = flume::bounded(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new()
        .name("outside".into())
        .spawn(move || {
            runtime.block_on(run(start, ready_in, control));
            // Blocking look-ups of dead name servers must not hold the exit up.
            runtime.shutdown_background();
            let _ = done_in.send(());
        })?;
    let gone = || StartError::Io(std::io::Error::other("the thread ended while it started"));
    let ready: Ready = ready.recv().map_err(|_| gone())??;
    let Ready { registry, admin } = ready;
    Ok(Running {
        registry,
        admin,
        control: control_in,
        done,
        thread,
    })
}

impl Running {
    /// Reads settings and apps file again, in the background; problems go to the log and change nothing.
    pub fn reload(&self) {
        let _ = self.control.try_send(Control::Reload);
    }

    /// Writes what waits for the store, for `limit` at most, removes what is being removed at the streaming provider, for a second at
    /// most, and ends the thread; `false` when that took a second longer.
    #[must_use]
    pub fn stop(self, limit: Duration) -> bool {
        let _ = self.control.try_send(Control::Stop(limit));
        let ended = self.done.recv_timeout(limit.max(REMOVALS) + ENDING).is_ok();
        ended && self.thread.join().is_ok()
    }
}

async fn run(
    start: Start,
    ready: flume::Sender<Result<Ready, StartError>>,
    control: flume::Receiver<Control>,
) {
    let inbox = start.inbox.clone();
    let mail = inbox.clone();
    let (cx, ready_message, listener) = match build(start).await {
        Ok(built) => built,
        Err(error) => return drop(ready.send(Err(error))),
    };
    if ready.send(Ok(ready_message)).is_err() {
        return;
    }
    start_background(&cx, listener);
    let dispatcher = cx.keep("messages of shards", move |cx| {
        dispatch::run(cx, inbox.clone())
    });
    obey(&cx, &mail, &control).await;
    dispatcher.abort();
}

/// Does as it is told until it is told to stop. A reload that waits for the store must not keep it from that.
async fn obey(
    cx: &Arc<Services>,
    mail: &flume::Receiver<ToOutside>,
    control: &flume::Receiver<Control>,
) {
    while let Ok(message) = control.recv_async().await {
        match message {
            Control::Reload => {
                tokio::spawn(reload(Arc::clone(cx)));
            }
            Control::Stop(limit) => return stop(cx, mail, limit).await,
        }
    }
}

async fn reload(cx: Arc<Services>) {
    // The log says what became of it, after a defect too.
    let reload = AssertUnwindSafe(rest::admin::reload(&cx)).catch_unwind();
    match reload.await {
        Ok(Ok(_)) => {}
        Ok(Err(problem)) => tracing::error!(%problem, "reload refused"),
        Err(_) => tracing::error!("a reload was ended by a defect"),
    }
}

async fn stop(cx: &Services, mail: &flume::Receiver<ToOutside>, limit: Duration) {
    let removals = cx.removals.done(|| mail.is_empty());
    let (closed, removed) = tokio::join!(cx.writes.close(limit), timeout(REMOVALS, removals));
    if removed.is_err() {
        tracing::warn!("live inputs were not removed before the exit");
    }
    if !closed {
        tracing::error!(
            waiting = cx.writes.depth(),
            "writes were not durable before the exit"
        );
    }
}

/// Starts what goes on by itself.
fn start_background(cx: &Arc<Services>, listener: Option<tokio::net::TcpListener>) {
    cx.keep("app records", registry::keep_fresh);
    cx.keep("vitals", metrics::vitals::log);
    for grain in [metrics::gaps::Grain::Coarse, metrics::gaps::Grain::Fine] {
        cx.keep("gaps", move |cx| metrics::gaps::watch(cx, grain));
    }
    cx.keep("lag", metrics::lag::sample);
    cx.keep("memory report", metrics::memory::log);
    cx.keep("connection health", metrics::connections::log);
    rest::start_background(cx);
    if let Some(listener) = listener {
        let listener = Arc::new(listener);
        cx.keep("admin listener", move |cx| {
            admin_listener::serve(cx, Arc::clone(&listener))
        });
    }
}

async fn build(
    start: Start,
) -> Result<(Arc<Services>, Ready, Option<tokio::net::TcpListener>), StartError> {
    let settings = start.settings;
    tracing::info!(settings = %rest::admin::effective(&settings), "effective settings");
    let file = registry::read_apps_file(&settings, &start.config_dir)?;
    let profiles = registry::read_profiles(&settings, &start.config_dir)?;
    let store = store::open(&settings).await?;
    tracing::info!(
        store = store.kind(),
        apps_in_file = file.len(),
        "store open"
    );
    let limit = Duration::from_millis(settings.store.db_timeout_ms);
    let apps = AppRecords::load(file, &store, limit)
        .await
        .with_profiles(profiles);
    let server = &settings.server;
    let listener = match server.admin_port as u16 {
        0 => None,
        port => {
            let host = server.admin_host.as_str();
            let bound = tokio::net::TcpListener::bind((host, port)).await;
            Some(bound.map_err(|error| StartError::Admin(host.to_owned(), port, error))?)
        }
    };
    let admin = listener
        .as_ref()
        .map(tokio::net::TcpListener::local_addr)
        .transpose()?;
    let cx = Arc::new(Services {
        tokens: TokenKeys::new(&server.auth_jwt_secret),
        writes: Writes::start(store, settings.store.clone()),
        webhooks: Arc::new(Webhooks::new(&settings, start.clock)),
        removals: Default::default(),
        upstream: upstream::Upstream::new(),
        weather: Default::default(),
        speech: Default::default(),
        apps,
        aggregate: Aggregate::new(start.shards.shards()).into(),
        rounds: Default::default(),
        bodies: Default::default(),
        memory: rest::RestMemory::new(&settings),
        started_with: Arc::clone(&settings),
        settings: RwLock::new(settings),
        config_dir: start.config_dir,
        reload: start.reload,
        dropped_log_lines: start.dropped_log_lines,
        shards: start.shards,
        clock: start.clock,
        shared: start.shared,
        calls: Default::default(),
        next_call: Default::default(),
    });
    let registry = cx.registry();
    Ok((cx, Ready { registry, admin }, listener))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::rest::testkit::Kit;

    #[test]
    fn a_reload_that_waits_does_not_keep_the_process_from_its_last_writes() {
        Kit::run(|kit| async move {
            let (_mailbox, mail) = flume::bounded(1);
            let (orders, control) = flume::bounded(2);
            let waits = kit.cx.memory.reloads.lock().await;
            for order in [Control::Reload, Control::Stop(Duration::from_secs(5))] {
                assert!(orders.send(order).is_ok());
            }
            let obeyed = timeout(Duration::from_secs(60), obey(&kit.cx, &mail, &control));
            obeyed.await.expect("it stops");
            drop(waits);
        });
    }
}
