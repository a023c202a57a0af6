//! Command line, demo: a simulated phone that behaves as protocol.md §2.4 says and speaks a recording.

use super::scene::{PACKAGE, Shared, millis};
use super::{DemoError, http};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tungstenite::{Error, Message, WebSocket};

const NS_PER_MS: u64 = 1_000_000;
const PACKET_NS: u64 = 20 * NS_PER_MS;
const STEP_TIMEOUT_NS: u64 = 10_000 * NS_PER_MS;

/// The `index`-th packet of a recording that repeats.
pub(super) fn packet(speech: &[u8], packet_bytes: usize, index: u64) -> &[u8] {
    let packets = speech.len() / packet_bytes;
    let at = (index % packets as u64) as usize * packet_bytes;
    &speech[at..at + packet_bytes]
}

/// The phone.
pub(super) struct Phone {
    socket: WebSocket<TcpStream>,
    server: SocketAddr,
    token: String,
    shared: Arc<Shared>,
    ack_ns: u64,
    microphone_on: bool,
    pressed_ns: Option<u64>,
}

impl Phone {
    /// Opens `/glasses-ws`, waits for the ack, reports connected glasses.
    pub(super) fn connect(
        server: SocketAddr,
        token: &str,
        shared: Arc<Shared>,
    ) -> Result<Self, DemoError> {
        let started = shared.clock.mono_ns();
        let stream = TcpStream::connect(server).map_err(DemoError::io("connecting the phone"))?;
        stream
            .set_nodelay(true)
            .map_err(DemoError::io("connecting the phone"))?;
        let url = format!("ws://{server}/glasses-ws?token={token}&livekit=true&udpEncryption=true");
        let (socket, _) = tungstenite::client(url, stream)
            .map_err(|error| DemoError::Protocol(format!("phone upgrade: {error}")))?;
        let mut phone = Self {
            socket,
            server,
            token: token.to_owned(),
            shared,
            ack_ns: 0,
            microphone_on: false,
            pressed_ns: None,
        };
        phone.wait("connection_ack", |_, message| {
            message["type"] == "connection_ack"
        })?;
        phone.ack_ns = phone.shared.clock.mono_ns() - started;
        phone.post(
            "/api/client/device/state",
            r#"{"connected":true,"modelName":"Even Realities G1"}"#,
        )?;
        Ok(phone)
    }

    /// From opening the socket to the ack.
    pub(super) fn ack_ns(&self) -> u64 {
        self.ack_ns
    }

    /// Asks for the app as the phone's user would; returns how long it took.
    pub(super) fn start_app(&mut self, server: SocketAddr, token: &str) -> Result<u64, DemoError> {
        let started = self.shared.clock.mono_ns();
        let (status, body) =
            http::request(server, "POST", &format!("/apps/{PACKAGE}/start"), token, "")
                .map_err(DemoError::io("starting the app"))?;
        if status != 200 || !body.contains(r#""isRunning":true"#) {
            return Err(DemoError::Protocol(format!(
                "the app did not start: {status} {body}"
            )));
        }
        Ok(self.shared.clock.mono_ns() - started)
    }

    /// Until the server asks for PCM.
    pub(super) fn wait_for_microphone(&mut self) -> Result<(), DemoError> {
        self.wait("microphone_state_change", |phone, _| phone.microphone_on)
    }

    /// Speaks for `seconds`, presses the button once a second and reports each second.
    pub(super) fn stream(
        &mut self,
        speech: &[u8],
        packet_bytes: usize,
        seconds: u64,
        mut report: impl FnMut(String),
    ) -> Result<(), DemoError> {
        let started = self.shared.clock.mono_ns();
        let packets = seconds * 1_000 / 20;
        for index in 0..packets {
            let due = started + index * PACKET_NS;
            self.read_until(due)?;
            let chunk = packet(speech, packet_bytes, index);
            {
                let mut board = self.shared.board();
                board.packets_out += 1;
                board.sent_ns.push_back(self.shared.clock.mono_ns());
            }
            self.send(Message::binary(chunk.to_vec()))?;
            if index % 50 == 20 {
                self.press_button()?;
            }
            if index % 50 == 49 {
                report(self.progress(index / 50 + 1, speech, packet_bytes, index));
            }
        }
        self.read_until(started + packets * PACKET_NS + 50 * NS_PER_MS)
    }

