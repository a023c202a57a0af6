//! RFC 6455 frames as a client sees them: masks what it sends, reads unmasked server frames from a slice.
//! Knows no sockets and keeps no state.

/// Frame kinds (RFC 6455 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    /// A later piece of a fragmented message.
    Continuation,
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
    /// Close, with an optional code and reason.
    Close,
    /// Protocol ping.
    Ping,
    /// Protocol pong.
    Pong,
}

impl Opcode {
    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }
}

/// One frame inside the bytes it came in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// What it is.
    pub(crate) opcode: Opcode,
    /// Whether the message ends here.
    pub(crate) fin: bool,
    /// The payload, never masked.
    pub(crate) payload: &'a [u8],
    /// Header and payload bytes together.
    pub(crate) length: usize,
}

/// What a server must not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// Reserved bits set, though no extension was agreed.
    ReservedBits,
    /// An opcode that does not exist.
    UnknownOpcode,
    /// Servers send unmasked frames.
    Masked,
    /// A control frame that is fragmented or longer than 125 bytes.
    BadControl,
    /// Above [`PAYLOAD_MAX`].
    TooLong,
}

impl FrameError {
    /// The cause under which the error is counted.
    pub(crate) fn cause(self) -> &'static str {
        match self {
            Self::ReservedBits => "frame: reserved bits",
            Self::UnknownOpcode => "frame: unknown opcode",
            Self::Masked => "frame: masked by the server",
            Self::BadControl => "frame: bad control frame",
            Self::TooLong => "frame: too long",
        }
    }
}

/// Longest payload read from a server, bytes (`protocol.md §1.6`).
pub(crate) const PAYLOAD_MAX: u64 = 16 << 20;

/// Reads the frame at the start of `bytes`; `None` when it is not complete yet.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err(FrameError::ReservedBits);
    }
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(FrameError::UnknownOpcode)?;
    let fin = first & 0x80 != 0;
    if second & 0x80 != 0 {
        return Err(FrameError::Masked);
    }
    let Some((header, long)) = lengths(*second, rest) else {
        return Ok(None);
    };
    if opcode.bits() >= 8 && (!fin || long > 125) {
        return Err(FrameError::BadControl);
    }
    if long > PAYLOAD_MAX {
        return Err(FrameError::TooLong);
    }
    let length = header + usize::try_from(long).map_err(|_| FrameError::TooLong)?;
    Ok(bytes.get(header..length).map(|payload| Frame {
        opcode,
        fin,
        payload,
        length,
    }))
}

/// Lengths of the header (without mask) and of the payload, from the second byte and what follows it; `None` when that is too
/// little.
fn lengths(second: u8, rest: &[u8]) -> Option<(usize, u64)> {
    Some(match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (4, u64::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
        }
        (126 | 127, _) => return None,
        (short, _) => (2, u64::from(short)),
    })
}

/// Reads the client frame at the start of `bytes` and unmasks it in place. Only whole messages (the clients
/// that are listened to send no pieces); `None` when it is not complete yet.
pub(crate) fn parse_masked(bytes: &mut [u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let [first, second, rest @ ..] = &*bytes else {
        return Ok(None);
    };
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(FrameError::UnknownOpcode)?;
    let Some((header, long)) = lengths(*second, rest) else {
        return Ok(None);
    };
    if long > PAYLOAD_MAX {
        return Err(FrameError::TooLong);
    }
    let start = header + 4;
    let length = start + usize::try_from(long).map_err(|_| FrameError::TooLong)?;
    if bytes.len() < length {
        return Ok(None);
    }
    let key = [
        bytes[header],
        bytes[header + 1],
        bytes[header + 2],
        bytes[header + 3],
    ];
    mask(&mut bytes[start..length], key);
    Ok(Some(Frame {
        opcode,
        fin: true,
        payload: &bytes[start..length],
        length,
    }))
}

/// Appends one unmasked server frame to `out`.
pub(crate) fn encode_plain(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    head(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Appends one masked client frame to `out`.
pub(crate) fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    head(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], key);
}

fn head(out: &mut Vec<u8>, opcode: Opcode, length: usize, masked: u8) {
    out.push(0x80 | opcode.bits());
    match length {
        short @ 0..=125 => out.push(masked | u8::try_from(short).unwrap_or(0)),
        medium @ 126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&u16::try_from(medium).unwrap_or(0).to_be_bytes());
        }
        long => {
            out.push(masked | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
}

/// XORs `bytes` with the repeated key, eight at a time.
fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let word = u64::from_ne_bytes([
        key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3],
    ]);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut eight = [0_u8; 8];
        eight.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(eight) ^ word).to_ne_bytes());
    }
    for (index, byte) in chunks.into_remainder().iter_mut().enumerate() {
        *byte ^= key[index & 3];
    }
}

