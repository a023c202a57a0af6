//! Layer 1: server frames into byte vectors; it never masks and never fragments.

use super::{CONTROL_BYTES_MAX, Opcode};

/// Longest header of an unmasked frame, in bytes.
pub const HEADER_BYTES_MAX: usize = 10;

const FINAL: u8 = 0x80;

/// Writes the header of a final unmasked frame with `len` payload bytes into `out` and returns how
/// many bytes it takes: 2, 4 or 10.
pub fn header(op: Opcode, len: usize, out: &mut [u8; HEADER_BYTES_MAX]) -> usize {
    out[0] = FINAL | op as u8;
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=125), _) => {
            out[1] = short;
            2
        }
        (_, Ok(medium)) => {
            out[1] = 126;
            out[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        }
        _ => {
            out[1] = 127;
            out[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    }
}

/// Appends header and payload of one final unmasked frame to `out`.
///
/// Control payloads are at most [`CONTROL_BYTES_MAX`] bytes; a longer one is a bug of the caller.
pub fn encode(op: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(
        matches!(op, Opcode::Text | Opcode::Binary) || payload.len() <= CONTROL_BYTES_MAX,
        "control frames carry at most 125 bytes"
    );
    let mut head = [0; HEADER_BYTES_MAX];
    let head_len = header(op, payload.len(), &mut head);
    out.reserve(head_len + payload.len());
    out.extend_from_slice(&head[..head_len]);
    out.extend_from_slice(payload);
}

/// Appends a close frame. The reason is cut to 123 bytes on a character boundary.
///
/// To answer a close that had no code, `encode(Opcode::Close, &[], out)`.
pub fn encode_close(code: u16, reason: &str, out: &mut Vec<u8>) {
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    let mut head = [0; HEADER_BYTES_MAX];
    let head_len = header(Opcode::Close, 2 + reason.len(), &mut head);
    out.reserve(head_len + 2 + reason.len());
    out.extend_from_slice(&head[..head_len]);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// A text frame whose payload is being written straight into the output, its length not yet known.
///
/// Room for the commonest header (126 to 65,535 bytes of JSON) is kept free, so that only short
/// and huge payloads are moved at the end.
#[derive(Debug)]
#[must_use = "a frame that is not finished leaves its placeholder in the output"]
pub struct TextFrame {
    start: usize,
}

impl TextFrame {
    const RESERVED: usize = 4;

    /// Opens a frame at the end of `out`; everything appended until [`TextFrame::finish`] is its
    /// payload.
    pub fn begin(out: &mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; Self::RESERVED]);
        Self { start }
    }

    /// Writes the header and closes the gap, so that header and payload are contiguous from where
    /// [`TextFrame::begin`] stood.
    pub fn finish(self, out: &mut Vec<u8>) {
        let payload_at = self.start + Self::RESERVED;
        let payload_len = out.len().checked_sub(payload_at);
        let payload_len = payload_len.expect("the output was not cut below the frame's start");
        let mut head = [0; HEADER_BYTES_MAX];
        let head_len = header(Opcode::Text, payload_len, &mut head);
        if head_len != Self::RESERVED {
            if head_len > Self::RESERVED {
                out.resize(out.len() + head_len - Self::RESERVED, 0);
            }
            out.copy_within(payload_at..payload_at + payload_len, self.start + head_len);
            out.truncate(self.start + head_len + payload_len);
        }
        out[self.start..self.start + head_len].copy_from_slice(&head[..head_len]);
    }

    /// Drops the frame and whatever was written into it.
    pub fn abandon(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }
}
