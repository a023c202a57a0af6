//! Outside thread: a request's body, read from its connection as fast as the upstream takes it.

use super::{Body, IDLE_LIMIT};
use crate::wire::http::{BodyLength, BodyReader, BodyStep, RequestHead, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;
use std::sync::{Arc, OnceLock};
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Bytes read at a time.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// The client did not send its body to the end.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the request's body broke off")]
pub(crate) struct Broken;

/// What becomes of a body, for whoever waits for the answer.
#[derive(Clone)]
pub(super) struct Progress {
    refusal: Arc<OnceLock<Response>>,
    /// Closed once the body is read, or nobody reads it any more.
    open: Arc<Semaphore>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            refusal: Arc::default(),
            open: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Progress {
    /// The answer to a body that broke its framing.
    pub(super) fn refusal(&self) -> Option<Response> {
        self.refusal.get().cloned()
    }

    /// Waits for the body's end.
    pub(super) async fn ended(&self) {
        // Nobody gives permits: this ends when the semaphore is closed.
        let _ = self.open.acquire().await;
    }
}

struct Intake {
    read: OwnedReadHalf,
    reader: BodyReader,
    buf: BytesMut,
    progress: Progress,
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.progress.open.close();
    }
}

impl Intake {
    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        loop {
            match self.reader.next(&mut self.buf) {
                Ok(BodyStep::Data(data)) => return Some(Ok(data)),
                Ok(BodyStep::End) => return None,
                Ok(BodyStep::NeedMore) => {}
                Err(error) => {
                    let _ = self.progress.refusal.set(error.response());
                    return Some(Err(Broken));
                }
            }
            self.buf.reserve(READ_BYTES);
            match timeout(IDLE_LIMIT, self.read.read_buf(&mut self.buf)).await {
                Ok(Ok(count)) if count > 0 => {}
                _ => return Some(Err(Broken)),
            }
        }
    }
}

/// The body of `head`, beginning with the bytes in `early`.
pub(super) fn body(
    head: &RequestHead,
    read: OwnedReadHalf,
    early: BytesMut,
    progress: &Progress,
) -> Body {
    // Streamed, so no bound on the whole: a few buffers are all that is ever held.
    let reader = BodyReader::new(head.body, usize::MAX);
    let (Ok(reader), false) = (reader, head.body == BodyLength::None) else {
        progress.open.close();
        return Empty::new().map_err(|never| match never {}).boxed_unsync();
    };
    let intake = Intake {
        read,
        reader,
        buf: early,
        progress: progress.clone(),
    };
    let stream = futures_util::stream::unfold(Some(intake), |intake| async move {
        let mut intake = intake?;
        match intake.next().await? {
            Ok(data) => Some((Ok(Frame::data(data)), Some(intake))),
            Err(broken) => Some((Err(broken), None)),
        }
    });
    StreamBody::new(stream).boxed_unsync()
}
