//! What tests against a real `prism serve` share: the process, a small HTTP client, phones, and an app server that comes when
//! it is called.
#![allow(missing_docs, reason = "a test")]
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod postgres;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket, client::IntoClientRequest};

const SECRET: &str = "store-tests-secret-0123456789";
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

/// A folder on the disk that holds the build: what must survive a crash must not lie in memory.
pub(crate) fn disk_folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// The PostgreSQL server under test; without one the caller covers only the embedded store.
pub(crate) fn postgres_url() -> Option<String> {
    let url = std::env::var("PRISM_TEST_POSTGRES_URL").ok();
    let url = url.filter(|url| !url.is_empty());
    if url.is_none() {
        eprintln!("PRISM_TEST_POSTGRES_URL is not set: PostgreSQL is not covered by this run");
    }
    url
}

pub(crate) fn token(email: &str) -> String {
    prism::wire::auth::TokenKeys::new(SECRET)
        .mint(&json!({ "email": email }))
        .expect("an object")
}

/// A place for one deployment: configuration, apps file, data.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
}

impl Site {
    /// `settings` win over the defaults.
    pub(crate) fn new(store_url: &str, settings: &[(&str, &str)]) -> Self {
        let folder = disk_folder();
        let data = folder.path().join("data").display().to_string();
        let settings = [("store_url", store_url), ("data_dir", &data)]
            .iter()
            .chain(settings)
            .map(|(name, value)| {
                (
                    format!("PRISM_{}", name.to_uppercase()),
                    (*value).to_owned(),
                )
            })
            .collect();
        let site = Self { folder, settings };
        site.apps("");
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the apps file: entries of a YAML list, one a line.
    pub(crate) fn apps(&self, entries: &str) {
        let text = if entries.is_empty() {
            String::new()
        } else {
            format!("apps:\n{entries}\n")
        };
        std::fs::write(self.path("apps.yaml"), text).expect("writable");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prism"));
        command
            .env("AUGMENTOS_AUTH_JWT_SECRET", SECRET)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path());
        command
    }

