//! A running `prism serve`, and how phones, apps and plain HTTP reach it.

use super::client::{Answer, Socket, http, open_with, rest_of, wait_for};
use super::log::Log;
use super::{PATIENCE, Site, token};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

/// The process; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) log: Log,
    keeper: Option<JoinHandle<()>>,
    /// The place of a server that has one to itself.
    site: Option<Site>,
}

impl Server {
    /// On a place of its own, with one app.
    pub(crate) fn start(driver: &str) -> Self {
        Self::with(driver, |_| {})
    }

    /// The same with these variables.
    pub(crate) fn with_env(driver: &str, variables: &[(&str, &str)]) -> Self {
        Self::with(driver, |command| {
            command.envs(variables.iter().copied());
        })
    }

    /// The same with any change to its command.
    pub(crate) fn with(driver: &str, change: impl FnOnce(&mut Command)) -> Self {
        let site = Site::on(driver);
        let mut command = site.serve_command();
        change(&mut command);
        let mut server = Self::spawn(command);
        server.site = Some(site);
        server
    }

    /// Starts this command and waits until it listens.
    pub(super) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let log = Log::default();
        let keeper = log.keep(child.stdout.take().expect("piped"));
        let stderr = child.stderr.take().expect("piped");
        let mut lines = BufReader::new(stderr).lines();
        let mut said = String::new();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            said += &line;
            Some(line.split_once("listening on http://")?.1.to_owned())
        });
        let address =
            address.unwrap_or_else(|| panic!("it does not listen: {said} {}", log.text()));
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self {
            child,
            address: address.parse().expect("an address"),
            log,
            keeper: Some(keeper),
            site: None,
        }
    }

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

    /// Asks it to go.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// Asks it to go, waits for its end and returns its exit code and its whole log.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        self.terminate();
        let status = self.wait();
        let keeper = self.keeper.take().expect("kept once");
        keeper.join().expect("no panic");
        (status.code(), self.log.text())
    }

    pub(crate) fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it accepts");
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
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = self.raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ));
        let (_, body) = answer.split_once("\r\n\r\n").expect("head and body");
        serde_json::from_str(body).expect("JSON")
    }

    pub(crate) fn socket(&self, path: &str, headers: &[(&'static str, &str)]) -> Socket {
        open_with(self.address, path, headers).expect("upgraded")
    }

    /// A phone's socket, of which nothing has been read.
    pub(crate) fn dial(&self, email: &str) -> Socket {
        self.socket(&format!("/glasses-ws?token={}", token(email)), &[])
    }

    /// A phone that has its session.
    pub(crate) fn phone(&self, email: &str) -> Socket {
        let mut phone = self.dial(email);
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
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
