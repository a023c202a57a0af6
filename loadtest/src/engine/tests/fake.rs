//! A server for the engine's tests: blocking threads, its own framing, just enough of the protocol. With
//! quirks, to see that the accounting notices them.

mod recogniser;
mod wire;

use crate::engine::greeting::is_greeting;
use crate::engine::lc3::tests::decode;
use recogniser::recogniser;
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;
use wire::{Request, read_frame, read_request, write_frame};

pub(super) const SECRET: &str = "fake-secret";
pub(super) const API_KEY: &str = "fake-key";

/// What the server does wrong, or need not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quirk {
    None,
    DropEveryFifth,
    SendTwice,
    FlipLastByte,
    /// Ends the sockets of the apps behind its tenth frame, without a close frame.
    EndsBehindTenth,
    /// Answers no ping of a phone.
    NoPong,
    /// Changes the number in the tag of every frame.
    FlipNumber,
    /// Takes audio by UDP, and loses every fifth packet.
    UdpLosesEveryFifth,
    /// Decodes LC3, and loses every fifth message.
    DecodesAllButEveryFifth,
    /// Audio goes to the apps of all users.
    ToEveryone,
    /// A phone that comes back is shown what stood on its glasses, as it should be.
    PaintsAgain,
    /// Every display is sent twice.
    PaintsTwice,
    /// Sends audio to the recognisers, and what they hear to the apps.
    Recognises,
    /// The same, but every fifth result is kept back.
    RecognisesAllButEveryFifth,
    /// Turns away those who only come and go.
    RefusesVisitors,
    /// Never answers where a phone tells its location.
    LeavesCallsOpen,
}

#[derive(Default)]
struct User {
    phone: Option<TcpStream>,
    apps: HashMap<String, TcpStream>,
    painted: Option<Vec<u8>>,
}

#[derive(Default)]
struct State {
    users: HashMap<String, User>,
    webhook_port: u16,
    provider_port: u16,
    /// Connections to the recognisers, by user.
    recognisers: HashMap<String, TcpStream>,
    frames: u64,
    hashes: HashMap<u32, String>,
    /// Answers of apps to greetings.
    answered: usize,
}

struct Shared {
    quirk: Quirk,
    port: u16,
    state: Mutex<State>,
    attached: Condvar,
    /// Messages of streams that were passed on, or dropped as the quirk wants it.
    handled: AtomicU64,
    /// The same of what recognisers heard.
    heard: Arc<AtomicU64>,
    /// Where audio by UDP is taken, if at all.
    udp_port: Option<u16>,
}

pub(super) struct Fake {
    pub(super) address: SocketAddrV4,
    shared: Arc<Shared>,
}

impl Fake {
    pub(super) fn start(quirk: Quirk) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
            panic!("bound to an IPv4 address");
        };
        let udp = (quirk == Quirk::UdpLosesEveryFifth)
            .then(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let shared = Arc::new(Shared {
            udp_port: udp.as_ref().map(|udp| udp.local_addr().unwrap().port()),
            quirk,
            port: address.port(),
            state: Mutex::default(),
            attached: Condvar::new(),
            handled: AtomicU64::new(0),
            heard: Arc::default(),
        });
        if let Some(udp) = udp {
            let own = shared.clone();
            thread::spawn(move || own.packets(&udp));
        }
        let own = shared.clone();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let shared = own.clone();
                thread::spawn(move || shared.serve(socket));
            }
        });
        Self { address, shared }
    }

    pub(super) fn set_ports(&self, webhook: u16, provider: u16) {
        let mut state = self.shared.state.lock().unwrap();
        (state.webhook_port, state.provider_port) = (webhook, provider);
    }

    pub(super) fn takes_udp(&self) -> bool {
        self.shared.udp_port.is_some()
    }

    /// Phones and apps to which it sends.
    pub(super) fn attached(&self) -> (usize, usize) {
        let state = self.shared.state.lock().unwrap();
        let phones = state.users.values().filter(|user| user.phone.is_some());
        let apps = state.users.values().map(|user| user.apps.len());
        (phones.count(), apps.sum())
    }

    /// Answers of apps to greetings.
    pub(super) fn answered(&self) -> usize {
        self.shared.state.lock().unwrap().answered
    }

    /// Whether all that was written lies at the other end: a starved kernel delivers late on loopback, too.
    pub(super) fn is_delivered(&self) -> bool {
        let state = self.shared.state.lock().unwrap();
        let users = state.users.values();
        let mut sockets = users
            .flat_map(|user| user.phone.iter().chain(user.apps.values()))
            .chain(state.recognisers.values());
        sockets.all(|socket| {
            let mut unacknowledged: libc::c_int = 0;
            // SAFETY: the descriptor is open, and the kernel writes one number.
            let result =
                unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unacknowledged) };
            result != 0 || unacknowledged == 0
        })
    }

    /// Messages of streams of which all that they set off here is in the kernel's hands; and results of recognisers.
    pub(super) fn passed_on(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (of(&self.shared.handled), of(&self.shared.heard))
    }
}

