//! Layer 5, logs: sets `tracing` up as JSON lines (or readable text) on standard output through a bounded, lossy queue. It decides no
//! policy of its own and never makes the caller wait: a line that finds the queue full is dropped and counted. The few lines of
//! standard error leave here too, as its reader may be the same.

use crate::base::settings::Settings;
use std::io::{self, Stdout, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// Why logging cannot start or the filter cannot change.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log_level` is no filter.
    #[error("observability.log_level: {0:?} is not a level or filter")]
    Filter(String),
    /// The writer's thread; what makes it panics where there is none.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(io::Error),
    /// A subscriber is installed already.
    #[error("logging was set up before")]
    Twice,
    /// The filter's subscriber is gone.
    #[error("the log filter cannot be reached")]
    Gone,
}

/// The running log writer. Dropping it flushes what is queued (the writer gives up on its own if its reader is stuck).
pub struct Logs {
    filter: FilterHandle,
    _writer: WorkerGuard,
}

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();
/// Lines that standard output did not take: its reader is gone, or its disk is full.
static REFUSED: AtomicU64 = AtomicU64::new(0);
/// How long standard error may take over a line.
const ANNOUNCED_WITHIN: Duration = Duration::from_millis(100);

/// Lines dropped since the start of the process; 0 before [`start`].
#[must_use]
pub fn dropped_lines() -> u64 {
    let dropped = DROPPED.get().map_or(0, ErrorCounter::dropped_lines);
    dropped as u64 + REFUSED.load(Ordering::Relaxed)
}

/// One line on standard error, now. It is written when this returns, unless nobody reads there: then it is given up, as a
/// shutdown must not wait for it.
pub fn announce(text: &str) {
    let line: Arc<str> = format!("{text}\n").into();
    let (written, waits) = mpsc::channel();
    let theirs = Arc::clone(&line);
    let writing = thread::Builder::new().name("stderr".into()).spawn(move || {
        let _ = io::stderr().write_all(theirs.as_bytes());
        let _ = written.send(());
    });
    match writing {
        Ok(_) => drop(waits.recv_timeout(ANNOUNCED_WITHIN)),
        Err(_) if stderr_has_room() => drop(io::stderr().write_all(line.as_bytes())),
        Err(_) => {}
    }
}

/// Whether standard error takes a line without waiting, as nearly as can be told: for who finds no thread that might wait.
fn stderr_has_room() -> bool {
    let mut asked = libc::pollfd {
        fd: libc::STDERR_FILENO,
        events: libc::POLLOUT,
        revents: 0,
    };
    let within_ms = ANNOUNCED_WITHIN.as_millis() as libc::c_int;
    // SAFETY: one entry, which lives during the call.
    let ready = unsafe { libc::poll(&raw mut asked, 1, within_ms) };
    ready > 0 && asked.revents & libc::POLLOUT != 0
}

/// Standard output that counts what it does not take.
struct Counted {
    stdout: Stdout,
    /// The last line may have gone in part.
    torn: bool,
}

impl Write for Counted {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line)?;
        Ok(line.len())
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let outcome = if self.torn {
            self.stdout
                .write_all(b"\n")
                .and_then(|()| self.stdout.write_all(line))
        } else {
            self.stdout.write_all(line)
        };
        self.torn = outcome.is_err();
        REFUSED.fetch_add(u64::from(self.torn), Ordering::Relaxed);
        outcome
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// Longest line (bytes); that of the effective settings is a third of it. The queue is bounded in lines, and what they name comes from peers.
const LINE_BYTES_MAX: usize = 32 * 1024;
/// So much is said of a longer one (bytes).
const SHOWN_BYTES: usize = 512;

/// What stands in place of a line that is too long.
fn shortened(line: &[u8], json: bool) -> Vec<u8> {
    let begin = String::from_utf8_lossy(&line[..SHOWN_BYTES]);
    if json {
        let level = "WARN";
        let message = "a log line was too long";
        let line = serde_json::json!({"level": level, "message": message, "bytes": line.len(), "begin": begin, "target": "prism::logs"});
        format!("{line}\n").into_bytes()
    } else {
        format!("{begin}… too long\n").into_bytes()
    }
}

