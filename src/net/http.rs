//! Layer 4: the HTTP front door: one request head at a time, bounded in size and time, then the upgrade or an answer. Framing
//! rules are those of `wire::http`; routes and authentication are those of `shard::routes`.

use super::node::Node;
use super::reply::{self, After};
use super::socket::Socket;
use super::waiters::Key;
use super::{accept, peer, upgrade};
use crate::base::metrics::Counter;
use crate::shard::mailbox::{ForUpstream, ToOutside};
use crate::shard::routes;
use crate::wire::http::{
    BodyReader, CONTINUE, HeadError, HeadStatus, KeepAlive, LINGER_BYTES, LINGER_MS, RequestHead,
    Response, parse_head,
};
use bytes::{Bytes, BytesMut};
use std::net::IpAddr;
use std::rc::Rc;

/// Room for a request head (bytes): an upgrade request with a token fits.
const READ_BYTES: usize = 2048;

/// Serves one accepted connection.
pub(crate) async fn serve(node: Rc<Node>, socket: Socket, peer: IpAddr) {
    let (max, head_ms) = {
        let shard = node.shard.borrow();
        let http = &shard.cfg().http;
        (http.http_connections_max, http.http_head_timeout_ms)
    };
    if node.waiters.borrow().len() as u64 >= max {
        accept::make_room(&node);
        return node.with(|shard| shard.metrics().inc(Counter::HttpOverLimit));
    }
    let (now, _) = node.now();
    let key = node
        .waiters
        .borrow_mut()
        .open(socket.raw_fd(), now.mono_ms + head_ms);
    let place = Place { node: &node, key };
    requests(&node, socket, peer, place).await;
}

/// A connection's place among the waiters; given back however the task ends.
struct Place<'a> {
    node: &'a Rc<Node>,
    key: Key,
}

impl Place<'_> {
    /// A request's body must be there within this.
    fn limit(&self, ms: u64) {
        self.set(ms, false);
    }

    /// A request's head must.
    fn limit_head(&self, ms: u64) {
        self.set(ms, true);
    }

    fn set(&self, ms: u64, idle: bool) {
        let (now, _) = self.node.now();
        let mut waiters = self.node.waiters.borrow_mut();
        waiters.limit(self.key, now.mono_ms + ms, idle);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.node.waiters.borrow_mut().close(self.key);
    }
}

async fn requests(node: &Rc<Node>, socket: Socket, peer: IpAddr, mut place: Place<'_>) {
    let cfg = node.shard.borrow().cfg().clone();
    let mut buf = BytesMut::with_capacity(READ_BYTES);
    loop {
        let head = match read_head(&socket, &mut buf, &place, cfg.http.http_head_timeout_ms).await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(error) => {
                let counter = match error {
                    HeadError::Tls => Counter::HttpTls,
                    _ => Counter::HttpRefused,
                };
                node.with(|shard| shard.metrics().inc(counter));
                let response = error.response();
                return refuse(&socket, &place, response, reply::new_request_id(node)).await;
            }
        };
        if head.wants_upgrade() {
            drop(place);
            if let Err((socket, response)) = upgrade::run(node, socket, &head, buf, peer) {
                let (now, _) = node.now();
                let place = Place {
                    node,
                    key: node
                        .waiters
                        .borrow_mut()
                        .open(socket.raw_fd(), now.mono_ms + LINGER_MS),
                };
                let id = reply::request_id(node, &head);
                refuse(&socket, &place, *response, id).await;
            }
            return;
        }
        if goes_upstream(node, &head) {
            drop(place);
            return to_upstream(node, socket, head, buf, peer);
        }
        let (body_max, body_ms) = reply::judge(node, &head, &Bytes::new(), routes::body_limits);
        place.limit(body_ms);
        // Until the answer is there, others may keep the body: a tool that is slow, a store that is away.
        let (body, held) = match read_body(node, &socket, &head, &mut buf, body_max as usize).await
        {
            Ok(Some(body)) => body,
            Ok(None) => return,
            Err(response) => {
                let id = reply::request_id(node, &head);
                let response = readable(node, &head, response);
                return refuse(&socket, &place, response, id).await;
            }
        };
        let request = reply::Request {
            head: &head,
            body,
            peer,
        };
        let after = reply::answer(node, &socket, &mut place.key, request).await;
        // Before the client sees the end of its answer: it may have more to send, or take its time to leave.
        drop(held);
        match after {
            After::Next if cfg.http.http_keepalive_ms > 0 => {
                place.limit_head(cfg.http.http_keepalive_ms);
            }
            After::Next | After::Close => return linger(&socket, &place).await,
            After::Done | After::Broken => return,
        }
    }
}

fn goes_upstream(node: &Node, head: &RequestHead) -> bool {
    let shard = node.shard.borrow();
    routes::goes_upstream(head, shard.cfg(), &node.shared)
}

