//! Layer 4: a connection moves to the shard where its user lives: descriptor, identity and the bytes that were read too far.
//! Once per connection, between completed reads.

use super::conn;
use super::guard::guard;
use super::links::Reading;
use super::node::{Net, Node};
use super::socket::Socket;
use crate::base::close::CloseReason;
use crate::base::ids::UserId;
use crate::base::metrics::Counter;
use crate::io::Token;
use crate::session::event::PhoneFlags;
use crate::shard::admission::Candidate;
use crate::shard::frames::ReadStep;
use crate::shard::mailbox::ToShard;
use crate::shard::sockets::{Opening, PhoneAdmission};
use crate::wire::frame::{Message, Utf8Bytes, encode_close};
use crate::wire::http::{KeepAlive, Response};
use bytes::BytesMut;
use std::any::Any;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// A connection on its way to another shard.
pub(crate) struct Handoff {
    fd: OwnedFd,
    leftover: BytesMut,
    arrival: Arrival,
}

/// What kind of connection arrives.
pub(crate) enum Arrival {
    /// A phone, before its 101.
    Phone {
        user: UserId,
        flags: PhoneFlags,
        switch: Vec<u8>,
    },
    /// An app server, before its 101.
    App {
        candidate: Box<Candidate>,
        switch: Vec<u8>,
    },
    /// An app server that named this user in its first message.
    AppAfterHello {
        candidate: Box<Candidate>,
        text: Utf8Bytes,
    },
    /// A conformance suite.
    Echo { switch: Vec<u8> },
}

/// A connection that waits for its reader and writer to end before it goes.
pub(super) struct Leaving {
    pub(super) user: UserId,
    pub(super) text: Utf8Bytes,
    pub(super) candidate: Candidate,
}

/// Sends a socket to the home shard of `user`. If that shard's inbox is full the socket closes and the peer comes again.
pub(crate) fn send(node: &Node, user: &UserId, fd: OwnedFd, leftover: BytesMut, arrival: Arrival) {
    assert!(
        !node.shard.borrow().is_home(user),
        "nobody is sent home from home"
    );
    let handoff = Handoff {
        fd,
        leftover,
        arrival,
    };
    let sent = node
        .mail
        .send_home(user, ToShard::Handoff(Box::new(handoff)));
    if sent.is_err() {
        node.with(|shard| {
            shard.metrics().inc(Counter::MailboxFull);
        });
    }
}

/// Sends a leaving connection on, once the kernel holds nothing of it and its writer is over.
pub(super) fn leave_if_ready(node: &Node, net: &mut Net, token: Token) {
    let is_held = net.links.is_held(token);
    let link = net.links.get(token);
    if is_held || !link.writer_over || link.reading != Reading::Leaving {
        return;
    }
    let (id, leaving) = (link.id, link.leaving.take());
    let leftover = BytesMut::from(link.carry.as_ref().map_or(&[][..], |carry| carry));
    let (_, ns) = node.now();
    node.with(|shard| shard.left(id, ns));
    let fd = net.links.take(&mut net.driver, token);
    if let (Some(fd), Some(leaving)) = (fd, leaving) {
        let arrival = Arrival::AppAfterHello {
            candidate: Box::new(leaving.candidate),
            text: leaving.text,
        };
        send(node, &leaving.user, fd, leftover, arrival);
    }
}

/// A connection arrived from another shard.
pub(crate) fn receive(node: &Rc<Node>, content: Box<dyn Any + Send>) {
    let Ok(handoff) = content.downcast::<Handoff>() else {
        return;
    };
    let Handoff {
        fd,
        leftover,
        arrival,
    } = *handoff;
    adopt(node, Socket::new(node, fd), leftover, arrival);
}

