//! Layer 4: contains panics, so that one in a task or a step of the loop does not end its shard. Each of them runs in here.

use crate::base::panics;
use futures_util::FutureExt;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `task`, containing a panic. A combinator, because an `async fn` would hold its task twice: once as its argument, once
/// while it runs.
pub(crate) fn guard(
    what: &'static str,
    task: impl Future<Output = ()>,
) -> impl Future<Output = ()> {
    AssertUnwindSafe(task).catch_unwind().map(move |outcome| {
        if let Err(panic) = outcome {
            report(what, &*panic);
        }
    })
}

/// Runs one step, containing a panic; `None` when it panicked. Borrows end with the unwinding, and what a step half did is closed or
/// done again by its caller.
#[inline]
pub(crate) fn contain<R>(what: &'static str, step: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(step))
        .inspect_err(|panic| report(what, &**panic))
        .ok()
}

#[cold]
fn report(what: &'static str, panic: &(dyn Any + Send)) {
    let panic = panics::text(panic);
    tracing::error!(task = what, panic, "a task was ended by a defect");
}
