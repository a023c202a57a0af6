//! Layer 4: what everything on one shard's thread shares.

use super::accept::{self, Accepting};
use super::datagrams::{self, Receiving};
use super::guard::contain;
use super::links::Links;
use super::listen::{Datagrams, Listener};
use super::pump::Pump;
use super::socket::shutdown;
use super::tasks::Task;
use super::waiters::Waiters;
use super::wreck;
use super::writer::Flights;
use crate::base::clock::{Clock, Now};
use crate::base::ids::ConnId;
use crate::base::panics;
use crate::base::settings::Settings;
use crate::io::{Driver, DriverError, Sizes, Token, Upcoming};
use crate::shard::mailbox::{Mailboxes, ToOutside, ToShard};
use crate::shard::shared::Shared;
use crate::shard::sockets::Marked;
use crate::shard::{Parts, Shard};
use crate::wire::auth::TokenKeys;
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

/// What a shard's thread is given.
pub struct NodeParts {
    /// For the shard itself; `driver` is set here.
    pub shard: Parts,
    /// Mail for this shard.
    pub inbox: flume::Receiver<ToShard>,
    /// This shard's listening socket.
    pub listener: Listener,
    /// This shard's socket for audio datagrams, where they are taken.
    pub datagrams: Option<Datagrams>,
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

/// The sockets of a shard and what moves their bytes. Borrowed for one step at a time, never while a task runs; calls into the
/// shard may be made meanwhile.
pub(super) struct Net {
    pub(super) driver: Driver,
    pub(super) links: Links,
    pub(super) flights: Flights,
    /// Connections with frames that wait for their turn.
    pub(super) waiting: VecDeque<Token>,
    /// Where messages stand that the shard may keep.
    pub(super) arena: BytesMut,
}

impl Net {
    /// Asks the processor for what the next results need: the row of the link `rows` ahead, and where the next one's turn will
    /// go, whose row was asked for one result ago.
    #[inline]
    pub(super) fn fetch_ahead(&mut self, rows: usize) {
        if let Some(Upcoming::Received(token) | Upcoming::Sent(token)) = self.driver.upcoming(rows)
        {
            self.links.get(token).fetch();
        }
        if rows > 0
            && let Some(Upcoming::Received(token)) = self.driver.upcoming(0)
        {
            self.links.get(token).trail.fetch();
        }
    }
}

/// Shared by everything on one shard's thread; never leaves it.
pub(crate) struct Node {
    pub(crate) shard: RefCell<Shard>,
    pub(super) net: RefCell<Net>,
    pub(crate) waiters: RefCell<Waiters>,
    /// Bytes of request bodies that are being read.
    pub(super) body_bytes: Cell<usize>,
    pub(crate) clock: Clock,
    /// `unix_ms - mono_ms`, read again at every tick, so that a turn reads one clock only.
    unix_offset_ms: Cell<u64>,
    /// The clock as it was read last.
    read_ns: Cell<u64>,
    /// A turn has begun since that reading: the time is later by now.
    behind: Cell<bool>,
    pub(crate) keys: TokenKeys,
    pub(crate) shared: Arc<Shared>,
    pub(crate) mail: Mailboxes,
    pub(crate) outside: flume::Sender<ToOutside>,
    pub(crate) echo: Echo,
    /// Frames that a connection may have handled before others have their turn.
    pub(super) turn_frames_max: Cell<usize>,
    /// Reused list of [`super::writer::flush`].
    pub(super) marked: Cell<Vec<Marked>>,
    pub(super) accepting: Cell<Accepting>,
    pub(super) receiving: Cell<Receiving>,
    /// Connections from this descriptor on become no WebSockets.
    pub(super) spare_from: RawFd,
    listener: OwnedFd,
    spawned: RefCell<Vec<Task>>,
}

impl Node {
    /// One clock reading: the instant and its nanoseconds for latencies.
    #[inline]
    pub(crate) fn now(&self) -> (Now, u64) {
        let ns = self.read_clock();
        (self.instant(ns), ns)
    }

    /// Reads the clock (ns).
    #[inline]
    pub(super) fn read_clock(&self) -> u64 {
        let ns = self.clock.mono_ns();
        self.read_ns.set(ns);
        self.behind.set(false);
        ns
    }

