//! HTTP/1.1 heads and bodies over byte slices: responses for the client side, requests for the webhook
//! receiver. Only what the protocol uses: `Content-Length` and chunked bodies.

/// Longest head accepted, bytes.
const HEAD_MAX: usize = 32 * 1024;
/// Longest body accepted, bytes.
const BODY_MAX: usize = 4 << 20;

/// Why bytes are not HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpError {
    /// No status or request line, or a head above the limit.
    BadHead,
    /// A length that is no number, a bad chunk, or a body above the limit.
    BadBody,
}

/// A response or request with its whole body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) start: String,
    /// The body, chunks joined.
    pub(crate) body: Vec<u8>,
    /// Whether the peer keeps the connection open.
    pub(crate) keep_alive: bool,
    /// Bytes taken from the input.
    pub(crate) length: usize,
}

impl Message {
    /// Status of a response; 0 when the first line has none.
    pub(crate) fn status(&self) -> u16 {
        status_of(&self.start)
    }

    /// Path of a request.
    pub(crate) fn path(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or("")
    }
}

fn status_of(start: &str) -> u16 {
    start
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

struct Head<'a> {
    start: &'a str,
    lines: Vec<(&'a str, &'a str)>,
    length: usize,
}

impl Head<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.lines
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }
}

fn head(bytes: &[u8]) -> Result<Option<Head<'_>>, HttpError> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > HEAD_MAX {
            Err(HttpError::BadHead)
        } else {
            Ok(None)
        };
    };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| HttpError::BadHead)?;
    let mut lines = text.split("\r\n");
    let start = lines.next().ok_or(HttpError::BadHead)?;
    if !start.contains("HTTP/1.") {
        return Err(HttpError::BadHead);
    }
    let lines = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    Ok(Some(Head {
        start,
        lines,
        length: end + 4,
    }))
}

/// Reads the answer to a WebSocket upgrade: (status, length of the head, `Sec-WebSocket-Accept`).
pub(crate) fn upgrade_response(bytes: &[u8]) -> Result<Option<(u16, usize, String)>, HttpError> {
    Ok(head(bytes)?.map(|head| {
        let accept = head.get("sec-websocket-accept").unwrap_or("").to_owned();
        (status_of(head.start), head.length, accept)
    }))
}

/// Reads a request to upgrade: (length of the head, `Sec-WebSocket-Key`).
pub(crate) fn upgrade_request(bytes: &[u8]) -> Result<Option<(usize, String)>, HttpError> {
    Ok(head(bytes)?.map(|head| {
        let key = head.get("sec-websocket-key").unwrap_or("").to_owned();
        (head.length, key)
    }))
}

/// Reads one message with its body; `None` until it is complete. A response without a length is taken
/// as having none (the servers under test never delimit by closing).
pub(crate) fn message(bytes: &[u8]) -> Result<Option<Message>, HttpError> {
    let Some(head) = head(bytes)? else {
        return Ok(None);
    };
    let rest = &bytes[head.length..];
    let chunked = head
        .get("transfer-encoding")
        .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let (body, taken) = if chunked {
        match chunks(rest)? {
            Some(found) => found,
            None => return Ok(None),
        }
    } else {
        let length: usize = match head.get("content-length") {
            Some(text) => text.parse().map_err(|_| HttpError::BadBody)?,
            None => 0,
        };
        if length > BODY_MAX {
            return Err(HttpError::BadBody);
        }
        match rest.get(..length) {
            Some(body) => (body.to_vec(), length),
            None => return Ok(None),
        }
    };
    let keep_alive = !head
        .get("connection")
        .is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Some(Message {
        start: head.start.to_owned(),
        body,
        keep_alive,
        length: head.length + taken,
    }))
}

fn chunks(mut rest: &[u8]) -> Result<Option<(Vec<u8>, usize)>, HttpError> {
    let total = rest.len();
    let mut body = Vec::new();
    loop {
        let Some(line_end) = rest.windows(2).position(|window| window == b"\r\n") else {
            return Ok(None);
        };
        let line = std::str::from_utf8(&rest[..line_end]).map_err(|_| HttpError::BadBody)?;
        let size = line.split(';').next().unwrap_or("").trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| HttpError::BadBody)?;
        if size > BODY_MAX || body.len() + size > BODY_MAX {
            return Err(HttpError::BadBody);
        }
        let Some(chunk) = rest.get(line_end + 2..line_end + 2 + size + 2) else {
            return Ok(None);
        };
        let (data, end) = chunk.split_at(size);
        if end != b"\r\n" {
            return Err(HttpError::BadBody);
        }
        body.extend_from_slice(data);
        rest = &rest[line_end + 2 + size + 2..];
        if size == 0 {
            return Ok(Some((body, total - rest.len())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_only_when_complete_and_leaves_the_next_one_alone() {
        let one = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let mut bytes = one.to_vec();
        for cut in 0..one.len() {
            assert_eq!(message(&one[..cut]), Ok(None), "cut at {cut}");
        }
        bytes.extend_from_slice(b"HTTP/1.1 404");
        let found = message(&bytes).unwrap().unwrap();
        assert_eq!((found.status(), found.length), (200, one.len()));
        assert!(found.keep_alive && found.body == b"{}");
    }

    #[test]
    fn chunked_bodies_are_joined() {
        let bytes =
            b"POST /webhook HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
            4\r\n{\"a\"\r\n3;x=y\r\n:1}\r\n0\r\n\r\n";
        for cut in 0..bytes.len() {
            assert_eq!(message(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        let found = message(bytes).unwrap().unwrap();
        assert_eq!(
            (found.path(), found.body.as_slice()),
            ("/webhook", &b"{\"a\":1}"[..])
        );
        assert!(!found.keep_alive && found.length == bytes.len());
    }

    #[test]
    fn upgrade_answers_give_status_and_accept_key() {
        let bytes =
            b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: abc=\r\n\r\n\x81\x00";
        assert_eq!(
            upgrade_response(bytes),
            Ok(Some((101, bytes.len() - 2, "abc=".to_owned())))
        );
    }

    #[test]
    fn what_is_not_http_is_refused() {
        assert_eq!(message(b"SSH-2.0-x\r\n\r\n"), Err(HttpError::BadHead));
        assert_eq!(message(&[b'a'; HEAD_MAX + 1]), Err(HttpError::BadHead));
        assert_eq!(
            message(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
            Err(HttpError::BadBody)
        );
    }
}
