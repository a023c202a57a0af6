//! App servers with the official SDKs' manners (sdk-needs): three tries after 1, 2 and 4 s, an empty subscription list first
//! (2.x), `reconnect` and deferral (3.x), ownership release when a second webhook comes.

use super::http::{Key, status};
use super::net::{Down, Party, Up};
use super::world::{Act, World};
use prism::base::ids::ConnId;
use prism::session::event::{HttpOutcome, Sdk};
use prism::wire::upgrade::AppHeaders;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The API key of every app.
pub(crate) const KEY: &str = "demo-key-1";

/// How a server treats webhooks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manners {
    /// Connects, then answers.
    Good,
    /// Connects so late that the start has failed.
    Late,
    /// Takes the call and never answers, and does not connect.
    Hang,
    /// Answers 500.
    Refuse,
    /// Answers 200 and never connects.
    Ghost,
    /// Connects twice at once.
    Twice,
    /// Refuses the connection: the process is not there.
    Down,
}

/// Its own timers.
#[derive(Debug)]
pub(crate) enum ServerWake {
    Webhook(Key, Value),
    Connect(String, u32, Key),
    Retry(String, u32),
    Full(ConnId),
    Ping(ConnId),
    ParkedOut(ConnId),
    CloseNow(ConnId, u16, &'static str),
}

/// What an SDK holds for one user.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    pub(crate) conn: Option<ConnId>,
    /// A first ack came: 3.x says `reconnect` from now on.
    acked: bool,
    /// `app_stopped` came, or it ended by itself.
    ended: bool,
    attempt: u32,
    /// Every new life of the client; timers of an earlier one do nothing.
    life: u32,
    subscriptions: Vec<Value>,
    webhook: Option<Key>,
}

/// One app server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) package: String,
    pub(crate) url: String,
    pub(crate) sdk: Sdk,
    pub(crate) manners: Manners,
    pub(crate) clients: BTreeMap<String, Client>,
    pub(crate) wants: Vec<Value>,
}

impl World {
    /// Adds a server.
    pub(crate) fn add_server(&mut self, package: &str, sdk: Sdk, wants: &[&str]) -> usize {
        self.servers.push(Server {
            package: package.to_owned(),
            url: format!("http://{package}"),
            sdk,
            manners: Manners::Good,
            clients: BTreeMap::new(),
            wants: wants.iter().map(|name| json!(name)).collect(),
        });
        self.servers.len() - 1
    }

    /// The socket a server uses for a user.
    pub(crate) fn app_conn(&self, ix: usize, user: &str) -> Option<ConnId> {
        self.servers[ix].clients.get(user)?.conn
    }

    pub(super) fn server_wakes(&mut self, ix: usize, wake: ServerWake) {
        match wake {
            ServerWake::Webhook(key, body) => self.webhook(ix, key, &body),
            ServerWake::Connect(user, life, key) => {
                let client = self.servers[ix].clients.entry(user.clone()).or_default();
                if client.life == life {
                    client.webhook = Some(key);
                    self.app_connects(ix, &user);
                }
            }
            ServerWake::Retry(user, life) => {
                let client = self.servers[ix].clients.get(&user);
                if client.is_some_and(|client| client.life == life && client.conn.is_none()) {
                    self.app_connects(ix, &user);
                }
            }
            ServerWake::Full(conn) => self.subscribe_whole(ix, conn),
            ServerWake::Ping(conn) => {
                if self.client_of(ix, conn).is_some() {
                    self.say(conn, &json!({"type": "ping"}));
                    self.after(15_000, Act::Server(ix, ServerWake::Ping(conn)));
                }
            }
            ServerWake::ParkedOut(conn) => {
                if self
                    .client_of(ix, conn)
                    .is_some_and(|client| !client.acked || client.attempt > 90)
                {
                    self.leave(ix, conn, 1000, "Parked timeout");
                }
            }
            ServerWake::CloseNow(conn, code, reason) => self.close(conn, code, reason),
        }
    }

    fn client_of(&mut self, ix: usize, conn: ConnId) -> Option<&mut Client> {
        let user = self.net.get(conn)?.user.clone();
        let client = self.servers[ix].clients.get_mut(&user)?;
        (client.conn == Some(conn)).then_some(client)
    }