    /// Stops the app by REST.
    pub(super) fn finish(&mut self) -> Result<(), DemoError> {
        self.post(&format!("/apps/{PACKAGE}/stop"), "")
    }

    fn progress(&self, second: u64, speech: &[u8], packet_bytes: usize, index: u64) -> String {
        let board = self.shared.board();
        let level: String = (index.saturating_sub(49)..=index)
            .step_by(3)
            .map(|index| bar(packet(speech, packet_bytes, index)))
            .collect();
        format!(
            "{second:>3} s   {level:<20}  {:>5} / {:<5}    {:>8} / {:<10}    {:?}",
            board.packets_out,
            board.packets_in,
            millis(board.latency.value_at_quantile(0.5)),
            millis(board.latency.value_at_quantile(0.99)),
            board.shown
        )
    }

    fn press_button(&mut self) -> Result<(), DemoError> {
        self.pressed_ns = Some(self.shared.clock.mono_ns());
        let now = self.shared.clock.now().unix_ms;
        let press = json!({ "type": "button_press", "buttonId": "main", "pressType": "short", "timestamp": now });
        self.send(Message::text(press.to_string()))
    }

    fn post(&self, path: &str, body: &str) -> Result<(), DemoError> {
        let (status, answer) = http::request(self.server, "POST", path, &self.token, body)
            .map_err(DemoError::io("a REST call of the phone"))?;
        if status == 200 {
            Ok(())
        } else {
            Err(DemoError::Protocol(format!("{path}: {status} {answer}")))
        }
    }

    fn send(&mut self, message: Message) -> Result<(), DemoError> {
        self.socket
            .send(message)
            .map_err(|error| DemoError::Protocol(format!("phone socket: {error}")))
    }

    fn wait(
        &mut self,
        what: &str,
        mut done: impl FnMut(&Self, &Value) -> bool,
    ) -> Result<(), DemoError> {
        let deadline = self.shared.clock.mono_ns() + STEP_TIMEOUT_NS;
        loop {
            let message = self.read_one(deadline)?;
            let message =
                message.ok_or_else(|| DemoError::Protocol(format!("no {what} within 10 s")))?;
            if done(self, &message) {
                return Ok(());
            }
        }
    }

    fn read_until(&mut self, deadline: u64) -> Result<(), DemoError> {
        while self.read_one(deadline)?.is_some() {}
        Ok(())
    }

    /// The next text message before `deadline` (clock nanoseconds).
    fn read_one(&mut self, deadline: u64) -> Result<Option<Value>, DemoError> {
        loop {
            let left = deadline.saturating_sub(self.shared.clock.mono_ns());
            if left == 0 {
                return Ok(None);
            }
            let timeout = Duration::from_nanos(left.max(NS_PER_MS / 10));
            self.socket
                .get_ref()
                .set_read_timeout(Some(timeout))
                .map_err(DemoError::io("phone socket"))?;
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let Ok(message) = serde_json::from_str::<Value>(text.as_str()) else {
                        continue;
                    };
                    self.on_message(&message);
                    return Ok(Some(message));
                }
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(DemoError::Protocol(format!("phone socket: {error}"))),
            }
        }
    }

    fn on_message(&mut self, message: &Value) {
        match message["type"].as_str() {
            Some("microphone_state_change") => {
                self.microphone_on = message["requiredData"] == json!(["pcm"])
            }
            Some("display_event") if message["packageName"] == PACKAGE => {
                let now = self.shared.clock.mono_ns();
                let mut board = self.shared.board();
                board.displays += 1;
                board.shown = message["layout"]["text"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if let Some(pressed) = self.pressed_ns.take() {
                    board.round_trip.saturating_record(now - pressed);
                }
            }
            _ => {}
        }
    }
}

/// One cell of the level meter: loudest sample of a packet on a logarithmic scale.
fn bar(pcm: &[u8]) -> char {
    const CELLS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let peak = pcm
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs())
        .max();
    let bits = 16 - peak.unwrap_or(0).leading_zeros() as usize;
    CELLS[bits.saturating_sub(7).min(CELLS.len() - 1)]
}