/// Close code and reason of a close payload; 1005 when it carries none.
pub(crate) fn close_reason(payload: &[u8]) -> (u16, String) {
    match payload {
        [high, low, reason @ ..] => (
            u16::from_be_bytes([*high, *low]),
            String::from_utf8_lossy(reason).into_owned(),
        ),
        _ => (1005, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server does with a client frame, written a second time and naively.
    fn unmask(frame: &[u8]) -> (u8, Vec<u8>) {
        assert_ne!(frame[1] & 0x80, 0, "client frames are masked");
        let (start, len) = match frame[1] & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes([frame[2], frame[3]]))),
            127 => (
                10,
                usize::try_from(u64::from_be_bytes(frame[2..10].try_into().unwrap())).unwrap(),
            ),
            short => (2, usize::from(short)),
        };
        let key = &frame[start..start + 4];
        let payload: Vec<u8> = frame[start + 4..]
            .iter()
            .enumerate()
            .map(|(i, b)| b ^ key[i % 4])
            .collect();
        assert_eq!(payload.len(), len);
        (frame[0], payload)
    }

    #[test]
    fn what_a_client_masks_is_read_back_and_what_a_server_sends_is_read_by_the_client() {
        for len in [0, 5, 125, 126, 3200, 70_000] {
            let payload: Vec<u8> = (0..len).map(|i| u8::try_from(i % 253).unwrap()).collect();
            let mut masked = Vec::new();
            encode(&mut masked, Opcode::Binary, &payload, [7, 0, 255, 3]);
            let whole = masked.len();
            assert_eq!(parse_masked(&mut masked[..whole - 1]), Ok(None));
            let frame = parse_masked(&mut masked).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.length), (Opcode::Binary, whole));
            assert_eq!(frame.payload, payload);
            let mut plain = Vec::new();
            encode_plain(&mut plain, Opcode::Text, &payload);
            assert_eq!(parse(&plain).unwrap().unwrap().payload, payload);
        }
    }

    #[test]
    fn a_server_reads_back_what_the_client_sent_at_every_length_class() {
        for len in [0, 1, 7, 8, 9, 125, 126, 127, 3200, 65_535, 65_536, 70_001] {
            let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let mut out = Vec::new();
            encode(&mut out, Opcode::Binary, &payload, [1, 2, 3, 250]);
            assert_eq!(unmask(&out), (0x82, payload), "length {len}");
        }
    }

    #[test]
    fn the_rfc_example_of_a_masked_hello_comes_out_byte_for_byte() {
        let mut out = Vec::new();
        encode(&mut out, Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(
            out,
            [
                0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58
            ]
        );
    }

    #[test]
    fn a_frame_is_read_only_when_its_last_byte_is_there() {
        let mut bytes = vec![0x82, 126, 1, 0];
        bytes.extend(std::iter::repeat_n(9_u8, 256));
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        bytes.push(0x81);
        let frame = parse(&bytes).unwrap().unwrap();
        assert_eq!((frame.length, frame.payload.len()), (260, 256));
    }

    #[test]
    fn frames_that_a_server_must_not_send_are_errors() {
        assert_eq!(parse(&[0xc1, 0]), Err(FrameError::ReservedBits));
        assert_eq!(parse(&[0x83, 0]), Err(FrameError::UnknownOpcode));
        assert_eq!(parse(&[0x81, 0x80]), Err(FrameError::Masked));
        assert_eq!(parse(&[0x09, 0]), Err(FrameError::BadControl));
        assert_eq!(parse(&[0x89, 126, 0, 126]), Err(FrameError::BadControl));
        assert_eq!(
            parse(&[0x82, 127, 0, 0, 0, 0, 1, 0, 0, 1]),
            Err(FrameError::TooLong)
        );
    }

    #[test]
    fn a_close_without_a_code_counts_as_1005() {
        assert_eq!(close_reason(&[]), (1005, String::new()));
        assert_eq!(close_reason(&[3, 233, b'b']), (1001, "b".to_owned()));
    }
}
