//! Layer 4: WebSocket upgrades (protocol.md §1.2–1.4), in the order of checks that clients know.

use super::handoff::{self, Arrival};
use super::node::{Echo, Node};
use super::peer;
use super::socket::Socket;
use crate::base::ids::UserId;
use crate::base::metrics::Counter;
use crate::session::event::{PhoneFlags, UdpSecret};
use crate::shard::admission::Candidate;
use crate::wire::http::{RequestHead, Response};
use crate::wire::upgrade::{self, Rejection, SocketPath};
use bytes::BytesMut;
use std::net::IpAddr;
use std::rc::Rc;

/// Upgrades a connection, here or on its home shard. A refusal comes back with the socket.
pub(crate) fn run(
    node: &Rc<Node>,
    socket: Socket,
    head: &RequestHead,
    leftover: BytesMut,
    peer: IpAddr,
) -> Result<(), (Socket, Box<Response>)> {
    let judged = match socket.raw_fd() >= node.spare_from {
        true => Err(no_descriptors()),
        false => judge(node, head, peer),
    };
    let (home, arrival) = match judged {
        Ok(arrival) => arrival,
        Err((counter, response)) => {
            node.with(|shard| shard.metrics().inc(counter));
            return Err((socket, response));
        }
    };
    match home {
        Some(user) if !node.shard.borrow().is_home(&user) => {
            node.with(|shard| shard.metrics().inc(Counter::HandoffsOut));
            if let Some(fd) = socket.into_fd() {
                handoff::send(node, &user, fd, leftover, arrival);
            }
        }
        _ => handoff::adopt(node, socket, leftover, arrival),
    }
    Ok(())
}

type Refusal = (Counter, Box<Response>);

/// The last descriptors are for probes, REST and our own calls: a WebSocket would keep one.
fn no_descriptors() -> Refusal {
    let response = Response::text(503, "Server is overloaded").with_header("Retry-After", "5");
    (Counter::UpgradeNoDescriptors, Box::new(response))
}

/// Who asks, and where its home is, if that is known yet.
fn judge(
    node: &Node,
    head: &RequestHead,
    peer: IpAddr,
) -> Result<(Option<UserId>, Arrival), Refusal> {
    if node.shared.is_draining() {
        let response = Response::text(503, "Server is shutting down");
        return Err((Counter::UpgradeShutdown, Box::new(response)));
    }
    let (now, _) = node.now();
    let rejected = |rejection: Rejection| {
        let counter = match rejection {
            Rejection::NoToken => Counter::UpgradePhoneNoToken,
            Rejection::BadToken | Rejection::NoUser => Counter::UpgradePhoneBadToken,
            Rejection::MissingHeaders | Rejection::JwtInvalid(_) => Counter::UpgradeAppBadToken,
        };
        (counter, Box::new(rejection.response(now.iso().as_str())))
    };
    let switch = || {
        upgrade::accept(head)
            .map_err(|error| (Counter::UpgradeBadHandshake, Box::new(error.response())))
    };
    match upgrade::socket_path(&head.route_path()) {
        Some(SocketPath::Glasses) => {
            let hello = upgrade::phone_upgrade(head, &node.keys, now.unix_s()).map_err(rejected)?;
            let user = UserId::new(&hello.user);
            let flags = PhoneFlags {
                udp_encryption: hello.udp_encryption,
                livekit: hello.livekit,
                secret: if hello.udp_encryption {
                    random_secret()
                } else {
                    UdpSecret::default()
                },
            };
            let switch = switch()?;
            let arrival = Arrival::Phone {
                user: user.clone(),
                flags,
                switch,
            };
            Ok((Some(user), arrival))
        }
        Some(SocketPath::App) => {
            let headers = upgrade::app_upgrade(head, &node.keys, now.unix_s()).map_err(rejected)?;
            let home = headers.user.as_deref().map(UserId::new);
            let trusted = node.shard.borrow().cfg().server.trusted_proxies.clone();
            let candidate = Candidate {
                headers,
                address: Some(peer::effective(peer, head, &trusted)),
                ..Candidate::default()
            };
            let switch = switch()?;
            let arrival = Arrival::App {
                candidate: Box::new(candidate),
                switch,
            };
            Ok((home, arrival))
        }
        Some(SocketPath::Echo) if node.echo == Echo::On => {
            Ok((None, Arrival::Echo { switch: switch()? }))
        }
        Some(SocketPath::Echo) | None => {
            let response = Response::text(404, "Unknown WebSocket path");
            Err((Counter::UpgradeUnknownPath, Box::new(response)))
        }
    }
}

/// Fresh key material; all zero (no encryption offered) if the kernel has none to give.
fn random_secret() -> UdpSecret {
    let mut secret = [0; 32];
    // SAFETY: the buffer is writable and as long as said.
    let count = unsafe { libc::getrandom(secret.as_mut_ptr().cast(), secret.len(), 0) };
    if count == 32 {
        UdpSecret(secret)
    } else {
        UdpSecret::default()
    }
}
