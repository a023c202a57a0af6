//! Layer 3: an HTTP answer as bytes: the headers that every answer carries, and what its request asked for.

use crate::session::effects::RestAnswer;
use crate::wire::http::{KeepAlive, reason_phrase};
use std::fmt::Write as _;

/// Headers of the answer that come from the request.
#[derive(Debug)]
pub struct Envelope {
    /// Whether the connection serves another request.
    pub keep: KeepAlive,
    /// The answer has no body: to `HEAD`.
    pub head_only: bool,
    /// The client knows no chunks.
    pub http10: bool,
    /// Cross-origin headers.
    pub cors: Vec<(&'static str, String)>,
    /// `X-Request-Id`.
    pub request_id: String,
}

impl Default for Envelope {
    /// Of a request that asks for nothing special.
    fn default() -> Self {
        Self {
            keep: KeepAlive::Keep,
            head_only: false,
            http10: false,
            cors: Vec::new(),
            request_id: String::new(),
        }
    }
}

impl Envelope {
    /// Status line and headers, without those of framing.
    pub fn head(&self, status: u16, extra: &[(String, String)], out: &mut Vec<u8>) {
        let mut text = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status));
        let mut field = |name: &str, value: &str| {
            let _ = write!(text, "{name}: ");
            // A value made of a client's text must not begin a line of its own.
            text.extend(value.chars().filter(|char| !char.is_control()));
            text.push_str("\r\n");
        };
        let mut cache_control = false;
        for (name, value) in extra {
            let framing = ["content-length", "transfer-encoding", "connection"];
            if framing.iter().any(|other| name.eq_ignore_ascii_case(other)) {
                continue;
            }
            cache_control |= name.eq_ignore_ascii_case("cache-control");
            field(name, value);
        }
        // Phones poll, and a list that was kept on the way is an old one.
        if !cache_control {
            field("Cache-Control", "no-store");
        }
        for (name, value) in &self.cors {
            field(name, value);
        }
        field("X-Request-Id", &self.request_id);
        field(
            "Connection",
            match self.keep {
                KeepAlive::Keep => "keep-alive",
                KeepAlive::Close => "close",
            },
        );
        out.extend_from_slice(text.as_bytes());
    }

    /// A whole answer.
    #[must_use]
    pub fn whole(&self, answer: &RestAnswer, extra: &[(String, String)]) -> Vec<u8> {
        let mut fields = extra.to_vec();
        let typed = extra
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !typed && !answer.content_type.is_empty() {
            fields.push(("Content-Type".into(), answer.content_type.into()));
        }
        if let Some(seconds) = answer.retry_after_s {
            fields.push(("Retry-After".into(), seconds.to_string()));
        }
        let mut out = Vec::with_capacity(384 + answer.body.len());
        self.head(answer.status, &fields, &mut out);
        if !matches!(answer.status, 204 | 304) {
            out.extend_from_slice(format!("Content-Length: {}\r\n", answer.body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if !self.head_only {
            out.extend_from_slice(&answer.body);
        }
        out
    }
}
