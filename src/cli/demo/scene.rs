//! Command line, demo: the server process, what phone and app share, and the summary.

use super::DemoError;
use crate::base::clock::Clock;
use crate::base::settings::DEVELOPMENT_SECRET;
use crate::wire::auth::TokenKeys;
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// The demo's user.
pub(super) const USER: &str = "demo@prism.example";
/// The demo's app.
pub(super) const PACKAGE: &str = "example.prism.demo";
/// Its key; the server is private to the demo.
pub(super) const API_KEY: &str = "demo-key";

/// A duration for people.
pub(super) fn millis(ns: u64) -> String {
    if ns < 1_000_000 {
        format!("{} µs", ns / 1000)
    } else {
        format!("{:.1} ms", ns as f64 / 1e6)
    }
}

/// What phone and app tell each other behind the server's back, to measure it.
pub(super) struct Shared {
    /// The one clock of both.
    pub(super) clock: Clock,
    board: Mutex<Board>,
}

/// See [`Shared`].
pub(super) struct Board {
    /// Send times of packets still under way.
    pub(super) sent_ns: VecDeque<u64>,
    /// Packets sent.
    pub(super) packets_out: u64,
    /// Packets that reached the app.
    pub(super) packets_in: u64,
    /// What reached the app.
    pub(super) heard: Vec<u8>,
    /// Phone → app.
    pub(super) latency: Histogram<u64>,
    /// Button press → text on the glasses.
    pub(super) round_trip: Histogram<u64>,
    /// Displays that reached the phone.
    pub(super) displays: u64,
    /// Last text on the glasses.
    pub(super) shown: String,
    /// Stop reason that the app was told by webhook.
    pub(super) stopped: Option<String>,
}

impl Shared {
    pub(super) fn new(clock: Clock) -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("constant bounds are valid")
        };
        let board = Board {
            sent_ns: VecDeque::new(),
            packets_out: 0,
            packets_in: 0,
            heard: Vec::new(),
            latency: histogram(),
            round_trip: histogram(),
            displays: 0,
            shown: String::new(),
            stopped: None,
        };
        Self {
            clock,
            board: Mutex::new(board),
        }
    }

    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().expect("no holder of the board panics")
    }

    /// Compares what was heard with `speech`, packet by packet.
    pub(super) fn summary(&self, speech: &[u8], packet_bytes: usize) -> Summary {
        let board = self.board();
        let said: Vec<u8> = (0..board.packets_out)
            .flat_map(|index| super::phone::packet(speech, packet_bytes, index).to_vec())
            .collect();
        Summary {
            packets_out: board.packets_out,
            packets_in: board.packets_in,
            bytes: board.heard.len(),
            identical: said == board.heard,
            latency: [0.5, 0.99, 1.0].map(|quantile| board.latency.value_at_quantile(quantile)),
            presses: board.round_trip.len(),
            round_trip_p50: board.round_trip.value_at_quantile(0.5),
            displays: board.displays,
            stopped: board.stopped.clone(),
        }
    }
}

/// The demo's last lines.
pub(super) struct Summary {
    packets_out: u64,
    packets_in: u64,
    bytes: usize,
    identical: bool,
    latency: [u64; 3],
    presses: u64,
    round_trip_p50: u64,
    displays: u64,
    stopped: Option<String>,
}

impl Summary {
    /// Nothing lost, nothing changed, properly stopped.
    pub(super) fn is_perfect(&self) -> bool {
        self.identical
            && self.packets_in == self.packets_out
            && self.displays > 0
            && self.stopped.is_some()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            packets_out,
            packets_in,
            bytes,
            latency,
            ..
        } = self;
        let same = if self.identical {
            "byte-identical"
        } else {
            "NOT IDENTICAL"
        };
        writeln!(
            f,
            "  audio    {packets_out} packets sent, {packets_in} received, {bytes} bytes, {same}"
        )?;
        writeln!(
            f,
            "  latency  phone → server → app: P50 {}, P99 {}, max {}",
            millis(latency[0]),
            millis(latency[1]),
            millis(latency[2])
        )?;
        writeln!(
            f,
            "  display  {} texts drawn; {} button presses answered on the glasses after {} (P50)",
            self.displays,
            self.presses,
            millis(self.round_trip_p50)
        )?;
        let stopped = self.stopped.as_deref().unwrap_or("no stop webhook");
        write!(
            f,
            "  app      stopped by the user: webhook {stopped:?}, then app_stopped, then close 1000"
        )
    }
}

