//! Speech providers that speak the real protocols on loopback, and the outside thread as a shard sees it.

#[path = "outside.rs"]
mod outside;

use bytes::Bytes;
use outside::Outside;
pub(crate) use outside::PATIENCE;
use prism::base::ids::UserId;
use prism::base::settings::Settings;
use prism::session::event::Event;
use prism::shard::mailbox::{ToOutside, ToShard};
use prism::wire::speech::{
    SpeechFailure, SpeechId, SpeechOpen, SpeechOrder, SpeechReport, Utterance,
};
use prism::wire::streams::parse;
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::{Message, WebSocket};

pub(crate) const KEY: &str = "sk-primary-key";

/// A provider: the test itself says what it answers.
pub(crate) struct Provider(pub(crate) TcpListener);

impl Provider {
    pub(crate) fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("binds"))
    }

    pub(crate) fn address(&self) -> String {
        format!("ws://{}/transcribe", self.0.local_addr().expect("bound"))
    }

    pub(crate) fn accept(&self) -> Peer {
        self.accept_with_headers().0
    }

    #[expect(
        clippy::result_large_err,
        reason = "the type of the library's callback"
    )]
    pub(crate) fn accept_with_headers(&self) -> (Peer, Vec<(String, String)>) {
        let (stream, _) = self.0.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let mut headers = Vec::new();
        let ws = tungstenite::accept_hdr(stream, |request: &Request, response: Response| {
            for (name, value) in request.headers() {
                let value = value.to_str().unwrap_or_default().to_owned();
                headers.push((name.to_string(), value));
            }
            Ok(response)
        });
        (Peer(ws.expect("an upgrade")), headers)
    }

    /// Accepts and reads the first frame.
    pub(crate) fn opened(&self) -> (Peer, Value) {
        let mut peer = self.accept();
        let config = peer.json();
        (peer, config)
    }
}

pub(crate) struct Peer(pub(crate) WebSocket<TcpStream>);

impl Peer {
    pub(crate) fn read(&mut self) -> Message {
        self.0.read().expect("a message")
    }

    pub(crate) fn json(&mut self) -> Value {
        match self.read() {
            Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("a text expected: {other:?}"),
        }
    }

    pub(crate) fn audio(&mut self) -> Vec<u8> {
        match self.read() {
            Message::Binary(bytes) => bytes.to_vec(),
            other => panic!("audio expected: {other:?}"),
        }
    }

    pub(crate) fn send(&mut self, value: Value) {
        self.0.send(Message::text(value.to_string())).expect("sent");
    }

    pub(crate) fn tokens(&mut self, tokens: &[(&str, bool)]) {
        let token = |(text, is_final): &(&str, bool)| json!({"text": text, "is_final": is_final, "confidence": 0.9, "start_ms": 10, "end_ms": 20});
        let tokens: Vec<_> = tokens.iter().map(token).collect();
        self.send(json!({"tokens": tokens, "final_audio_proc_ms": 0, "total_audio_proc_ms": 0}));
    }

    pub(crate) fn error(&mut self, code: u16, text: &str) {
        self.send(json!({"tokens": [], "error_code": code, "error_message": text}));
    }

    /// Everything until the empty frame that ends a stream.
    pub(crate) fn until_end(&mut self) -> Vec<Message> {
        let mut seen = Vec::new();
        loop {
            match self.read() {
                Message::Binary(bytes) if bytes.is_empty() => return seen,
                other => seen.push(other),
            }
        }
    }

    /// Whether the other side is gone.
    pub(crate) fn is_left(&mut self) -> bool {
        loop {
            match self.0.read() {
                Ok(Message::Close(_)) | Err(_) => return true,
                Ok(_) => {}
            }
        }
    }
}

/// The outside thread, with a key of a provider.
pub(crate) struct Fixture(Outside);

pub(crate) fn fixture(change: impl FnOnce(&mut Settings)) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let started = Outside::start(folder, |settings| {
        let speech = &mut settings.speech;
        speech.soniox_api_key = KEY.into();
        speech.stt_memory_limit_mb = 0;
        speech.endpoint_debounce_ms = 0;
        change(settings);
    });
    Fixture(started.expect("starts"))
}

pub(crate) fn soniox(provider: &Provider) -> Fixture {
    soniox_with(provider, |_| {})
}

pub(crate) fn soniox_with(provider: &Provider, change: impl FnOnce(&mut Settings)) -> Fixture {
    fixture(|settings| {
        settings.speech.soniox_endpoint = provider.address();
        change(settings);
    })
}

impl Fixture {
    pub(crate) fn order(&self, order: SpeechOrder) {
        self.0.send(ToOutside::Speech {
            user: UserId::new("nadia@lumen.io"),
            epoch: 1,
            order,
        });
    }

    pub(crate) fn open(&self, id: u32, name: &str) {
        self.open_instead(id, name, None);
    }

    pub(crate) fn open_instead(&self, id: u32, name: &str, late: Option<u32>) {
        let subscription = parse(name);
        self.order(SpeechOrder::Open(Box::new(SpeechOpen {
            id: SpeechId(id),
            stream: subscription.parsed,
            options: subscription.language_options(),
            instead_of: late.map(SpeechId),
        })));
    }

    pub(crate) fn audio(&self, id: u32, byte: u8) {
        self.audio_of(id, Bytes::from(vec![byte; 4]));
    }

    pub(crate) fn audio_of(&self, id: u32, pcm: Bytes) {
        let ids = [SpeechId(id), SpeechId(999)].into_iter().collect();
        self.order(SpeechOrder::Audio { ids, pcm });
    }

    pub(crate) fn close(&self, id: u32) {
        self.order(SpeechOrder::Close(SpeechId(id)));
    }

    /// Waits until everything sent before has been taken: mail is handled in order.
    pub(crate) fn taken(&self) {
        self.0.send(ToOutside::LoadUser {
            user: UserId::new("omar@lumen.io"),
            epoch: 2,
        });
        assert!(matches!(
            self.0.receive(),
            ToShard::Result {
                event: Event::UserLoaded { .. },
                ..
            }
        ));
    }

    pub(crate) fn report(&self) -> (u32, SpeechReport) {
        match self.0.receive() {
            ToShard::Result {
                event: Event::Speech { id, report },
                ..
            } => (id.0, report),
            _ => panic!("a report"),
        }
    }

    pub(crate) fn of(&self, id: u32) -> SpeechReport {
        let (whose, report) = self.report();
        assert_eq!(whose, id, "{report:?}");
        report
    }

    pub(crate) fn heard(&self, id: u32) -> Utterance {
        match self.of(id) {
            SpeechReport::Heard(heard) => *heard,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn failure(&self, id: u32) -> SpeechFailure {
        match self.of(id) {
            SpeechReport::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// Ends the thread; nothing more was reported.
    pub(crate) fn done(self) {
        let Outside { running, shard, .. } = self.0;
        assert!(running.stop(PATIENCE));
        assert!(shard.try_recv().is_err(), "nothing more is reported");
    }
}

/// Opens stream 1 and takes its `Ready`.
pub(crate) fn ready(fixture: &Fixture, provider: &Provider, name: &str) -> Peer {
    fixture.open(1, name);
    let (peer, _) = provider.opened();
    assert_eq!(fixture.of(1), SpeechReport::Ready);
    peer
}
