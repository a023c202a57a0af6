//! Layer 3: what waits to be sent on one connection. It frames, bounds and sheds; it opens no socket and never blocks.
//!
//! Frames stand in one contiguous buffer in send order, so that everything pending leaves in one send. Payloads from
//! `zero_copy_min_bytes` up are referenced beside it. Buffers come from a pool of the shard: an idle connection holds none.

use super::shares::Shares;
use crate::base::ids::ConnId;
use crate::session::effects::Class;
use crate::wire::frame::{HEADER_BYTES_MAX, Opcode, encode_close, header};
use bytes::Bytes;

/// Largest buffer that goes back to the pool; larger ones are freed.
const POOLED_BYTES_MAX: usize = 64 * 1024;
/// Buffers kept by the pool.
const POOLED_MAX: usize = 1024;

/// One frame of [`Pending::bytes`], in order.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Bytes in the contiguous buffer (header only, when the payload is referenced).
    len: u32,
    class: Class,
    payload: Payload,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Payload {
    Copied,
    Referenced,
}

/// A payload that stands between two parts of the contiguous buffer.
#[derive(Debug)]
pub struct Reference {
    /// Where in the contiguous buffer it is inserted.
    pub at: usize,
    /// The payload.
    pub payload: Bytes,
}

/// Frames ready to be sent, taken whole by the writer.
#[derive(Default, Debug)]
pub struct Pending {
    bytes: Vec<u8>,
    references: Vec<Reference>,
    segments: Vec<Segment>,
    referenced: usize,
    /// Bytes before the first frame: the upgrade's answer.
    preface: usize,
    /// Bytes of the one frame in it that is larger than the bound by itself, 0 for none.
    oversize: usize,
    marks: Vec<u32>,
    /// What apps asked of a phone.
    shares: Shares,
}

impl Pending {
    /// The contiguous buffer: headers, and payloads that are not referenced.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Referenced payloads in order; empty for most sends.
    #[must_use]
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// In-flight latency records that these frames belong to.
    #[must_use]
    pub(super) fn marks(&self) -> &[u32] {
        &self.marks
    }

    /// Bytes altogether.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.referenced
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frames in it.
    #[must_use]
    #[inline]
    pub(super) fn frames(&self) -> usize {
        self.segments.len()
    }

    /// Their bytes.
    #[must_use]
    #[inline]
    pub(super) fn frame_bytes(&self) -> usize {
        self.len() - self.preface
    }

    fn clear(&mut self) {
        self.preface = 0;
        self.oversize = 0;
        self.bytes.clear();
        self.references.clear();
        self.segments.clear();
        self.referenced = 0;
        self.marks.clear();
        self.shares.clear();
    }
}

/// Reused [`Pending`] boxes of one shard.
#[derive(Default, Debug)]
#[expect(
    clippy::vec_box,
    reason = "the boxes themselves travel to writers and back"
)]
pub(super) struct Pool(Vec<Box<Pending>>);

impl Pool {
    fn get(&mut self) -> Box<Pending> {
        self.0.pop().unwrap_or_default()
    }

    /// Takes a sent (or abandoned) box back.
    #[inline]
    pub(super) fn put(&mut self, mut pending: Box<Pending>) {
        if self.0.len() < POOLED_MAX && pending.bytes.capacity() <= POOLED_BYTES_MAX {
            pending.clear();
            self.0.push(pending);
        }
    }
}

/// What became of a pushed frame.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It waits; `shed` older ones were dropped to make room (counted by class: audio, interim, display).
    Queued {
        /// Dropped per class.
        shed: [u32; 3],
        /// Whether the frame's latency record is new to this buffer.
        marked: bool,
    },
    /// It was itself dropped, because it is of a class that may be; `shed` older ones went in vain.
    Dropped([u32; 3]),
    /// It may not be dropped and there is no room, although `shed` others went: the connection must be closed with 1013.
    Overflow([u32; 3]),
    /// A close frame was queued before; nothing follows it.
    Closed,
}

/// The outbound side of one connection.
#[derive(Debug)]
pub struct Outbox {
    pending: Option<Box<Pending>>,
    limit: u32,
    closed: bool,
}