/// The counter for how an upgrade ended. Only here, at its home, is that known; `None`: it was counted before, or is not counted.
fn outcome(arrival: &Arrival, opened: bool, reason: CloseReason) -> Option<Counter> {
    let draining = reason == CloseReason::ServerShutdown;
    match (arrival, opened) {
        (Arrival::Phone { .. }, true) => Some(Counter::UpgradePhoneOk),
        (Arrival::App { .. }, true) => Some(Counter::UpgradeAppOk),
        (Arrival::Phone { .. } | Arrival::App { .. }, false) if draining => {
            Some(Counter::UpgradeShutdown)
        }
        (Arrival::Phone { .. }, false) => Some(Counter::UpgradePhoneRefused),
        _ => None,
    }
}

/// What a socket hears that has no place here: `response`, or a close for `reason` where the upgrade is long done.
fn refusal(arrival: &Arrival, response: &Response, reason: CloseReason) -> Vec<u8> {
    let mut out = Vec::new();
    if matches!(arrival, Arrival::AppAfterHello { .. }) {
        encode_close(reason.code(), reason.text(), &mut out);
    } else {
        response.encode(KeepAlive::Close, &mut out);
    }
    out
}

/// Makes a WebSocket connection of a socket, at its home.
pub(crate) fn adopt(node: &Rc<Node>, socket: Socket, leftover: BytesMut, arrival: Arrival) {
    let (now, ns) = node.now();
    let handle = socket.raw_fd();
    let link = node.net.borrow_mut().links.place(socket.token());
    let opening = |switch| Opening {
        handle,
        link,
        switch,
    };
    let opened: Result<_, Box<Response>> = node.with(|shard| {
        shard.at(now);
        if shard.is_draining() {
            return Err(Box::new(Response::text(503, "Server is shutting down")));
        }
        let id = match &arrival {
            Arrival::Phone {
                user,
                flags,
                switch,
            } => {
                if shard.admission(user) == PhoneAdmission::Refused {
                    return Err(Box::new(
                        Response::text(503, "Server is overloaded").with_header("Retry-After", "5"),
                    ));
                }
                shard.open_phone(user, *flags, opening(switch))
            }
            Arrival::App { candidate, switch } => {
                shard.open_app((**candidate).clone(), opening(switch))
            }
            Arrival::AppAfterHello { candidate, text } => {
                let id = shard.open_app((**candidate).clone(), opening(&[]));
                if let Some(id) = id {
                    shard.begin_turn(id, now, ns);
                    let flow = shard.message(id, Message::Text(text.clone()));
                    assert!(!matches!(flow, ReadStep::Leave(..)), "it arrived at home");
                    shard.end_turn(id, || node.clock.mono_ns());
                }
                id
            }
            Arrival::Echo { switch } => shard.open_echo(opening(switch)),
        };
        id.ok_or_else(|| Box::new(Response::text(503, "Too many connections")))
    });
    let reason = match node.shard.borrow().is_draining() {
        true => CloseReason::ServerShutdown,
        false => CloseReason::Overloaded,
    };
    if let Some(counter) = outcome(&arrival, opened.is_ok(), reason) {
        node.with(|shard| shard.metrics().inc(counter));
    }
    match opened {
        Ok(id) => conn::open(node, socket.token(), id, leftover),
        Err(response) => node.spawn(async move {
            let task = async {
                socket.write_all(refusal(&arrival, &response, reason)).await;
                socket.finish();
            };
            guard("refusal", task).await;
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_spoke_already_hears_a_close_and_no_http() {
        let response = Response::text(503, "Server is shutting down");
        let spoken = Arrival::AppAfterHello {
            candidate: Box::default(),
            text: Utf8Bytes::default(),
        };
        let reason = CloseReason::ServerShutdown;
        let close = refusal(&spoken, &response, reason);
        assert_eq!(close[..4], [0x88, 22, 0x03, 0xE9]);
        assert!(close.ends_with(b"Server shutting down"));
        let upgrading = Arrival::App {
            candidate: Box::default(),
            switch: Vec::new(),
        };
        assert!(refusal(&upgrading, &response, reason).starts_with(b"HTTP/1.1 503 "));
    }
}
