//! Layer 4: the tasks of one shard: plain HTTP connections, which are few and wait for each other. WebSocket connections have none.

use futures_util::stream::{FuturesUnordered, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

/// A task, not yet polled.
pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Says that a task can go on.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// All tasks.
pub(super) struct Tasks {
    running: FuturesUnordered<Task>,
    flag: Arc<Flag>,
    waker: Waker,
}

impl Tasks {
    pub(super) fn new() -> Self {
        let flag = Arc::<Flag>::default();
        Self {
            running: FuturesUnordered::new(),
            waker: Waker::from(flag.clone()),
            flag,
        }
    }

    /// Whether one can go on.
    pub(super) fn are_ready(&self) -> bool {
        self.flag.0.load(Ordering::Acquire)
    }

    /// Lets those run that can, and `new` ones.
    pub(super) fn run(&mut self, new: impl IntoIterator<Item = Task>) {
        let before = self.running.len();
        self.running.extend(new);
        let woken = self.flag.0.swap(false, Ordering::AcqRel);
        if !woken && self.running.len() == before {
            return;
        }
        let mut context = Context::from_waker(&self.waker);
        // Pending when nothing more can go on, or, with the flag set again, when others should have their turn.
        while let std::task::Poll::Ready(Some(())) = self.running.poll_next_unpin(&mut context) {}
    }
}
