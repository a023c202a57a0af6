//! Minimal relay on tokio, hyper and fastwebsockets: what the protocol's fan-out costs without tokens, sessions,
//! timers, logs or metrics. One task reads a socket, one writes it; a bounded channel lies between.
//! A payload is never copied on its way from the buffer that it was read into to the one that it is written from.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Cursor;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use fastwebsockets::upgrade::{self, UpgradeFut};
use fastwebsockets::{
    FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocketError, WebSocketWrite,
    after_handshake_split,
};
use http_body_util::Empty;
use humantime::format_rfc3339_millis;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, BufWriter, Chain};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Messages that may wait for one socket; more are dropped.
const QUEUE: usize = 1024;
/// Largest message, as with the other peers.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;

struct Message {
    opcode: OpCode,
    payload: Bytes,
}

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
#[derive(Default)]
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

/// The payload as something that several queues can hold.
fn shared(payload: Payload<'_>) -> Bytes {
    match payload {
        Payload::Bytes(bytes) => bytes.freeze(),
        Payload::Owned(bytes) => bytes.into(),
        Payload::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
        Payload::BorrowedMut(bytes) => Bytes::copy_from_slice(bytes),
    }
}

fn send(outbox: &Outbox, opcode: OpCode, payload: Bytes) {
    // A reader that is a thousand messages behind loses some.
    let _ = outbox.try_send(Message { opcode, payload });
}

fn from_phone(user: &User, own: &Outbox, opcode: OpCode, payload: Bytes) {
    match opcode {
        OpCode::Binary => {
            for app in lock(user).apps.iter().filter(|app| app.audio) {
                send(&app.outbox, opcode, payload.clone());
            }
        }
        OpCode::Text => relay_event(user, own, &payload),
        _ => {}
    }
}

fn relay_event(user: &User, own: &Outbox, text: &[u8]) {
    let Ok(typed) = serde_json::from_slice::<Typed<'_>>(text) else {
        return;
    };
    if typed.kind == "ping" {
        send(own, OpCode::Text, Bytes::from_static(br#"{"type":"pong"}"#));
        return;
    }
    // The event is JSON already, and goes on as it came.
    let kind = json!(typed.kind).to_string();
    let now = format_rfc3339_millis(now()).to_string();
    for app in lock(user).apps.iter().filter(|app| app.event) {
        let envelope = [
            app.head.as_bytes(),
            br#","streamType":"#,
            kind.as_bytes(),
            br#","data":"#,
            text,
            br#","timestamp":""#,
            now.as_bytes(),
            br#""}"#,
        ]
        .concat();
        send(&app.outbox, OpCode::Text, envelope.into());
    }
}

fn from_app(user: &User, opcode: OpCode, payload: Bytes) {
    if opcode == OpCode::Text
        && let Some((_, phone)) = &lock(user).phone
    {
        send(phone, opcode, payload);
    }
}

/// Writes what is queued; flushes only when nothing more is waiting. The library makes a system call for every frame, so a buffer
/// lies between; larger frames go past it by a vectored write.
async fn write(
    mut socket: WebSocketWrite<BufWriter<OwnedWriteHalf>>,
    mut queue: mpsc::Receiver<Message>,
) -> Result<(), WebSocketError> {
    while let Some(message) = queue.recv().await {
        write_one(&mut socket, &message).await?;
        while let Ok(message) = queue.try_recv() {
            write_one(&mut socket, &message).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

async fn write_one(
    socket: &mut WebSocketWrite<BufWriter<OwnedWriteHalf>>,
    message: &Message,
) -> Result<(), WebSocketError> {
    let payload = Payload::Borrowed(&message.payload);
    socket
        .write_frame(Frame::new(true, message.opcode, None, payload))
        .await
}

async fn read(
    mut socket: FragmentCollectorRead<Chain<Cursor<Bytes>, OwnedReadHalf>>,
    query: &Query,
    user: &User,
    own: &Outbox,
) -> Result<(), WebSocketError> {
    // Pongs and the answer to a close: what the writer cannot take now is not sent.
    let mut control = |frame: Frame<'_>| {
        send(own, frame.opcode, shared(frame.payload));
        std::future::ready(Ok::<(), WebSocketError>(()))
    };
    loop {
        let Frame {
            opcode, payload, ..
        } = socket.read_frame(&mut control).await?;
        match opcode {
            OpCode::Close => return Ok(()),
            _ if query.app => from_app(user, opcode, shared(payload)),
            _ => from_phone(user, own, opcode, shared(payload)),
        }
    }
}

async fn serve(upgraded: UpgradeFut, query: Query, users: Users) -> Result<(), WebSocketError> {
    // Under hyper's and the library's wrappers lies the socket, whose halves need no lock. What the request's last read had of the
    // first frames comes first.
    let parts = upgraded
        .await?
        .into_inner()
        .into_inner()
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| WebSocketError::ConnectionClosed)?;
    let (input, output) = parts.io.into_inner().into_split();
    let input = Cursor::new(parts.read_buf).chain(input);
    let (mut input, mut output) =
        after_handshake_split(input, BufWriter::new(output), Role::Server);
    input.set_max_message_size(MESSAGE_MAX);
    // Straight into the buffer, or past it, without the library's own.
    output.set_writev_threshold(0);

    let user = lock(&users).entry(query.user.clone()).or_default().clone();
    let (outbox, queue) = mpsc::channel(QUEUE);
    let id = attach(&user, &query, &outbox);
    tokio::spawn(write(output, queue));
    // However it ended.
    let _ = read(FragmentCollectorRead::new(input), &query, &user, &outbox).await;
    let mut sockets = lock(&user);
    sockets.apps.retain(|app| app.id != id);
    sockets.phone.take_if(|(own, _)| *own == id);
    Ok(())
}

fn attach(user: &User, query: &Query, outbox: &Outbox) -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
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
    id
}

fn parse(uri: &Uri) -> Option<Query> {
    let mut query = Query {
        app: match uri.path() {
            "/glasses-ws" => false,
            "/app-ws" => true,
            _ => return None,
        },
        ..Query::default()
    };
    for (key, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*key {
            "user" => query.user = value.into_owned(),
            "sub" => query.sub = value.into_owned(),
            "session" => query.session = value.into_owned(),
            _ => {}
        }
    }
    Some(query)
}

async fn answer(
    mut request: Request<Incoming>,
    users: Users,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let refusal = |status| {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = status;
        response
    };
    let Some(query) = parse(request.uri()) else {
        return Ok(refusal(StatusCode::NOT_FOUND));
    };
    Ok(match upgrade::upgrade(&mut request) {
        Ok((response, upgraded)) => {
            // A reset concerns that socket alone.
            tokio::spawn(serve(upgraded, query, users));
            response
        }
        Err(_) => refusal(StatusCode::BAD_REQUEST),
    })
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
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        let users = users.clone();
        let service = service_fn(move |request| answer(request, users.clone()));
        tokio::spawn(
            http1::Builder::new()
                .serve_connection(TokioIo::new(connection), service)
                .with_upgrades(),
        );
    }
}