impl Outbox {
    /// An empty outbox bounded to `limit` bytes (beside the one send in flight and one frame that is larger by itself).
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            pending: None,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            closed: false,
        }
    }

    /// Bytes waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.len())
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_none()
    }

    /// Whether a close frame was queued.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Everything that waits; the outbox is empty afterwards and holds no memory.
    pub fn take(&mut self) -> Option<Box<Pending>> {
        self.pending.take()
    }

    /// Queues bytes that are no frame, before everything else.
    pub(super) fn preface(&mut self, bytes: &[u8], pool: &mut Pool) {
        debug_assert!(self.is_empty(), "nothing can stand before the upgrade");
        let pending = self.pending.get_or_insert_with(|| pool.get());
        pending.bytes.extend_from_slice(bytes);
        pending.preface = bytes.len();
    }

    /// Queues one frame with its payload copied. Always inlined: with its second caller it became a call of its own, a tenth of
    /// the way out of every frame.
    #[inline(always)]
    pub(super) fn push(&mut self, frame: Frame<'_>, pool: &mut Pool) -> Pushed {
        let size = frame.payload.len() + HEADER_BYTES_MAX;
        match self.room_for(size, frame.class, pool) {
            Ok(shed) => {
                let pending = self.pending.get_or_insert_with(|| pool.get());
                let start = pending.bytes.len();
                pending.bytes.reserve(size);
                header(frame.op, frame.payload.len(), &mut pending.bytes);
                pending.bytes.extend_from_slice(frame.payload);
                let len = pending.bytes.len() - start;
                let marked = note(pending, len, &frame, Payload::Copied);
                Pushed::Queued { shed, marked }
            }
            Err(refused) => refused,
        }
    }

    /// Queues what the app at `by` asks of a phone; refused where the app's share of the room is used up, after so many others
    /// were dropped.
    pub(super) fn ask(
        &mut self,
        frame: Frame<'_>,
        by: ConnId,
        pool: &mut Pool,
    ) -> Result<Pushed, [u32; 3]> {
        let (size, limit) = (frame.payload.len() + HEADER_BYTES_MAX, self.limit as usize);
        let is_large = Shares::is_large(size, limit);
        if !self.closed {
            let pending = self.pending.get_or_insert_with(|| pool.get());
            let fits = match is_large {
                true => pending.oversize == 0,
                false => pending.shares.may_add(by, size, limit),
            };
            if !fits {
                return Err([0; 3]);
            }
            if is_large {
                pending.oversize = size;
            }
        }
        let pushed = self.push(frame, pool);
        match pushed {
            Pushed::Overflow(shed) => {
                if is_large && let Some(pending) = &mut self.pending {
                    pending.oversize = 0;
                }
                return Err(shed);
            }
            Pushed::Queued { .. } if !is_large => {
                if let Some(pending) = &mut self.pending {
                    pending.shares.add(by, size);
                }
            }
            _ => {}
        }
        Ok(pushed)
    }

    /// Queues one frame whose payload is referenced until it is sent.
    #[inline]
    pub(super) fn push_reference(
        &mut self,
        frame: Frame<'_>,
        payload: &Bytes,
        pool: &mut Pool,
    ) -> Pushed {
        match self.room_for(payload.len() + HEADER_BYTES_MAX, frame.class, pool) {
            Ok(shed) => {
                let pending = self.pending.get_or_insert_with(|| pool.get());
                let start = pending.bytes.len();
                header(frame.op, payload.len(), &mut pending.bytes);
                let head_len = pending.bytes.len() - start;
                pending.references.push(Reference {
                    at: pending.bytes.len(),
                    payload: payload.clone(),
                });
                pending.referenced += payload.len();
                let marked = note(pending, head_len, &frame, Payload::Referenced);
                Pushed::Queued { shed, marked }
            }
            Err(refused) => refused,
        }
    }

    /// Queues a close frame, whatever the bound, as the last frame. Does nothing the second time.
    pub(super) fn close(&mut self, close: Option<(u16, &str)>, pool: &mut Pool) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let pending = self.pending.get_or_insert_with(|| pool.get());
        let start = pending.bytes.len();
        match close {
            Some((code, reason)) => encode_close(code, reason, &mut pending.bytes),
            None => crate::wire::frame::encode(Opcode::Close, &[], &mut pending.bytes),
        }
        pending.segments.push(Segment {
            len: (pending.bytes.len() - start) as u32,
            class: Class::Control,
            payload: Payload::Copied,
        });
    }

    #[inline]
    fn room_for(&mut self, size: usize, class: Class, pool: &mut Pool) -> Result<[u32; 3], Pushed> {
        if self.closed {
            return Err(Pushed::Closed);
        }
        match &mut self.pending {
            None if size <= self.limit as usize => Ok([0; 3]),
            Some(pending) if pending.len() + size <= self.limit as usize => Ok([0; 3]),
            _ => self.make_room(size, class, pool),
        }
    }

    /// Sheds audio, then interim transcriptions, then displays, oldest first, until the frame fits. An eighth of the bound
    /// is freed at a time, so that a socket that stays full does not move its whole buffer for every frame. The bound is for
    /// what heaps up: one frame that alone exceeds it (a picture, a large relayed message) is taken beside it.
    #[cold]
    fn make_room(
        &mut self,
        size: usize,
        class: Class,
        pool: &mut Pool,
    ) -> Result<[u32; 3], Pushed> {
        let limit = self.limit as usize;
        let pending = self.pending.get_or_insert_with(|| pool.get());
        if size > limit && pending.oversize == 0 {
            pending.oversize = size;
            return Ok([0; 3]);
        }
        let bound = limit + pending.oversize;
        let mut shed = [0; 3];
        for (index, victim) in [Class::Audio, Class::Interim, Class::Display]
            .into_iter()
            .enumerate()
        {
            let excess = (pending.len() + size).saturating_sub(bound);
            if excess > 0 {
                shed[index] = drop_oldest(pending, victim, excess.max(limit / 8));
            }
        }
        match class {
            _ if pending.len() + size <= bound => Ok(shed),
            Class::Control => Err(Pushed::Overflow(shed)),
            Class::Audio | Class::Interim | Class::Display => Err(Pushed::Dropped(shed)),
        }
    }
}

