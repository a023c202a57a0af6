//! Layer 4: a plain HTTP connection as its tasks see it.

use super::links::Kind;
use super::node::{Net, Node};
use crate::io::{End, Token, Until};
use bytes::BytesMut;
use std::future::poll_fn;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// A handle to a link of kind `Http`; the socket closes with the last one.
pub(crate) struct Socket {
    node: Rc<Node>,
    token: Token,
    /// Not given up by [`Socket::into_fd`].
    counts: bool,
}

impl Clone for Socket {
    fn clone(&self) -> Self {
        if let Some(http) = &mut self.node.net.borrow_mut().links.get(self.token).http {
            http.handles += 1;
        }
        Self {
            node: self.node.clone(),
            token: self.token,
            counts: true,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.counts && self.let_go() {
            let Net { links, driver, .. } = &mut *self.node.net.borrow_mut();
            links.abandon(driver, self.token);
        }
    }
}

impl Socket {
    /// The first handle to a new connection.
    pub(crate) fn new(node: &Rc<Node>, fd: OwnedFd) -> Self {
        Self {
            token: node.net.borrow_mut().links.insert(fd),
            node: node.clone(),
            counts: true,
        }
    }

    /// Says whether this was the last handle of a link that is still plain HTTP.
    fn let_go(&self) -> bool {
        let mut net = self.node.net.borrow_mut();
        let link = net.links.get(self.token);
        match &mut link.http {
            Some(http) if link.kind == Kind::Http => {
                http.handles -= 1;
                http.handles == 0
            }
            _ => false,
        }
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.node.net.borrow_mut().links.get(self.token).fd
    }

    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// Appends what arrives next to `buf`; `false` when nothing more comes. One task reads at a time.
    pub(crate) async fn read(&self, buf: &mut BytesMut) -> bool {
        poll_fn(|context| {
            let Net { links, driver, .. } = &mut *self.node.net.borrow_mut();
            let link = links.get(self.token);
            let Some(http) = &mut link.http else {
                return Poll::Ready(false);
            };
            if !http.arrived.is_empty() {
                buf.extend_from_slice(&http.arrived);
                http.arrived.clear();
                return Poll::Ready(true);
            }
            if http.ended {
                return Poll::Ready(false);
            }
            http.reader = Some(context.waker().clone());
            link.receive(driver, self.token, Until::Once);
            Poll::Pending
        })
        .await
    }

    /// Writes everything; `false` when the connection broke. One task writes at a time.
    pub(crate) async fn write_all(&self, bytes: Vec<u8>) -> bool {
        if bytes.is_empty() {
            return true;
        }
        {
            let net = &mut *self.node.net.borrow_mut();
            let Some(http) = &mut net.links.get(self.token).http else {
                return false;
            };
            assert!(http.sending.is_none(), "one task writes at a time");
            http.sending = Some(bytes);
            http.sent = 0;
            http.outcome = None;
            send_rest(net, self.token);
        }
        poll_fn(|context| {
            let mut net = self.node.net.borrow_mut();
            let Some(http) = &mut net.links.get(self.token).http else {
                return Poll::Ready(false);
            };
            match http.outcome.take() {
                Some(outcome) => Poll::Ready(outcome),
                None => {
                    http.writer = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// No more is sent: the peer sees the end of the stream.
    pub(crate) fn finish(&self) {
        shutdown(self.raw_fd(), libc::SHUT_WR);
    }

    /// Ends both directions.
    pub(crate) fn cut(&self) {
        shutdown(self.raw_fd(), libc::SHUT_RDWR);
    }

    /// The descriptor, if this is the last handle and nothing is under way.
    pub(crate) fn into_fd(mut self) -> Option<OwnedFd> {
        self.counts = false;
        if !self.let_go() {
            return None;
        }
        let Net { links, driver, .. } = &mut *self.node.net.borrow_mut();
        links.take(driver, self.token)
    }
}

/// Ends one or both directions. What is under way then ends too: nothing has to be cancelled.
pub(super) fn shutdown(fd: RawFd, how: i32) {
    // SAFETY: no memory is involved; a descriptor that is gone yields an error, which changes nothing.
    unsafe { libc::shutdown(fd, how) };
}

/// A receive operation brought bytes.
pub(super) fn received(node: &Node, token: Token, bytes: &[u8], last: bool) {
    let Net { links, driver, .. } = &mut *node.net.borrow_mut();
    let link = links.get(token);
    link.receiving &= !last;
    if link.kind == Kind::Http
        && let Some(http) = &mut link.http
    {
        http.arrived.extend_from_slice(bytes);
        wake(&mut http.reader);
    }
    links.settle(driver, token);
}

/// A receive operation is over.
pub(super) fn ended(node: &Node, token: Token, end: End) {
    let Net { links, driver, .. } = &mut *node.net.borrow_mut();
    let link = links.get(token);
    link.receiving = false;
    if let Some(http) = &mut link.http {
        http.ended |= end == End::Closed;
        // A paused one starts again when its task asks.
        wake(&mut http.reader);
    }
    links.settle(driver, token);
}

/// A send is over.
pub(super) fn sent(node: &Node, token: Token, result: io::Result<usize>) {
    let net = &mut *node.net.borrow_mut();
    let link = net.links.get(token);
    let Some(http) = &mut link.http else {
        return;
    };
    let len = http.sending.as_ref().map_or(0, Vec::len);
    let went = match result {
        Ok(count @ 1..) => {
            http.sent += count;
            if http.sent < len && link.kind == Kind::Http {
                return send_rest(net, token);
            }
            true
        }
        Ok(0) | Err(_) => false,
    };
    http.sending = None;
    http.outcome = Some(went);
    wake(&mut http.writer);
    net.links.settle(&mut net.driver, token);
}

fn send_rest(net: &mut Net, token: Token) {
    let link = net.links.get(token);
    let Some((http, bytes)) = link
        .http
        .as_ref()
        .and_then(|http| Some((http, http.sending.as_ref()?)))
    else {
        return;
    };
    // SAFETY: `sending` is neither changed nor dropped before `Sent`: a link that is held keeps it. The bytes stand on the heap.
    unsafe { net.driver.send(token, link.fd, &bytes[http.sent..]) };
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
