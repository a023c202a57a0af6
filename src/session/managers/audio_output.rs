//! Layer 2, manager: audio that apps push and the phone fetches as one long HTTP answer (behaviour.md §7.9,
//! protocol.md §10.3). Holds what waits for a reader; decides when the phone may be told to play.

use crate::base::footprint::owns;
use crate::base::ids::{Package, ReplyTo};
use bytes::Bytes;
use std::collections::VecDeque;

owns! {
    OutputStream: id, content_type, waiting;
    AudioOutput: streams;
}

/// One stream.
#[derive(Debug)]
pub struct OutputStream {
    /// Lower-case UUID; the only secret of its URL.
    pub id: String,
    /// Package of the app that writes it.
    pub package: Package,
    /// Of the answer.
    pub content_type: String,
    /// When it was created (`mono_ms`).
    pub started_ms: u64,
    /// Its last write, or its start (`mono_ms`).
    pub written_ms: u64,
    /// The app said that no more comes.
    pub ended: bool,
    /// A play request of ours waits for a reader.
    pub attempting: bool,
    /// Who fetches now.
    pub reader: Option<ReplyTo>,
    waiting: VecDeque<Bytes>,
    waiting_bytes: u64,
}

impl OutputStream {
    /// Keeps bytes for the next reader; the oldest go first beyond `max` bytes.
    pub fn keep(&mut self, data: Bytes, max: u64) {
        self.waiting_bytes += data.len() as u64;
        self.waiting.push_back(data);
        while self.waiting_bytes > max
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.waiting_bytes -= oldest.len() as u64;
        }
    }

    /// Takes everything that waits.
    pub fn take_waiting(&mut self) -> VecDeque<Bytes> {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    /// Whether anything waits.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a fetch has nothing more to get.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended && !self.has_waiting()
    }
}

/// All streams of the session.
#[derive(Default)]
pub struct AudioOutput {
    streams: Vec<OutputStream>,
}

impl AudioOutput {
    /// Creates a stream. `false`: the id exists, is no lower-case UUID, or the app has `max` streams already.
    pub fn create(
        &mut self,
        id: &str,
        package: &Package,
        content_type: &str,
        mono_ms: u64,
        max: u64,
    ) -> bool {
        let owned = self
            .streams
            .iter()
            .filter(|stream| stream.package == *package);
        if !is_stream_id(id.as_bytes()) || owned.count() as u64 >= max || self.get(id).is_some() {
            return false;
        }
        let is_safe = !content_type.is_empty()
            && content_type
                .bytes()
                .all(|byte| (0x20..0x7f).contains(&byte));
        self.streams.push(OutputStream {
            id: id.to_owned(),
            package: package.clone(),
            // It becomes a header of the answer: nothing that could end one gets in.
            content_type: if is_safe { content_type } else { "audio/mpeg" }.to_owned(),
            started_ms: mono_ms,
            written_ms: mono_ms,
            ended: false,
            attempting: false,
            reader: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        });
        true
    }

    /// The id of a finished stream that can be removed to make room for `id`, where the app has `max` streams already.
    #[must_use]
    pub fn spent(&self, package: &str, id: &str, max: u64) -> Option<String> {
        let owned = || {
            self.streams
                .iter()
                .filter(|stream| &*stream.package == package)
        };
        if (owned().count() as u64) < max {
            return None;
        }
        let spent = owned().find(|stream| stream.is_over() && stream.id != id)?;
        Some(spent.id.clone())
    }

    /// By id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&OutputStream> {
        self.streams.iter().find(|stream| stream.id == id)
    }

    /// By id, to change.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut OutputStream> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }

    /// By its present reader.
    pub fn by_reader(&mut self, reader: ReplyTo) -> Option<&mut OutputStream> {
        self.streams
            .iter_mut()
            .find(|stream| stream.reader == Some(reader))
    }

    /// Takes a stream out.
    pub fn remove(&mut self, id: &str) -> Option<OutputStream> {
        let at = self.streams.iter().position(|stream| stream.id == id)?;
        Some(self.streams.remove(at))
    }

    /// Ids of the streams of one app.
    #[must_use]
    pub fn of_app(&self, package: &str) -> Vec<String> {
        self.streams
            .iter()
            .filter(|stream| &*stream.package == package)
            .map(|stream| stream.id.clone())
            .collect()
    }

    /// Ids of all streams.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.streams
            .iter()
            .map(|stream| stream.id.clone())
            .collect()
    }
}

/// Whether `id` is a lower-case UUID.
#[must_use]
pub fn is_stream_id(id: &[u8]) -> bool {
    id.len() == 36
        && id.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}
