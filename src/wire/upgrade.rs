//! Layer 1: what an upgrade request asks for and the bytes that grant it (`protocol.md §1`);
//! it looks up no session and starts none.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use tungstenite::handshake::server::create_response;

use super::auth::{AppClaims, TokenError, TokenKeys};
use super::http::{BodyLength, Method, RequestHead, Response};
use super::json::ObjectWriter;

/// Header fields that decide about the handshake.
const HANDSHAKE_FIELDS: [&str; 4] = [
    "connection",
    "upgrade",
    "sec-websocket-version",
    "sec-websocket-key",
];

/// Who connects at a WebSocket path (`protocol.md §1.1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketPath {
    /// A phone.
    Glasses,
    /// An app server.
    App,
    /// A conformance suite, where the echo is switched on.
    Echo,
}

/// The kind of socket a path stands for; `None` is answered 404 `Unknown WebSocket path`.
#[must_use]
pub fn socket_path(path: &str) -> Option<SocketPath> {
    match path {
        "/glasses-ws" | "/ws/client" => Some(SocketPath::Glasses),
        "/app-ws" | "/ws/miniapp" => Some(SocketPath::App),
        "/echo" => Some(SocketPath::Echo),
        _ => None,
    }
}

/// What a phone said in its upgrade request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneHello {
    /// The user id, lower-cased.
    pub user: String,
    /// Whether it wants its UDP audio encrypted.
    pub udp_encryption: bool,
    /// Whether it named the former WebRTC bridge; without effect.
    pub livekit: bool,
}

/// What an app server said in its upgrade request; only `jwt` has been verified.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AppHeaders {
    /// `x-user-id`, lower-cased.
    pub user: Option<String>,
    /// `x-session-id`.
    pub session_id: Option<String>,
    /// `x-package-name`.
    pub package: Option<String>,
    /// `x-api-key`.
    pub api_key: Option<String>,
    /// `x-sdk-version`.
    pub sdk_version: Option<String>,
    /// Claims of a verified app token; `user` is there then.
    pub jwt: Option<AppClaims>,
}

impl std::fmt::Debug for AppHeaders {
    /// Without the key, which must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppHeaders")
            .field("user", &self.user)
            .field("session_id", &self.session_id)
            .field("package", &self.package)
            .field("sdk_version", &self.sdk_version)
            .field("jwt", &self.jwt)
            .finish_non_exhaustive()
    }
}

/// Why an app token was refused; displays as the reason in the answer.
pub type JwtReason = TokenError;

/// Why an upgrade is answered 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A phone without a token.
    #[error("No core token provided")]
    NoToken,
    /// A phone whose token does not verify.
    #[error("Invalid core token")]
    BadToken,
    /// A phone whose token names no user.
    #[error("Invalid core token - no user ID")]
    NoUser,
    /// An app with a token but no `x-user-id`.
    #[error("Missing userId in request headers")]
    MissingHeaders,
    /// An app whose token does not verify.
    #[error("Invalid JWT token: {0}")]
    JwtInvalid(JwtReason),
}

impl Rejection {
    /// The 401 answer, its members in the order that clients know.
    #[must_use]
    pub fn response(&self, timestamp_iso: &str) -> Response {
        let (kind, code) = match self {
            Self::NoToken | Self::BadToken | Self::NoUser => ("connection_error", None),
            Self::MissingHeaders => ("tpa_connection_error", Some("MISSING_HEADERS")),
            Self::JwtInvalid(_) => ("tpa_connection_error", Some("JWT_INVALID")),
        };
        let mut body = Vec::with_capacity(160);
        ObjectWriter::begin(&mut body)
            .str("type", kind)
            .opt_str("code", code)
            .str("message", &self.to_string())
            .str("timestamp", timestamp_iso)
            .end();
        Response::json(401, body)
    }
}