/// Gives the connection to the outside thread, which answers this one request and closes it.
fn to_upstream(node: &Node, socket: Socket, head: RequestHead, early: BytesMut, peer: IpAddr) {
    let request_id = reply::request_id(node, &head);
    let peer = {
        let shard = node.shard.borrow();
        let trusted = &shard.cfg().server.trusted_proxies;
        peer::effective(peer, &head, trusted)
    };
    // No other task of this connection runs, so this is its only handle.
    let Some(connection) = socket.into_fd() else {
        return;
    };
    let request = ForUpstream {
        connection,
        head,
        early,
        peer,
        request_id,
    };
    let message = ToOutside::Upstream(Box::new(request));
    let counter = match node.outside.try_send(message) {
        Ok(()) => Counter::HttpUpstream,
        Err(_) => Counter::MailboxFull,
    };
    node.with(|shard| shard.metrics().inc(counter));
}

/// Reads until a head is complete. `None`: the client left, or was too slow.
async fn read_head(
    socket: &Socket,
    buf: &mut BytesMut,
    place: &Place<'_>,
    head_ms: u64,
) -> Result<Option<RequestHead>, HeadError> {
    let mut begun = !buf.is_empty();
    if begun {
        place.limit_head(head_ms);
    }
    loop {
        // A robust server ignores empty lines before a request line (RFC 9112 §2.2).
        while buf.starts_with(b"\r\n") {
            let _ = buf.split_to(2);
        }
        if !buf.is_empty() {
            match parse_head(buf)? {
                HeadStatus::Complete { head, consumed } => {
                    let _ = buf.split_to(consumed);
                    return Ok(Some(head));
                }
                HeadStatus::Partial => {}
            }
            if !std::mem::replace(&mut begun, true) {
                place.limit_head(head_ms);
            }
        }
        if !socket.read(buf).await {
            return Ok(None);
        }
    }
}

/// The bytes of one request's body until it is answered.
struct Held<'a> {
    node: &'a Node,
    bytes: usize,
}

impl Held<'_> {
    /// It has so many now. Whether a shard may hold them all.
    fn grew(&mut self, bytes: usize) -> bool {
        let all = self.node.body_bytes.get() - self.bytes + bytes;
        self.node.body_bytes.set(all);
        self.bytes = bytes;
        let shard = self.node.shard.borrow();
        all as u64 <= shard.cfg().http.http_bodies_bytes_max
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let others = self.node.body_bytes.get() - self.bytes;
        self.node.body_bytes.set(others);
    }
}

/// Too many bodies are being read or answered: anybody may send one, so that without a bound they would take all memory.
fn crowded() -> Response {
    Response::text(503, "Server is busy").with_header("Retry-After", "5")
}

/// A page in a browser learns why its body was refused only where the answer allows its origin.
fn readable(node: &Node, head: &RequestHead, response: Response) -> Response {
    let shard = node.shard.borrow();
    let fields = routes::cors(&shard.cfg().http, head);
    fields
        .into_iter()
        .fold(response, |response, (name, value)| {
            response.with_header(name, value)
        })
}

/// Reads the request's body. `None`: the connection broke or its time was up.
async fn read_body<'a>(
    node: &'a Node,
    socket: &Socket,
    head: &RequestHead,
    buf: &mut BytesMut,
    max: usize,
) -> Result<Option<(Bytes, Held<'a>)>, Response> {
    let mut reader = BodyReader::new(head.body, max).map_err(|error| error.response())?;
    let mut body = Vec::new();
    let mut held = Held { node, bytes: 0 };
    let mut invited = !head.expects_continue();
    loop {
        let whole = reader
            .read_into(buf, &mut body)
            .map_err(|error| error.response())?;
        if !body.is_empty() && !held.grew(body.len()) {
            return Err(crowded());
        }
        if whole {
            return Ok(Some((Bytes::from(body), held)));
        }
        if !std::mem::replace(&mut invited, true) && !socket.write_all(CONTINUE.to_vec()).await {
            return Ok(None);
        }
        if !socket.read(buf).await {
            return Ok(None);
        }
    }
}

/// Answers a request that cannot be served and closes.
async fn refuse(socket: &Socket, place: &Place<'_>, response: Response, request_id: String) {
    let response = response.with_header("X-Request-Id", request_id);
    let counter = reply::status_counter(response.status);
    place.node.with(|shard| shard.metrics().inc(counter));
    let mut out = Vec::new();
    response.encode(KeepAlive::Close, &mut out);
    if socket.write_all(out).await {
        linger(socket, place).await;
    }
}

/// Closes so that the client can still read what it was sent: closing with unread input would reset the connection.
async fn linger(socket: &Socket, place: &Place<'_>) {
    socket.finish();
    let body_ms = place.node.shard.borrow().cfg().http.http_body_timeout_ms;
    let end_ms = place.node.now().0.mono_ms + body_ms;
    let mut buf = BytesMut::with_capacity(READ_BYTES);
    let mut left = LINGER_BYTES;
    while left > 0 {
        let left_ms = end_ms.saturating_sub(place.node.now().0.mono_ms);
        place.limit(LINGER_MS.min(left_ms));
        if !socket.read(&mut buf).await {
            return;
        }
        left = left.saturating_sub(buf.len());
        buf.clear();
    }
}
