//! An app server that comes when it is called.

use super::PATIENCE;
use super::client::{Socket, hello};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

/// An app server: answers each session webhook and comes with its key; what connected is kept.
pub(crate) struct AppServer {
    pub(crate) url: String,
    sockets: Receiver<Socket>,
    target: Arc<Mutex<Option<SocketAddr>>>,
}

impl AppServer {
    pub(crate) fn start(package: &str, key: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let ((kept, sockets), target) = (channel(), Arc::new(Mutex::new(None)));
        let (package, key) = (package.to_owned(), key.to_owned());
        let goal = Arc::clone(&target);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (package, key, kept) = (package.clone(), key.clone(), kept.clone());
                let goal = *goal.lock().expect("whole");
                std::thread::spawn(move || {
                    let Some(user) = called_for(stream) else {
                        return;
                    };
                    let Some(goal) = goal else { return };
                    if let Ok((socket, _)) = hello(goal, &user, &package, &key) {
                        // The test may be over.
                        let _ = kept.send(socket);
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
        self.take_sockets();
    }

    /// What connected and was not taken yet.
    pub(crate) fn take_sockets(&self) -> Vec<Socket> {
        self.sockets.try_iter().collect()
    }

    /// Waits for the next one.
    pub(crate) fn socket(&self) -> Socket {
        let next = self.sockets.recv_timeout(PATIENCE);
        next.expect("the app is called and answered")
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