/// A `prism serve` of its own, in a folder of its own.
pub(super) struct ServerProcess {
    child: Child,
    address: SocketAddr,
    token: String,
    folder: PathBuf,
}

impl ServerProcess {
    /// Starts it on a free loopback port and waits until it serves.
    pub(super) fn start(binary: &Path, io_driver: &str, app_url: &str) -> Result<Self, DemoError> {
        let folder = std::env::temp_dir().join(format!("prism-demo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(DemoError::io("making a folder for the demo"))?;
        let apps = format!(
            "apps:\n  - packageName: {PACKAGE}\n    name: Demo\n    appType: standard\n    publicUrl: {app_url}\n    \
             apiKey: {API_KEY}\n    permissions: [MICROPHONE]\n"
        );
        std::fs::write(folder.join("apps.yaml"), apps)
            .map_err(DemoError::io("writing apps.yaml"))?;
        std::fs::write(folder.join("config.yaml"), "")
            .map_err(DemoError::io("writing config.yaml"))?;
        let address = free_address().map_err(DemoError::io("finding a free port"))?;
        let mut child = Command::new(binary)
            .arg("serve")
            .args([
                "--host",
                "127.0.0.1",
                "--port",
                &address.port().to_string(),
                "--io-driver",
                io_driver,
            ])
            .arg("--config")
            .arg(folder.join("config.yaml"))
            .arg("--apps")
            .arg(folder.join("apps.yaml"))
            .arg("--data-dir")
            .arg(folder.join("data"))
            .env("AUGMENTOS_AUTH_JWT_SECRET", DEVELOPMENT_SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(DemoError::io("starting the server"))?;
        let log = child.stderr.take().expect("stderr was piped");
        wait_until_listening(log)?;
        let claims = serde_json::json!({ "sub": "demo", "email": USER });
        let token = TokenKeys::new(DEVELOPMENT_SECRET)
            .mint(&claims)
            .map_err(|error| DemoError::Protocol(format!("minting a token: {error:?}")))?;
        Ok(Self {
            child,
            address,
            token,
            folder,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Driver and shards, from `/health`.
    pub(super) fn describe(&self) -> Result<String, DemoError> {
        let (_, body) = super::http::request(self.address, "GET", "/health", "", "")
            .map_err(DemoError::io("asking /health"))?;
        let health: serde_json::Value = serde_json::from_str(&body)
            .map_err(|error| DemoError::Protocol(format!("/health: {error}")))?;
        let driver = health["ioDriver"].as_str().unwrap_or("driver unknown");
        Ok(format!(
            "{driver}, {} shards",
            health["shards"].as_array().map_or(0, Vec::len)
        ))
    }

    /// SIGTERM, as an orchestrator would.
    pub(super) fn stop(mut self) -> Result<(), DemoError> {
        // SAFETY: kill(2) takes no pointers; the child is ours and not yet reaped, so its pid cannot be anyone else's.
        unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGTERM) };
        let status = self
            .child
            .wait()
            .map_err(DemoError::io("waiting for the server"))?;
        println!("  server   closed every socket with 1001 and left with {status}");
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Reads the server's log until it says that it listens; a thread drains the rest.
fn wait_until_listening(log: impl std::io::Read + Send + 'static) -> Result<(), DemoError> {
    let (ready, listening) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if line.contains("listening") {
                let _ = ready.send(());
            }
        }
    });
    listening
        .recv_timeout(Duration::from_secs(20))
        .map_err(|_| DemoError::Protocol("the server did not start listening within 20 s".into()))
}
