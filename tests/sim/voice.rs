//! What a phone's microphone hears: numbered samples whose two bytes cannot be taken for each other, in frames cut anywhere.

use bytes::Bytes;

/// After so many samples the numbers begin anew: hours of a scenario have more.
pub(crate) const NUMBERS: u32 = 1 << 14;

/// The stream of one phone, byte by byte: low bytes are even, high ones odd, and together they number the sample.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Voice {
    at: u32,
}

/// A byte of the stream.
fn byte(at: u32) -> u8 {
    let sample = at / 2;
    let bits = if at.is_multiple_of(2) {
        sample
    } else {
        sample >> 7
    };
    (((bits & 0x7f) << 1) | (at % 2)) as u8
}

/// The number of a sample, if these are its low and its high byte.
pub(crate) fn number(low: u8, high: u8) -> Option<u32> {
    let is_whole = low.is_multiple_of(2) && !high.is_multiple_of(2);
    is_whole.then_some(u32::from(high >> 1) << 7 | u32::from(low >> 1))
}

impl Voice {
    /// The next bytes.
    pub(crate) fn say(&mut self, length: usize) -> Bytes {
        let bytes = (self.at..).take(length).map(byte).collect();
        self.at += length as u32;
        bytes
    }

    /// The stream that follows begins with a whole sample.
    pub(crate) fn begin(&mut self) {
        self.at += self.at % 2;
    }

    /// How long a frame is: nothing, one byte, odd and even lengths, and what phones of today send.
    pub(crate) fn frame_length(rng: &mut fastrand::Rng) -> usize {
        match rng.u32(0..10) {
            0 => 0,
            1..3 => 1,
            3..6 => rng.usize(1..20) * 2 + 1,
            6..8 => rng.usize(1..20) * 2,
            _ => 64,
        }
    }
}

#[test]
fn samples_are_numbered_and_bytes_are_told_apart() {
    let bytes = Voice::default().say(700);
    for (at, pair) in (0..).zip(bytes.chunks(2)) {
        assert_eq!(number(pair[0], pair[1]), Some(at));
    }
    assert!(
        bytes[1..]
            .windows(2)
            .step_by(2)
            .all(|pair| number(pair[0], pair[1]).is_none())
    );
}
