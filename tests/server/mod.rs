//! A real server process on a free loopback port, for tests that speak to it over sockets.
#![allow(dead_code, reason = "each test program uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket, client::IntoClientRequest};

/// Signs the tokens.
pub(crate) const SECRET: &str = "net-smoke-secret-0123456789";
/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Both I/O drivers.
pub(crate) const DRIVERS: [&str; 2] = ["uring", "epoll"];

const APPS: &str = "apps:\n  - packageName: com.acme.x\n    name: X\n    publicUrl: http://127.0.0.1:9\n    apiKey: k1\n";

/// A client's WebSocket.
pub(crate) type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

/// The process; killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    folder: tempfile::TempDir,
}

/// `prism serve` in a folder of its own, with apps and two shards, not yet started.
pub(crate) fn command(folder: &tempfile::TempDir, driver: &str) -> Command {
    let apps = folder.path().join("apps.yaml");
    std::fs::write(&apps, APPS).expect("writable");
    let mut command = Command::new(env!("CARGO_BIN_EXE_prism"));
    command
        .args(["serve", "--host", "127.0.0.1"])
        .args(["--shards", "2", "--enable-echo", "--io-driver", driver])
        .arg("--apps")
        .arg(&apps)
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .env("PRISM_PORT", "0")
        .env("AUGMENTOS_AUTH_JWT_SECRET", SECRET)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .current_dir(folder.path());
    command
}

impl Server {
    pub(crate) fn start(driver: &str) -> Self {
        Self::with(driver, |_| {})
    }

    /// With settings of its own, by environment.
    pub(crate) fn with_env(driver: &str, variables: &[(&str, &str)]) -> Self {
        Self::with(driver, |command| {
            command.envs(variables.iter().copied());
        })
    }

    pub(crate) fn with(driver: &str, change: impl FnOnce(&mut Command)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = command(&folder, driver);
        let log = std::fs::File::create(folder.path().join("log")).expect("writable");
        command.stdout(log);
        change(&mut command);
        let mut child = command.spawn().expect("the server starts");
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
            folder,
        }
    }

    /// Asks it to go, waits for its end and returns its exit code and its log.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        self.terminate();
        let status = self.child.wait().expect("it ends");
        let path: PathBuf = self.folder.path().join("log");
        let log = std::fs::read_to_string(path).expect("a log");
        (status.code(), log)
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let signalled = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(signalled.success());
    }

    pub(crate) fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("settable");
        stream
    }

    /// Sends bytes, reads until the server closes.
    pub(crate) fn raw(&self, request: &str) -> String {
        let mut stream = self.tcp();
        stream.write_all(request.as_bytes()).expect("written");
        rest_of(&mut stream)
    }

    /// The JSON body of a GET.
    pub(crate) fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ));
        let (_, body) = answer.split_once("\r\n\r\n").expect("head and body");
        serde_json::from_str(body).expect("JSON")
    }

    pub(crate) fn socket(&self, path: &str, headers: &[(&'static str, &str)]) -> Socket {
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

    pub(crate) fn phone(&self, email: &str) -> Socket {
        self.socket(&format!("/glasses-ws?token={}", token(email)), &[])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything until the server closes.
pub(crate) fn rest_of(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A phone's token.
pub(crate) fn token(email: &str) -> String {
    prism::wire::auth::TokenKeys::new(SECRET)
        .mint(&serde_json::json!({ "email": email }))
        .expect("an object")
}

/// Reads until a text of this type.
pub(crate) fn wait_for(socket: &mut Socket, kind: &str) -> serde_json::Value {
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
pub(crate) fn close_of(socket: &mut Socket) -> (u16, String) {
    loop {
        match socket.read().expect("a close frame comes") {
            Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.to_string()),
            Message::Close(None) => return (1005, String::new()),
            _ => {}
        }
    }
}
