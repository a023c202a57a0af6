//! Outside thread: requests for the fallback upstream. The connection itself comes here, so that bodies stream both ways, a
//! slow side slows the other one, and no more than a few buffers are ever held. It carries one request and then closes.

mod answer;
mod intake;

use super::addresses::Reach;
use super::context::Services;
use super::lines::{Line, may};
use super::outbound;
use crate::shard::mailbox::ForUpstream;
use crate::wire::http::{
    CONTINUE, KeepAlive, LINGER_BYTES, LINGER_MS, Method, RequestHead, Response,
};
use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use intake::{Broken, Progress};
use std::net::{IpAddr, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::{sleep, timeout};

type Body = UnsyncBoxBody<Bytes, Broken>;

/// The upstream's answer must begin this long after the request's end.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// A request must be read by the upstream within this.
const REQUEST_LIMIT: Duration = Duration::from_secs(600);
/// Neither side may rest for longer while a body is under way.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(LINGER_MS);
/// Idle connections kept to the upstream.
const IDLE_MAX: usize = 64;
/// Headers that are not forwarded: those of one hop, and those that are written here.
const DROPPED: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "expect",
    "x-request-id",
];

/// Headers that end here: those of [`DROPPED`], and those that a `Connection` header of this message names as its own
/// (RFC 9110 §7.6.1).
struct HopByHop(String);

impl HopByHop {
    fn of<'a>(connection: impl Iterator<Item = &'a [u8]>) -> Self {
        let named = connection.map(|value| String::from_utf8_lossy(value).to_ascii_lowercase());
        Self(named.collect::<Vec<_>>().join(","))
    }

    fn covers(&self, name: &str) -> bool {
        DROPPED.contains(&name) || self.0.split(',').any(|named| named.trim() == name)
    }
}

/// The clients; one pair per process. The operator named the upstream, so its address is not judged.
pub(crate) struct Upstream {
    kept: outbound::Client<Body>,
    /// Every request has a connection of its own. One that was kept may be closing when the request comes; whether it was read
    /// then nobody knows, so that what must not happen twice could not be tried again.
    fresh: outbound::Client<Body>,
}

impl Upstream {
    pub(crate) fn new() -> Self {
        let connector = || outbound::connector(Reach::All, Some(CONNECT_LIMIT));
        Self {
            kept: outbound::client(connector(), IDLE_MAX),
            fresh: outbound::client(connector(), 0),
        }
    }

    /// A request of our own to a server that the operator named; time limits are the caller's.
    ///
    /// # Errors
    /// No connection, or it broke before the answer began.
    pub(crate) async fn ask(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, hyper_util::client::legacy::Error> {
        let request = request.map(|body| body.map_err(|never| match never {}).boxed_unsync());
        self.kept.request(request).await
    }

    /// The client's request. One that changes nothing is tried again where a kept connection broke before its answer.
    async fn forward(
        &self,
        request: Request<Body>,
    ) -> Result<http::Response<Incoming>, hyper_util::client::legacy::Error> {
        let Some(again) = repeatable(&request) else {
            return self.fresh.request(request).await;
        };
        match self.kept.request(request).await {
            Err(error) if !error.is_connect() => self.fresh.request(again).await,
            answer => answer,
        }
    }
}

/// The same request once more, if it has no body and changes nothing.
fn repeatable(request: &Request<Body>) -> Option<Request<Body>> {
    if !request.method().is_safe() || !hyper::body::Body::is_end_stream(request.body()) {
        return None;
    }
    let body = Full::default().map_err(|never| match never {});
    let mut again = Request::new(body.boxed_unsync());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

/// Forwards one request and closes its connection.
pub(crate) async fn serve(cx: &Services, request: ForUpstream) {
    let ForUpstream {
        connection,
        head,
        early,
        peer,
        request_id,
    } = request;
    // A second handle outlives the body that hyper takes: the connection closes gently behind the answer.
    let Ok((stream, rest)) = adopt(connection) else {
        return;
    };
    let (read, mut write) = stream.into_split();
    if head.expects_continue() && write.write_all(CONTINUE).await.is_err() {
        return;
    }
    let progress = Progress::default();
    let body = intake::body(&head, read, early, &progress);
    let asked = Asked {
        head: &head,
        peer,
        request_id: &request_id,
    };
    let answered = match ask(cx, &asked, body, &progress).await {
        Ok(answer) => answer::send(&mut write, &head, answer).await,
        Err(refusal) => {
            let refusal = refusal.with_header("X-Request-Id", request_id);
            refuse(&mut write, &refusal).await
        }
    };
    if answered.is_ok() && write.shutdown().await.is_ok() {
        drop(write);
        let limit_ms = cx.settings().http.http_body_timeout_ms;
        let _ = timeout(Duration::from_millis(limit_ms), linger(rest)).await;
    }
}

/// At capacity: the client may come again.
pub(crate) async fn refuse_busy(request: ForUpstream) {
    let busy = Response::text(503, "Server is busy").with_header("Retry-After", "5");
    if let Ok((mut stream, _)) = adopt(request.connection) {
        let mut out = Vec::new();
        busy.encode(KeepAlive::Close, &mut out);
        let _ = timeout(SILENCE, stream.write_all(&out)).await;
    }
}

fn adopt(connection: OwnedFd) -> std::io::Result<(TcpStream, StdStream)> {
    let stream = StdStream::from(connection);
    stream.set_nonblocking(true)?;
    let rest = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, rest))
}

