//! Phones: `ping` every 5 s with a pong wanted within 5 s, a new try 5 s after any close, microphone on when told to.

use super::net::{Down, Party, Up};
use super::udp::Udp;
use super::voice::Voice;
use super::world::{Act, World};
use bytes::Bytes;
use prism::base::ids::ConnId;
use prism::session::rest::Call;
use serde_json::{Value, json};

/// How often a phone pings, how long it waits for the pong, and how long it waits after a close (ms).
const PING_MS: u64 = 5000;
/// Between two chunks of microphone audio (ms); coarser than real, so that runs stay short.
const CHUNK_MS: u64 = 400;

/// A phone's own timers.
#[derive(Debug)]
pub(crate) enum PhoneWake {
    Connect,
    Ping(ConnId),
    PongDue(ConnId),
    Chunk(ConnId),
    /// Announces its datagrams, unless it has numbered them anew since.
    UdpRegister(ConnId, u32),
    UdpProbe(ConnId, u32),
    /// The glasses say how a stream does.
    Stream(ConnId, String, &'static str),
}

/// One phone.
#[derive(Debug)]
pub(crate) struct Phone {
    pub(crate) user: String,
    /// The socket it uses.
    pub(crate) conn: Option<ConnId>,
    /// It is switched on.
    pub(crate) on: bool,
    /// It answers photo requests, polls and play requests.
    pub(crate) helpful: bool,
    /// It sends its audio by UDP when that is offered and works.
    pub(crate) udp: Option<Udp>,
    /// The stream that its glasses send.
    pub(crate) stream: Option<String>,
    connecting: bool,
    pings_owed: u32,
    mic: bool,
    pub(super) voice: Voice,
}

impl Phone {
    pub(crate) fn new(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            conn: None,
            on: true,
            helpful: true,
            udp: None,
            stream: None,
            connecting: false,
            pings_owed: 0,
            mic: false,
            voice: Voice::default(),
        }
    }
}

impl World {
    /// Adds a phone that connects after `delay_ms`.
    pub(crate) fn add_phone(&mut self, user: &str, delay_ms: u64) -> usize {
        self.phones.push(Phone::new(user));
        let ix = self.phones.len() - 1;
        self.phones[ix].helpful = self.rng.bool();
        self.phone_connects_in(ix, delay_ms);
        ix
    }

    pub(crate) fn phone_connects_in(&mut self, ix: usize, delay_ms: u64) {
        self.phones[ix].connecting = true;
        self.after(delay_ms, Act::Phone(ix, PhoneWake::Connect));
    }

    pub(super) fn phone_wakes(&mut self, ix: usize, wake: PhoneWake) {
        match wake {
            PhoneWake::Connect => self.phone_connects(ix),
            PhoneWake::Ping(conn) => {
                if self.phones[ix].conn == Some(conn) {
                    self.phones[ix].pings_owed += 1;
                    self.say(conn, &json!({"type": "ping"}));
                    self.after(PING_MS, Act::Phone(ix, PhoneWake::Ping(conn)));
                    self.after(PING_MS - 1, Act::Phone(ix, PhoneWake::PongDue(conn)));
                }
            }
            PhoneWake::PongDue(conn) => {
                if self.phones[ix].conn == Some(conn) && self.phones[ix].pings_owed > 0 {
                    self.phones[ix].conn = None;
                    self.hang_up(conn);
                    self.phone_connects_in(ix, 500);
                }
            }
            PhoneWake::Chunk(conn) => self.phone_speaks(ix, conn),
            PhoneWake::UdpRegister(conn, run) => self.udp_registers(ix, conn, run),
            PhoneWake::UdpProbe(conn, run) => self.udp_probes(ix, conn, run),
            PhoneWake::Stream(conn, id, status) => self.glasses_report(ix, conn, &id, status),
        }
    }

