//! Layer 4: a connection moves to the shard where its user lives: descriptor, identity and the bytes that were read too far.
//! Once per connection, between completed reads.

use super::conn;
use super::node::Node;
use super::socket::Socket;
use crate::base::ids::{ConnId, UserId};
use crate::session::event::PhoneFlags;
use crate::shard::admission::Candidate;
use crate::shard::frames::Flow;
use crate::shard::mailbox::ToShard;
use crate::shard::sockets::{Admission, Opening};
use crate::wire::frame::Message;
use crate::wire::http::{KeepAlive, Response};
use bytes::{Bytes, BytesMut};
use monoio::net::TcpStream;
use std::any::Any;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// What travels.
pub(crate) struct Handoff {
    fd: OwnedFd,
    leftover: BytesMut,
    arrival: Arrival,
}

/// Who comes.
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
    Spoken {
        candidate: Box<Candidate>,
        text: Bytes,
    },
    /// A conformance suite.
    Echo { switch: Vec<u8> },
}

/// Sends a socket to the home shard of `user`. If that shard's inbox is full the socket closes and the peer comes again.
pub(crate) fn send(
    node: &Node,
    user: &UserId,
    socket: Socket,
    leftover: BytesMut,
    arrival: Arrival,
) {
    assert!(
        !node.shard.borrow().is_home(user),
        "nobody is sent home from home"
    );
    let Some(fd) = socket.into_fd() else {
        return;
    };
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
            shard
                .metrics()
                .inc(crate::base::metrics::Counter::MailboxFull);
        });
    }
}

/// [`Flow::Leave`]: waits for the writer, then sends the connection on.
pub(crate) async fn leave(
    node: &Rc<Node>,
    id: ConnId,
    socket: Socket,
    user: UserId,
    text: Bytes,
    leftover: BytesMut,
) {
    let Some(mut candidate) = node.with(|shard| shard.leave(id)) else {
        return node.read_ended(id);
    };
    candidate.resolved = Some(user.clone());
    poll_fn(|context| {
        let (_, ns) = node.now();
        node.with(|shard| shard.poll_left(id, context.waker(), ns))
    })
    .await;
    // The writer's task ends right after it said so; its handle goes with it.
    while socket.is_shared() {
        node.let_others_run().await;
    }
    let arrival = Arrival::Spoken {
        candidate: Box::new(candidate),
        text,
    };
    send(node, &user, socket, leftover, arrival);
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
    let stream = std::net::TcpStream::from(fd);
    match TcpStream::from_std(stream) {
        Ok(stream) => adopt(node, Socket::new(stream), leftover, arrival),
        Err(error) => tracing::warn!(%error, "a handed-over socket could not be used"),
    }
}

/// Makes a WebSocket connection of a socket, at its home.
pub(crate) fn adopt(node: &Rc<Node>, socket: Socket, leftover: BytesMut, arrival: Arrival) {
    let (now, ns) = node.now();
    let handle = socket.raw_fd();
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
                if shard.admission(user) == Admission::Refused {
                    return Err(Box::new(
                        Response::text(503, "Server is overloaded").with_header("Retry-After", "5"),
                    ));
                }
                shard.open_phone(user, *flags, Opening { handle, switch })
            }
            Arrival::App { candidate, switch } => {
                shard.open_app((**candidate).clone(), Opening { handle, switch })
            }
            Arrival::Spoken { candidate, text } => {
                let opening = Opening {
                    handle,
                    switch: &[],
                };
                let id = shard.open_app((**candidate).clone(), opening);
                if let Some(id) = id {
                    shard.begin_turn(id, now, ns);
                    let flow = shard.message(id, Message::Text(text.clone()));
                    assert!(!matches!(flow, Flow::Leave(..)), "it arrived at home");
                    shard.end_turn(id, || node.clock.mono_ns());
                }
                id
            }
            Arrival::Echo { switch } => shard.open_echo(Opening { handle, switch }),
        };
        id.ok_or_else(|| Box::new(Response::text(503, "Too many connections")))
    });
    match opened {
        Ok(id) => conn::spawn(node, id, &socket, leftover),
        Err(response) => {
            monoio::spawn(async move {
                let mut out = Vec::new();
                response.encode(KeepAlive::Close, &mut out);
                socket.write_all(out).await;
                socket.finish();
            });
        }
    }
}
