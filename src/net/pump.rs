//! Layer 4: what keeps a shard turning: its mailbox, its ticks, its reports, its signs of life.

use super::guard::guard;
use super::handoff;
use super::node::Node;
use crate::base::metrics::Counter;
use crate::shard::inbox::ForNet;
use crate::shard::mailbox::{Bell, ToShard};
use crate::shard::report::NetGauges;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

/// Between two ticks: the granularity of every deadline.
const TICK: Duration = Duration::from_millis(10);
/// Messages taken from the mailbox before others have their turn.
const MAIL_PER_TURN: usize = 256;

/// Takes mail as it comes, until the last sender is gone.
pub(crate) async fn mail(node: Rc<Node>, inbox: flume::Receiver<ToShard>, bell: Bell) {
    loop {
        let task = async {
            while let Some(message) = next(&inbox, &bell).await {
                handle(&node, message);
                if take(&node, &inbox) == MAIL_PER_TURN {
                    node.let_others_run().await;
                }
            }
        };
        guard("mail", task).await;
        if inbox.is_disconnected() {
            return;
        }
    }
}

/// The next message; `None` once nobody can send any more.
async fn next(inbox: &flume::Receiver<ToShard>, bell: &Bell) -> Option<ToShard> {
    let look = || match inbox.try_recv() {
        Ok(message) => Some(Some(message)),
        Err(flume::TryRecvError::Empty) => None,
        Err(flume::TryRecvError::Disconnected) => Some(None),
    };
    poll_fn(|context| bell.poll(context.waker(), look)).await
}

/// Takes what is there, up to the bound; says how many it took.
fn take(node: &Rc<Node>, inbox: &flume::Receiver<ToShard>) -> usize {
    for count in 0..MAIL_PER_TURN {
        match inbox.try_recv() {
            Ok(message) => handle(node, message),
            Err(_) => return count,
        }
    }
    MAIL_PER_TURN
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
        Some(ForNet::Drain) | None => {}
    }
}

/// Ticks until every socket is gone after a drain; keeps serving `/livez` meanwhile.
pub(crate) async fn ticks(node: Rc<Node>, inbox: flume::Receiver<ToShard>) {
    let mut report_at_ms = 0;
    let mut reported_drained = false;
    let mut due_ns = node.clock.mono_ns();
    loop {
        let round = async {
            loop {
                let (_, before) = node.now();
                due_ns = before + TICK.as_nanos() as u64;
                monoio::time::sleep(TICK).await;
                turn(&node, &inbox, due_ns, &mut report_at_ms);
                if !reported_drained && node.shard.borrow().is_drained() {
                    reported_drained = true;
                    node.with(|shard| shard.report_drained());
                }
            }
        };
        guard("ticks", round).await;
    }
}

fn turn(node: &Rc<Node>, inbox: &flume::Receiver<ToShard>, due_ns: u64, report_at_ms: &mut u64) {
    node.follow_wall_clock();
    let (now, ns) = node.now();
    // The timer wheel counts whole milliseconds, so up to two of them are no delay.
    let lag_ns = ns.saturating_sub(due_ns).saturating_sub(2_000_000);
    let beats = &node.shared.beats;
    if let Some(beat) = beats.get(usize::from(node.shard.borrow().id().0)) {
        beat.turn(now.mono_ms, lag_ns / 1000);
    }
    node.with(|shard| {
        shard.lagged(lag_ns, now);
        shard.tick(now);
    });
    // A wake-up lost between threads costs one tick, not for ever.
    take(node, inbox);
    let cut = node.waiters.borrow_mut().sweep(now.mono_ms);
    if cut > 0 {
        node.with(|shard| shard.metrics().add(Counter::HttpTimeout, cut));
    }
    if now.mono_ms >= *report_at_ms {
        let cfg = node.shard.borrow().cfg().clone();
        *report_at_ms = now.mono_ms + cfg.observability.metrics_interval_ms;
        report(node);
    }
}

fn report(node: &Rc<Node>) {
    let gauges = NetGauges {
        http: node.waiters.borrow().len() as u64,
        udp_sessions: 0,
        inbound_bytes: node.read_bytes.get() as u64,
    };
    node.with(|shard| shard.report(gauges));
}