    fn phone_connects(&mut self, ix: usize) {
        self.phones[ix].connecting = false;
        if !self.phones[ix].on || self.phones[ix].conn.is_some() {
            return;
        }
        let user = self.phones[ix].user.clone();
        let flags = self.udp_wishes(ix);
        let Some(conn) = self.open_phone(Party::Phone(ix), &user, flags) else {
            return self.phone_connects_in(ix, PING_MS);
        };
        let phone = &mut self.phones[ix];
        phone.conn = Some(conn);
        phone.pings_owed = 0;
        phone.mic = false;
        phone.voice.begin();
        self.after(0, Act::Phone(ix, PhoneWake::Ping(conn)));
        // A hasty one goes on where its last socket was lost, before any ack.
        if self.rng.u32(0..3) == 0 {
            let frames = self.rng.usize(1..9);
            self.phone_says_frames(ix, conn, frames);
        }
        // Posted the moment the socket opens, before any ack (protocol.md §2.1).
        self.rest(
            &user,
            Call::DeviceState {
                body: Bytes::from_static(
                    br#"{"connected":true,"modelName":"Even Realities G1","wifiConnected":true}"#,
                ),
            },
        );
    }

    fn phone_speaks(&mut self, ix: usize, conn: ConnId) {
        let phone = &mut self.phones[ix];
        if !phone.mic || phone.conn != Some(conn) {
            return;
        }
        if phone.udp.as_ref().is_some_and(|udp| udp.works) {
            self.udp_speaks(ix);
            return self.after(CHUNK_MS, Act::Phone(ix, PhoneWake::Chunk(conn)));
        }
        let frames = self.rng.usize(1..4);
        self.phone_says_frames(ix, conn, frames);
        self.after(CHUNK_MS, Act::Phone(ix, PhoneWake::Chunk(conn)));
    }

    pub(super) fn phone_says_frames(&mut self, ix: usize, conn: ConnId, count: usize) {
        for _ in 0..count {
            let length = Voice::frame_length(&mut self.rng);
            let frame = self.phones[ix].voice.say(length);
            self.send(conn, Up::Binary(frame));
        }
    }

    pub(super) fn phone_received(&mut self, ix: usize, conn: ConnId, frame: Down) {
        let Down::Text(message) = frame else {
            if let Down::Close(code, _) = frame {
                self.close(conn, code, "");
                self.phone_lost(ix, conn);
            }
            return;
        };
        if self.phones[ix].conn != Some(conn) {
            return;
        }
        let user = self.phones[ix].user.clone();
        match message["type"].as_str().unwrap_or_default() {
            "pong" => self.phones[ix].pings_owed = 0,
            "udp_ping_ack" => self.udp_works(ix),
            "connection_ack" => {
                self.udp_offered(ix, conn, &message);
                self.rest(&user, Call::ListApps);
            }
            "microphone_state_change" => {
                let on = message["isMicrophoneEnabled"] == true;
                if on && !self.phones[ix].mic {
                    self.after(100, Act::Phone(ix, PhoneWake::Chunk(conn)));
                }
                self.phones[ix].mic = on;
            }
            kind if self.phones[ix].helpful => {
                self.phone_helps(&user, conn, kind, &message);
                self.glasses_stream(ix, conn, &message);
            }
            _ => {}
        }
    }

    fn phone_helps(&mut self, user: &str, conn: ConnId, kind: &str, message: &Value) {
        match kind {
            "audio_play_request" => {
                let answer = json!({"type": "audio_play_response", "requestId": message["requestId"], "success": true, "duration": 3});
                self.say(conn, &answer);
            }
            "photo_request" => {
                let body = json!({"requestId": message["requestId"], "success": false, "errorCode": "CAMERA_BUSY", "errorMessage": "busy"});
                self.rest(
                    user,
                    Call::PhotoResponse {
                        body: body.to_string().into(),
                    },
                );
            }
            "request_single_location" => {
                let body = json!({"lat": 47.1, "lng": 8.5, "accuracy": 5.0});
                let id = message["correlationId"].as_str().unwrap_or_default();
                self.rest(
                    user,
                    Call::LocationPoll {
                        correlation_id: id.to_owned(),
                        body: body.to_string().into(),
                    },
                );
            }
            _ => {}
        }
    }

    pub(super) fn phone_lost(&mut self, ix: usize, conn: ConnId) {
        let phone = &mut self.phones[ix];
        if phone.conn == Some(conn) {
            phone.conn = None;
            if phone.on && !phone.connecting {
                self.phone_connects_in(ix, PING_MS);
            }
        }
    }

    /// Sends a JSON text.
    pub(crate) fn say(&mut self, conn: ConnId, message: &Value) {
        self.send(conn, Up::Text(message.to_string()));
    }
}
