//! Outside thread: the upstream's answer on its way to the client, frame by frame.

use super::{HopByHop, IDLE_LIMIT, has_body};
use crate::wire::http::{RequestHead, encode_chunk, encode_last_chunk, reason_phrase};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::io;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

/// How the client learns where the body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// By `Content-Length`, or there is none.
    Plain,
    Chunked,
    /// HTTP/1.0: by the end of the connection.
    Close,
}

/// Sends head and body.
///
/// # Errors
/// Client or upstream left, or rested too long; the client sees a body that is cut off.
pub(super) async fn send(
    write: &mut OwnedWriteHalf,
    head: &RequestHead,
    answer: http::Response<Incoming>,
) -> io::Result<()> {
    let (parts, mut body) = answer.into_parts();
    let status = parts.status.as_u16();
    let length = parts.headers.get(CONTENT_LENGTH);
    let framing = if length.is_some() || !has_body(head, status) {
        Framing::Plain
    } else if head.version_minor == 0 {
        Framing::Close
    } else {
        Framing::Chunked
    };
    let mut out = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status)).into_bytes();
    let mut field = |name: &str, value: &[u8]| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    let connection = parts.headers.get_all(CONNECTION).iter();
    let theirs = HopByHop::of(connection.map(http::HeaderValue::as_bytes));
    for (name, value) in &parts.headers {
        if !theirs.covers(name.as_str()) {
            field(name.as_str(), value.as_bytes());
        }
    }
    if let Some(length) = length {
        field("content-length", length.as_bytes());
    }
    if framing == Framing::Chunked {
        field("transfer-encoding", b"chunked");
    }
    field("connection", b"close");
    out.extend_from_slice(b"\r\n");
    put(write, &out).await?;
    if !has_body(head, status) {
        return Ok(());
    }
    while let Some(frame) = timeout(IDLE_LIMIT, body.frame()).await? {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else {
            continue;
        };
        if framing == Framing::Chunked && !data.is_empty() {
            out.clear();
            encode_chunk(&data, &mut out);
            put(write, &out).await?;
        } else {
            put(write, &data).await?;
        }
    }
    if framing == Framing::Chunked {
        out.clear();
        encode_last_chunk(&mut out);
        put(write, &out).await?;
    }
    Ok(())
}

async fn put(write: &mut OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
    timeout(IDLE_LIMIT, write.write_all(bytes)).await?
}
