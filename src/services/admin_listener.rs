//! Outside thread: a small second listener for `/livez`, `/health`, `/metrics` and `/api/admin`, which a stalled shard cannot
//! silence. One request a connection, GET, HEAD and POST without body, 16 KiB of head, few connections; it is no public door.

use super::context::Services;
use super::rest;
use crate::base::ids::{Origin, ReplyTo};
use crate::session::effects::RestAnswer;
use crate::shard::mailbox::{Answer, OutsideRequest, OutsideRoute};
use crate::shard::routes::{ForOperators, for_operators, livez, query_pairs};
use bytes::Bytes;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

const HEAD_BYTES_MAX: usize = 16 * 1024;
const CONNECTIONS_MAX: usize = 64;
/// Whole exchange.
const LIMIT: Duration = Duration::from_secs(10);

/// Serves until the runtime ends.
pub(crate) async fn serve(cx: Arc<Services>, listener: Arc<TcpListener>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((socket, peer)) = listener.accept().await else {
            // Out of descriptors: the sockets that hold them need time to go.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let cx = Arc::clone(&cx);
        tokio::spawn(async move {
            let _place = place;
            let _ = timeout(LIMIT, exchange(&cx, socket, peer.ip())).await;
        });
    }
}

async fn exchange(cx: &Arc<Services>, mut socket: TcpStream, peer: IpAddr) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        if socket.read_buf(&mut head).await? == 0 || head.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    let parsed = parse(&head, peer);
    let head_only = parsed
        .as_ref()
        .is_some_and(|parsed| parsed.method == "HEAD");
    let answer = match parsed {
        Some(request) => answer(cx, request).await,
        None => RestAnswer::json(400, r#"{"error":"Bad request"}"#),
    };
    let reason = http::StatusCode::from_u16(answer.status)
        .ok()
        .and_then(|status| status.canonical_reason());
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        answer.status,
        reason.unwrap_or_default(),
        answer.content_type,
        answer.body.len()
    );
    socket.write_all(head.as_bytes()).await?;
    if !head_only {
        socket.write_all(&answer.body).await?;
    }
    socket.shutdown().await
}

struct Parsed {
    method: String,
    path: String,
    request: OutsideRequest,
}

fn parse(head: &[u8], peer: IpAddr) -> Option<Parsed> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(head).ok()?.is_complete().then_some(())?;
    let (method, target) = (parsed.method?.to_owned(), parsed.path?.to_owned());
    let (path, _) = target.split_once('?').unwrap_or((&target, ""));
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let request = OutsideRequest {
        route: OutsideRoute::Health,
        method: method.clone(),
        params: Vec::new(),
        query: query_pairs(&target),
        headers: parsed
            .headers
            .iter()
            .map(|header| (header.name.to_ascii_lowercase(), text(header.value)))
            .collect(),
        body: Bytes::new(),
        user: None,
        package: None,
        peer,
        correlation_id: format!("{:016x}", fastrand::u64(..)),
        reply: ReplyTo {
            origin: Origin::Outside,
            id: 0,
        },
    };
    Some(Parsed {
        method,
        path: path.to_owned(),
        request,
    })
}

async fn answer(cx: &Arc<Services>, parsed: Parsed) -> RestAnswer {
    let Parsed {
        method,
        path,
        mut request,
    } = parsed;
    match for_operators(&method, &path) {
        Some(ForOperators::Livez) => {
            let stall_ms = cx.settings().observability.livez_stall_ms;
            return livez(&cx.shared, cx.clock.now().mono_ms, stall_ms);
        }
        Some(ForOperators::Outside(route, params)) => {
            (request.route, request.params) = (route, params);
        }
        None => return RestAnswer::json(404, r#"{"error":"Not found"}"#),
    }
    match rest::answer(cx, &request).await {
        Answer::Whole(answer) | Answer::WithHeaders(answer, _) => answer,
        _ => RestAnswer::json(500, r#"{"error":"Internal server error"}"#),
    }
}