fn email_of(token: &str) -> Option<String> {
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    let key = jsonwebtoken::DecodingKey::from_secret(SECRET.as_bytes());
    let claims = jsonwebtoken::decode::<serde_json::Value>(token, &key, &rules)
        .ok()?
        .claims;
    Some(claims["email"].as_str()?.to_owned())
}

fn is_visitor(request: &Request) -> bool {
    let email = request.query.get("token").and_then(|token| email_of(token));
    email.is_some_and(|email| email.contains("-v"))
}

impl Shared {
    fn serve(&self, socket: TcpStream) {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        while let Some(request) = read_request(&mut reader) {
            if request.method == "GET" && request.path.ends_with("-ws") {
                if self.quirk == Quirk::RefusesVisitors && is_visitor(&request) {
                    let refusal = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
                    let _ = (&socket).write_all(refusal);
                    return;
                }
                let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                {
                    // Who is told that a relay's app is there finds it there.
                    let mut state = self.state.lock().unwrap();
                    (&socket).write_all(answer.as_bytes()).unwrap();
                    if let (Some(user), Some(session)) =
                        (request.query.get("user"), request.query.get("session"))
                    {
                        let own = state.users.entry(user.clone()).or_default();
                        (own.apps).insert(session.clone(), socket.try_clone().unwrap());
                    }
                }
                if request.path == "/glasses-ws" {
                    self.phone(&socket, &mut reader, &request);
                } else {
                    self.app(&socket, &mut reader, &request);
                }
                return;
            }
            if self.quirk == Quirk::LeavesCallsOpen && request.path.ends_with("/location") {
                continue;
            }
            let body = self.rest(&request);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if (&socket).write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn phone(&self, socket: &TcpStream, reader: &mut BufReader<TcpStream>, request: &Request) {
        let user = match request.query.get("token") {
            Some(token) => email_of(token).expect("the token is signed with our secret"),
            None => request.query["user"].clone(),
        };
        self.with_user(&user, |own| own.phone = socket.try_clone().ok());
        if request.query.contains_key("token") {
            let udp = self.udp_port.map_or(String::new(), |port| {
                format!(r#","udpHost":"127.0.0.1","udpPort":{port}"#)
            });
            let ack = format!(r#"{{"type":"connection_ack","sessionId":"x"{udp}}}"#);
            write_frame(socket, 1, ack.as_bytes());
        }
        if self.quirk == Quirk::PaintsAgain {
            self.with_user(&user, |own| {
                if let Some(painted) = &own.painted {
                    write_frame(socket, 1, painted);
                }
            });
        }
        while let Some((opcode, payload)) = read_frame(reader) {
            match opcode {
                _ if is_greeting(&payload) => {
                    self.greeting(&user, opcode, &payload);
                    continue;
                }
                1 if payload == br#"{"type":"ping"}"# && self.quirk == Quirk::NoPong => continue,
                1 if payload == br#"{"type":"ping"}"# => {
                    write_frame(socket, 1, br#"{"type":"pong"}"#);
                    continue;
                }
                1 if payload.starts_with(br#"{"type":"udp_register""#) => {
                    let message: serde_json::Value = serde_json::from_slice(&payload).unwrap();
                    let hash = u32::try_from(message["userIdHash"].as_u64().unwrap()).unwrap();
                    let mut state = self.state.lock().unwrap();
                    state.hashes.insert(hash, user.clone());
                    continue;
                }
                1 => self.event(&user, &payload),
                2 if self.recognises() => self.transcribe(&user, &payload),
                2 => self.audio(&user, payload),
                8 => {
                    write_frame(socket, 8, &payload);
                    return;
                }
                _ => continue,
            }
            self.handled.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Reaches all apps, whatever the quirk, and counts for nothing.
    fn greeting(&self, user: &str, opcode: u8, payload: &[u8]) {
        let wrapped = [br#"{"type":"data_stream","data":"#, payload, b"}"].concat();
        let message = if opcode == 1 { &wrapped } else { payload };
        self.with_user(user, |own| {
            (own.apps.values()).for_each(|app| write_frame(app, opcode, message));
        });
    }

    fn with_user<T>(&self, user: &str, act: impl FnOnce(&mut User) -> T) -> T {
        act(self
            .state
            .lock()
            .unwrap()
            .users
            .entry(user.to_owned())
            .or_default())
    }

    fn audio(&self, user: &str, mut payload: Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        state.frames += 1;
        let loses = matches!(
            self.quirk,
            Quirk::DropEveryFifth | Quirk::UdpLosesEveryFifth | Quirk::DecodesAllButEveryFifth
        );
        let drop_it = loses && state.frames.is_multiple_of(5);
        if drop_it {
            return;
        }
        if self.quirk == Quirk::DecodesAllButEveryFifth {
            payload = decode(&[payload]).remove(0);
        }
        if self.quirk == Quirk::FlipNumber {
            payload[9] ^= 0x40;
        }
        if self.quirk == Quirk::FlipLastByte
            && let Some(last) = payload.last_mut()
        {
            *last ^= 1;
        }
        for (name, own) in &state.users {
            if name != user && self.quirk != Quirk::ToEveryone {
                continue;
            }
            for app in own.apps.values() {
                write_frame(app, 2, &payload);
                if self.quirk == Quirk::SendTwice {
                    write_frame(app, 2, &payload);
                }
                if self.quirk == Quirk::EndsBehindTenth && state.frames == 10 {
                    app.shutdown(Shutdown::Both).unwrap();
                }
            }
        }
    }

    fn recognises(&self) -> bool {
        matches!(
            self.quirk,
            Quirk::Recognises | Quirk::RecognisesAllButEveryFifth
        )
    }

    /// Passes audio on to the user's recogniser, which is connected when the first comes.
    fn transcribe(&self, user: &str, pcm: &[u8]) {
        let mut state = self.state.lock().unwrap();
        let port = state.provider_port;
        let apps: Vec<(String, TcpStream)> = (state.users[user].apps.iter())
            .map(|(name, app)| (name.clone(), app.try_clone().unwrap()))
            .collect();
        let drops = self.quirk == Quirk::RecognisesAllButEveryFifth;
        let heard = Arc::clone(&self.heard);
        let socket = state
            .recognisers
            .entry(user.to_owned())
            .or_insert_with(|| recogniser(port, apps, drops, heard));
        let mut frame = Vec::new();
        crate::frame::encode(&mut frame, crate::frame::Opcode::Binary, pcm, [1, 2, 3, 4]);
        socket.write_all(&frame).unwrap();
    }

    fn packets(&self, udp: &UdpSocket) {
        let mut packet = [0; 2048];
        while let Ok(count) = udp.recv(&mut packet) {
            let (header, payload) = packet[..count].split_at(6);
            let hash = u32::from_be_bytes(header[..4].try_into().unwrap());
            let user = self.state.lock().unwrap().hashes.get(&hash).cloned();
            let Some(user) = user else { continue };
            if payload == b"PING" {
                self.with_user(&user, |own| {
                    if let Some(phone) = &own.phone {
                        write_frame(phone, 1, br#"{"type":"udp_ping_ack"}"#);
                    }
                });
            } else {
                self.audio(&user, payload.to_vec());
                self.handled.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    fn event(&self, user: &str, payload: &[u8]) {
        let data = String::from_utf8(payload.to_vec()).unwrap();
        let parsed: serde_json::Value = serde_json::from_str(&data).unwrap();
        let stream = parsed["type"].as_str().unwrap();
        self.with_user(user, |own| {
            for (session, app) in &own.apps {
                let text = format!(
                    r#"{{"type":"data_stream","sessionId":"{session}","streamType":"{stream}","data":{data},"timestamp":"2026-03-14T09:26:53.592Z"}}"#
                );
                write_frame(app, 1, text.as_bytes());
            }
        });
    }

    fn app(&self, socket: &TcpStream, reader: &mut BufReader<TcpStream>, request: &Request) {
        let mut identity = request.query.get("user").map(|user| {
            let session = request.query["session"].clone();
            (user.clone(), session)
        });
        if let Some((user, session)) = &identity {
            self.attach(user, session, socket);
        }
        while let Some((opcode, payload)) = read_frame(reader) {
            if opcode == 8 {
                write_frame(socket, 8, &payload);
                return;
            }
            if opcode == 10 {
                self.state.lock().unwrap().answered += 1;
                continue;
            }
            let message: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            match message["type"].as_str().unwrap() {
                "tpa_connection_init" => {
                    assert_eq!(message["apiKey"], API_KEY);
                    let session = message["sessionId"].as_str().unwrap();
                    let package = message["packageName"].as_str().unwrap();
                    let user = session.strip_suffix(&format!("-{package}")).unwrap();
                    write_frame(socket, 1, br#"{"type":"tpa_connection_ack","settings":[]}"#);
                    identity = Some((user.to_owned(), session.to_owned()));
                }
                "subscription_update" => {
                    assert!(!message["subscriptions"].as_array().unwrap().is_empty());
                    let (user, session) = identity.as_ref().expect("the init comes first");
                    self.attach(user, session, socket);
                }
                "display_event" => {
                    let (user, _) = identity.as_ref().unwrap();
                    self.with_user(user, |own| {
                        let times = 1 + usize::from(self.quirk == Quirk::PaintsTwice);
                        for phone in own.phone.iter().cycle().take(times) {
                            write_frame(phone, 1, &payload);
                        }
                        own.painted = Some(payload);
                    });
                    self.handled.fetch_add(1, Ordering::SeqCst);
                }
                "ping" => write_frame(socket, 1, br#"{"type":"pong"}"#),
                other => panic!("unexpected {other}"),
            }
        }
    }

    fn attach(&self, user: &str, session: &str, socket: &TcpStream) {
        let socket = socket.try_clone().unwrap();
        self.with_user(user, |own| own.apps.insert(session.to_owned(), socket));
        self.attached.notify_all();
    }

    fn rest(&self, request: &Request) -> String {
        let token = request.headers["authorization"]
            .strip_prefix("Bearer ")
            .unwrap();
        let user = email_of(token).expect("the token is signed with our secret");
        let Some(rest) = request.path.strip_prefix("/apps/") else {
            return r#"{"success":true}"#.into();
        };
        assert!(serde_json::from_slice::<serde_json::Value>(&request.body).is_ok());
        let package = rest.strip_suffix("/start").unwrap();
        let session = format!("{user}-{package}");
        self.webhook(&user, &session);
        let state = self.state.lock().unwrap();
        let (_state, waited) = self
            .attached
            .wait_timeout_while(state, Duration::from_secs(30), |state| {
                !state.users[&user].apps.contains_key(&session)
            })
            .unwrap();
        assert!(!waited.timed_out(), "{session} did not attach");
        r#"{"success":true,"data":{"status":"started","isRunning":true}}"#.into()
    }

    fn webhook(&self, user: &str, session: &str) {
        let port = self.state.lock().unwrap().webhook_port;
        let body = serde_json::json!({
            "type": "session_request", "sessionId": session, "userId": user,
            "timestamp": "2026-03-14T09:26:53.589Z",
            "mentraOSWebsocketUrl": format!("ws://127.0.0.1:{}/app-ws", self.port),
        })
        .to_string();
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        write!(
            socket,
            "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
