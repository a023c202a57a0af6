//! Layer 4: one request to its answer: locally, from a session (here or on another shard) or from the outside thread; whole
//! or streamed.

use super::node::Node;
use super::peer;
use super::socket::Socket;
use super::waiters::Key;
use crate::base::ids::{Origin, ReplyTo, UserId, home_shard};
use crate::base::metrics::Counter;
use crate::base::settings::Apps;
use crate::session::effects::RestAnswer;
use crate::session::rest::Call;
use crate::shard::mailbox::{
    Answer, OutsideRequest, OutsideRoute, RESTART_MS, TOOL_PAUSE_MS, ToOutside, ToShard,
};
use crate::shard::routes::{self, Decision, Envelope};
use crate::wire::http::{KeepAlive, Method, RequestHead, as_text, encode_chunk, encode_last_chunk};
use bytes::{Bytes, BytesMut};
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;

/// Beyond the longest limit of a service or session, which answer by themselves (ms).
const ANSWER_SLACK_MS: u64 = 5000;
/// The client must take so much of an answer within `http_body_timeout_ms`.
const PIECE_BYTES: usize = 64 * 1024;
/// A streamed answer that brings nothing for this long ends (ms); the session's own limits come first.
const STREAM_IDLE_MS: u64 = 120_000;

/// One request, read whole.
pub(crate) struct Request<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) body: Bytes,
    pub(crate) peer: IpAddr,
}

/// What becomes of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum After {
    /// It serves another request.
    Next,
    /// It closes behind the answer.
    Close,
    /// A streamed answer was sent whole and the connection shut down.
    Done,
    /// It is gone.
    Broken,
}

pub(crate) fn status_counter(status: u16) -> Counter {
    match status {
        0..=299 => Counter::Http2xx,
        300..=399 => Counter::Http3xx,
        400..=499 => Counter::Http4xx,
        _ => Counter::Http5xx,
    }
}

/// The client's own id of this request, or a new one.
pub(crate) fn request_id(node: &Node, head: &RequestHead) -> String {
    head.header("x-request-id")
        .or_else(|| head.header("x-correlation-id"))
        .filter(|id| !id.is_empty() && id.len() <= 128 && id.is_ascii())
        .map_or_else(|| new_request_id(node), str::to_owned)
}

/// The id of a request that brought none, or of bytes that are none.
pub(crate) fn new_request_id(node: &Node) -> String {
    format!("{:016x}", node.clock.mono_ns() ^ fastrand::u64(..))
}

/// What the request says of its answer.
fn envelope(node: &Node, head: &RequestHead) -> Envelope {
    let shard = node.shard.borrow();
    Envelope {
        keep: if head.keep_alive() {
            KeepAlive::Keep
        } else {
            KeepAlive::Close
        },
        head_only: head.method == Method::Head,
        http10: head.version_minor == 0,
        cors: routes::cors(&shard.cfg().http, head),
        request_id: request_id(node, head),
    }
}

