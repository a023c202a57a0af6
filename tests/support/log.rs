//! What a server wrote to its log, and the waiting for a line of it.

use super::PATIENCE;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

#[derive(Default)]
struct Written {
    text: Mutex<String>,
    /// Rung for every line.
    grown: Condvar,
}

/// Clones look at the same log.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Written>);

/// A place in a log: what was written before it is not looked at.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place(usize);

impl Log {
    /// Keeps all that is written there until it closes.
    pub(super) fn keep(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut text = log.lock();
                text.push_str(&line);
                text.push('\n');
                log.0.grown.notify_all();
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.0.text.lock().expect("whole")
    }

    /// All of it so far.
    pub(crate) fn text(&self) -> String {
        self.lock().clone()
    }

    /// Its end so far.
    pub(crate) fn place(&self) -> Place {
        Place(self.lock().len())
    }

    /// Waits until this message was written behind `from`, and returns all that stands there.
    pub(crate) fn wait_for(&self, message: &str, from: Place) -> String {
        let wanted = format!(r#""message":"{message}""#);
        let absent = |text: &mut String| !text[from.0..].contains(&wanted);
        let (text, _) = self
            .0
            .grown
            .wait_timeout_while(self.lock(), PATIENCE, absent)
            .expect("whole");
        assert!(text[from.0..].contains(&wanted), "no {wanted} in:\n{text}");
        text[from.0..].to_owned()
    }
}
