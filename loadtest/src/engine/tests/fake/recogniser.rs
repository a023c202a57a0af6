//! What the fake server has of a speech provider: a connection, and what comes of it.

use super::wire::{read_plain_text, read_request, write_frame};
use std::io::{BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Connects to a recogniser; a thread passes on what it hears.
pub(super) fn recogniser(
    port: u16,
    apps: Vec<(String, TcpStream)>,
    drops: bool,
    passed_on: Arc<AtomicU64>,
) -> TcpStream {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    write!(
        socket,
        "GET /t HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .unwrap();
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    thread::spawn(move || {
        let answer = read_request(&mut reader).unwrap();
        assert_eq!(
            answer.headers["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        let mut count = 0_u32;
        while let Some(text) = read_plain_text(&mut reader) {
            let heard: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let token = &heard["tokens"][0];
            count += 1;
            let kept_back = drops && count.is_multiple_of(5);
            for (session, app) in apps.iter().filter(|_| !kept_back) {
                let text = serde_json::json!({
                    "type": "data_stream", "sessionId": session, "streamType": "transcription:en-US",
                    "data": {"type": "transcription", "text": token["text"], "isFinal": token["is_final"]},
                });
                write_frame(app, 1, text.to_string().as_bytes());
            }
            passed_on.fetch_add(1, Ordering::SeqCst);
        }
    });
    socket
}
