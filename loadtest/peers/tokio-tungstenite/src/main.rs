//! Minimal relay on tokio and tokio-tungstenite: what the protocol's fan-out costs without tokens, sessions,
//! timers, logs or metrics. One task reads a socket, one writes it; a bounded channel lies between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// Messages that may wait for one socket; more are dropped.
const QUEUE: usize = 1024;
/// Instead of the library's 128 KiB per socket.
const READ_BUFFER: usize = 8 * 1024;

type Outbox = mpsc::Sender<Message>;

struct App {
    id: u64,
    session: String,
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    r#type: &'static str,
    session_id: &'a str,
    stream_type: &'a str,
    data: &'a RawValue,
    timestamp: &'a str,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[allow(
    clippy::disallowed_methods,
    reason = "the rule is for the server, whose clock is an argument"
)]
fn iso_now() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (days, rest) = (now.as_secs() / 86_400, now.as_secs() % 86_400);
    let (mut year, mut day) = (1970, days);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    let lengths = [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    format!(
        "{year:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        month + 1,
        day + 1,
        rest / 3600,
        rest / 60 % 60,
        rest % 60,
        now.subsec_millis()
    )
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
    let Ok(data) = serde_json::from_str::<&RawValue>(text) else {
        return;
    };
    let timestamp = iso_now();
    for app in lock(user).apps.iter().filter(|app| app.event) {
        let envelope = Envelope {
            r#type: "data_stream",
            session_id: &app.session,
            stream_type: &typed.kind,
            data,
            timestamp: &timestamp,
        };
        if let Ok(text) = serde_json::to_string(&envelope) {
            let _ = app.outbox.try_send(Message::Text(text.into()));
        }
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
            session: query.session.clone(),
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
