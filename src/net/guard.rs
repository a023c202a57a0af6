//! Layer 4: a panic in one task must not take its core along. Every task body runs in here.

use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;

/// Whether a guarded task came to its own end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// It returned.
    Normally,
    /// It panicked; logged.
    ByPanic,
}

/// Runs `task`, containing a panic. A combinator, because an `async fn` would hold its task twice: once as its argument, once
/// while it runs.
pub(crate) fn guard(
    what: &'static str,
    task: impl Future<Output = ()>,
) -> impl Future<Output = Ended> {
    AssertUnwindSafe(task)
        .catch_unwind()
        .map(move |outcome| match outcome {
            Ok(()) => Ended::Normally,
            Err(panic) => {
                report(what, &*panic);
                Ended::ByPanic
            }
        })
}

#[cold]
fn report(what: &'static str, panic: &(dyn Any + Send)) {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(task = what, panic = text, "a task was ended by a defect");
}
