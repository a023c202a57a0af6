//! Minimal relay on tokio and tokio-tungstenite: what the protocol's fan-out costs without tokens, sessions,
//! timers, logs or metrics. One task reads a socket, one writes it; a bounded channel lies between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use humantime::format_rfc3339_millis;
use serde::Deserialize;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Messages that may wait for one socket; more are dropped.
const QUEUE: usize = 1024;
/// Instead of the library's 128 KiB per socket.
const READ_BUFFER: usize = 8 * 1024;

type Outbox = mpsc::Sender<Message>;

struct App {
    id: u64,
    /// The envelope up to the session, which is the app's own.
    head: String,
    audio: bool,
    event: bool,
    outbox: Outbox,
}

#[derive(Default)]
struct Sockets {
    phone: Option<(u64, Outbox)>,
    apps: Vec<App>,
}

type User = Arc<Mutex<Sockets>>;
type Users = Arc<Mutex<HashMap<String, User>>>;

/// What the upgrade request says.
#[derive(Default, Clone)]
struct Query {
    app: bool,
    user: String,
    sub: String,
    session: String,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[allow(
    clippy::disallowed_methods,
    reason = "the rule is for the server, whose clock is an argument"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn from_phone(user: &User, own: &Outbox, message: Message) {
    match message {
        Message::Binary(bytes) => {
            for app in lock(user).apps.iter().filter(|app| app.audio) {
                // A reader that is a thousand frames behind loses audio.
                let _ = app.outbox.try_send(Message::Binary(bytes.clone()));
            }
        }
        Message::Text(text) => relay_event(user, own, &text),
        _ => {}
    }
}

fn relay_event(user: &User, own: &Outbox, text: &Utf8Bytes) {
    let Ok(typed) = serde_json::from_str::<Typed<'_>>(text) else {
        return;
    };
    if typed.kind == "ping" {
        let _ = own.try_send(Message::Text(Utf8Bytes::from_static(r#"{"type":"pong"}"#)));
        return;
    }
    // The event is JSON already, and goes on as it came.
    let rest = format!(
        r#","streamType":{},"data":{text},"timestamp":"{}"}}"#,
        json!(typed.kind),
        format_rfc3339_millis(now())
    );
    for app in lock(user).apps.iter().filter(|app| app.event) {
        let envelope = [app.head.as_str(), rest.as_str()].concat();
        let _ = app.outbox.try_send(Message::Text(envelope.into()));
    }
}

fn from_app(user: &User, message: Message) {
    if let Message::Text(_) = message
        && let Some((_, phone)) = &lock(user).phone
    {
        let _ = phone.try_send(message);
    }
}

/// Writes what is queued; flushes only when nothing more is waiting.
async fn write(
    mut sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    mut queue: mpsc::Receiver<Message>,
) -> Result<(), Error> {
    while let Some(message) = queue.recv().await {
        sink.feed(message).await?;
        while let Ok(message) = queue.try_recv() {
            sink.feed(message).await?;
        }
        sink.flush().await?;
    }
    sink.close().await
}

async fn read(
    mut stream: SplitStream<WebSocketStream<TcpStream>>,
    query: &Query,
    user: &User,
    own: &Outbox,
) {
    while let Some(Ok(message)) = stream.next().await {
        if query.app {
            from_app(user, message);
        } else {
            from_phone(user, own, message);
        }
    }
}

async fn serve(connection: TcpStream, id: u64, users: Users) -> Result<(), Error> {
    connection.set_nodelay(true)?;
    let mut query = None;
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    #[allow(clippy::result_large_err, reason = "the library's callback type")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        query = parse(&request.uri().to_string());
        match query {
            Some(_) => Ok(response),
            None => {
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::NOT_FOUND;
                Err(refusal)
            }
        }
    };
    let socket =
        tokio_tungstenite::accept_hdr_async_with_config(connection, look, Some(config)).await?;
    let query = query.unwrap_or_default();
    let user = lock(&users).entry(query.user.clone()).or_default().clone();
    let (outbox, queue) = mpsc::channel(QUEUE);
    attach(&user, &query, id, &outbox);
    let (sink, stream) = socket.split();
    tokio::spawn(write(sink, queue));
    read(stream, &query, &user, &outbox).await;
    let mut sockets = lock(&user);
    sockets.apps.retain(|app| app.id != id);
    sockets.phone.take_if(|(own, _)| *own == id);
    Ok(())
}

fn attach(user: &User, query: &Query, id: u64, outbox: &Outbox) {
    let mut sockets = lock(user);
    if query.app {
        sockets.apps.push(App {
            id,
            head: format!(
                r#"{{"type":"data_stream","sessionId":{}"#,
                json!(query.session)
            ),
            audio: query.sub.split(',').any(|sub| sub == "audio"),
            event: query.sub.split(',').any(|sub| sub == "event"),
            outbox: outbox.clone(),
        });
    } else {
        sockets.phone = Some((id, outbox.clone()));
    }
}

fn parse(uri: &str) -> Option<Query> {
    let url = url::Url::parse("ws://relay").ok()?.join(uri).ok()?;
    let mut query = Query {
        app: match url.path() {
            "/glasses-ws" => false,
            "/app-ws" => true,
            _ => return None,
        },
        ..Query::default()
    };
    for (key, value) in url.query_pairs() {
        match &*key {
            "user" => query.user = value.into_owned(),
            "sub" => query.sub = value.into_owned(),
            "session" => query.session = value.into_owned(),
            _ => {}
        }
    }
    Some(query)
}

// One core is what every server gets in this benchmark.
#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .unwrap_or(8100_u16);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {port}");
    let users = Users::default();
    let mut id = 0;
    loop {
        let (connection, _) = listener.accept().await?;
        id += 1;
        let users = users.clone();
        tokio::spawn(async move {
            // A failed handshake or a reset concerns that socket alone.
            let _ = serve(connection, id, users).await;
        });
    }
}
