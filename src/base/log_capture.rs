//! Layer 0, for tests: what a call writes to the log, as the operator reads it. The simulator includes this file.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::fmt::MakeWriter;

/// A second subscriber, so that there are always two: with a single one `tracing` caches per log line whether it is wanted, as the
/// first thread to reach it says, and the thread of another test wants none.
static OTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Buffer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The lines (level, message, fields) that `call` writes on this thread.
pub(crate) fn lines_of(call: impl FnOnce()) -> Vec<String> {
    LazyLock::force(&OTHER);
    let buffer = Buffer::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(buffer.clone())
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .finish();
    tracing::subscriber::with_default(subscriber, call);
    let bytes = buffer.0.lock().expect("no writer panics").clone();
    String::from_utf8(bytes)
        .expect("text")
        .lines()
        .map(|line| line.trim().to_owned())
        .collect()
}
