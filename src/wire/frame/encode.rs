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
