//! Logs: sets `tracing` up as JSON lines (or readable text) on standard output through a bounded, lossy queue. It decides no
//! policy of its own and never makes the caller wait: a line that finds the queue full is dropped and counted.

use crate::base::settings::Settings;
use std::sync::OnceLock;
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

/// Lines dropped since the start of the process; 0 before [`start`].
#[must_use]
pub fn dropped_lines() -> u64 {
    DROPPED
        .get()
        .map_or(0, |counter| counter.dropped_lines() as u64)
}

/// Installs the process-wide subscriber.
///
/// # Errors
/// See [`LogError`].
pub fn start(settings: &Settings) -> Result<Logs, LogError> {
    let observability = &settings.observability;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(observability.log_queue_lines as usize)
        .thread_name("logs")
        .finish(std::io::stdout());
    let dropped = writer.error_counter();
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
    Ok(Logs {
        filter: FilterHandle(handle),
        _writer: guard,
    })
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
    fn a_bad_filter_is_refused_by_name() {
        assert!(parse("info,prism::session=debug").is_ok());
        let error = parse("prism=loudest=x").expect_err("not a filter");
        assert!(error.to_string().contains("loudest"), "{error}");
    }
}
