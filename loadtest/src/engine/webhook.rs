//! The webhook receiver (`protocol.md §13`): answers `session_request` at once and dials as it says.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use serde::Deserialize;

use super::conn::{Conn, Role, Stage, Token};
use super::io::End;
use super::user::package;
use super::{Engine, EngineError, Target};
use crate::http;
use crate::sys;

/// State of the receiver.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    listener: Option<Token>,
    /// Port in use; kept so that it can listen again at the same place.
    pub(super) port: u16,
    /// Session requests answered.
    pub(super) requests: u64,
}

#[derive(Deserialize)]
struct Hook {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "sessionId", default)]
    session: String,
    #[serde(rename = "userId", default)]
    user: String,
    #[serde(rename = "mentraOSWebsocketUrl", default)]
    url: String,
}

const SUCCESS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    Content-Length: 20\r\n\r\n{\"status\":\"success\"}";
const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\
    Content-Length: 18\r\n\r\n{\"status\":\"error\"}";

impl Engine {
    /// Listens for webhooks on the port of the settings, later on the one it got.
    pub(super) fn start_hooks(&mut self) -> Result<(), EngineError> {
        let wanted = match &self.settings.target {
            Target::Prism { webhook_port, .. } if self.hooks.port == 0 => *webhook_port,
            _ => self.hooks.port,
        };
        let (fd, port) = self.listen("--webhook-port", wanted)?;
        let conn = Conn::new(fd, Role::Listener, Stage::Http, 0);
        self.hooks.listener = self.register(conn);
        self.hooks.port = port;
        Ok(())
    }

    /// Listens on `port`, which is what `option` of the command line says.
    pub(super) fn listen(&self, option: &str, port: u16) -> Result<(OwnedFd, u16), EngineError> {
        sys::listen(self.settings.listening(port))
            .map_err(|error| EngineError::Port(format!("{option} {port}: {error}")))
    }

    /// Stops listening and cuts the server's webhook connections.
    pub(super) fn stop_hooks(&mut self) {
        if let Some(token) = self.hooks.listener.take() {
            self.end(token, End::Ours);
        }
        for token in self.conns.select(|conn| conn.role == Role::Hook) {
            self.cut(token);
        }
    }

    pub(super) fn accept_hooks(&mut self, listener: Token) {
        while let Some(conn) = self.conns.get(listener) {
            match sys::accept(conn.fd()) {
                Ok(Some(fd)) => {
                    debug_assert!(fd.as_raw_fd() >= 0);
                    let conn = Conn::new(fd, Role::Hook, Stage::Http, 0);
                    self.register(conn);
                }
                Ok(None) => return,
                Err(error) => {
                    self.stats.errors.add(&format!("webhook accept: {error}"));
                    return;
                }
            }
        }
    }

    pub(super) fn on_hook_bytes(&mut self, token: Token, now: u64) {
        while let Some(conn) = self.conns.get(token) {
            let message = match http::message(&conn.rx) {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(_) => {
                    self.stats.errors.add("webhook: not HTTP");
                    self.end(token, End::Ours);
                    return;
                }
            };
            conn.rx.drain(..message.length);
            self.on_hook(token, &message, now);
            if !message.keep_alive {
                self.end(token, End::Ours);
            }
        }
    }

    fn on_hook(&mut self, token: Token, message: &http::Message, now: u64) {
        if message.start.starts_with("GET ") {
            self.send_bytes(token, SUCCESS);
            return;
        }
        let Ok(hook) = serde_json::from_slice::<Hook>(&message.body) else {
            self.stats.errors.add("webhook: body not understood");
            self.send_bytes(token, REFUSAL);
            return;
        };
        match hook.kind.as_str() {
            "session_request" => {
                self.hooks.requests += 1;
                self.send_bytes(token, SUCCESS);
                self.on_session_request(&hook, message.path(), now);
            }
            "stop_request" => self.send_bytes(token, SUCCESS),
            _ => self.send_bytes(token, REFUSAL),
        }
    }

    fn on_session_request(&mut self, hook: &Hook, path: &str, now: u64) {
        let Some((user, app)) = self.whose(hook, path) else {
            self.stats.errors.add("webhook: unknown user or app");
            return;
        };
        let fallback = self.settings.address;
        let Some(dial) = parse_url(&hook.url, fallback) else {
            self.stats
                .errors
                .add(&format!("webhook: URL not understood: {:.80}", hook.url));
            return;
        };
        let link = &mut self.users[user as usize].apps[usize::from(app)];
        link.session.clone_from(&hook.session);
        link.dial = Some(dial);
        link.tries = 0;
        // The SDK leaves the session it has and connects anew; a dial under way goes on.
        match (link.conn, link.ready) {
            (Some(old), true) => {
                self.end(old, End::Ours);
                self.dial_app(user, app, now);
            }
            (Some(_), false) => {}
            (None, _) => self.dial_app(user, app, now),
        }
    }

    /// User and app of a webhook: the e-mail names the user; the session id's end, or a folder in the
    /// path, names the package.
    fn whose(&self, hook: &Hook, path: &str) -> Option<(u32, u8)> {
        let digits = hook.user.rsplit_once("-u")?.1.split('@').next()?;
        let user: u32 = digits.parse().ok()?;
        let own = self.users.get(user as usize)?;
        if *own.email != *hook.user {
            return None;
        }
        let app = (0..own.apps.len()).find(|app| {
            let name = package(*app);
            hook.session.ends_with(&name) || path.split('/').any(|part| part == name)
        })?;
        Some((user, u8::try_from(app).ok()?))
    }
}

/// Address and path of the URL in a webhook; a host name other than a loopback one is taken to be the server, and so is the load
/// balancer of a `wss://` URL, which ends the TLS in front of it.
fn parse_url(url: &str, fallback: SocketAddrV4) -> Option<(SocketAddrV4, String)> {
    if let Some(rest) = url.strip_prefix("wss://") {
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        return Some((fallback, path.to_owned()));
    }
    let rest = url.strip_prefix("ws://")?;
    let (authority, path) = match rest.find('/') {
        Some(at) => (&rest[..at], &rest[at..]),
        None => (rest, "/"),
    };
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    let port: u16 = port.parse().ok()?;
    let address = match host.parse::<Ipv4Addr>() {
        Ok(ip) => SocketAddrV4::new(ip, port),
        Err(_) if host == "localhost" => SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
        Err(_) => fallback,
    };
    Some((address, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhook_urls_give_address_and_path() {
        let server: SocketAddrV4 = "127.0.0.1:9000".parse().unwrap();
        let parse = |url| parse_url(url, server);
        let local = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        assert_eq!(
            parse("ws://127.0.0.1:8002/app-ws"),
            Some((local(8002), "/app-ws".into()))
        );
        assert_eq!(
            parse("ws://localhost:8002/app-ws"),
            Some((local(8002), "/app-ws".into()))
        );
        assert_eq!(
            parse("ws://rt.example.net/app-ws"),
            Some((server, "/app-ws".into()))
        );
        assert_eq!(
            parse("wss://rt.example.net/app-ws"),
            Some((server, "/app-ws".into()))
        );
        assert_eq!(parse("https://rt.example.net/app-ws"), None);
    }
}
