//! The transport as a peer sees it, on both drivers, with a real process and an independent WebSocket client.
#![allow(missing_docs, reason = "a test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket, client::IntoClientRequest};

const SECRET: &str = "net-smoke-secret-0123456789";
const PATIENCE: Duration = Duration::from_secs(20);

type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

struct Server {
    child: Child,
    address: String,
    _apps: tempfile::TempDir,
}

impl Server {
    fn start(driver: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let apps = folder.path().join("apps.yaml");
        let yaml = "apps:\n  - packageName: com.acme.x\n    name: X\n    publicUrl: http://127.0.0.1:9\n    apiKey: k1\n";
        std::fs::write(&apps, yaml).expect("writable");
        let mut child = Command::new(env!("CARGO_BIN_EXE_prism"))
            .args([
                "serve",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--shards",
                "2",
            ])
            .args(["--enable-echo", "--io-driver", driver])
            .arg("--apps")
            .arg(&apps)
            .arg("--data-dir")
            .arg(folder.path())
            .env("AUGMENTOS_AUTH_JWT_SECRET", SECRET)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .current_dir(folder.path())
            .spawn()
            .expect("the server starts");
        let stderr = child.stderr.take().expect("piped");
        let mut lines = BufReader::new(stderr).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("listening on http://")?.1.to_owned()))
            .expect("it says where it listens");
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self {
            child,
            address,
            _apps: folder,
        }
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("settable");
        stream
    }

    /// Sends bytes, reads until the server closes.
    fn raw(&self, request: &str) -> String {
        let mut stream = self.tcp();
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn socket(&self, path: &str, headers: &[(&'static str, &str)]) -> Socket {
        let mut request = format!("ws://{}{path}", self.address)
            .into_client_request()
            .expect("a URL");
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(*name, value.parse().expect("a header"));
        }
        let stream = MaybeTlsStream::Plain(self.tcp());
        tungstenite::client(request, stream).expect("upgraded").0
    }

    fn phone(&self, email: &str) -> Socket {
        self.socket(&format!("/glasses-ws?token={}", token(email)), &[])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn token(email: &str) -> String {
    prism::wire::auth::TokenKeys::new(SECRET)
        .mint(&serde_json::json!({ "email": email }))
        .expect("an object")
}

/// Reads until a text of this type.
fn wait_for(socket: &mut Socket, kind: &str) -> serde_json::Value {
    loop {
        match socket.read().expect("the socket lives") {
            Message::Text(text) => {
                let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                if value["type"] == kind {
                    return value;
                }
            }
            Message::Close(close) => panic!("closed while waiting for {kind}: {close:?}"),
            _ => {}
        }
    }
}

/// Reads until the close frame.
fn close_of(socket: &mut Socket) -> (u16, String) {
    loop {
        match socket.read().expect("a close frame comes") {
            Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.to_string()),
            Message::Close(None) => return (1005, String::new()),
            _ => {}
        }
    }
}

const DRIVERS: [&str; 2] = ["uring", "epoll"];

#[test]
fn http_is_strict_keeps_alive_and_answers_exactly() {
    for driver in DRIVERS {
        let server = Server::start(driver);
        let two = server.raw(
            "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(two.matches("HTTP/1.1 ").count(), 2, "{driver}: {two}");
        assert!(two.contains("\r\n\r\nokHTTP/1.1 404"), "{driver}: {two}");
        assert!(two.contains(r#"{"error":"Not found","path":"/nowhere","timestamp":""#));
        assert!(two.contains("Cache-Control: no-store\r\n"));

        let smuggled = server.raw(
            "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        );
        assert!(smuggled.starts_with("HTTP/1.1 400"), "{driver}: {smuggled}");

        let upgrade = |path: &str, extra: &str| {
            server.raw(&format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{extra}\r\n"
            ))
        };
        let missing = upgrade("/glasses-ws", "");
        assert!(missing.starts_with("HTTP/1.1 401"), "{driver}: {missing}");
        assert!(missing.contains(
            r#"{"type":"connection_error","message":"No core token provided","timestamp":""#
        ));
        let headers = upgrade("/app-ws", "Authorization: Bearer x\r\n");
        assert!(
            headers.contains(
                r#""code":"MISSING_HEADERS","message":"Missing userId in request headers""#
            )
        );
        assert!(upgrade("/elsewhere", "").ends_with("Unknown WebSocket path"));
        let failed = upgrade(&format!("/glasses-ws?token={}", token("a@b.io")), "");
        assert!(failed.starts_with("HTTP/1.1 500"), "{driver}: {failed}");
        assert!(failed.ends_with("WebSocket upgrade failed"));
    }
}

#[test]
fn phones_are_acknowledged_and_pinged_on_whatever_shard_accepts_them() {
    for driver in DRIVERS {
        let server = Server::start(driver);
        // Enough users and connections that both shards accept and both own some.
        for user in 0..8 {
            let mut phone = server.phone(&format!("user{user}@lumen.io"));
            phone
                .send(Message::text(r#"{"type":"ping"}"#))
                .expect("sent");
            wait_for(&mut phone, "pong");
            let mut again = server.phone(&format!("USER{user}@lumen.io"));
            wait_for(&mut again, "connection_ack");
        }
    }
}

#[test]
fn a_v2_app_reaches_the_session_of_the_user_in_its_first_message() {
    for driver in DRIVERS {
        let server = Server::start(driver);
        for user in 0..6 {
            let email = format!("user{user}@lumen.io");
            let init = format!(
                r#"{{"type":"tpa_connection_init","sessionId":"{email}-com.acme.x","packageName":"com.acme.x","apiKey":"k1"}}"#
            );
            let mut stranger = server.socket("/app-ws", &[]);
            stranger
                .send(Message::text(r#"{"type":"ping"}"#))
                .expect("sent");
            assert!(wait_for(&mut stranger, "pong")["timestamp"].is_u64());
            stranger.send(Message::text(init.clone())).expect("sent");
            assert_eq!(
                wait_for(&mut stranger, "tpa_connection_error")["code"],
                "SESSION_NOT_FOUND"
            );
            assert_eq!(close_of(&mut stranger), (1008, "Session not found".into()));

            let mut phone = server.phone(&email);
            wait_for(&mut phone, "connection_ack");
            let mut app = server.socket("/app-ws", &[]);
            app.send(Message::text(init)).expect("sent");
            // Nobody started it: only the session knows that.
            assert_eq!(
                wait_for(&mut app, "tpa_connection_error")["code"],
                "APP_NOT_STARTED"
            );
            assert_eq!(close_of(&mut app).0, 1008);
        }
    }
}

#[test]
fn broken_frames_and_giants_are_closed_with_their_codes() {
    for driver in DRIVERS {
        let server = Server::start(driver);
        let mut echo = server.socket("/echo", &[]);
        let large = vec![7; 100_000];
        echo.send(Message::binary(large.clone())).expect("sent");
        assert_eq!(
            echo.read().expect("echoed"),
            Message::binary(large),
            "{driver}"
        );

        // One unmasked text frame.
        let MaybeTlsStream::Plain(stream) = echo.get_mut() else {
            panic!("plain");
        };
        stream.write_all(&[0x81, 0x01, b'x']).expect("written");
        assert_eq!(close_of(&mut echo).0, 1002, "{driver}");

        let mut giant = server.socket("/echo", &[]);
        let MaybeTlsStream::Plain(stream) = giant.get_mut() else {
            panic!("plain");
        };
        // A masked binary frame that announces 16 MiB + 1.
        let mut head = vec![0x82, 0xff];
        head.extend_from_slice(&(16 * 1024 * 1024 + 1_u64).to_be_bytes());
        head.extend_from_slice(&[0; 4]);
        stream.write_all(&head).expect("written");
        assert_eq!(close_of(&mut giant).0, 1009, "{driver}");

        let mut polite = server.socket("/echo", &[]);
        polite.send(Message::Ping("p".into())).expect("sent");
        assert_eq!(polite.read().expect("answered"), Message::Pong("p".into()));
        polite
            .close(Some(tungstenite::protocol::CloseFrame {
                code: CloseCode::Normal,
                reason: "done".into(),
            }))
            .expect("sent");
        assert_eq!(close_of(&mut polite).0, 1000, "{driver}");
    }
}

#[test]
fn a_drain_says_goodbye_to_everybody_and_exits_zero() {
    for driver in DRIVERS {
        let mut server = Server::start(driver);
        let mut phone = server.phone("ana@lumen.io");
        wait_for(&mut phone, "connection_ack");
        let mut app = server.socket("/app-ws", &[]);
        let signalled = Command::new("kill")
            .args(["-TERM", &server.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(signalled.success());
        let goodbye = (1001, "Server shutting down".to_owned());
        assert_eq!(close_of(&mut phone), goodbye, "{driver}");
        assert_eq!(close_of(&mut app), goodbye, "{driver}");
        drop((phone, app));
        let status = server.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{driver}");
    }
}
