//! Bytes in and out: readiness, handshakes, frames. Decides nothing about users.

use std::io;
use std::net::SocketAddrV4;

use super::Engine;
use super::conn::{Conn, Role, Stage, Token};
use crate::clock;
use crate::frame::{self, Opcode};
use crate::http;
use crate::sys;

/// Unsent bytes per connection beyond which nothing more is queued.
pub(super) const UNSENT_MAX: usize = 256 * 1024;
/// The accept key of [`HANDSHAKE_KEY`], by RFC 6455 section 4.2.2.
const HANDSHAKE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// One fixed key for all handshakes: nothing between us and the server caches them.
const HANDSHAKE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The server sent a close frame.
    Closed(u16, String),
    /// Anything else, by cause.
    Broken(String),
    /// We ended it on purpose.
    Ours,
}

impl Engine {
    /// Opens a WebSocket connection; the outcome comes through `on_open` or `ended`.
    pub(super) fn open_socket(
        &mut self,
        role: Role,
        to: SocketAddrV4,
        path: &str,
        due: u64,
        receive_buffer: Option<i32>,
    ) -> Option<Token> {
        let host = if to == self.settings.address {
            self.settings.host.clone()
        } else {
            to.to_string()
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {HANDSHAKE_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        self.open_tcp(role, to, request.into_bytes(), due, receive_buffer)
    }

    /// Opens a TCP connection that sends `first` as soon as it can.
    pub(super) fn open_tcp(
        &mut self,
        role: Role,
        to: SocketAddrV4,
        first: Vec<u8>,
        due: u64,
        receive_buffer: Option<i32>,
    ) -> Option<Token> {
        match sys::connect(to, receive_buffer) {
            Ok(fd) => {
                let mut conn = Conn::new(fd, role, Stage::Connecting, due);
                conn.tx = first;
                self.register(conn)
            }
            Err(error) => {
                self.count_error(role, &format!("connect: {}", cause_of(&error)));
                None
            }
        }
    }

    /// Stores a connection and watches it.
    pub(super) fn register(&mut self, conn: Conn) -> Option<Token> {
        let (fd, role) = (conn.fd(), conn.role);
        let token = self.conns.insert(conn);
        if let Err(error) = self.epoll.add(fd, token) {
            self.count_error(role, &format!("epoll: {}", cause_of(&error)));
            self.conns.remove(token);
            return None;
        }
        Some(token)
    }

    pub(super) fn count_error(&mut self, role: Role, cause: &str) {
        self.stats.errors.add(&format!("{} {cause}", role.word()));
    }

    /// Handles one readiness report.
    pub(super) fn on_ready(&mut self, ready: sys::Ready) {
        let Some(conn) = self.conns.get(ready.token) else {
            return;
        };
        conn.ended |= ready.ended;
        if conn.role == Role::Listener {
            self.accept_hooks(ready.token);
            return;
        }
        if conn.role == Role::RecogniserListener {
            self.accept_recognisers(ready.token);
            return;
        }
        if conn.stage == Stage::Connecting && (ready.writable || ready.readable) {
            if let Err(error) = sys::connect_result(conn.fd()) {
                let cause = format!("connect: {}", cause_of(&error));
                self.end(ready.token, End::Broken(cause));
                return;
            }
            if !ready.writable {
                return;
            }
            conn.stage = match conn.role {
                Role::Rest => Stage::Http,
                _ => Stage::Upgrading,
            };
        }
        if ready.writable {
            self.flush(ready.token);
        }
        if ready.readable {
            self.read(ready.token);
        }
    }

    /// Reads until the kernel has no more, or the connection is paused or gone.
    pub(super) fn read(&mut self, token: Token) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(conn) = self.conns.get(token) {
            if conn.paused {
                break;
            }
            match sys::receive(conn.fd(), &mut buffer) {
                Ok(0) => {
                    self.end(token, End::Broken("closed without a close frame".into()));
                }
                Ok(count) => {
                    let ended = conn.ended;
                    let now = clock::mono_ns();
                    self.ingest(token, &buffer[..count], now);
                    // A short read has emptied the socket; more bytes would make a new edge, but the end has had its own.
                    if count < buffer.len() && !ended {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.end(token, End::Broken(cause_of(&error))),
            }
        }
        self.buffer = buffer;
    }

    fn ingest(&mut self, token: Token, data: &[u8], now: u64) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if conn.role == Role::Recogniser {
            conn.rx.extend_from_slice(data);
            self.on_recogniser_bytes(token);
            return;
        }
        match conn.stage {
            Stage::Open | Stage::Closing => self.frames(token, data, now),
            Stage::Upgrading | Stage::Connecting => self.upgrade_answer(token, data, now),
            Stage::Http => {
                conn.rx.extend_from_slice(data);
                match conn.role {
                    Role::Hook => self.on_hook_bytes(token, now),
                    _ => self.on_rest_bytes(token, now),
                }
            }
        }
    }

    fn upgrade_answer(&mut self, token: Token, data: &[u8], now: u64) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        conn.rx.extend_from_slice(data);
        match http::upgrade_response(&conn.rx) {
            Ok(None) => {}
            Err(_) => self.end(token, End::Broken("upgrade: not HTTP".into())),
            Ok(Some((101, length, accept))) => {
                if accept != HANDSHAKE_ACCEPT {
                    self.end(token, End::Broken("upgrade: wrong accept key".into()));
                    return;
                }
                let rest = conn.rx.split_off(length);
                conn.rx.clear();
                conn.stage = Stage::Open;
                let role = conn.role;
                self.on_open(token, role, now);
                if !rest.is_empty() {
                    self.frames(token, &rest, now);
                }
            }
            Ok(Some((status, ..))) => {
                self.end(token, End::Broken(format!("upgrade: status {status}")));
            }
        }
    }

    fn frames(&mut self, token: Token, data: &[u8], now: u64) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        let mut carry = std::mem::take(&mut conn.rx);
        let bytes = if carry.is_empty() {
            data
        } else {
            carry.extend_from_slice(data);
            &carry
        };
        let mut at = 0;
        loop {
            match frame::parse(&bytes[at..]) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    at += frame.length;
                    self.on_frame(token, &frame, now);
                }
                Err(error) => self.end(token, End::Broken(error.cause().into())),
            }
            if self.conns.get(token).is_none() {
                return;
            }
        }
        if let Some(conn) = self.conns.get(token) {
            conn.rx = bytes[at..].to_vec();
        }
    }

    fn on_frame(&mut self, token: Token, frame: &frame::Frame<'_>, now: u64) {
        match frame.opcode {
            Opcode::Ping => self.send_frame(token, Opcode::Pong, frame.payload),
            Opcode::Pong => {}
            Opcode::Close => {
                let (code, reason) = frame::close_reason(frame.payload);
                self.send_frame(token, Opcode::Close, frame.payload.get(..2).unwrap_or(&[]));
                self.end(token, End::Closed(code, reason));
            }
            Opcode::Text | Opcode::Binary if frame.fin => {
                self.on_message(token, frame.opcode, frame.payload, now);
            }
            Opcode::Text | Opcode::Binary => {
                if let Some(conn) = self.conns.get(token) {
                    conn.pieces = Some((frame.opcode, frame.payload.to_vec()));
                }
            }
            Opcode::Continuation => {
                let Some(conn) = self.conns.get(token) else {
                    return;
                };
                let Some((opcode, mut whole)) = conn.pieces.take() else {
                    self.end(token, End::Broken("frame: stray continuation".into()));
                    return;
                };
                whole.extend_from_slice(frame.payload);
                if frame.fin {
                    self.on_message(token, opcode, &whole, now);
                } else if whole.len() as u64 <= frame::PAYLOAD_MAX {
                    conn.pieces = Some((opcode, whole));
                } else {
                    self.end(token, End::Broken("frame: message too long".into()));
                }
            }
        }
    }

    fn on_message(&mut self, token: Token, opcode: Opcode, payload: &[u8], now: u64) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        match conn.role {
            Role::Phone(user) => self.on_phone_message(user, opcode, payload, now),
            Role::App(user, app) => self.on_app_message(user, app, opcode, payload, now),
            Role::Visitor => self.on_visitor_message(token, payload, now),
            Role::Abuser | Role::Listener | Role::Hook | Role::Rest => {}
            Role::RecogniserListener | Role::Recogniser | Role::Bystander => {}
        }
    }

    fn on_open(&mut self, token: Token, role: Role, now: u64) {
        match role {
            Role::Phone(user) => self.on_phone_open(user, now),
            Role::App(user, app) => self.on_app_open(user, app, now),
            Role::Visitor => self.on_visitor_open(token, now),
            Role::Abuser | Role::Listener | Role::Hook | Role::Rest => {}
            Role::RecogniserListener | Role::Recogniser | Role::Bystander => {}
        }
    }

    /// Sends one frame, or queues it behind what is still unsent.
    pub(super) fn send_frame(&mut self, token: Token, opcode: Opcode, payload: &[u8]) {
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        frame::encode(&mut out, opcode, payload, self.rng.mask());
        self.send_bytes(token, &out);
        self.scratch = out;
    }

    /// Sends bytes, or queues them behind what is still unsent.
    pub(super) fn send_bytes(&mut self, token: Token, bytes: &[u8]) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        if !conn.tx.is_empty() {
            conn.tx.extend_from_slice(bytes);
            return;
        }
        match sys::send(conn.fd(), bytes) {
            Ok(count) => conn.tx.extend_from_slice(&bytes[count..]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                conn.tx.extend_from_slice(bytes);
            }
            // The reading side reports the end of the connection, with its reason if there is one.
            Err(_) => {}
        }
    }

    /// Whether the server reads so slowly that nothing more should be queued.
    pub(super) fn is_backed_up(&mut self, token: Token) -> bool {
        self.conns
            .get(token)
            .is_some_and(|conn| conn.tx.len() > UNSENT_MAX)
    }

    pub(super) fn flush(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token) else {
            return;
        };
        while !conn.tx.is_empty() {
            match sys::send(conn.fd(), &conn.tx) {
                Ok(count) => {
                    conn.tx.drain(..count);
                }
                Err(_) => return,
            }
        }
    }

    /// Ends a connection; the next step of its owner follows from `end`.
    pub(super) fn end(&mut self, token: Token, end: End) {
        let Some(conn) = self.conns.remove(token) else {
            return;
        };
        let orderly = conn.stage == Stage::Closing;
        match &end {
            End::Closed(..) | End::Broken(_) if orderly => {}
            End::Closed(code, reason) => {
                let key = format!("{} {code} {reason}", conn.role.word());
                self.stats.closes.add(key.trim());
            }
            // The server may end idle HTTP connections as it likes.
            End::Broken(_) if matches!(conn.role, Role::Hook | Role::Recogniser) => {}
            End::Broken(cause) if conn.role != Role::Rest => self.count_error(conn.role, cause),
            End::Broken(_) | End::Ours => {}
        }
        match conn.role {
            Role::Phone(user) => self.on_phone_end(token, user, &end),
            Role::App(user, app) => self.on_app_end(token, user, app, &end),
            Role::Visitor => self.visitors = self.visitors.saturating_sub(1),
            Role::Rest => self.on_rest_end(token, &end),
            Role::Abuser | Role::Listener | Role::Hook => {}
            Role::RecogniserListener | Role::Recogniser | Role::Bystander => {}
        }
    }

    /// Cuts a connection as a vanishing peer does: a reset, no close frame.
    pub(super) fn cut(&mut self, token: Token) {
        if let Some(conn) = self.conns.get(token) {
            sys::reset_on_close(conn.fd());
        }
        self.end(token, End::Ours);
    }
}

/// Short name of an I/O error.
pub(super) fn cause_of(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "refused".into(),
        Some(libc::ECONNRESET) => "reset by the server".into(),
        Some(libc::EPIPE) => "broken pipe".into(),
        Some(libc::ETIMEDOUT) => "timed out".into(),
        Some(libc::EMFILE) => "no descriptors left (EMFILE)".into(),
        Some(libc::EADDRNOTAVAIL) => "no local port left (EADDRNOTAVAIL)".into(),
        _ => error.to_string(),
    }
}