/// Reads a phone's upgrade request and verifies its token at `unix_s`, seconds since the Unix
/// epoch (`protocol.md §1.3`).
///
/// # Errors
/// [`Rejection::NoToken`], [`Rejection::BadToken`], [`Rejection::NoUser`].
pub fn phone_upgrade(
    head: &RequestHead,
    keys: &TokenKeys,
    unix_s: u64,
) -> Result<PhoneHello, Rejection> {
    // The scheme word before the token is not looked at.
    let in_header = head
        .header("authorization")
        .and_then(|value| value.split(' ').nth(1));
    let token = match in_header {
        Some(token) if !token.is_empty() => token.to_owned(),
        _ => head
            .query("token")
            .filter(|token| !token.is_empty())
            .ok_or(Rejection::NoToken)?,
    };
    let claims = keys
        .verify_core(&token, unix_s)
        .map_err(|error| match error {
            TokenError::NoUser => Rejection::NoUser,
            _ => Rejection::BadToken,
        })?;
    let flag = |name| head.query(name).as_deref() == Some("true");
    Ok(PhoneHello {
        user: claims.email,
        udp_encryption: flag("udpEncryption"),
        livekit: flag("livekit"),
    })
}

/// Reads an app server's upgrade request and verifies its token, if it has one, at `unix_s`,
/// seconds since the Unix epoch (`protocol.md §1.4`).
///
/// # Errors
/// [`Rejection::MissingHeaders`], [`Rejection::JwtInvalid`]; never without a bearer token.
pub fn app_upgrade(
    head: &RequestHead,
    keys: &TokenKeys,
    unix_s: u64,
) -> Result<AppHeaders, Rejection> {
    let field = |name| {
        head.text(name)
            .filter(|value| !value.is_empty())
            .map(Cow::into_owned)
    };
    let mut headers = AppHeaders {
        user: field("x-user-id").map(|user| user.to_lowercase()),
        session_id: field("x-session-id"),
        package: field("x-package-name"),
        api_key: field("x-api-key"),
        sdk_version: field("x-sdk-version"),
        jwt: None,
    };
    let bearer = head
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    if let Some(token) = bearer {
        if headers.user.is_none() {
            return Err(Rejection::MissingHeaders);
        }
        let claims = keys
            .verify_app(token, unix_s)
            .map_err(Rejection::JwtInvalid)?;
        headers.jwt = Some(claims);
    }
    Ok(headers)
}

/// The request is no WebSocket handshake (`protocol.md §1.2`, step 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("WebSocket upgrade failed")]
pub struct UpgradeError;

impl UpgradeError {
    /// The 500 answer.
    #[must_use]
    pub fn response(&self) -> Response {
        Response::text(500, "WebSocket upgrade failed")
    }
}

/// The bytes that switch the connection to WebSocket: no subprotocol, no extension. Whatever
/// follows the head in the read buffer is the first frame.
///
/// # Errors
/// [`UpgradeError`] when the request is not a complete version 13 handshake, or has a body.
pub fn accept(head: &RequestHead) -> Result<Vec<u8>, UpgradeError> {
    if !matches!(head.body, BodyLength::None | BodyLength::Length(0)) || head.version_minor == 0 {
        return Err(UpgradeError);
    }
    let response = create_response(&handshake(head)?).map_err(|_| UpgradeError)?;
    let key = response
        .headers()
        .get("sec-websocket-accept")
        .ok_or(UpgradeError)?;
    let mut out = Vec::with_capacity(129);
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n");
    out.extend_from_slice(b"Upgrade: websocket\r\nSec-WebSocket-Accept: ");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    Ok(out)
}

/// The part of the request that the handshake primitive looks at. It reads the first field of a
/// name only and takes one protocol, so list fields are joined, the protocol is picked from its list
/// (RFC 6455 §4.1 lets clients offer others beside it), and the others must not be repeated.
fn handshake(head: &RequestHead) -> Result<http::Request<()>, UpgradeError> {
    let method = match head.method {
        Method::Get => http::Method::GET,
        _ => return Err(UpgradeError),
    };
    let mut request = http::Request::builder().method(method);
    for name in HANDSHAKE_FIELDS {
        let values: Vec<&[u8]> = head.values(name).collect();
        let value = match values[..] {
            [one] if name != "upgrade" => one.to_vec(),
            [_, _, ..] if name == "connection" => values.join(&b", "[..]),
            _ if name == "upgrade" && head.wants_upgrade() => b"websocket".to_vec(),
            _ => return Err(UpgradeError),
        };
        request = request.header(name, value);
    }
    request.body(()).map_err(|_| UpgradeError)
}
