//! Layer 1: responses into byte vectors; it decides no status and sends nothing.

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

/// The interim answer to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Whether the connection serves another request after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// It stays open.
    Keep,
    /// It is closed behind the response.
    Close,
}

/// A response whose body is at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code, 200 to 599.
    pub status: u16,
    /// Fields beside those of framing, which [`Response::encode`] adds.
    pub headers: SmallVec<[(&'static str, Cow<'static, str>); 4]>,
    /// Body of the response.
    pub body: Bytes,
}

impl Response {
    /// A response without body and content type.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: SmallVec::new(),
            body: Bytes::new(),
        }
    }

    /// A JSON body.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::typed(status, "application/json", body)
    }

    /// A plain-text body.
    #[must_use]
    pub fn text(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        let body = match body.into() {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        Self::typed(status, "text/plain; charset=utf-8", body)
    }

    /// A body of the given content type.
    #[must_use]
    pub fn typed(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let response = Self {
            body: body.into(),
            ..Self::empty(status)
        };
        response.with_header("Content-Type", content_type)
    }

    /// Adds a field. Control bytes in the value are left out when it is written.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Appends the whole response to `out`.
    pub fn encode(&self, keep_alive: KeepAlive, out: &mut Vec<u8>) {
        out.reserve(160 + self.body.len());
        self.encode_head(keep_alive, out);
        out.extend_from_slice(&self.body);
    }

    /// Appends the head alone, with the body's length: the answer to a HEAD request.
    pub fn encode_head(&self, keep_alive: KeepAlive, out: &mut Vec<u8>) {
        self.fields(keep_alive, out);
        if !matches!(self.status, 204 | 304) {
            out.extend_from_slice(b"Content-Length: ");
            decimal(self.body.len() as u64, out);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Status line and all fields but those that delimit the body.
    fn fields(&self, keep_alive: KeepAlive, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        decimal(u64::from(self.status), out);
        out.push(b' ');
        out.extend_from_slice(reason_phrase(self.status).as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in &self.headers {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            // A value made of a client's text must not begin a line of its own.
            out.extend(value.bytes().filter(|byte| !byte.is_ascii_control()));
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(match keep_alive {
            KeepAlive::Keep => b"Connection: keep-alive\r\n",
            KeepAlive::Close => b"Connection: close\r\n",
        });
    }
}

/// Appends one chunk of a streamed body; nothing for empty `data`, which would end the body.
pub fn encode_chunk(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    let digits = (usize::BITS - data.len().leading_zeros()).div_ceil(4);
    for at in (0..digits).rev() {
        out.push(b"0123456789abcdef"[data.len() >> (4 * at) & 0xF]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body.
pub fn encode_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

fn decimal(number: u64, out: &mut Vec<u8>) {
    crate::wire::json::write_number(out, number);
}

/// The customary words for a status.
#[must_use]
pub fn reason_phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Unknown")
}
