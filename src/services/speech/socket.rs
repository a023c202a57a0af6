//! Outside thread, speech: WebSocket connections to providers: `wss://`, and `ws://` for private deployments and tests.

use super::classify::ProviderError;
use super::provider::Frame;
use crate::services::addresses::Reach;
use crate::services::outbound;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderName, HeaderValue, Uri};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::future::poll_fn;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tower_service::Service as _;

/// Bytes of one message of a provider.
const MESSAGE_MAX: usize = 1 << 20;
/// Read at a time: there are many connections, and messages are small.
const READ_BYTES: usize = 8 * 1024;

type Socket = WebSocketStream<TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>>;
/// What the provider says.
pub(super) type Source = SplitStream<Socket>;

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector(outbound::Connector);

impl Connector {
    pub(super) fn new() -> Self {
        Self(outbound::connector(Reach::All, None))
    }

    /// Connects and upgrades.
    pub(super) async fn connect(
        &self,
        address: &str,
        headers: Vec<(&'static str, String)>,
    ) -> Result<(Sink, Source), ProviderError> {
        let invalid = || ProviderError::new(400, "invalid address or header");
        let mut request = address.into_client_request().map_err(|_| invalid())?;
        for (name, value) in headers {
            let value = HeaderValue::try_from(value).map_err(|_| invalid())?;
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
        let target = match address.split_once("://") {
            Some(("wss", rest)) => format!("https://{rest}"),
            Some(("ws", rest)) => format!("http://{rest}"),
            _ => return Err(invalid()),
        };
        let target: Uri = target.parse().map_err(|_| invalid())?;
        let failed = |error: &dyn std::fmt::Display| ProviderError::new(None, &error.to_string());
        let stream = self.0.clone().call(target).await;
        let stream = TokioIo::new(stream.map_err(|error| failed(&error))?);
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX))
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0);
        let upgraded =
            tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        match upgraded {
            Ok((socket, _)) => {
                let (sink, source) = socket.split();
                Ok((
                    Sink {
                        sink,
                        waiting: VecDeque::new(),
                        unsent: false,
                    },
                    source,
                ))
            }
            Err(Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                let text = String::from_utf8_lossy(body);
                Err(ProviderError::new(answer.status().as_u16(), &text))
            }
            Err(error) => Err(failed(&error)),
        }
    }
}

/// The sending half. What is put is sent by [`Sink::flush`], which may be dropped and begun again.
pub(super) struct Sink {
    sink: SplitSink<Socket, Message>,
    /// Few: nothing is put while something is unsent, except what ends a stream.
    waiting: VecDeque<Message>,
    unsent: bool,
}

impl Sink {
    /// Whether something waits for [`Sink::flush`].
    pub(super) fn is_unsent(&self) -> bool {
        self.unsent
    }

    /// Takes a frame.
    pub(super) fn put(&mut self, frame: Frame) {
        self.unsent = true;
        self.waiting.push_back(match frame {
            Frame::Text(text) => Message::text(text),
            Frame::Binary(bytes) => Message::Binary(bytes),
            Frame::Ping => Message::Ping(Bytes::new()),
        });
    }

    /// Sends what waits.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        while !self.waiting.is_empty() {
            poll_fn(|cx| self.sink.poll_ready_unpin(cx)).await?;
            if let Some(message) = self.waiting.pop_front() {
                self.sink.start_send_unpin(message)?;
            }
        }
        self.sink.flush().await?;
        self.unsent = false;
        Ok(())
    }

    /// Says goodbye.
    pub(super) async fn close(&mut self) {
        // The other side may be gone already.
        let _ = self.sink.close().await;
    }
}
