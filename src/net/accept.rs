//! Layer 4: accepted connections go to the HTTP front door.

use super::guard::guard;
use super::http;
use super::node::Node;
use super::socket::Socket;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Pause after a failed accept (out of descriptors, usually; ms).
const PAUSE_MS: u64 = 50;
/// Between two lines of failures: at the limit each connection that goes lets one in before the next fails.
const QUIET_MS: u64 = 10_000;

/// The listening socket's state.
#[derive(Default)]
pub(super) struct Accepting {
    /// Failures since the last line of the log.
    failures: u64,
    /// No line before this (`mono_ms`).
    quiet_until_ms: u64,
    /// When accepting starts again (`mono_ms`).
    again_at_ms: Option<u64>,
}

/// What an accept brought.
pub(super) fn accepted(node: &Rc<Node>, connection: io::Result<OwnedFd>, last: bool) {
    let mut accepting = node.accepting.take();
    match connection {
        Ok(fd) => {
            if last {
                node.accept();
            }
            serve(node, fd);
        }
        Err(error) => {
            let (now, _) = node.now();
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

/// Starts accepting again after the pause.
pub(super) fn sweep(node: &Rc<Node>, now_ms: u64) {
    let mut accepting = node.accepting.take();
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
