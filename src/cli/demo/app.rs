//! Command line, demo: a small app server. Real webhook, real `/app-ws`, SDK 2.x manners.

use super::scene::{API_KEY, Shared};
use super::{DemoError, http};
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

/// The app server; its threads end with the process.
pub(super) struct AppServer {
    url: String,
}

impl AppServer {
    /// Listens for webhooks on a free loopback port.
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, DemoError> {
        let listener =
            TcpListener::bind("127.0.0.1:0").map_err(DemoError::io("listening for webhooks"))?;
        let address = listener
            .local_addr()
            .map_err(DemoError::io("listening for webhooks"))?;
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                if let Ok(body) = http::serve_one(&mut stream) {
                    on_webhook(&body, &shared);
                }
            }
        });
        Ok(Self {
            url: format!("http://{address}"),
        })
    }

    /// `publicUrl`.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

fn on_webhook(body: &str, shared: &Arc<Shared>) {
    let Ok(request) = serde_json::from_str::<Value>(body) else {
        return;
    };
    match request["type"].as_str() {
        Some("session_request") => {
            let shared = Arc::clone(shared);
            std::thread::spawn(move || {
                if let Err(error) = session(&request, &shared) {
                    eprintln!("  app      {error}");
                }
            });
        }
        Some("stop_request") => {
            shared.board().stopped = request["reason"].as_str().map(str::to_owned)
        }
        _ => {}
    }
}

/// One user's session: init, subscribe, listen, draw.
fn session(request: &Value, shared: &Shared) -> Result<(), Box<tungstenite::Error>> {
    let url = request["mentraOSWebsocketUrl"].as_str().unwrap_or_default();
    let (mut socket, _) = tungstenite::connect(url)?;
    let session_id = &request["sessionId"];
    let init = json!({ "type": "tpa_connection_init", "sessionId": session_id, "packageName": super::scene::PACKAGE,
                       "apiKey": API_KEY });
    send(&mut socket, &init)?;
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => on_text(&mut socket, text.as_str(), shared)?,
            Ok(Message::Binary(chunk)) => on_audio(&chunk, shared),
            Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn on_text(
    socket: &mut Socket,
    text: &str,
    shared: &Shared,
) -> Result<(), Box<tungstenite::Error>> {
    let Ok(message) = serde_json::from_str::<Value>(text) else {
        return Ok(());
    };
    match message["type"].as_str() {
        Some("tpa_connection_ack") => {
            let subscriptions = json!({ "type": "subscription_update", "packageName": super::scene::PACKAGE,
                                        "subscriptions": ["audio_chunk", "button_press"] });
            send(socket, &subscriptions)
        }
        Some("data_stream") if message["streamType"] == "button_press" => {
            let count = shared.board().packets_in;
            let wall = json!({ "type": "display_event", "packageName": super::scene::PACKAGE, "view": "main",
                               "layout": { "layoutType": "text_wall", "text": format!("Heard {count} packets") },
                               "forceDisplay": true });
            send(socket, &wall)
        }
        _ => Ok(()),
    }
}

fn on_audio(chunk: &[u8], shared: &Shared) {
    let now = shared.clock.mono_ns();
    let mut board = shared.board();
    if let Some(sent) = board.sent_ns.pop_front() {
        board.latency.saturating_record(now.saturating_sub(sent));
    }
    board.packets_in += 1;
    board.heard.extend_from_slice(chunk);
}

fn send(socket: &mut Socket, message: &Value) -> Result<(), Box<tungstenite::Error>> {
    socket
        .send(Message::text(message.to_string()))
        .map_err(Box::new)
}
