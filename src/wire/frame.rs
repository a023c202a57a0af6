//! Layer 1: RFC 6455 frames on owned bytes, server side only; it reads and writes no socket and
//! answers nothing by itself (pongs and close replies are the caller's).
//!
//! Received payloads are unmasked where they lie and handed out as a slice of the read buffer:
//! an unfragmented message is never copied. The server negotiates no extension, so every reserved
//! bit is an error.

mod decode;
mod encode;
mod mask;
#[cfg(test)]
mod tests;

use crate::base::close::CloseReason;
use bytes::Bytes;

/// Shared text: bytes that are proven UTF-8.
pub use tungstenite::Utf8Bytes;

pub use decode::{Decoder, Extent, Lent};
pub use encode::{HEADER_BYTES_MAX, encode, encode_close, header};

/// Largest payload of a close, ping or pong frame (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// What a peer sent: a whole data message or one control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping; the answer is a pong with the same bytes.
    Ping(Bytes),
    /// A pong, asked for or not.
    Pong(Bytes),
    /// A close with its code and UTF-8 reason, or without either. Whatever follows it is to be
    /// ignored.
    Close(Option<(u16, Bytes)>),
}

/// Frame kinds a server sends. Outgoing messages are never fragmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// UTF-8 text.
    Text = 0x1,
    /// Bytes.
    Binary = 0x2,
    /// Close.
    Close = 0x8,
    /// Ping.
    Ping = 0x9,
    /// Pong.
    Pong = 0xA,
}

/// Why a byte stream is no WebSocket stream any more. The connection must be closed with
/// [`ProtocolError::close_reason`]; what follows in the buffer has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A reserved bit is set though no extension was negotiated.
    #[error("reserved bit set")]
    ReservedBits,
    /// Opcodes 3-7 and 11-15.
    #[error("reserved opcode")]
    ReservedOpcode,
    /// A control frame of more than 125 bytes.
    #[error("control frame too long")]
    ControlTooLong,
    /// A control frame without the final bit.
    #[error("fragmented control frame")]
    ControlFragmented,
    /// Client frames must be masked.
    #[error("unmasked client frame")]
    Unmasked,
    /// A continuation frame with no message to continue.
    #[error("continuation without a start")]
    UnexpectedContinuation,
    /// A new data message inside a fragmented one.
    #[error("data frame inside a fragmented message")]
    ExpectedContinuation,
    /// A 64-bit length with the top bit set.
    #[error("length out of range")]
    LengthRange,
    /// A close payload of one byte, or a code that must not be sent.
    #[error("invalid close payload")]
    ClosePayload,
    /// A text message or close reason that is not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// A message over the limit, seen from the header alone.
    #[error("message too big")]
    TooBig,
}

impl ProtocolError {
    /// Why the connection is closed.
    #[must_use]
    pub fn close_reason(self) -> CloseReason {
        match self {
            Self::Utf8 => CloseReason::InvalidUtf8,
            Self::TooBig => CloseReason::TooBig,
            _ => CloseReason::ProtocolError,
        }
    }
}
