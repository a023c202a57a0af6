//! What speaks to a server: one HTTP request, and the sockets of phones and apps.

use super::PATIENCE;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket, client::IntoClientRequest as _};

/// A client's WebSocket.
pub(crate) type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

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

/// Everything until the server closes.
pub(crate) fn rest_of(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn open(address: SocketAddr, path: &str) -> Result<Socket, Box<dyn std::error::Error>> {
    open_with(address, path, &[])
}

/// The same with these headers.
pub(crate) fn open_with(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, Box<dyn std::error::Error>> {
    let mut request = format!("ws://{address}{path}").into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse()?);
    }
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
