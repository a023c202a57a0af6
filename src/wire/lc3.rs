//! Layer 1, LC3 microphone audio → PCM: 16 kHz, mono, 10 ms, 20/40/60 bytes a frame (behaviour.md §5.1, protocol.md §10.1).
//! Conceals no loss, encodes nothing, and lets no input panic: what does not decode leaves the decoder as it was.
//!
//! The codec is Bluetooth's Low Complexity Communication Codec 1.0, for one rate only, which fixes every size: no allocation
//! beside the caller's buffer, and loops that become vector code. Its constants come from the `lc3-codec` crate, whose own
//! decoder hides failures, approximates and is slower (`benches/lc3.rs` measures both).

mod frame;
mod spectrum;
mod synthesis;
mod tables;
#[cfg(test)]
mod tests;
mod transform;

use bytes::{BufMut, BytesMut};
use frame::Lines;
use synthesis::Synthesis;
use tables::LINES;

/// Bytes of PCM that one frame decodes to: 160 samples of 16 bits.
pub const PCM_BYTES: usize = 2 * LINES;

/// Frames taken from one packet; a longer packet counts as bad, because its decoding would hold up everybody else on the
/// shard (500 frames: 5 s of sound, about 2 ms of work).
pub const PACKET_FRAMES_MAX: usize = 500;

/// A packet that holds no LC3, or not only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the packet does not decode as LC3")]
pub struct BadFrame;

/// A frame size other than 20, 40 and 60 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("LC3 frames of {0} bytes are not supported")]
pub struct UnsupportedSize(pub usize);

/// What a packet held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// Frames decoded; [`PCM_BYTES`] each.
    pub frames: usize,
    /// Bytes at the end that did not fill a frame.
    pub left_over: usize,
}

/// The decoder of one stream; about 2.3 KB.
#[derive(Clone)]
pub struct Decoder {
    frame_bytes: usize,
    synthesis: Synthesis,
}

impl Decoder {
    /// A decoder that has heard nothing yet.
    ///
    /// # Errors
    /// Sizes other than 20, 40 and 60 bytes.
    pub fn new(frame_bytes: usize) -> Result<Self, UnsupportedSize> {
        match frame_bytes {
            20 | 40 | 60 => Ok(Self {
                frame_bytes,
                synthesis: Synthesis::new(),
            }),
            other => Err(UnsupportedSize(other)),
        }
    }

    /// Bytes of one frame: 20, 40 or 60.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// Forgets the stream, so that the next frame follows silence.
    pub fn reset(&mut self) {
        self.synthesis = Synthesis::new();
    }

    /// Decodes the whole frames of a packet and appends their samples, little-endian. Allocates only where `pcm` has no room.
    ///
    /// # Errors
    /// One bad frame spoils the packet: then neither `pcm` nor the decoder has changed.
    pub fn decode(&mut self, packet: &[u8], pcm: &mut BytesMut) -> Result<Decoded, BadFrame> {
        let frames = packet.chunks_exact(self.frame_bytes);
        let decoded = Decoded {
            frames: frames.len(),
            left_over: frames.remainder().len(),
        };
        if decoded.frames > PACKET_FRAMES_MAX {
            return Err(BadFrame);
        }
        let start = pcm.len();
        pcm.reserve(decoded.frames * PCM_BYTES);
        // A frame is read whole before it changes anything; only what follows a first frame can spoil something.
        let before = (decoded.frames > 1).then(|| self.synthesis.clone());
        for frame in frames {
            if let Err(bad) = self.frame(frame, pcm) {
                pcm.truncate(start);
                if let Some(before) = before {
                    self.synthesis = before;
                }
                return Err(bad);
            }
        }
        Ok(decoded)
    }

    fn frame(&mut self, frame: &[u8], pcm: &mut BytesMut) -> Result<(), BadFrame> {
        let mut lines = Lines {
            steps: [0; LINES],
            fraction: [0.0; LINES],
        };
        let side = frame::read(frame, &mut lines)?;
        let spectrum = spectrum::build(self.frame_bytes, &side, &lines);
        let sound = self.synthesis.run(spectrum, side.pitch, self.frame_bytes);
        let mut samples = [0; PCM_BYTES];
        for (bytes, value) in samples.chunks_exact_mut(2).zip(sound) {
            let rounded = (value + 0.5_f32.copysign(*value)).clamp(-32_768.0, 32_767.0);
            bytes.copy_from_slice(&(rounded as i16).to_le_bytes());
        }
        pcm.put_slice(&samples);
        Ok(())
    }
}
