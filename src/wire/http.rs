//! Layer 1: the strict HTTP/1.1 front door; it reads no socket, routes nothing and never
//! guesses: whatever two parsers could read in two ways is refused and the connection closed.
//!
//! Stricter than RFC 9112 where leniency only serves smuggling: bare LF and leading empty lines are errors.

mod body;
mod head;
mod response;
#[cfg(test)]
mod tests;
mod text;

pub use body::{BodyError, BodyReader, BodyStep};
pub use head::{BodyLength, HeadStatus, Method, RequestHead, parse_head};
pub use response::{CONTINUE, KeepAlive, Response, encode_chunk, encode_last_chunk, reason_phrase};
pub use text::{as_text, decode_component, query_value};

/// Longest request head, in bytes, the empty line included.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A client that was answered for good and is silent for this long has read it (ms).
pub const LINGER_MS: u64 = 1000;

/// Bytes of a refused request that are thrown away meanwhile: most clients send all of a body before they read.
pub const LINGER_BYTES: usize = 64 << 20;

/// Most header fields of one request.
pub const HEADERS_MAX: usize = 64;

/// Why a request head was refused. The connection closes after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// More than [`HEAD_BYTES_MAX`] bytes.
    #[error("Request head too large")]
    TooLarge,
    /// More than [`HEADERS_MAX`] fields.
    #[error("Too many header fields")]
    TooManyHeaders,
    /// A TLS ClientHello on the plain port: some client was told `https` or `wss`.
    #[error("TLS on a plain HTTP port")]
    Tls,
    /// A line that does not end in CRLF, or a CR alone.
    #[error("Line without CRLF")]
    LineEnd,
    /// A control byte within a line.
    #[error("Control byte in head")]
    ControlByte,
    /// A header continued on the next line.
    #[error("Folded header")]
    Folded,
    /// No method, target and version, or a target that is no path, no URL of HTTP and not `*`.
    #[error("Bad request line")]
    RequestLine,
    /// Not HTTP/1.0 or HTTP/1.1.
    #[error("HTTP version not supported")]
    Version,
    /// A malformed header field.
    #[error("Bad header field")]
    Header,
    /// No Host on HTTP/1.1, more than one, or one that is no host.
    #[error("Bad Host")]
    Host,
    /// A Content-Length that is no number, is too large or is given twice.
    #[error("Bad Content-Length")]
    ContentLength,
    /// A Transfer-Encoding given twice, on HTTP/1.0, or beside a Content-Length.
    #[error("Bad Transfer-Encoding")]
    TransferEncoding,
    /// A Transfer-Encoding other than exactly `chunked`.
    #[error("Transfer-Encoding not supported")]
    Coding,
}

impl HeadError {
    /// The status to answer with.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge | Self::TooManyHeaders => 431,
            Self::Version => 505,
            Self::Coding => 501,
            _ => 400,
        }
    }

    /// The plain-text body of the answer.
    #[must_use]
    pub fn text(&self) -> &'static str {
        match self {
            Self::TooLarge => "Request head too large",
            Self::TooManyHeaders => "Too many header fields",
            Self::Tls => "TLS on a plain HTTP port",
            Self::LineEnd => "Line without CRLF",
            Self::ControlByte => "Control byte in head",
            Self::Folded => "Folded header",
            Self::RequestLine => "Bad request line",
            Self::Version => "HTTP version not supported",
            Self::Header => "Bad header field",
            Self::Host => "Bad Host",
            Self::ContentLength => "Bad Content-Length",
            Self::TransferEncoding => "Bad Transfer-Encoding",
            Self::Coding => "Transfer-Encoding not supported",
        }
    }

    /// The complete answer; send it and close.
    #[must_use]
    pub fn response(&self) -> Response {
        Response::text(self.status(), self.text())
    }
}
