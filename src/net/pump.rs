//! Layer 4: the loop that keeps a shard turning: results of the kernel, frames that wait, mail, tasks, ticks; then everything
//! that became ready to be sent leaves with one submission.

use super::gathering::Gathering;
use super::guard::contain;
use super::links::Kind;
use super::node::Node;
use super::tasks::Tasks;
use super::{accept, conn, datagrams, handoff, socket, writer};
use crate::base::metrics::Counter;
use crate::io::{Done, End, Token};
use crate::shard::inbox::ForNet;
use crate::shard::mailbox::{Bell, ToShard};
use crate::shard::report::NetGauges;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Between two ticks: the granularity of every deadline (ns).
const TICK_NS: u64 = 10_000_000;
/// Messages taken from the mailbox before others have their turn.
const MAIL_PER_TURN: usize = 256;
/// Results handled before what they caused is sent. The kernel brings up to 40 receives per turn: with a smaller bound results
/// would pile up, and each holds a receive buffer.
const RESULTS_PER_TURN: usize = 256;
/// Up to this many sends the kernel takes in a fraction of a millisecond: their latency is measured to the moment before the call, so
/// that the shard can start them and sleep in one call. With more sends it is measured to their end, and the shard does not sleep.
const SENDS_IN_NO_TIME: usize = 16;

/// The state of the loop.
pub(super) struct Pump {
    node: Rc<Node>,
    inbox: flume::Receiver<ToShard>,
    bell: Bell,
    waker: Waker,
    tasks: Tasks,
    /// The received bytes of the result that is being handled; the driver fills it.
    arrived: Vec<u8>,
    /// Mail is left from the last turn.
    more_mail: bool,
    gathering: Gathering,
    ticked_ns: u64,
    tick_due_ns: u64,
    report_at_ms: u64,
    drained: bool,
}

impl Pump {
    pub(super) fn new(node: Rc<Node>, inbox: flume::Receiver<ToShard>, bell: Bell) -> Self {
        let waker = node.net.borrow().driver.waker();
        let gathering = Gathering::new(&node.shard.borrow().cfg().connections);
        let now_ns = node.clock.mono_ns();
        Self {
            waker,
            gathering,
            ticked_ns: now_ns,
            tick_due_ns: now_ns + TICK_NS,
            node,
            inbox,
            bell,
            tasks: Tasks::new(),
            arrived: Vec::new(),
            more_mail: true,
            report_at_ms: 0,
            drained: false,
        }
    }

    /// Runs the loop until the driver is broken; says how.
    pub(super) fn run(&mut self) -> io::Error {
        let mut now_ns = self.node.clock.mono_ns();
        loop {
            now_ns = match self.wait(now_ns) {
                Ok(now_ns) => now_ns,
                Err(error) => return error,
            };
            self.results(now_ns);
            if self.more_mail {
                contain("mail", || self.mail());
            }
            if !self.node.net.borrow().waiting.is_empty() {
                contain("waiting frames", || conn::take_turns(&self.node));
            }
            let new = self.node.take_spawned();
            self.tasks.run(new);
            if now_ns >= self.tick_due_ns {
                contain("tick", || self.tick(now_ns));
                self.tick_due_ns = now_ns + TICK_NS;
            }
            contain("writers", || writer::flush(&self.node));
        }
    }

    /// Starts what was asked for and sleeps until something happens. Returns the time.
    ///
    /// # Errors
    /// The driver is broken.
    fn wait(&mut self, now_ns: u64) -> io::Result<u64> {
        let (sends, sockets) = {
            let net = self.node.net.borrow();
            (net.flights.len(), net.links.len())
        };
        let sleeps = sends <= SENDS_IN_NO_TIME && !self.is_busy();
        let (limit, given_ns) = if sleeps {
            let limit = self.tick_due_ns.saturating_sub(now_ns).max(1);
            let given_ns = (sends > 0).then(|| self.node.after_turns());
            (Duration::from_nanos(limit), given_ns)
        } else {
            (Duration::ZERO, None)
        };
        self.gathering.moved(sends);
        let gather = self.gathering.plan(sockets);
        self.node.net.borrow_mut().driver.wait(limit, gather)?;
        let now_ns = self.node.read_clock();
        if sends > 0 {
            let over_ns = given_ns.unwrap_or(now_ns);
            contain("sends", || writer::settle(&self.node, over_ns));
        }
        Ok(now_ns)
    }

    /// Whether something is to be done without waiting for the kernel.
    fn is_busy(&self) -> bool {
        let net = self.node.net.borrow();
        self.more_mail
            || self.tasks.are_ready()
            || self.node.has_spawned()
            || !net.waiting.is_empty()
            || net.flights.is_busy()
    }