    fn webhook(&mut self, ix: usize, key: Key, body: &Value) {
        let user = key.0.clone();
        let manners = self.servers[ix].manners;
        if body["type"] == "stop_request" {
            match manners {
                Manners::Hang => {}
                Manners::Down => self.answer_http(key, 5, refused()),
                _ => {
                    let delay_ms = self.rng.u64(5..400);
                    self.answer_http(key, delay_ms, status(200));
                }
            }
            return;
        }
        match manners {
            Manners::Hang => {}
            Manners::Down => self.answer_http(key, 5, refused()),
            Manners::Refuse => self.answer_http(key, 20, status(500)),
            Manners::Ghost => self.answer_http(key, 20, status(200)),
            Manners::Good | Manners::Twice => {
                let delay_ms = self.rng.u64(5..900);
                self.begin_client(ix, &user, key, delay_ms);
            }
            Manners::Late => {
                let delay_ms = self.rng.u64(5000..8000);
                self.begin_client(ix, &user, key, delay_ms);
            }
        }
    }

    /// A session webhook: a client that is still there releases its session and leaves first.
    fn begin_client(&mut self, ix: usize, user: &str, key: Key, delay_ms: u64) {
        let client = self.servers[ix].clients.entry(user.to_owned()).or_default();
        let old = client.conn.take();
        let life = client.life + 1;
        *client = Client {
            life,
            ..Client::default()
        };
        let mut delay_ms = delay_ms;
        if let Some(old) = old {
            let release = json!({"type": "ownership_release", "reason": "switching_clouds"});
            self.say(old, &release);
            let leave = ServerWake::CloseNow(old, 1000, "Client disconnect");
            self.after(100, Act::Server(ix, leave));
            delay_ms += 100;
        }
        let connect = ServerWake::Connect(user.to_owned(), life, key.clone());
        self.after(delay_ms, Act::Server(ix, connect));
        if self.servers[ix].manners == Manners::Twice {
            let again = ServerWake::Connect(user.to_owned(), life, key);
            self.after(delay_ms + 40, Act::Server(ix, again));
        }
    }

    /// Opens the socket and says who it is.
    pub(crate) fn app_connects(&mut self, ix: usize, user: &str) {
        let (package, sdk) = (self.servers[ix].package.clone(), self.servers[ix].sdk);
        let id = format!("{user}-{package}");
        let headers = match sdk {
            Sdk::V2 => AppHeaders::default(),
            Sdk::V3 => AppHeaders {
                user: Some(user.to_owned()),
                session_id: Some(id.clone()),
                package: Some(package.clone()),
                api_key: Some(KEY.to_owned()),
                ..AppHeaders::default()
            },
        };
        let Some(conn) = self.open_app(Party::App(ix), user, &package, headers) else {
            return;
        };
        let client = self.servers[ix].clients.entry(user.to_owned()).or_default();
        client.conn = Some(conn);
        let back = client.acked;
        let hello = match (sdk, back) {
            (Sdk::V2, _) => {
                json!({"type": "tpa_connection_init", "sessionId": id, "packageName": package, "apiKey": KEY})
            }
            (Sdk::V3, false) => {
                json!({"type": "tpa_connection_init", "packageName": package, "apiKey": KEY, "sdkVersion": "3.0.0"})
            }
            (Sdk::V3, true) => json!({"type": "reconnect", "sessionId": id, "sdkVersion": "3.0.0"}),
        };
        self.say(conn, &hello);
    }

    pub(super) fn server_received(&mut self, ix: usize, conn: ConnId, frame: Down) {
        let message = match frame {
            Down::Text(message) => message,
            Down::Close(code, reason) => {
                self.close(conn, code, "");
                return self.server_lost(ix, conn, code, &reason);
            }
            _ => return,
        };
        let v3 = self.servers[ix].sdk == Sdk::V3;
        match message["type"].as_str().unwrap_or_default() {
            "tpa_connection_ack" | "reconnect_ack" => self.app_acked(ix, conn),
            "app_stopped" => {
                if let Some(client) = self.client_of(ix, conn) {
                    client.ended = true;
                }
                if v3 {
                    self.leave(ix, conn, 1000, "Client disconnect");
                }
            }
            "reconnect_rejected" => {
                let code = message["code"].as_str().unwrap_or_default();
                if matches!(code, "NOT_RUNNING" | "BOOT_TIMEOUT") {
                    if let Some(client) = self.client_of(ix, conn) {
                        client.ended = true;
                    }
                    self.leave(ix, conn, 1000, "rejected");
                } else {
                    let package = self.servers[ix].package.clone();
                    let init = json!({"type": "tpa_connection_init", "packageName": package, "apiKey": KEY, "sdkVersion": "3.0.0"});
                    self.say(conn, &init);
                }
            }
            "reconnect_deferred" => {
                if let Some(client) = self.client_of(ix, conn) {
                    client.attempt = 99;
                }
                let timeout_ms = message["timeoutMs"].as_u64().unwrap_or(30_000);
                let out = ServerWake::ParkedOut(conn);
                self.after(timeout_ms, Act::Server(ix, out));
            }
            _ => {}
        }
    }

