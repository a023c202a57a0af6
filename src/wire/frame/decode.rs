//! Layer 1: client frames out of a read buffer; it holds bytes only while a fragmented message
//! is under way.

use bytes::{Buf, Bytes, BytesMut};
use tungstenite::protocol::frame::coding::CloseCode;

use super::mask::unmask;
use super::{CONTROL_BYTES_MAX, Message, ProtocolError, Utf8Bytes};

const FINAL: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;

/// How much of a frame has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Not even its whole header.
    Unknown,
    /// Its header, but this many bytes are missing.
    Part(usize),
    /// All of it; it is this many bytes long.
    Whole(usize),
}

/// A message whose bytes stay where they arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lent<'a> {
    /// Text.
    Text(&'a str),
    /// Anything.
    Binary(&'a [u8]),
}

/// Decoder of one connection's inbound byte stream.
///
/// Two words, so that an idle connection costs nothing more. The header of an unfinished frame is
/// read again when more bytes have come: cheaper than to remember it.
#[derive(Debug)]
pub struct Decoder {
    message_bytes_max: usize,
    fragments: Option<Box<Fragments>>,
}

/// A data message of which at least one frame, but not the last, was received.
#[derive(Debug)]
struct Fragments {
    kind: DataKind,
    bytes: BytesMut,
    /// Text only: this many bytes are known to be UTF-8; at most three (an unfinished character)
    /// are not among them.
    utf8_len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DataKind {
    Text,
    Binary,
}

#[derive(Debug, Clone, Copy)]
enum FrameKind {
    Continue,
    Data(DataKind),
    Close,
    Ping,
    Pong,
}

/// A header found acceptable in the decoder's present state.
struct Header {
    kind: FrameKind,
    last: bool,
    head_len: usize,
    payload_len: usize,
}

impl Header {
    /// The masking key: the last four bytes of the header.
    fn key(&self, buf: &[u8]) -> [u8; 4] {
        let at = self.head_len - 4;
        [buf[at], buf[at + 1], buf[at + 2], buf[at + 3]]
    }
}

impl Decoder {
    /// A decoder that refuses messages of more than `message_bytes_max` bytes.
    #[must_use]
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            fragments: None,
        }
    }

    /// Allows messages of so many bytes from now on; `false` where they were allowed already.
    pub fn allow(&mut self, message_bytes_max: usize) -> bool {
        let before = self.message_bytes_max;
        self.message_bytes_max = before.max(message_bytes_max);
        self.message_bytes_max > before
    }

    /// Whether a fragmented message is under way.
    #[must_use]
    #[inline]
    pub fn holds(&self) -> bool {
        self.fragments.is_some()
    }

    /// Bytes of a fragmented message that it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        match &self.fragments {
            Some(fragments) => fragments.bytes.len(),
            None => 0,
        }
    }

    /// Drops what it holds; nothing more may be decoded.
    pub fn forget(&mut self) {
        self.fragments = None;
    }

    /// Takes the next whole message or control frame from `buf`; `None` means that more bytes are
    /// needed.
    ///
    /// # Errors
    /// The stream breaks RFC 6455 or the size limit; the caller closes the connection and does not
    /// call again. Header errors show as soon as the bytes that prove them are there.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Message>, ProtocolError> {
        while let Some(header) = self.header(buf)? {
            if buf.len() < header.head_len + header.payload_len {
                return Ok(None);
            }
            let key = header.key(buf);
            buf.advance(header.head_len);
            let mut payload = buf.split_to(header.payload_len);
            unmask(&mut payload, key);
            if let Some(message) = self.take(header.kind, header.last, payload)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// If a whole unfragmented message stands at the head of `buf`, text or of fewer than `binary_below` bytes, hands its payload
    /// to `use_it`, in place, and returns the bytes of the frame; otherwise leaves everything as it is and returns 0.
    ///
    /// # Errors
    /// The text is not UTF-8. Other errors are left to [`Decoder::extent`].
    #[inline]
    pub fn next_lent(
        &mut self,
        buf: &mut [u8],
        binary_below: usize,
        use_it: impl FnOnce(Lent<'_>),
    ) -> Result<usize, ProtocolError> {
        let Ok(Some(header)) = self.header(buf) else {
            return Ok(0);
        };
        let end = header.head_len + header.payload_len;
        let is_text = match header.kind {
            FrameKind::Data(DataKind::Text) => true,
            FrameKind::Data(DataKind::Binary) if header.payload_len < binary_below => false,
            _ => return Ok(0),
        };
        if !header.last || buf.len() < end {
            return Ok(0);
        }
        let key = header.key(buf);
        let payload = &mut buf[header.head_len..end];
        unmask(payload, key);
        if !is_text {
            use_it(Lent::Binary(payload));
        } else if let Ok(text) = simdutf8::basic::from_utf8(payload) {
            use_it(Lent::Text(text));
        } else {
            return Err(ProtocolError::Utf8);
        }
        Ok(end)
    }

    /// How much of the frame at the head of `buf` is there.
    ///
    /// # Errors
    /// As [`Decoder::next`].
    #[inline]
    pub fn extent(&self, buf: &[u8]) -> Result<Extent, ProtocolError> {
        Ok(match self.header(buf)? {
            Some(header) => {
                let bytes = header.head_len + header.payload_len;
                if buf.len() < bytes {
                    Extent::Part(bytes - buf.len())
                } else {
                    Extent::Whole(bytes)
                }
            }
            None => Extent::Unknown,
        })
    }

    /// Reads and judges the header at the start of `buf`.
    #[inline]
    fn header(&self, buf: &[u8]) -> Result<Option<Header>, ProtocolError> {
        let [first, second, rest @ ..] = buf else {
            // One byte is enough to see a wrong flag or opcode.
            return match buf {
                [first] => self.kind(*first).map(|_| None),
                _ => Ok(None),
            };
        };
        let kind = self.kind(*first)?;
        let last = first & FINAL != 0;
        if second & MASKED == 0 {
            return Err(ProtocolError::Unmasked);
        }
        let short = second & LENGTH;
        let is_control = matches!(kind, FrameKind::Close | FrameKind::Ping | FrameKind::Pong);
        if is_control && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(ProtocolError::ControlTooLong);
        }
        let (length_len, length) = match (short, rest) {
            (126, [a, b, ..]) => (2, u64::from(u16::from_be_bytes([*a, *b]))),
            (127, [a, b, c, d, e, f, g, h, ..]) => {
                (8, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
            }
            (126 | 127, _) => return Ok(None),
            (short, _) => (0, u64::from(short)),
        };
        if length >> 63 != 0 {
            return Err(ProtocolError::LengthRange);
        }
        let held = match (&self.fragments, is_control) {
            (Some(fragments), false) => fragments.bytes.len(),
            _ => 0,
        };
        let room = (self.message_bytes_max - held) as u64;
        if !is_control && length > room {
            return Err(ProtocolError::TooBig);
        }
        let head_len = 2 + length_len + 4;
        if buf.len() < head_len {
            return Ok(None);
        }
        // Control frames are below 126 bytes and data within `message_bytes_max`, a usize.
        Ok(Some(Header {
            kind,
            last,
            head_len,
            payload_len: length as usize,
        }))
    }

    /// Judges the first byte of a frame.
    fn kind(&self, first: u8) -> Result<FrameKind, ProtocolError> {
        if first & RESERVED_BITS != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let kind = match first & OPCODE {
            0x0 => FrameKind::Continue,
            0x1 => FrameKind::Data(DataKind::Text),
            0x2 => FrameKind::Data(DataKind::Binary),
            0x8 => FrameKind::Close,
            0x9 => FrameKind::Ping,
            0xA => FrameKind::Pong,
            _ => return Err(ProtocolError::ReservedOpcode),
        };
        match kind {
            FrameKind::Continue if self.fragments.is_none() => {
                Err(ProtocolError::UnexpectedContinuation)
            }
            FrameKind::Data(_) if self.fragments.is_some() => {
                Err(ProtocolError::ExpectedContinuation)
            }
            FrameKind::Close | FrameKind::Ping | FrameKind::Pong if first & FINAL == 0 => {
                Err(ProtocolError::ControlFragmented)
            }
            kind => Ok(kind),
        }
    }

    /// Turns one received frame into a message, or keeps it as a fragment of one.
    fn take(
        &mut self,
        kind: FrameKind,
        last: bool,
        payload: BytesMut,
    ) -> Result<Option<Message>, ProtocolError> {
        match kind {
            FrameKind::Data(DataKind::Binary) if last => {
                Ok(Some(Message::Binary(payload.freeze())))
            }
            FrameKind::Data(DataKind::Text) if last => text(payload).map(Some),
            FrameKind::Data(kind) => {
                let mut fragments = Fragments {
                    kind,
                    bytes: BytesMut::new(),
                    utf8_len: 0,
                };
                fragments.push(&payload)?;
                self.fragments = Some(Box::new(fragments));
                Ok(None)
            }
            FrameKind::Continue => {
                let Some(mut fragments) = self.fragments.take() else {
                    return Err(ProtocolError::UnexpectedContinuation);
                };
                fragments.push(&payload)?;
                if last {
                    return fragments.finish().map(Some);
                }
                self.fragments = Some(fragments);
                Ok(None)
            }
            FrameKind::Ping => Ok(Some(Message::Ping(payload.freeze()))),
            FrameKind::Pong => Ok(Some(Message::Pong(payload.freeze()))),
            FrameKind::Close => close(payload.freeze()).map(|close| Some(Message::Close(close))),
        }
    }
}

impl Fragments {
    /// Appends a fragment, its length already checked against the limit; text is judged as far as
    /// whole characters go.
    fn push(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        self.bytes.extend_from_slice(payload);
        if self.kind == DataKind::Text {
            self.utf8_len = match simdutf8::compat::from_utf8(&self.bytes[self.utf8_len..]) {
                Ok(_) => self.bytes.len(),
                Err(error) if error.error_len().is_none() => self.utf8_len + error.valid_up_to(),
                Err(_) => return Err(ProtocolError::Utf8),
            };
        }
        Ok(())
    }

    fn finish(self) -> Result<Message, ProtocolError> {
        match self.kind {
            DataKind::Binary => Ok(Message::Binary(self.bytes.freeze())),
            // Looked at again as a whole: fragments are rare, and so are the texts that are not lent.
            DataKind::Text => text(self.bytes),
        }
    }
}

fn text(bytes: BytesMut) -> Result<Message, ProtocolError> {
    match Utf8Bytes::try_from(bytes) {
        Ok(text) => Ok(Message::Text(text)),
        Err(_) => Err(ProtocolError::Utf8),
    }
}

/// Splits a close payload into its code and reason (RFC 6455 sections 5.5.1 and 7.4).
fn close(mut payload: Bytes) -> Result<Option<(u16, Bytes)>, ProtocolError> {
    let code = match *payload {
        [] => return Ok(None),
        [high, low, ..] => u16::from_be_bytes([high, low]),
        [_] => return Err(ProtocolError::ClosePayload),
    };
    if !CloseCode::from(code).is_allowed() {
        return Err(ProtocolError::ClosePayload);
    }
    let reason = payload.split_off(2);
    match simdutf8::basic::from_utf8(&reason) {
        Ok(_) => Ok(Some((code, reason))),
        Err(_) => Err(ProtocolError::Utf8),
    }
}
