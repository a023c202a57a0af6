//! Layer 2, manager: the microphone audio of a session: its format, sample alignment and receivers (behaviour.md §5.1).
//! Makes no decision about the microphone.

use crate::base::ids::ConnId;
use bytes::{BufMut, Bytes, BytesMut};

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
    pub targets: Vec<ConnId>,
    /// When audio last came (`mono_ms`); 0 = never.
    pub last_ms: u64,
    format: Format,
    carry: Option<u8>,
}

impl Audio {
    /// The format in force. It outlives phone reconnections (protocol.md §19 row 22).
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Asks for a format and returns the effective one. There is no LC3 decoder in this build, so that `lc3` falls back to PCM
    /// as behaviour.md §5.1 wants it for a decoder that cannot be created. A change forgets the odd byte.
    pub fn configure(&mut self, wanted: Format) -> Format {
        let effective = match wanted {
            Format::Pcm | Format::Lc3 { .. } => Format::Pcm,
        };
        if effective != self.format || wanted != effective {
            self.carry = None;
        }
        self.format = effective;
        effective
    }

    /// Cuts a chunk at a sample boundary; an odd byte waits for the next chunk. `None`: nothing whole yet. Copies only while
    /// the phone is out of step.
    pub fn align(&mut self, data: Bytes) -> Option<Bytes> {
        let whole = (data.len() + usize::from(self.carry.is_some())) & !1;
        if whole == 0 {
            if let Some(&byte) = data.first() {
                self.carry = Some(byte);
            }
            return None;
        }
        match self.carry.take() {
            None => {
                if whole < data.len() {
                    self.carry = data.last().copied();
                    return Some(data.slice(..whole));
                }
                Some(data)
            }
            Some(first) => {
                let taken = whole - 1;
                let mut joined = BytesMut::with_capacity(whole);
                joined.put_u8(first);
                joined.put_slice(&data[..taken]);
                self.carry = data.get(taken).copied();
                Some(joined.freeze())
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
        let out = Audio::default().align(data.clone()).expect("whole samples");
        assert_eq!(out.as_ptr(), data.as_ptr());
    }

    #[test]
    fn no_chunk_is_ever_empty() {
        let mut audio = Audio::default();
        assert_eq!(audio.align(Bytes::new()), None);
        assert_eq!(audio.align(Bytes::from_static(b"a")), None);
        assert_eq!(audio.align(Bytes::new()), None);
        assert_eq!(
            audio.align(Bytes::from_static(b"b")),
            Some(Bytes::from_static(b"ab"))
        );
    }

    proptest! {
        /// Invariant 32: whatever the chunking, samples stay aligned and nothing is lost but a last odd byte.
        #[test]
        fn samples_keep_their_alignment(chunks in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..9), 0..40)) {
            let mut audio = Audio::default();
            let mut out = Vec::new();
            for chunk in &chunks {
                if let Some(part) = audio.align(Bytes::copy_from_slice(chunk)) {
                    prop_assert!(!part.is_empty() && part.len() % 2 == 0);
                    out.extend_from_slice(&part);
                }
            }
            let all: Vec<u8> = chunks.concat();
            prop_assert_eq!(&out[..], &all[..all.len() & !1]);
        }
    }
}
