//! Layer 4: accepted connections go to the HTTP front door.

use super::guard::guard;
use super::http;
use super::node::Node;
use super::socket::Socket;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;

/// Pause after a failed accept (out of descriptors, usually; ms).
const PAUSE_MS: u64 = 50;
/// Between two lines of failures: at the limit each connection that goes lets one in before the next fails.
const QUIET_MS: u64 = 10_000;

/// How many descriptors WebSockets may not take: probes, REST and our own calls go on with them. A part of all, within this range.
const SPARE: std::ops::RangeInclusive<u64> = 8..=256;
/// That part: one in so many.
const SPARE_PART: u64 = 16;
/// While descriptors are short, a connection that brings no request is cut after this long, and such connections are looked for
/// as often (ms).
const HURRY_MS: u64 = 250;

/// The first descriptor that is kept free of WebSockets. The kernel gives the lowest free one, so a connection at it or above says
/// that all below are in use.
pub(super) fn spare_from() -> RawFd {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` lives during the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return RawFd::MAX;
    }
    let spare = (limit.rlim_cur / SPARE_PART).clamp(*SPARE.start(), *SPARE.end());
    RawFd::try_from(limit.rlim_cur.saturating_sub(spare)).unwrap_or(RawFd::MAX)
}

/// The listening socket's state.
#[derive(Default)]
pub(super) struct Accepting {
    /// Failures since the last line of the log.
    failures: u64,
    /// No line before this (`mono_ms`).
    quiet_until_ms: u64,
    /// When accepting starts again (`mono_ms`).
    again_at_ms: Option<u64>,
    /// The next look for connections that may make room (`mono_ms`).
    hurry_at_ms: u64,
    /// No line about few descriptors before this (`mono_ms`).
    few_quiet_until_ms: u64,
}

impl Accepting {
    /// Descriptors run out: who has sent no request yet, or none for a while, makes room for probes, on every shard.
    fn hurry(&mut self, node: &Node, now_ms: u64) {
        // Long enough for each shard to look again at those that came since it last did.
        node.shared.run_short(now_ms + 2 * HURRY_MS);
        self.look(node, now_ms);
    }

    fn look(&mut self, node: &Node, now_ms: u64) {
        if now_ms >= self.hurry_at_ms {
            self.hurry_at_ms = now_ms + HURRY_MS;
            node.waiters.borrow_mut().hurry(now_ms + HURRY_MS);
        }
    }
}

/// A shard has as many plain connections as it may: who has sent no request yet, or none for a while, makes room for others.
pub(super) fn make_room(node: &Node) {
    let (now, _) = node.now();
    let mut accepting = node.accepting.take();
    accepting.look(node, now.mono_ms);
    node.accepting.set(accepting);
}

/// What an accept brought.
pub(super) fn accepted(node: &Rc<Node>, connection: io::Result<OwnedFd>, last: bool) {
    let mut accepting = node.accepting.take();
    match connection {
        Ok(fd) => {
            if last {
                node.accept();
            }
            if fd.as_raw_fd() >= node.spare_from {
                let (now, _) = node.now();
                if now.mono_ms >= accepting.few_quiet_until_ms {
                    accepting.few_quiet_until_ms = now.mono_ms + QUIET_MS;
                    tracing::error!(descriptor = fd.as_raw_fd(), "few descriptors are left");
                }
                accepting.hurry(node, now.mono_ms);
            }
            serve(node, fd);
        }
        Err(error) => {
            let (now, _) = node.now();
            accepting.hurry(node, now.mono_ms);
            accepting.failures += 1;
            if now.mono_ms >= accepting.quiet_until_ms {
                accepting.quiet_until_ms = now.mono_ms + QUIET_MS;
                let failures = std::mem::take(&mut accepting.failures);
                tracing::error!(%error, failures, "accept fails");
            }
            accepting.again_at_ms = Some(now.mono_ms + PAUSE_MS);
        }
    }
    node.accepting.set(accepting);
}

/// Starts accepting again after the pause, and makes room where another shard needs it.
pub(super) fn sweep(node: &Rc<Node>, now_ms: u64) {
    let mut accepting = node.accepting.take();
    if node.shared.is_short(now_ms) {
        accepting.look(node, now_ms);
    }
    if accepting.again_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
        accepting.again_at_ms = None;
        node.accept();
    }
    node.accepting.set(accepting);
}

fn serve(node: &Rc<Node>, fd: OwnedFd) {
    let stream = TcpStream::from(fd);
    let _ = stream.set_nodelay(true);
    // Gone already: nobody to serve.
    let Ok(peer) = stream.peer_addr() else {
        return;
    };
    let socket = Socket::new(node, stream.into());
    let task = http::serve(node.clone(), socket, peer.ip());
    node.spawn(async {
        guard("http connection", task).await;
    });
}