/// A client's request without its body.
struct Asked<'a> {
    head: &'a RequestHead,
    peer: IpAddr,
    request_id: &'a str,
}

async fn ask(
    cx: &Services,
    asked: &Asked<'_>,
    body: Body,
    progress: &Progress,
) -> Result<http::Response<Incoming>, Response> {
    let bad_gateway = || Response::text(502, "Bad gateway");
    let request_id = asked.request_id;
    let request = build(cx, asked, body).map_err(|_| Response::text(400, "Bad request"))?;
    let overdue = async {
        tokio::select! {
            () = async { progress.ended().await; sleep(HEAD_LIMIT).await } => {}
            () = sleep(REQUEST_LIMIT) => {}
        }
    };
    tokio::select! {
        answer = cx.upstream.forward(request) => answer.map_err(|error| {
            progress.refusal().unwrap_or_else(|| {
                if let Some(more) = may(Line::UpstreamFailed) {
                    tracing::warn!(%error, correlation_id = request_id, more, "fallback upstream failed");
                }
                bad_gateway()
            })
        }),
        () = overdue => {
            if let Some(more) = may(Line::UpstreamLate) {
                tracing::warn!(correlation_id = request_id, more, "fallback upstream did not answer in time");
            }
            Err(Response::text(504, "Gateway timeout"))
        }
    }
}

fn build(cx: &Services, asked: &Asked<'_>, body: Body) -> http::Result<Request<Body>> {
    let Asked {
        head,
        peer,
        request_id,
    } = *asked;
    let settings = cx.settings();
    let base = settings.http.fallback_upstream.trim_end_matches('/');
    let mut request = Request::builder()
        .method(head.method.as_str())
        .uri(format!("{base}{}", head.target));
    let connection = head.headers().filter(|(name, _)| *name == "connection");
    let ours = HopByHop::of(connection.map(|(_, value)| value));
    for (name, value) in head.headers().filter(|(name, _)| !ours.covers(name)) {
        request = request.header(name, value);
    }
    // A proxy before us knows better what was asked for.
    if let (Some(host), None) = (head.header("host"), head.header("x-forwarded-host")) {
        request = request.header("x-forwarded-host", host);
    }
    if let crate::wire::http::BodyLength::Length(length) = head.body {
        request = request.header(http::header::CONTENT_LENGTH, length);
    }
    request
        .header("x-forwarded-for", peer.to_string())
        .header("x-request-id", request_id)
        .body(body)
}

async fn refuse(write: &mut OwnedWriteHalf, refusal: &Response) -> std::io::Result<()> {
    let mut out = Vec::new();
    refusal.encode(KeepAlive::Close, &mut out);
    write.write_all(&out).await
}

/// Closing with unread input would reset the connection and destroy an answer that is still under way.
async fn linger(rest: StdStream) {
    let Ok(mut rest) = TcpStream::from_std(rest) else {
        return;
    };
    let mut buf = BytesMut::with_capacity(intake::READ_BYTES);
    let mut left = LINGER_BYTES;
    while left > 0 {
        match timeout(SILENCE, rest.read_buf(&mut buf)).await {
            Ok(Ok(count)) if count > 0 => left = left.saturating_sub(count),
            _ => return,
        }
        buf.clear();
    }
}

/// Whether an answer to this request has a body.
fn has_body(head: &RequestHead, status: u16) -> bool {
    head.method != Method::Head && !matches!(status, 100..=199 | 204 | 304)
}
