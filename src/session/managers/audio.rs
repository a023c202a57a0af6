//! Layer 2, manager: the microphone audio of a session: its format, decoding, sample alignment and receivers (behaviour.md
//! §5.1). Makes no decision about the microphone.

use crate::base::footprint::owns;
use crate::base::ids::ConnId;
use crate::base::metrics::{Counter, Metrics};
use crate::session::event::Chunk;
use crate::wire::lc3::{Decoder, PACKET_FRAMES_MAX, PCM_BYTES};
use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

owns! {
    Lc3: pcm;
    Audio: targets, lc3;
}

/// What the phone's frames contain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// Signed 16-bit little-endian samples, 16 kHz, mono.
    #[default]
    Pcm,
    /// Whole LC3 frames of this many bytes, 10 ms each.
    Lc3 {
        /// 20, 40 or 60.
        frame_bytes: u8,
    },
}

/// Audio state.
#[derive(Default)]
pub struct Audio {
    /// Open sockets that get every chunk; kept ready by `flow::sync`, so that the hot path only walks it.
    /// Few, and read for every chunk: they lie beside the rest.
    pub targets: SmallVec<[ConnId; 4]>,
    /// When audio last came (`mono_ms`); 0 = never.
    pub last_ms: u64,
    /// Audio from this time on (`mono_ms`) is passed to `flow::recognisers`: 0 while a recogniser takes it, and before the first
    /// answer of the speech manager; `u64::MAX` while none does.
    pub speech_ms: u64,
    format: Format,
    carry: Option<u8>,
    /// The phone's socket that was heard last; `None`: datagrams, or nothing yet.
    source: Option<ConnId>,
    lc3: Option<Box<Lc3>>,
    /// Makes the handling of chunks and messages panic.
    #[cfg(test)]
    pub is_defective: bool,
}

/// The decoder of a session whose phone sends LC3.
struct Lc3 {
    decoder: Decoder,
    heard: Heard,
    /// Room for blocks. Each block is split off; the room is used again once its receivers have let go of it.
    pcm: BytesMut,
}

/// What the decoder heard last; decides whether the next packet continues a sound.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Silence.
    Nothing,
    /// The phone's last packets.
    Stream,
}

impl Lc3 {
    /// Room taken at a time: five blocks of a phone's usual 30 ms.
    const ROOM_BYTES: usize = 15 * PCM_BYTES;

    fn decode(&mut self, packet: &[u8], metrics: &mut Metrics) -> Option<Bytes> {
        let frames = (packet.len() / self.decoder.frame_bytes()).min(PACKET_FRAMES_MAX);
        if self.pcm.capacity() < frames * PCM_BYTES {
            self.pcm.reserve(Self::ROOM_BYTES.max(frames * PCM_BYTES));
        }
        let Ok(decoded) = self.decoder.decode(packet, &mut self.pcm) else {
            metrics.inc(Counter::Lc3BadPackets);
            return None;
        };
        metrics.add(Counter::Lc3Frames, decoded.frames as u64);
        metrics.add(Counter::Lc3Partial, u64::from(decoded.left_over > 0));
        self.heard = Heard::Stream;
        (decoded.frames > 0).then(|| self.pcm.split().freeze())
    }
}

impl Audio {
    /// The format in force. It outlives phone reconnections (protocol.md §19 row 22).
    #[cfg(test)]
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Sets the format and returns the effective one: PCM where no decoder can be created (behaviour.md §5.1). Every call
    /// starts a new decoder; another format forgets the odd byte (the same one might come amid its stream).
    pub fn configure(&mut self, wanted: Format) -> Format {
        self.lc3 = match wanted {
            Format::Pcm => None,
            Format::Lc3 { frame_bytes } => Decoder::new(frame_bytes.into()).ok().map(|decoder| {
                Box::new(Lc3 {
                    decoder,
                    heard: Heard::Nothing,
                    pcm: BytesMut::new(),
                })
            }),
        };
        let effective = match self.lc3 {
            Some(_) => wanted,
            None => Format::Pcm,
        };
        if effective != self.format {
            self.carry = None;
        }
        self.format = effective;
        effective
    }