    /// Runs a command of the command line to its end.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.command().args(args).output().expect("it runs")
    }

    /// As [`Site::cli`], with something on standard input.
    pub(crate) fn cli_with_input(&self, args: &[&str], input: &str) -> Output {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("taken");
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }

    /// Its standard output as JSON.
    pub(crate) fn cli_json(&self, args: &[&str]) -> Value {
        let output = self.cli(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{args:?}: {text} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    /// Starts the server and waits until it listens.
    pub(crate) fn serve(&self) -> Server {
        let mut child = self
            .command()
            .args([
                "serve",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--shards",
                "2",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let log = Arc::new(Mutex::new(String::new()));
        keep(child.stdout.take().expect("piped"), Arc::clone(&log));
        let stderr = child.stderr.take().expect("piped");
        let mut lines = BufReader::new(stderr).lines();
        let mut said = String::new();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            said += &line;
            Some(line.split_once("listening on http://")?.1.to_owned())
        });
        let address = address
            .unwrap_or_else(|| panic!("it does not listen: {said} {}", log.lock().expect("whole")));
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Server {
            child,
            address: address.parse().expect("an address"),
            log,
        }
    }
}

fn keep(from: impl Read + Send + 'static, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut log = log.lock().expect("whole");
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<Mutex<String>>,
}

impl Server {
    pub(crate) fn kill_9(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("it ends");
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    pub(crate) fn phone(&self, email: &str) -> Socket {
        let mut phone = open(self.address, &format!("/glasses-ws?token={}", token(email)))
            .expect("the phone connects");
        wait_for(&mut phone, "connection_ack");
        phone
    }

    pub(crate) fn as_user(&self, email: &str, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", token(email));
        http(self.address, method, path, &bearer, body).expect("the server answers")
    }

    pub(crate) fn as_app(
        &self,
        package: &str,
        key: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Answer {
        let bearer = format!("Bearer {package}:{key}");
        http(self.address, method, path, &bearer, body).expect("the server answers")
    }

    /// Asks again until it holds; a test that waits for something says what.
    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let clock = prism::base::clock::Clock::start();
        while !holds() {
            assert!(
                clock.now().mono_ms < PATIENCE.as_millis() as u64,
                "{what} never came true; log:\n{}",
                self.log.lock().expect("whole")
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status) && self.body["success"] != json!(false)
    }
}

/// One request on a connection of its own; an error when the server goes away before it answered.
pub(crate) fn http(
    address: SocketAddr,
    method: &str,
    path: &str,
    authorization: &str,
    body: &Value,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let body = body.to_string();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {authorization}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let cut = || std::io::Error::other("cut off");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(cut)?;
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0);
    if body.len() < length {
        return Err(cut());
    }
    Ok(Answer {
        status: head
            .get(9..12)
            .and_then(|code| code.parse().ok())
            .ok_or_else(cut)?,
        body: serde_json::from_str(body).unwrap_or(Value::Null),
    })
}

pub(crate) fn open(address: SocketAddr, path: &str) -> Result<Socket, Box<dyn std::error::Error>> {
    let request = format!("ws://{address}{path}").into_client_request()?;
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(tungstenite::client(request, MaybeTlsStream::Plain(stream))?.0)
}

/// Reads until a text of this type.
pub(crate) fn wait_for(socket: &mut Socket, kind: &str) -> Value {
    loop {
        match socket.read().expect("the socket lives") {
            Message::Text(text) => {
                let value: Value = serde_json::from_str(&text).expect("JSON");
                if value["type"] == kind {
                    return value;
                }
            }
            Message::Close(close) => panic!("closed while waiting for {kind}: {close:?}"),
            _ => {}
        }
    }
}

/// Says hello as a v2 app and returns the answer.
pub(crate) fn hello(
    address: SocketAddr,
    email: &str,
    package: &str,
    key: &str,
) -> Result<(Socket, Value), Box<dyn std::error::Error>> {
    let mut socket = open(address, "/app-ws")?;
    let init = json!({
        "type": "tpa_connection_init", "sessionId": format!("{email}-{package}"), "packageName": package, "apiKey": key,
    });
    socket.send(Message::text(init.to_string()))?;
    loop {
        match socket.read()? {
            Message::Text(text) => {
                let value: Value = serde_json::from_str(&text)?;
                if value["type"] == "tpa_connection_ack" || value["type"] == "tpa_connection_error"
                {
                    return Ok((socket, value));
                }
            }
            Message::Close(close) => return Err(format!("closed: {close:?}").into()),
            _ => {}
        }
    }
}

/// Whether a socket still is answered.
pub(crate) fn is_alive(socket: &mut Socket) -> bool {
    let marker = fastrand::u64(..).to_be_bytes().to_vec();
    if socket.send(Message::Ping(marker.clone().into())).is_err() {
        return false;
    }
    loop {
        match socket.read() {
            Ok(Message::Pong(back)) if back == marker => return true,
            Ok(Message::Close(_)) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

/// An app server: answers each session webhook and comes with its key; what connected is kept.
pub(crate) struct AppServer {
    pub(crate) url: String,
    sockets: Arc<Mutex<Vec<Socket>>>,
    target: Arc<Mutex<Option<SocketAddr>>>,
}

impl AppServer {
    pub(crate) fn start(package: &str, key: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (sockets, target) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
        let (package, key) = (package.to_owned(), key.to_owned());
        let (kept, goal) = (Arc::clone(&sockets), Arc::clone(&target));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (package, key, kept) = (package.clone(), key.clone(), Arc::clone(&kept));
                let goal = *goal.lock().expect("whole");
                std::thread::spawn(move || {
                    let Some(user) = called_for(stream) else {
                        return;
                    };
                    let Some(goal) = goal else { return };
                    if let Ok((socket, _)) = hello(goal, &user, &package, &key) {
                        kept.lock().expect("whole").push(socket);
                    }
                });
            }
        });
        Self {
            url,
            sockets,
            target,
        }
    }

    /// Where to connect to from now on; what connected before is forgotten.
    pub(crate) fn serve(&self, address: SocketAddr) {
        *self.target.lock().expect("whole") = Some(address);
        self.sockets.lock().expect("whole").clear();
    }

    pub(crate) fn take_sockets(&self) -> Vec<Socket> {
        std::mem::take(&mut self.sockets.lock().expect("whole"))
    }
}

/// Answers one webhook; the user, when it asks for a session.
fn called_for(stream: TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"status\":\"success\"}";
    reader.get_mut().write_all(answer.as_bytes()).ok()?;
    let body: Value = serde_json::from_slice(&body).ok()?;
    (body["type"] == "session_request").then(|| body["userId"].as_str().map(str::to_owned))?
}
