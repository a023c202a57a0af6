//! Layer 4: a panic in one task must not take its core along. Every task body runs in here.

use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;

/// Whether a guarded task came to its own end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// It returned.
    Normally,
    /// It panicked; logged.
    ByPanic,
}

/// Runs `task`, containing a panic.
pub(crate) async fn guard(what: &'static str, task: impl Future<Output = ()>) -> Ended {
    match AssertUnwindSafe(task).catch_unwind().await {
        Ok(()) => Ended::Normally,
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message");
            tracing::error!(task = what, panic = text, "a task was ended by a defect");
            Ended::ByPanic
        }
    }
}
