//! A running `prism serve`, and how phones, apps and plain HTTP reach it.

use super::client::{Answer, Socket, http, open_with, rest_of, wait_for};
use super::log::Log;
use super::{PATIENCE, Site, eventually, token};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
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

    /// Waits until the figures of `/health` are these: an answer holds those of shards that a busy machine lets report in time.
    pub(crate) fn has_figures(&self, figures: &[(&str, u64)]) {
        let mut health = Value::Null;
        let reached = eventually(|| {
            health = self.json("/health");
            let is = |(place, figure): &(&str, u64)| health.pointer(place) == Some(&json!(figure));
            figures.iter().all(is).then_some(())
        });
        assert!(reached.is_some(), "{figures:?}: {health}");
    }

    /// Stops the whole process where it is; the result lets it go on.
    pub(crate) fn hold(&self) -> Held<'_> {
        self.signal("-STOP");
        let is_held = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            Some(stat.rsplit(") ").next()?.starts_with('T'))
        };
        let tasks = format!("/proc/{}/task", self.child.id());
        let all = || {
            let mut tasks = std::fs::read_dir(&tasks).ok()?;
            tasks.all(|task| is_held(task) == Some(true)).then_some(())
        };
        eventually(all).expect("every thread stops");
        Held(self)
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

/// Where a server listens, as the kernel knows it, for those who cannot read what it says; `None`: it has ended.
pub(crate) fn listening(child: &mut Child) -> Option<SocketAddr> {
    let own = format!("/proc/{}", child.id());
    let look = || {
        let sockets = std::fs::read_to_string(format!("{own}/net/tcp")).ok()?;
        let held: Vec<_> = std::fs::read_dir(format!("{own}/fd"))
            .ok()?
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .map(|target| target.display().to_string())
            .collect();
        // Columns: number, local address, the other's, state, queues, timers, retransmits, user, timeouts, inode.
        let listens = sockets.lines().find_map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let inode = format!("socket:[{}]", columns.get(9)?);
            let is_it = columns[3] == "0A" && held.contains(&inode);
            is_it.then(|| columns[1].to_owned())
        })?;
        let (_, port) = listens.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    eventually(|| match look() {
        None if child.try_wait().expect("ours").is_none() => None,
        other => Some(other),
    })?
}

/// A server that stands still until this is dropped.
pub(crate) struct Held<'a>(&'a Server);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.signal("-CONT");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
