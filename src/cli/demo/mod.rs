//! Command line, `prism demo`: a real server process, a small app server and a simulated phone that streams a real speech
//! recording; shows live what flows and at what latency, and ends by itself with a summary.

mod app;
mod http;
mod phone;
mod scene;

use crate::base::clock::Clock;
use app::AppServer;
use phone::Phone;
use scene::{ServerProcess, Shared};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The recording: LibriVox reading of *Sense and Sensibility* (public domain), 16 kHz mono 16-bit WAV.
const SPEECH_WAV: &[u8] = include_bytes!("../../../assets/speech-16k.wav");
/// A WAV header without extra chunks.
const WAV_HEADER_BYTES: usize = 44;
/// One packet of the phone: 20 ms of 16 kHz 16-bit mono.
const PACKET_BYTES: usize = 640;

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A socket, file or process failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Cause.
        source: io::Error,
    },
    /// The conversation did not go as the protocol says.
    #[error("{0}")]
    Protocol(String),
}

impl DemoError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

/// What to show.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Seconds of speech, 1–60; the recording (7 s) repeats.
    pub seconds: u64,
    /// `auto`, `uring` or `epoll` for the server.
    pub io_driver: String,
    /// The `prism` binary to start as the server.
    pub server: PathBuf,
}

/// Runs the demo to its end and prints it.
///
/// # Errors
/// The first thing that went wrong; everything started is stopped.
pub fn run(options: &DemoOptions) -> Result<(), DemoError> {
    let clock = Clock::start();
    let shared = Arc::new(Shared::new(clock));
    println!(
        "Prism demo: one server, one app, one phone, {} s of real speech\n",
        options.seconds
    );
    let app = AppServer::start(Arc::clone(&shared))?;
    let server = ServerProcess::start(&options.server, &options.io_driver, app.url())?;
    println!("  server  {}  ({})", server.address(), server.describe()?);
    let mut phone = Phone::connect(server.address(), server.token(), Arc::clone(&shared))?;
    println!(
        "  phone   connected as {}, acknowledged after {}",
        scene::USER,
        scene::millis(phone.ack_ns())
    );
    let start_ns = phone.start_app(server.address(), server.token())?;
    println!(
        "  app     {} started: webhook, /app-ws, ack, subscriptions in {}",
        scene::PACKAGE,
        scene::millis(start_ns)
    );
    phone.wait_for_microphone()?;
    println!("  phone   microphone switched on by the app's subscription\n");
    println!(
        "    time   level                 packets out/in   latency P50 / P99      on the glasses"
    );
    let speech = &SPEECH_WAV[WAV_HEADER_BYTES..];
    phone.stream(speech, PACKET_BYTES, options.seconds, |progress| {
        println!("    {progress}")
    })?;
    phone.finish()?;
    let summary = shared.summary(speech, PACKET_BYTES);
    println!("\n{summary}");
    drop(phone);
    server.stop()?;
    if summary.is_perfect() {
        Ok(())
    } else {
        Err(DemoError::Protocol(
            "what arrived is not what was sent".into(),
        ))
    }
}