    /// A chunk from the phone → whole samples, or nothing: not enough for a sample or a frame, or not decodable (counted).
    #[inline]
    pub fn pcm<'a>(&mut self, data: Chunk<'a>, metrics: &mut Metrics) -> Option<Chunk<'a>> {
        match &mut self.lc3 {
            Some(lc3) => lc3.decode(&data, metrics).map(Chunk::Own),
            None => self.align(data),
        }
    }

    /// A chunk that nobody listens to. It is not decoded; the next that is decoded follows silence, not older sound.
    pub fn pass_over(&mut self, data: Chunk<'_>) {
        match &mut self.lc3 {
            Some(lc3) if lc3.heard == Heard::Stream => {
                lc3.decoder.reset();
                lc3.heard = Heard::Nothing;
            }
            Some(_) => {}
            None => {
                self.align(data);
            }
        }
    }

    /// What follows comes by this socket, or by datagrams (`None`). A phone that changes over begins with a whole sample; one
    /// whose socket goes on after another took its place for a while, and said nothing, does not.
    #[inline]
    pub fn comes_by(&mut self, source: Option<ConnId>) {
        if self.source != source {
            self.source = source;
            self.forget_odd();
        }
    }

    /// What follows does not continue what was heard: an odd byte waits for nothing any more.
    pub fn forget_odd(&mut self) {
        self.carry = None;
    }

    /// Cuts a chunk at a sample boundary; an odd byte waits for the next chunk. `None`: nothing whole yet. Copies only while
    /// the phone is out of step.
    #[inline]
    fn align<'a>(&mut self, data: Chunk<'a>) -> Option<Chunk<'a>> {
        if self.carry.is_none() && !data.is_empty() && data.len().is_multiple_of(2) {
            return Some(data);
        }
        self.align_odd(data)
    }

    /// The same of a chunk that is no whole samples, or where a byte waits.
    #[inline(never)]
    fn align_odd<'a>(&mut self, data: Chunk<'a>) -> Option<Chunk<'a>> {
        let whole = (data.len() + usize::from(self.carry.is_some())) & !1;
        if whole == 0 {
            if let Some(&byte) = data.first() {
                self.carry = Some(byte);
            }
            return None;
        }
        match self.carry.take() {
            None => {
                self.carry = data.last().copied();
                Some(data.cut(whole))
            }
            Some(first) => {
                let taken = whole - 1;
                let mut joined = BytesMut::with_capacity(whole);
                joined.put_u8(first);
                joined.put_slice(&data[..taken]);
                self.carry = data.get(taken).copied();
                Some(Chunk::Own(joined.freeze()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_even_chunk_is_passed_on_without_copy() {
        let data = Bytes::from(vec![1; 320]);
        let out = Audio::default()
            .align(Chunk::Own(data.clone()))
            .expect("whole samples");
        assert_eq!(out.as_ptr(), data.as_ptr());
    }

    #[test]
    fn no_chunk_is_ever_empty() {
        let mut audio = Audio::default();
        assert!(audio.align(Chunk::Lent(b"")).is_none());
        assert!(audio.align(Chunk::Lent(b"a")).is_none());
        assert!(audio.align(Chunk::Lent(b"")).is_none());
        let whole = audio.align(Chunk::Lent(b"b")).expect("a whole sample");
        assert_eq!(&whole[..], b"ab");
    }

    proptest! {
        /// Invariant 32: whatever the chunking, samples stay aligned and nothing is lost but a last odd byte.
        #[test]
        fn samples_keep_their_alignment(chunks in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..9), 0..40)) {
            let mut audio = Audio::default();
            let mut out = Vec::new();
            for chunk in &chunks {
                if let Some(part) = audio.align(Chunk::Lent(chunk)) {
                    prop_assert!(!part.is_empty() && part.len() % 2 == 0);
                    out.extend_from_slice(&part);
                }
            }
            let all: Vec<u8> = chunks.concat();
            prop_assert_eq!(&out[..], &all[..all.len() & !1]);
        }
    }
}