    fn app_acked(&mut self, ix: usize, conn: ConnId) {
        let (sdk, wants) = (self.servers[ix].sdk, self.servers[ix].wants.clone());
        let Some(client) = self.client_of(ix, conn) else {
            return;
        };
        client.acked = true;
        client.attempt = 0;
        let webhook = client.webhook.take();
        if client.subscriptions.is_empty() {
            client.subscriptions = wants;
        }
        if let Some(key) = webhook {
            let delay_ms = self.rng.u64(1..700);
            self.answer_http(key, delay_ms, status(200));
        }
        match sdk {
            Sdk::V3 => {
                self.subscribe_whole(ix, conn);
                self.after(15_000, Act::Server(ix, ServerWake::Ping(conn)));
            }
            Sdk::V2 => {
                self.say(
                    conn,
                    &json!({"type": "subscription_update", "subscriptions": []}),
                );
                let delay_ms = self.rng.u64(20..300);
                self.after(delay_ms, Act::Server(ix, ServerWake::Full(conn)));
            }
        }
    }

    fn subscribe_whole(&mut self, ix: usize, conn: ConnId) {
        if let Some(client) = self.client_of(ix, conn) {
            let list = client.subscriptions.clone();
            self.say(
                conn,
                &json!({"type": "subscription_update", "subscriptions": list}),
            );
        }
    }

    /// The developer registers other handlers: the list changes and goes out whole.
    pub(crate) fn subscribe(&mut self, ix: usize, user: &str, list: Vec<Value>) {
        let Some(conn) = self.app_conn(ix, user) else {
            return;
        };
        if let Some(client) = self.client_of(ix, conn) {
            client.subscriptions = list;
        }
        self.subscribe_whole(ix, conn);
    }

    fn leave(&mut self, ix: usize, conn: ConnId, code: u16, reason: &str) {
        if let Some(client) = self.client_of(ix, conn) {
            client.conn = None;
            client.ended = true;
        }
        self.close(conn, code, reason);
    }

    pub(super) fn server_lost(&mut self, ix: usize, conn: ConnId, code: u16, reason: &str) {
        let sdk = self.servers[ix].sdk;
        let Some(user) = self.net.get(conn).map(|sock| sock.user.clone()) else {
            return;
        };
        let Some(client) = self.client_of(ix, conn) else {
            return;
        };
        client.conn = None;
        let final_close = matches!(code, 1000 | 1001 | 1008)
            || reason.contains("App stopped")
            || reason.contains("User session ended");
        let over = client.ended || (sdk == Sdk::V2 && final_close);
        if over || client.attempt >= 3 {
            client.ended = true;
            return;
        }
        let wait_ms = 1000 << client.attempt;
        client.attempt += 1;
        let retry = ServerWake::Retry(user, client.life);
        self.after(wait_ms, Act::Server(ix, retry));
    }

    /// The process dies: sockets break, what it knew is gone.
    pub(crate) fn server_crashes(&mut self, ix: usize) {
        let clients = std::mem::take(&mut self.servers[ix].clients);
        for (user, client) in clients {
            for conn in self.net.open_of(Party::App(ix), &user) {
                self.hang_up(conn);
            }
            let life = client.life + 1;
            let fresh = Client {
                life,
                ..Client::default()
            };
            self.servers[ix].clients.insert(user, fresh);
        }
    }

    /// A second connection of the same app for the same user, beside the first.
    pub(crate) fn app_doubles(&mut self, ix: usize, user: &str) {
        self.app_connects(ix, user);
    }

    /// Something an app says on its socket for a user, if it has one.
    pub(crate) fn app_says(&mut self, ix: usize, user: &str, message: &Value) {
        if let Some(conn) = self.app_conn(ix, user) {
            self.send(conn, Up::Text(message.to_string()));
        }
    }
}

fn refused() -> HttpOutcome {
    HttpOutcome::Failed {
        error: "connection refused".into(),
    }
}