/// A frame to be queued.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) op: Opcode,
    pub(super) class: Class,
    pub(super) payload: &'a [u8],
    /// In-flight latency record, 0 for none.
    pub(super) mark: u32,
}

/// Notes a frame just written; says whether its latency record is new to this buffer.
#[inline]
fn note(pending: &mut Pending, len: usize, frame: &Frame<'_>, payload: Payload) -> bool {
    pending.segments.push(Segment {
        len: len as u32,
        class: frame.class,
        payload,
    });
    // Frames of one turn stand together, so looking at the last two kinds of it finds nearly every repetition; one that is
    // missed is merely counted down twice.
    let known = frame.mark == 0
        || pending
            .marks
            .iter()
            .rev()
            .take(2)
            .any(|mark| *mark == frame.mark);
    if !known {
        pending.marks.push(frame.mark);
    }
    !known
}

/// Removes the oldest frames of one class until `bytes` are free; says how many went. One pass over the buffer.
fn drop_oldest(pending: &mut Pending, class: Class, bytes: usize) -> u32 {
    let (mut read, mut write) = (pending.preface, pending.preface);
    let (mut freed, mut dropped) = (0, 0);
    let mut references = std::mem::take(&mut pending.references).into_iter();
    let mut kept_references = Vec::new();
    let mut kept_referenced = 0;
    let mut buffer = std::mem::take(&mut pending.bytes);
    pending.segments.retain(|segment| {
        let len = segment.len as usize;
        let reference = match segment.payload {
            Payload::Copied => None,
            Payload::Referenced => references.next(),
        };
        if segment.class == class && freed < bytes {
            freed += len + reference.map_or(0, |reference| reference.payload.len());
            dropped += 1;
            read += len;
            return false;
        }
        buffer.copy_within(read..read + len, write);
        read += len;
        write += len;
        if let Some(mut reference) = reference {
            reference.at = write;
            kept_referenced += reference.payload.len();
            kept_references.push(reference);
        }
        true
    });
    buffer.truncate(write);
    pending.bytes = buffer;
    pending.references = kept_references;
    pending.referenced = kept_referenced;
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(class: Class, payload: &[u8]) -> Frame<'_> {
        Frame {
            op: Opcode::Binary,
            class,
            payload,
            mark: 0,
        }
    }

    fn payloads(pending: &Pending) -> Vec<u8> {
        // First payload byte of every frame, in send order; frames here are shorter than 126 bytes.
        let bytes = pending.bytes();
        let (mut at, mut firsts) = (0, Vec::new());
        while at < bytes.len() {
            let len = usize::from(bytes[at + 1]);
            firsts.push(bytes[at + 2]);
            at += 2 + len;
        }
        firsts
    }

    #[test]
    fn a_full_queue_drops_its_oldest_audio_and_keeps_control_in_order() {
        let (mut pool, mut outbox) = (Pool::default(), Outbox::new(1000));
        let _ = outbox.push(frame(Class::Control, &[200; 50]), &mut pool);
        for n in 0..9 {
            let _ = outbox.push(frame(Class::Audio, &[n; 100]), &mut pool);
        }
        let pushed = outbox.push(frame(Class::Audio, &[9; 100]), &mut pool);
        assert!(matches!(
            pushed,
            Pushed::Queued {
                shed: [2, 0, 0],
                ..
            }
        ));
        let pending = outbox.take().expect("frames wait");
        assert_eq!(payloads(&pending), [200, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn control_that_does_not_fit_overflows_and_displays_go_before_that() {
        let (mut pool, mut outbox) = (Pool::default(), Outbox::new(300));
        let _ = outbox.push(frame(Class::Display, &[1; 100]), &mut pool);
        let _ = outbox.push(frame(Class::Control, &[2; 100]), &mut pool);
        let pushed = outbox.push(frame(Class::Control, &[3; 100]), &mut pool);
        assert!(matches!(
            pushed,
            Pushed::Queued {
                shed: [0, 0, 1],
                ..
            }
        ));
        assert_eq!(
            outbox.push(frame(Class::Display, &[4; 100]), &mut pool),
            Pushed::Dropped([0; 3])
        );
        assert_eq!(
            outbox.push(frame(Class::Control, &[5; 100]), &mut pool),
            Pushed::Overflow([0; 3])
        );
        assert_eq!(payloads(&outbox.take().expect("frames wait")), [2, 3]);
    }

    #[test]
    fn what_was_shed_for_a_frame_that_still_did_not_fit_is_reported() {
        let (mut pool, mut outbox) = (Pool::default(), Outbox::new(300));
        let _ = outbox.push(frame(Class::Audio, &[1; 20]), &mut pool);
        let _ = outbox.push(frame(Class::Control, &[2; 200]), &mut pool);
        assert_eq!(
            outbox.push(frame(Class::Control, &[3; 200]), &mut pool),
            Pushed::Overflow([1, 0, 0])
        );
    }

    #[test]
    fn nothing_follows_a_close_and_a_close_always_fits() {
        let (mut pool, mut outbox) = (Pool::default(), Outbox::new(120));
        let _ = outbox.push(frame(Class::Control, &[1; 100]), &mut pool);
        outbox.close(Some((1013, "Overloaded")), &mut pool);
        outbox.close(Some((1000, "again")), &mut pool);
        assert_eq!(
            outbox.push(frame(Class::Control, &[1]), &mut pool),
            Pushed::Closed
        );
        let pending = outbox.take().expect("frames wait");
        assert!(pending.bytes().ends_with(b"\x03\xf5Overloaded"));
        assert!(outbox.is_empty());
    }

    #[test]
    fn references_keep_their_places_when_others_are_shed() {
        let (mut pool, mut outbox) = (Pool::default(), Outbox::new(5000));
        let payload = |n| Bytes::from(vec![n; 2000]);
        for n in 0..2 {
            let _ = outbox.push_reference(frame(Class::Audio, &[]), &payload(n), &mut pool);
        }
        let _ = outbox.push(frame(Class::Control, b"x"), &mut pool);
        let _ = outbox.push_reference(frame(Class::Audio, &[]), &payload(2), &mut pool);
        let pending = outbox.take().expect("frames wait");
        let firsts: Vec<_> = pending
            .references()
            .iter()
            .map(|reference| (reference.at, reference.payload[0]))
            .collect();
        assert_eq!(firsts, [(4, 1), (11, 2)]);
        assert_eq!(pending.bytes().len(), 11);
    }
}