    /// The time at which a turn begins, as it was read last: after the wait, or at the end of the last turn with text. Turns with audio
    /// alone in between are shorter than it is worth to read the clock for, and what arrived had arrived by then.
    #[inline]
    pub(super) fn begin_turn(&self) -> (Now, u64) {
        self.behind.set(true);
        let ns = self.read_ns.get();
        (self.instant(ns), ns)
    }

    /// The time after all turns so far (ns).
    #[inline]
    pub(super) fn after_turns(&self) -> u64 {
        match self.behind.get() {
            true => self.read_clock(),
            false => self.read_ns.get(),
        }
    }

    fn instant(&self, ns: u64) -> Now {
        let mono_ms = ns / 1_000_000 + 1;
        Now {
            mono_ms,
            unix_ms: mono_ms + self.unix_offset_ms.get(),
        }
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

    pub(super) fn listener(&self) -> RawFd {
        self.listener.as_raw_fd()
    }

    /// Accepts connections from now on.
    pub(super) fn accept(&self) {
        let mut net = self.net.borrow_mut();
        net.driver.accept(self.listener());
    }

    /// Runs `task` from this turn on.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.spawned.borrow_mut().push(Box::pin(task));
    }

    /// Tasks that were spawned since the last call.
    pub(super) fn take_spawned(&self) -> Vec<Task> {
        self.spawned.take()
    }

    /// Whether a task waits for its first turn.
    pub(super) fn has_spawned(&self) -> bool {
        !self.spawned.borrow().is_empty()
    }

    /// Follows the settings in force.
    pub(super) fn follow_settings(&self) {
        let shard = self.shard.borrow();
        let connections = &shard.cfg().connections;
        self.turn_frames_max
            .set(connections.turn_frames_max as usize);
    }
}

fn sizes(cfg: &Settings) -> Sizes {
    let connections = &cfg.connections;
    Sizes {
        buffer_bytes: connections.receive_buffer_bytes as usize,
        // The kernel counts them in powers of two.
        buffers: (connections.receive_buffers as u16).next_power_of_two(),
    }
}

/// Runs a shard on this thread, for the life of the process.
///
/// # Errors
/// No I/O driver, one that broke, or a listener that cannot be used.
pub fn run_shard(parts: NodeParts) -> Result<Infallible, DriverError> {
    let NodeParts {
        mut shard,
        inbox,
        listener,
        datagrams,
        clock,
        keys,
        echo,
        ready,
    } = parts;
    let driver = Driver::new(shard.cfg.server.io_driver, sizes(&shard.cfg))?;
    let (name, flags) = (driver.name(), driver.flags());
    shard.driver = name;
    let id = shard.id;
    let bell = shard.mail.bell(id);
    let (shared, mail, outside) = (
        shard.shared.clone(),
        shard.mail.clone(),
        shard.outside.clone(),
    );
    let node = Rc::new(Node {
        net: RefCell::new(Net {
            driver,
            links: Links::default(),
            flights: Flights::default(),
            waiting: VecDeque::new(),
            arena: BytesMut::new(),
        }),
        waiters: RefCell::new(Waiters::default()),
        body_bytes: Cell::new(0),
        read_ns: Cell::new(clock.mono_ns()),
        clock,
        unix_offset_ms: Cell::new(0),
        behind: Cell::new(false),
        keys,
        shared,
        mail,
        outside,
        echo,
        turn_frames_max: Cell::new(1),
        marked: Cell::default(),
        accepting: Cell::default(),
        receiving: Cell::default(),
        spare_from: accept::spare_from(),
        listener: listener.into_fd().map_err(DriverError::None)?,
        spawned: RefCell::default(),
        shard: RefCell::new(Shard::new(shard)),
    });
    node.follow_settings();
    node.follow_wall_clock();
    if let Some(socket) = datagrams {
        datagrams::open(&node, socket.into_fd().map_err(DriverError::None)?);
    }
    node.accept();
    tracing::info!(shard = id.0, driver = name, flags, "shard runs");
    ready(name);
    // Never dropped: what of its memory the kernel still uses when it ends, nobody knows.
    let mut pump = ManuallyDrop::new(Pump::new(node.clone(), inbox, bell));
    let ended = catch_unwind(AssertUnwindSafe(|| pump.run()));
    contain("the end of a shard", || wreck::leave(&node));
    Err(DriverError::Broke(ended.unwrap_or_else(|panic| {
        io::Error::other(panics::text(&*panic).to_owned())
    })))
}
