//! Layer 1: request heads; it decides how long the body is and refuses every head that leaves
//! that open.

use smallvec::SmallVec;
use std::borrow::Cow;

use super::text::{as_text, decode_unreserved};
use super::{HEAD_BYTES_MAX, HEADERS_MAX, HeadError, query_value};

/// Request methods that the server routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// Any other token.
    Other,
}

impl Method {
    /// Of the token of a request line.
    #[must_use]
    pub fn from_token(token: &str) -> Self {
        match token {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }

    /// The token; `OTHER` for methods without a variant.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "OTHER",
        }
    }
}

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// This many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// What [`parse_head`] found.
#[derive(Debug)]
pub enum HeadStatus {
    /// Nothing wrong so far, but the empty line has not come.
    Partial,
    /// A whole head; the body or the next protocol begins `consumed` bytes in.
    Complete {
        /// The head.
        head: RequestHead,
        /// Its length in bytes, the empty line included.
        consumed: usize,
    },
}

/// A header field as a range of the head's copy; 16 KiB fit into `u16`.
#[derive(Debug, Clone, Copy)]
struct Field {
    name: (u16, u16),
    value: (u16, u16),
}

/// A request head that passed every framing rule.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// HTTP method.
    pub method: Method,
    /// The target as sent, without scheme and host: an absolute path with its query, or `*`.
    pub target: String,
    /// 0 or 1, for HTTP/1.0 and HTTP/1.1.
    pub version_minor: u8,
    /// How the body is delimited.
    pub body: BodyLength,
    /// Names (lower-cased) and values, one after the other.
    bytes: Box<[u8]>,
    fields: SmallVec<[Field; 12]>,
}

/// Parses the request head at the start of `buf`.
///
/// # Errors
/// The bytes can never become an acceptable head, seen as early as possible; the caller answers
/// and closes.
pub fn parse_head(buf: &[u8]) -> Result<HeadStatus, HeadError> {
    if let [0x16, 0x03, ..] = buf {
        return Err(HeadError::Tls);
    }
    if buf == [0x16] {
        return Ok(HeadStatus::Partial);
    }
    let Some(end) = scan_lines(buf)? else {
        return if buf.len() >= HEAD_BYTES_MAX {
            Err(HeadError::TooLarge)
        } else {
            Ok(HeadStatus::Partial)
        };
    };
    if end > HEAD_BYTES_MAX {
        return Err(HeadError::TooLarge);
    }
    let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut slots);
    match request.parse(&buf[..end]) {
        Ok(httparse::Status::Complete(_)) => {}
        // Our scan has found the empty line: a parser that wants more disagrees about the lines, so the head is ambiguous.
        Ok(httparse::Status::Partial) => return Err(HeadError::RequestLine),
        Err(error) => return Err(refusal(error)),
    }
    let head = RequestHead::from_parsed(&request)?;
    Ok(HeadStatus::Complete {
        head,
        consumed: end,
    })
}

/// Walks the lines up to the empty one and returns where it ends.
fn scan_lines(buf: &[u8]) -> Result<Option<usize>, HeadError> {
    let mut start = 0;
    while let Some(len) = memchr::memchr(b'\n', &buf[start..]) {
        let line = &buf[start..start + len];
        let bare = line.strip_suffix(b"\r");
        // This order gives a line the same refusal whether or not its end has come yet.
        check_line(bare.unwrap_or(line), start)?;
        let line = bare.ok_or(HeadError::LineEnd)?;
        let next = start + len + 1;
        if line.is_empty() {
            return if start == 0 {
                Err(HeadError::RequestLine)
            } else {
                Ok(Some(next))
            };
        }
        if next > HEAD_BYTES_MAX {
            return Err(HeadError::TooLarge);
        }
        start = next;
    }
    let unfinished = &buf[start..];
    check_line(unfinished.strip_suffix(b"\r").unwrap_or(unfinished), start)?;
    Ok(None)
}

/// Refuses bytes that no line of a head may hold, whether or not the line is complete.
fn check_line(line: &[u8], start: usize) -> Result<(), HeadError> {
    match line.first() {
        Some(b' ' | b'\t') if start > 0 => return Err(HeadError::Folded),
        // Anything but a method's letter: no request line will come of it.
        Some(first) if start == 0 && !first.is_ascii_uppercase() => {
            return Err(HeadError::RequestLine);
        }
        _ => {}
    }
    match line
        .iter()
        .find(|byte| byte.is_ascii_control() && **byte != b'\t')
    {
        Some(b'\r') => Err(HeadError::LineEnd),
        Some(_) => Err(HeadError::ControlByte),
        None => Ok(()),
    }
}

fn refusal(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => HeadError::Header,
        httparse::Error::NewLine => HeadError::LineEnd,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::Token | httparse::Error::Status => HeadError::RequestLine,
    }
}

