//! Outside thread: tasks that last as long as the process, and blocking work on other threads. A task that panics is started again
//! after a pause; where the system gives no thread (a limit of processes), the work fails and nothing of it stays behind.

use super::lock::lock;
use futures_util::FutureExt as _;
use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long a task that panicked rests before it is started again, and how long it must run to count as working.
#[derive(Clone, Copy)]
struct Pauses {
    /// Before the first restart; doubles with each.
    first: Duration,
    most: Duration,
    /// A task that ran this long works again.
    steady: Duration,
}

const PAUSES: Pauses = Pauses {
    first: Duration::from_secs(1),
    most: Duration::from_secs(60),
    steady: Duration::from_secs(10),
};

/// Logs the failures of something that is done again and again: the first one and the recovery, nothing in between.
pub(super) struct Spell {
    task: &'static str,
    failures: u64,
}

impl Spell {
    pub(super) const fn new(task: &'static str) -> Self {
        Self { task, failures: 0 }
    }

    pub(super) fn failed(&mut self, error: &dyn Display) {
        self.failures += 1;
        if self.failures == 1 {
            tracing::error!(task = self.task, %error, "background-task-failed");
        }
    }

    pub(super) fn worked(&mut self) {
        let failures = std::mem::take(&mut self.failures);
        if failures > 0 {
            tracing::warn!(task = self.task, failures, "background-task-works-again");
        }
    }
}

/// Runs a task until it ends by itself; one that panics is started again.
pub(super) fn keep<F>(task: &'static str, run: impl Fn() -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(outlive(task, PAUSES, run))
}

async fn outlive<F: Future<Output = ()>>(task: &'static str, pauses: Pauses, run: impl Fn() -> F) {
    let mut spell = Spell::new(task);
    let mut pause = pauses.first;
    loop {
        let mut running = pin!(AssertUnwindSafe(run()).catch_unwind());
        let ended = match timeout(pauses.steady, &mut running).await {
            Ok(ended) => ended,
            Err(_) => {
                spell.worked();
                pause = pauses.first;
                running.await
            }
        };
        if ended.is_ok() {
            return spell.worked();
        }
        spell.failed(&"see the line `a thread panicked`");
        sleep(pause).await;
        pause = (pause * 2).min(pauses.most);
    }
}

/// Runs blocking `work` on a thread that may wait.
///
/// # Errors
/// There is no thread to be had, or `work` panicked.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let work = Arc::new(Mutex::new(Some(work)));
    let taken = Arc::clone(&work);
    // The runtime panics where it gets no thread, and keeps what it was given until there is one.
    let begun = catch_unwind(AssertUnwindSafe(|| {
        tokio::task::spawn_blocking(move || {
            let work = lock(&taken).take();
            work.map(|work| work())
        })
    }));
    let Ok(begun) = begun else {
        drop(lock(&work).take());
        return Err(io::Error::other("there is no thread to be had"));
    };
    let done = begun.await.map_err(io::Error::other)?;
    done.ok_or_else(|| io::Error::other("it was given up"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::log_capture::lines_of;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A runtime for which the system has no thread, as nobody has room for such a stack.
    pub(crate) fn without_threads() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_stack_size(1 << 60)
            .build()
            .expect("a runtime")
    }

    fn told(text: &str, lines: &[String]) -> usize {
        lines.iter().filter(|line| line.contains(text)).count()
    }

    #[test]
    fn a_task_that_panics_goes_on_and_the_log_has_the_begin_and_the_end_of_it() {
        const MS: Duration = Duration::from_millis(1);
        let pauses = Pauses {
            first: MS,
            most: 4 * MS,
            steady: 5 * MS,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let lines = lines_of(|| {
            runtime.block_on(async {
                let begun = AtomicU32::new(0);
                let task = outlive("a task", pauses, || async {
                    let nth = begun.fetch_add(1, Ordering::SeqCst);
                    assert!(nth >= 3, "told to panic");
                    // Longer than it takes to count as well.
                    sleep(100 * MS).await;
                });
                task.await;
                assert_eq!(begun.load(Ordering::SeqCst), 4);
            });
        });
        assert_eq!(told("background-task-failed task=\"a task\"", &lines), 1);
        let again = "background-task-works-again task=\"a task\" failures=3";
        assert_eq!(told(again, &lines), 1, "{lines:?}");
    }

    #[test]
    fn work_that_gets_no_thread_fails_and_is_not_done_later() {
        struct Held(Arc<AtomicU32>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let dropped = Arc::new(AtomicU32::new(0));
        let held = Held(Arc::clone(&dropped));
        let outcome = without_threads().block_on(async {
            let outcome = on_a_thread(move || drop(held)).await;
            assert_eq!(dropped.load(Ordering::SeqCst), 1, "nothing is left of it");
            outcome
        });
        assert!(outcome.is_err());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        let outcome = runtime.block_on(on_a_thread(|| 7));
        assert_eq!(outcome.expect("a thread"), 7);
        let outcome = runtime.block_on(on_a_thread(|| panic!("told to")));
        assert!(outcome.is_err());
    }
}
