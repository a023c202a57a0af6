//! Layer 4: what all tasks of one shard share, and the shard's thread body.

use super::driver::{self, DriverError, Kind};
use super::front::Waiters;
use super::listen::Listener;
use super::socket::shutdown;
use super::{accept, pump};
use crate::base::clock::{Clock, Now};
use crate::base::ids::ConnId;
use crate::base::settings::IoDriver;
use crate::shard::mailbox::{Mailboxes, ToOutside, ToShard};
use crate::shard::shared::Shared;
use crate::shard::{Parts, Shard};
use crate::wire::auth::TokenKeys;
use monoio::net::UnixStream;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What a shard's thread is given.
pub struct NodeParts {
    /// For the shard itself; `driver` is set here.
    pub shard: Parts,
    /// Mail for this shard.
    pub inbox: flume::Receiver<ToShard>,
    /// This shard's listening socket.
    pub listener: Listener,
    /// Time.
    pub clock: Clock,
    /// Keys of phone and app tokens.
    pub keys: TokenKeys,
    /// Serve `/echo`.
    pub echo: Echo,
    /// Called once the shard accepts connections, with the driver's name.
    pub ready: Box<dyn FnOnce(&'static str) + Send>,
}

/// The echo for conformance suites.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Echo {
    /// Served at `/echo`.
    On,
    /// An unknown path.
    Off,
}

/// Shared by the tasks of one shard; never leaves its thread.
pub(crate) struct Node {
    pub(crate) shard: RefCell<Shard>,
    pub(crate) waiters: RefCell<Waiters>,
    pub(crate) clock: Clock,
    /// `unix_ms - mono_ms`, read again at every tick, so that a turn reads one clock only.
    unix_offset_ms: Cell<u64>,
    pub(crate) keys: TokenKeys,
    pub(crate) shared: Arc<Shared>,
    pub(crate) mail: Mailboxes,
    pub(crate) outside: flume::Sender<ToOutside>,
    pub(crate) echo: Echo,
    pub(crate) read_bytes: Cell<usize>,
    yielder: Option<(UnixStream, UnixStream)>,
}

impl Node {
    /// One clock reading: the instant and its nanoseconds for latencies.
    #[inline]
    pub(crate) fn now(&self) -> (Now, u64) {
        let ns = self.clock.mono_ns();
        let mono_ms = ns / 1_000_000 + 1;
        let now = Now {
            mono_ms,
            unix_ms: mono_ms + self.unix_offset_ms.get(),
        };
        (now, ns)
    }

    /// Follows the wall clock.
    pub(crate) fn follow_wall_clock(&self) {
        let now = self.clock.now();
        self.unix_offset_ms
            .set(now.unix_ms.saturating_sub(now.mono_ms));
    }

    /// Calls into the shard, then does what it asks of this layer.
    #[inline]
    pub(crate) fn with<R>(&self, call: impl FnOnce(&mut Shard) -> R) -> R {
        let mut shard = self.shard.borrow_mut();
        let result = call(&mut shard);
        let idle = shard.cuts().is_empty() && shard.replies().is_empty();
        drop(shard);
        if !idle {
            self.settle();
        }
        result
    }

    /// Cuts sockets and delivers answers.
    #[cold]
    pub(crate) fn settle(&self) {
        let (cuts, replies) = {
            let mut shard = self.shard.borrow_mut();
            (
                std::mem::take(shard.cuts()),
                std::mem::take(shard.replies()),
            )
        };
        for fd in cuts {
            shutdown(fd, libc::SHUT_RDWR);
        }
        for (id, answer) in replies {
            self.waiters.borrow_mut().deliver(id, answer);
        }
    }

    pub(crate) fn read_ended(&self, id: ConnId) {
        let (now, ns) = self.now();
        self.with(|shard| shard.read_ended(id, now, ns));
    }

    /// Lets other tasks and I/O have their turn. The way leads through the ring, because a task that wakes itself would be
    /// run again at once; epoll has no such way, so there it is a short sleep.
    pub(crate) async fn let_others_run(&self) {
        match &self.yielder {
            Some((end, _)) => {
                let _ = end.writable(false).await;
            }
            None => monoio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Runs a shard on this thread until it is drained.
///
/// # Errors
/// No I/O driver, or a listener that cannot be used.
pub fn run_shard(parts: NodeParts) -> Result<(), DriverError> {
    let choice: IoDriver = parts.shard.cfg.server.io_driver;
    driver::block_on(choice, |kind, flags| serve(parts, kind, flags))?.map_err(DriverError::None)
}

async fn serve(parts: NodeParts, kind: Kind, flags: &'static str) -> std::io::Result<()> {
    let NodeParts {
        mut shard,
        inbox,
        listener,
        clock,
        keys,
        echo,
        ready,
    } = parts;
    shard.driver = kind.as_str();
    let id = shard.id;
    let bell = shard.mail.bell(id);
    let (shared, mail, outside) = (
        shard.shared.clone(),
        shard.mail.clone(),
        shard.outside.clone(),
    );
    let node = Rc::new(Node {
        waiters: RefCell::new(Waiters::default()),
        clock,
        unix_offset_ms: Cell::new(0),
        keys,
        shared,
        mail,
        outside,
        echo,
        read_bytes: Cell::new(0),
        yielder: match kind {
            Kind::Uring => Some(UnixStream::pair()?),
            Kind::Epoll => None,
        },
        shard: RefCell::new(Shard::new(shard)),
    });
    node.follow_wall_clock();
    let listener = listener.into_monoio()?;
    tracing::info!(shard = id.0, driver = kind.as_str(), flags, "shard runs");
    ready(kind.as_str());
    monoio::spawn(accept::run(node.clone(), listener));
    monoio::spawn(pump::mail(node.clone(), inbox.clone(), bell));
    pump::ticks(node, inbox).await;
    Ok(())
}