impl RequestHead {
    fn from_parsed(request: &httparse::Request<'_, '_>) -> Result<Self, HeadError> {
        let (Some(method), Some(target), Some(version_minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(HeadError::RequestLine);
        };
        let method = Method::from_token(method);
        let (target, authority) = origin_form(target, method);
        let target = &*target;
        let is_allowed = method == Method::Options && target == "*" || is_path(target);
        if !is_allowed {
            return Err(HeadError::RequestLine);
        }
        let mut head = Self {
            method,
            target: target.to_owned(),
            version_minor,
            body: BodyLength::None,
            bytes: Box::default(),
            fields: SmallVec::new(),
        };
        head.copy_fields(request.headers);
        head.check_host()?;
        if let Some(authority) = authority {
            head.replace_host(authority);
            head.check_host()?;
        }
        head.body = head.body_length()?;
        Ok(head)
    }

    fn copy_fields(&mut self, headers: &[httparse::Header<'_>]) {
        let total = headers
            .iter()
            .map(|header| header.name.len() + header.value.len())
            .sum();
        let mut bytes = Vec::with_capacity(total);
        for header in headers {
            // A head is at most 16 KiB, so positions in it fit.
            let name_at = bytes.len() as u16;
            bytes.extend(header.name.bytes().map(|byte| byte.to_ascii_lowercase()));
            let value_at = bytes.len() as u16;
            bytes.extend_from_slice(header.value.trim_ascii());
            let end = bytes.len() as u16;
            self.fields.push(Field {
                name: (name_at, value_at),
                value: (value_at, end),
            });
        }
        self.bytes = bytes.into_boxed_slice();
    }

    /// The host of an absolute target counts, not that of the field (RFC 9112 §3.2.2).
    fn replace_host(&mut self, authority: &str) {
        let mut bytes = std::mem::take(&mut self.bytes).into_vec();
        let start = bytes.len() as u16;
        bytes.extend_from_slice(authority.as_bytes());
        let value = (start, bytes.len() as u16);
        self.bytes = bytes.into_boxed_slice();
        let at = (0..self.fields.len()).find(|at| self.range(self.fields[*at].name) == b"host");
        if let Some(at) = at {
            self.fields[at].value = value;
        }
    }

    fn check_host(&self) -> Result<(), HeadError> {
        let mut hosts = self.values("host");
        match (hosts.next(), hosts.next(), self.version_minor) {
            (Some(host), None, _) if host.iter().all(|byte| is_host_byte(*byte)) => Ok(()),
            (None, None, 0) => Ok(()),
            _ => Err(HeadError::Host),
        }
    }

    fn body_length(&self) -> Result<BodyLength, HeadError> {
        let mut lengths = self.values("content-length");
        let mut codings = self.values("transfer-encoding");
        match (lengths.next(), codings.next()) {
            (None, None) => Ok(BodyLength::None),
            (Some(_), Some(_)) => Err(HeadError::TransferEncoding),
            (Some(length), None) if lengths.next().is_none() => parse_length(length)
                .map(BodyLength::Length)
                .ok_or(HeadError::ContentLength),
            (Some(_), None) => Err(HeadError::ContentLength),
            (None, Some(_)) if codings.next().is_some() || self.version_minor == 0 => {
                Err(HeadError::TransferEncoding)
            }
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(BodyLength::Chunked)
            }
            (None, Some(_)) => Err(HeadError::Coding),
        }
    }

    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The path as routes are matched: where an escape stands for a character that needs none, that character. All other
    /// escapes stay, so that `%2F` is no slash.
    #[must_use]
    pub fn route_path(&self) -> Cow<'_, str> {
        decode_unreserved(self.path())
    }

    /// The first query parameter `name`, decoded as in [`query_value`].
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        query_value(self.target.split_once('?')?.1, name)
    }

    /// The first header field `name` (in any case) whose value is UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.values(name)
            .find_map(|value| std::str::from_utf8(value).ok())
    }

    /// First value of a field, as [`as_text`] reads it.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.values(name).next().map(as_text)
    }

    /// All fields in order: lower-cased name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| {
            let name = std::str::from_utf8(self.range(field.name));
            (
                name.expect("httparse admits token bytes only"),
                self.range(field.value),
            )
        })
    }

    /// Whether the client asks for the WebSocket protocol in an Upgrade field.
    #[must_use]
    pub fn wants_upgrade(&self) -> bool {
        self.has_token("upgrade", "websocket")
    }

    /// Whether the connection may serve another request after this one.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        match self.version_minor {
            0 => self.has_token("connection", "keep-alive"),
            _ => !self.has_token("connection", "close"),
        }
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.version_minor == 1 && self.has_token("expect", "100-continue")
    }

    /// Whether one of the comma-separated members of the fields `name` is `token` in any case.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.values(name).any(|value| {
            value
                .split(|byte| *byte == b',')
                .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
        })
    }

    /// Values of every field `name`, in order.
    pub fn values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.fields
            .iter()
            .filter(move |field| self.range(field.name).eq_ignore_ascii_case(name.as_bytes()))
            .map(|field| self.range(field.value))
    }

    fn range(&self, (start, end): (u16, u16)) -> &[u8] {
        &self.bytes[usize::from(start)..usize::from(end)]
    }
}

/// A target without scheme and host, and the host that it had. What is no URL of ours stays as it is.
fn origin_form(target: &str, method: Method) -> (Cow<'_, str>, Option<&str>) {
    let scheme = ["http://", "https://"].iter().find(|scheme| {
        let start = target.as_bytes().get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    });
    let Some(rest) = scheme.map(|scheme| &target[scheme.len()..]) else {
        return (Cow::Borrowed(target), None);
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() {
        return (Cow::Borrowed(target), None);
    }
    let path = match path {
        "" if method == Method::Options => Cow::Borrowed("*"),
        path if path.starts_with('/') => Cow::Borrowed(path),
        path => Cow::Owned(format!("/{path}")),
    };
    (path, Some(authority))
}

fn is_path(target: &str) -> bool {
    target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(&byte)
}

/// Digits only: no sign, no list, no space.
fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok())?
}