    /// Takes what the kernel did.
    #[inline]
    fn results(&mut self, now_ns: u64) {
        self.node.net.borrow_mut().fetch_ahead(0);
        for _ in 0..RESULTS_PER_TURN {
            let done = {
                let mut net = self.node.net.borrow_mut();
                let done = net.driver.next(&mut self.arrived);
                net.fetch_ahead(1);
                done
            };
            // Rings are not counted: a shard that gathers has fewer, and its rate would depend on how it waits.
            match done {
                None => return,
                Some(Done::Rung) => {
                    self.more_mail = true;
                    continue;
                }
                Some(Done::Accepted { connection, last }) => {
                    contain("accept", || accept::accepted(&self.node, connection, last));
                }
                Some(done) => {
                    let (node, arrived) = (&self.node, &mut self.arrived);
                    let token = done.token();
                    if contain("socket", || socket_result(node, done, arrived, now_ns)).is_none() {
                        contain("broken socket", || conn::broke(node, token));
                    }
                }
            }
            self.gathering.moved(1);
        }
    }

    /// Takes mail, up to the bound; waits to be rung when there is no more.
    fn mail(&mut self) {
        let look = || self.inbox.try_recv().ok();
        for _ in 0..MAIL_PER_TURN {
            match self.bell.poll(&self.waker, look) {
                Poll::Ready(message) => handle(&self.node, message),
                Poll::Pending => {
                    self.more_mail = false;
                    return;
                }
            }
        }
    }

    fn tick(&mut self, ns: u64) {
        let node = &self.node;
        node.follow_wall_clock();
        node.follow_settings();
        self.gathering
            .follow(&node.shard.borrow().cfg().connections);
        self.gathering.tick(ns.saturating_sub(self.ticked_ns));
        self.ticked_ns = ns;
        let (now, _) = node.now();
        let lag_ns = ns.saturating_sub(self.tick_due_ns);
        let beats = &node.shared.beats;
        if let Some(beat) = beats.get(usize::from(node.shard.borrow().id().0)) {
            beat.turn(now.mono_ms, lag_ns / 1000);
        }
        node.with(|shard| {
            shard.lagged(lag_ns, now);
            shard.tick(now);
        });
        // A ring that was lost costs one tick, not for ever.
        self.more_mail = true;
        accept::sweep(node, now.mono_ms);
        datagrams::sweep(node);
        let cut = node.waiters.borrow_mut().sweep(now.mono_ms);
        if cut > 0 {
            node.with(|shard| shard.metrics().add(Counter::HttpTimeout, cut));
        }
        if now.mono_ms >= self.report_at_ms {
            let cfg = node.shard.borrow().cfg().clone();
            self.report_at_ms = now.mono_ms + cfg.observability.metrics_interval_ms;
            report(node);
        }
        if !self.drained && node.shard.borrow().is_drained() {
            self.drained = true;
            node.with(|shard| shard.report_drained());
        }
    }
}

/// What became of an operation on a socket.
#[inline]
fn socket_result(node: &Rc<Node>, done: Done, arrived: &mut [u8], now_ns: u64) {
    let token = done.token();
    let kind = node.net.borrow_mut().links.get(token).kind;
    match (done, kind) {
        (Done::Received { last, .. }, Kind::Frames) => conn::received(node, token, arrived, last),
        (Done::Received { last, .. }, Kind::Datagrams) => {
            datagrams::received(node, token, arrived, last);
        }
        (Done::TooLong { last, .. }, _) => datagrams::too_long(node, token, last),
        (Done::Received { last, .. }, _) => socket::received(node, token, arrived, last),
        (Done::ReceiveEnded { end, .. }, kind) => {
            if end == End::Starved {
                node.with(|shard| shard.metrics().inc(Counter::ReceiveStarved));
            }
            match kind {
                Kind::Frames => conn::ended(node, token, end),
                Kind::Datagrams => datagrams::ended(node, token),
                _ => socket::ended(node, token, end),
            }
        }
        (Done::Sent { result, .. }, Kind::Frames) => writer::sent(node, token, result, now_ns),
        (Done::Sent { result, .. }, _) => socket::sent(node, token, result),
        (Done::Accepted { .. } | Done::Rung, _) => {}
    }
}

impl Done {
    fn token(&self) -> Token {
        match self {
            Self::Received { token, .. }
            | Self::TooLong { token, .. }
            | Self::ReceiveEnded { token, .. }
            | Self::Sent { token, .. } => *token,
            Self::Accepted { .. } | Self::Rung => Token::MAX,
        }
    }
}

fn handle(node: &Rc<Node>, message: ToShard) {
    let (now, _) = node.now();
    let for_net = node.with(|shard| {
        shard.at(now);
        shard.receive(message)
    });
    match for_net {
        Some(ForNet::Handoff(content)) => handoff::receive(node, content),
        Some(ForNet::Reply(id, answer)) => node.waiters.borrow_mut().deliver(id, answer),
        Some(ForNet::Report) => report(node),
        None => {}
    }
}

fn report(node: &Rc<Node>) {
    let inbound_bytes = {
        let net = node.net.borrow();
        net.driver.buffer_bytes() + net.links.unfinished
    };
    let gauges = NetGauges {
        http: node.waiters.borrow().len() as u64,
        inbound_bytes: inbound_bytes as u64,
    };
    node.with(|shard| shard.report(gauges));
}
