//! Layer 1: server frames into byte vectors; it never masks and never fragments.

use super::{CONTROL_BYTES_MAX, Opcode};

/// Longest header of an unmasked frame, in bytes.
pub const HEADER_BYTES_MAX: usize = 10;

const FINAL: u8 = 0x80;

/// Appends the header of a final unmasked frame with `len` payload bytes: 2, 4 or 10 bytes. Always laid into its callers: whether the
/// compiler would had depended on how many there are, 20 instructions a frame.
#[inline(always)]
pub fn header(op: Opcode, len: usize, out: &mut Vec<u8>) {
    let first = FINAL | op as u8;
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=125), _) => out.extend_from_slice(&[first, short]),
        (_, Ok(medium)) => {
            let [high, low] = medium.to_be_bytes();
            out.extend_from_slice(&[first, 126, high, low]);
        }
        _ => {
            out.extend_from_slice(&[first, 127]);
            out.extend_from_slice(&(len as u64).to_be_bytes());
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
    out.reserve(HEADER_BYTES_MAX + payload.len());
    header(op, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends a close frame. The reason is cut to 123 bytes on a character boundary.
///
/// To answer a close that had no code, `encode(Opcode::Close, &[], out)`.
pub fn encode_close(code: u16, reason: &str, out: &mut Vec<u8>) {
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    header(Opcode::Close, 2 + reason.len(), out);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}