/// What the routes say of a request.
pub(crate) fn judge<T>(
    node: &Node,
    head: &RequestHead,
    body: &Bytes,
    ask: impl FnOnce(&routes::Ask<'_>) -> T,
) -> T {
    let (now, _) = node.now();
    let shard = node.shard.borrow();
    ask(&routes::Ask {
        head,
        body,
        keys: &node.keys,
        apps: shard.apps(),
        cfg: shard.cfg(),
        shared: &node.shared,
        now,
    })
}

/// Answers one request.
pub(crate) async fn answer(
    node: &Rc<Node>,
    socket: &Socket,
    key: &mut Key,
    request: Request<'_>,
) -> After {
    let mut envelope = envelope(node, request.head);
    let decision = judge(node, request.head, &request.body, routes::decide);
    let streamed_for = match &decision {
        Decision::Session(user, Call::AudioStream { .. }) => Some(user.clone()),
        _ => None,
    };
    let first = match decision {
        Decision::Answer(answer) => Some(Answer::Whole(answer)),
        Decision::Session(user, call) => {
            let reply = expect(node, key, &call);
            ask_session(node, &user, reply, call);
            next(node, *key).await
        }
        Decision::Outside(matched) => {
            let limit_ms = outside_limit_ms(&node.shard.borrow().cfg().apps, matched.route);
            let reply = expect_ms(node, key, limit_ms);
            ask_outside(node, &request, &envelope, matched, reply);
            next(node, *key).await
        }
    };
    let (answer, extra) = match first {
        Some(Answer::Whole(answer)) => (answer, Vec::new()),
        Some(Answer::WithHeaders(answer, extra)) => (answer, extra),
        Some(Answer::StreamHead { status, headers }) => {
            // The end of a stream is the end of its connection: the client's leaving can then be seen by reading.
            envelope.keep = KeepAlive::Close;
            let after = stream(node, socket, *key, &envelope, (status, headers)).await;
            if after == After::Broken
                && let Some(user) = streamed_for
            {
                tell_gone(node, &user, *key);
            }
            return after;
        }
        Some(Answer::StreamChunk(_) | Answer::StreamEnd | Answer::StreamAbort) | None => {
            (overdue(), Vec::new())
        }
    };
    send_whole(node, socket, *key, &envelope, (answer, extra)).await
}

async fn send_whole(
    node: &Node,
    socket: &Socket,
    key: Key,
    envelope: &Envelope,
    (answer, extra): (RestAnswer, Vec<(String, String)>),
) -> After {
    node.with(|shard| shard.metrics().inc(status_counter(answer.status)));
    let ok = send(node, socket, key, envelope.whole(&answer, &extra)).await;
    match (ok, envelope.keep) {
        (false, _) => After::Broken,
        (true, KeepAlive::Keep) => After::Next,
        (true, KeepAlive::Close) => After::Close,
    }
}

/// Sends bytes of an answer; `false` when the connection broke. A client that does not read is cut: it would keep its place for ever.
async fn send(node: &Node, socket: &Socket, key: Key, bytes: Vec<u8>) -> bool {
    let limit_ms = node.shard.borrow().cfg().http.http_body_timeout_ms;
    let begin = || {
        let (now, _) = node.now();
        let taken_by_ms = Some(now.mono_ms + limit_ms);
        node.waiters.borrow_mut().sending(key, taken_by_ms);
    };
    let mut ok = true;
    if bytes.len() <= PIECE_BYTES {
        begin();
        ok = socket.write_all(bytes).await;
    } else {
        for piece in bytes.chunks(PIECE_BYTES) {
            begin();
            ok = socket.write_all(piece.to_vec()).await;
            if !ok {
                break;
            }
        }
    }
    node.waiters.borrow_mut().sending(key, None);
    ok
}

/// Nobody answered in time.
fn overdue() -> RestAnswer {
    RestAnswer::json(
        503,
        r#"{"error":"Service Unavailable","message":"The request was not answered in time"}"#,
    )
}

/// The longest that the outside thread may take: a tool that is called again and again, with pauses; the restart of a server that
/// has many sessions.
fn outside_limit_ms(apps: &Apps, route: OutsideRoute) -> u64 {
    if route == OutsideRoute::ServerRestart {
        return RESTART_MS + ANSWER_SLACK_MS;
    }
    let call_ms = apps.tool_webhook_timeout_ms + TOOL_PAUSE_MS;
    let calls_ms = apps.tool_webhook_attempts * call_ms;
    apps.tool_invoke_timeout_ms.max(calls_ms) + ANSWER_SLACK_MS
}

fn expect(node: &Node, key: &mut Key, call: &Call) -> ReplyTo {
    let limit_ms = {
        let shard = node.shard.borrow();
        let apps = &shard.cfg().apps;
        match call {
            Call::StartApp { .. } | Call::StopApp { .. } => {
                apps.app_start_timeout_ms + apps.stop_webhook_timeout_ms + ANSWER_SLACK_MS
            }
            _ => shard.cfg().store.db_timeout_ms + ANSWER_SLACK_MS,
        }
    };
    expect_ms(node, key, limit_ms)
}

fn expect_ms(node: &Node, key: &mut Key, limit_ms: u64) -> ReplyTo {
    let (now, _) = node.now();
    *key = node
        .waiters
        .borrow_mut()
        .expect(*key, now.mono_ms + limit_ms);
    ReplyTo {
        origin: Origin::Shard(node.shard.borrow().id()),
        id: *key,
    }
}

fn ask_session(node: &Node, user: &UserId, reply: ReplyTo, call: Call) {
    let (now, _) = node.now();
    let (here, at_home) = {
        let shard = node.shard.borrow();
        (shard.id(), home_shard(user, node.mail.shards()))
    };
    if here == at_home {
        return node.with(|shard| {
            shard.at(now);
            shard.call(user, reply, call);
        });
    }
    let message = ToShard::Call {
        user: user.clone(),
        reply,
        call,
    };
    if node.mail.send(at_home, message).is_err() {
        refused(node, reply);
    }
}

fn ask_outside(
    node: &Node,
    request: &Request<'_>,
    envelope: &Envelope,
    matched: routes::ForOutside,
    reply: ReplyTo,
) {
    let head = request.head;
    let trusted = node.shard.borrow().cfg().server.trusted_proxies.clone();
    let headers = head
        .headers()
        .map(|(name, value)| (name.to_ascii_lowercase(), as_text(value).into_owned()));
    let message = OutsideRequest {
        route: matched.route,
        method: head.method.as_str().to_owned(),
        params: matched.params,
        query: routes::query_pairs(&head.target),
        headers: headers.collect(),
        body: request.body.clone(),
        user: matched.user,
        package: matched.package,
        peer: peer::effective(request.peer, head, &trusted),
        correlation_id: envelope.request_id.clone(),
        reply,
    };
    let message = ToOutside::Request(Box::new(message));
    if node.outside.try_send(message).is_err() {
        refused(node, reply);
    }
}

/// The receiver's inbox is full.
fn refused(node: &Node, reply: ReplyTo) {
    node.with(|shard| shard.metrics().inc(Counter::MailboxFull));
    let answer = Answer::Whole(overdue());
    node.waiters.borrow_mut().deliver(reply.id, answer);
}

async fn next(node: &Node, key: Key) -> Option<Answer> {
    poll_fn(|context| node.waiters.borrow_mut().poll(key, context.waker())).await
}

fn tell_gone(node: &Node, user: &UserId, key: Key) {
    let (now, _) = node.now();
    let reply = ReplyTo {
        origin: Origin::Shard(node.shard.borrow().id()),
        id: key,
    };
    if node.shard.borrow().is_home(user) {
        node.with(|shard| {
            shard.at(now);
            shard.reply_gone(user, reply);
        });
    } else {
        let message = ToShard::ReplyGone {
            user: user.clone(),
            reply,
        };
        // If it is refused, the stream ends by its own limits.
        let _ = node.mail.send_home(user, message);
    }
}

/// Sends a streamed answer as it comes. A second task reads meanwhile, so that a client that leaves is noticed.
async fn stream(
    node: &Rc<Node>,
    socket: &Socket,
    key: Key,
    envelope: &Envelope,
    (status, headers): (u16, Vec<(String, String)>),
) -> After {
    node.with(|shard| shard.metrics().inc(status_counter(status)));
    let mut out = Vec::new();
    envelope.head(status, &headers, &mut out);
    if !envelope.http10 {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if envelope.head_only {
        return match send(node, socket, key, out).await {
            true => After::Close,
            false => After::Broken,
        };
    }
    node.spawn(watch(node.clone(), socket.clone(), key));
    let mut ok = send(node, socket, key, out).await;
    while ok {
        let (now, _) = node.now();
        node.waiters
            .borrow_mut()
            .extend(key, now.mono_ms + STREAM_IDLE_MS);
        let mut out = Vec::new();
        let mut ended = false;
        match next(node, key).await {
            Some(Answer::StreamChunk(data)) if envelope.http10 => out.extend_from_slice(&data),
            Some(Answer::StreamChunk(data)) => encode_chunk(&data, &mut out),
            Some(Answer::StreamEnd) => {
                ended = true;
                if !envelope.http10 {
                    encode_last_chunk(&mut out);
                }
            }
            Some(Answer::StreamAbort) | None => break,
            Some(_) => continue,
        }
        ok = send(node, socket, key, out).await;
        if ended && ok {
            // The watching task holds the pending read; ending both directions ends it too. What was written still goes out.
            socket.cut();
            return After::Done;
        }
    }
    socket.cut();
    After::Broken
}

/// Reads until the client is gone.
async fn watch(node: Rc<Node>, socket: Socket, key: Key) {
    let task = async {
        let mut buf = BytesMut::with_capacity(256);
        loop {
            buf.clear();
            if !socket.read(&mut buf).await {
                return node.waiters.borrow_mut().gone(key);
            }
        }
    };
    super::guard::guard("stream watch", task).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_called_twice_may_take_both_its_times() {
        let mut apps = Apps::default();
        let (call_ms, pause_ms) = (apps.tool_webhook_timeout_ms, 1000);
        let tool_ms = |apps: &Apps| outside_limit_ms(apps, OutsideRoute::Tool);
        assert!(tool_ms(&apps) > 2 * call_ms + pause_ms);
        apps.tool_webhook_attempts = 1;
        assert!(tool_ms(&apps) > apps.tool_invoke_timeout_ms);
    }

    #[test]
    fn the_restart_of_an_app_server_may_take_its_time() {
        let limit_ms = outside_limit_ms(&Apps::default(), OutsideRoute::ServerRestart);
        assert!(limit_ms > RESTART_MS);
    }
}