/// Hands lines of a bounded length on. The layers write each line at once.
#[derive(Clone)]
struct Bounded<W> {
    to: W,
    json: bool,
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line)?;
        Ok(line.len())
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        if line.len() <= LINE_BYTES_MAX {
            return self.to.write_all(line);
        }
        self.to.write_all(&shortened(line, self.json))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Installs the process-wide subscriber.
///
/// # Errors
/// See [`LogError`].
pub fn start(settings: &Settings) -> Result<Logs, LogError> {
    let observability = &settings.observability;
    let tried = thread::Builder::new()
        .spawn(|| {})
        .map_err(LogError::Thread)?;
    let _ = tried.join();
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(observability.log_queue_lines as usize)
        .thread_name("logs")
        .finish(Counted {
            stdout: io::stdout(),
            torn: false,
        });
    let dropped = writer.error_counter();
    let writer = Bounded {
        to: writer,
        json: observability.log_json,
    };
    let writer = move || writer.clone();
    let (filter, handle) = reload::Layer::new(parse(&observability.log_level)?);
    let subscriber = tracing_subscriber::registry().with(filter);
    if observability.log_json {
        let layer = fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false);
        subscriber.with(layer.with_writer(writer)).try_init()
    } else {
        subscriber
            .with(fmt::layer().with_ansi(false).with_writer(writer))
            .try_init()
    }
    .map_err(|_| LogError::Twice)?;
    let _ = DROPPED.set(dropped);
    tell_of_panics();
    Ok(Logs {
        filter: FilterHandle(handle),
        _writer: guard,
    })
}

/// From now on the log says where a thread panicked. Standard error, where Rust says it, may block, and a shard with it.
fn tell_of_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        if thread.name() == Some("main") {
            return before(panic);
        }
        let at = panic.location().map(ToString::to_string);
        let text = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(
            thread = thread.name(),
            at,
            panic = text,
            "a thread panicked"
        );
    }));
}

/// Changes the filter from any thread.
#[derive(Clone)]
pub struct FilterHandle(reload::Handle<EnvFilter, Registry>);

impl FilterHandle {
    /// Replaces the filter, as on SIGHUP.
    ///
    /// # Errors
    /// [`LogError::Filter`] for a text that is no filter; the old one stays.
    pub fn set(&self, text: &str) -> Result<(), LogError> {
        let filter = parse(text)?;
        self.0.reload(filter).map_err(|_| LogError::Gone)
    }
}

impl Logs {
    /// For changing the filter later.
    #[must_use]
    pub fn handle(&self) -> FilterHandle {
        self.filter.clone()
    }
}

fn parse(text: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(text).map_err(|_| LogError::Filter(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_peers_making_takes_no_more_room_than_others() {
        let long = format!("{{\"message\":\"{}\"}}\n", "é".repeat(100_000));
        for json in [true, false] {
            let mut lines = Bounded {
                to: Vec::new(),
                json,
            };
            lines.write_all(b"short\n").expect("memory");
            lines.write_all(long.as_bytes()).expect("memory");
            lines.write_all(b"next\n").expect("memory");
            let text = String::from_utf8(lines.to).expect("text");
            let [first, cut, last] = text.lines().collect::<Vec<_>>()[..] else {
                panic!("three lines: {text}");
            };
            assert_eq!((first, last), ("short", "next"));
            assert!(cut.len() < 2048 && cut.contains("too long"), "{cut}");
            if json {
                let cut: serde_json::Value = serde_json::from_str(cut).expect("JSON");
                assert_eq!(cut["bytes"], long.len());
            }
        }
    }

    #[test]
    fn a_bad_filter_is_refused_by_name() {
        assert!(parse("info,prism::session=debug").is_ok());
        let error = parse("prism=loudest=x").expect_err("not a filter");
        assert!(error.to_string().contains("loudest"), "{error}");
    }
}
