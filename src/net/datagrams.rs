//! Layer 4: the socket for audio datagrams (protocol.md §11): what arrives goes to the shard, and nothing is ever sent.

use super::links::Kind;
use super::node::{Net, Node};
use crate::base::metrics::Counter;
use crate::io::{Token, Until};
use std::os::fd::OwnedFd;

/// How often receiving starts again between two ticks: an empty datagram ends it as an error does, and an error may stay. More than
/// anybody can send of empty ones in that time: they would keep audio waiting.
const STARTS_PER_TICK: u32 = 1024;

/// The socket's state.
#[derive(Clone, Copy, Default)]
pub(super) struct Receiving {
    token: Option<Token>,
    starts: u32,
}

/// Takes datagrams from now on.
pub(super) fn open(node: &Node, fd: OwnedFd) {
    let token = {
        let net = &mut *node.net.borrow_mut();
        let token = net.links.insert(fd);
        let link = net.links.get(token);
        link.kind = Kind::Datagrams;
        link.http = None;
        token
    };
    node.receiving.set(Receiving {
        token: Some(token),
        starts: 0,
    });
    start(node, token);
}

/// One datagram arrived.
pub(super) fn received(node: &Node, token: Token, bytes: &mut [u8], last: bool) {
    let (now, began_ns) = node.now();
    let slow_ms = node.with(|shard| {
        shard.at(now);
        shard.datagram(bytes);
        shard.cfg().udp.udp_audio_slow_ms
    });
    let took_ms = node.clock.mono_ns().saturating_sub(began_ns) / 1_000_000;
    if took_ms > slow_ms {
        node.with(|shard| shard.metrics().inc(Counter::SlowUdpAudio));
        tracing::warn!(took_ms, "slow UDP audio");
    }
    if last {
        ended(node, token);
    }
}

/// One arrived that no receive buffer holds. A piece of it would be taken for audio, or for a forgery where that is sealed.
#[cold]
pub(super) fn too_long(node: &Node, token: Token, last: bool) {
    node.with(|shard| {
        shard.metrics().inc(Counter::UdpReceived);
        shard.metrics().inc(Counter::UdpDropped);
    });
    if last {
        ended(node, token);
    }
}

/// The receive operation is over.
pub(super) fn ended(node: &Node, token: Token) {
    node.net.borrow_mut().links.get(token).receiving = false;
    start(node, token);
}

/// Makes up for starts that were put off.
pub(super) fn sweep(node: &Node) {
    let mut receiving = node.receiving.get();
    receiving.starts = 0;
    node.receiving.set(receiving);
    if let Some(token) = receiving.token {
        start(node, token);
    }
}

fn start(node: &Node, token: Token) {
    let mut receiving = node.receiving.get();
    let Net { links, driver, .. } = &mut *node.net.borrow_mut();
    let link = links.get(token);
    if !link.receiving && receiving.starts < STARTS_PER_TICK {
        receiving.starts += 1;
        node.receiving.set(receiving);
        link.receive(driver, token, Until::StoppedDatagrams);
    }
}
