//! Layer 1: request bodies out of a read buffer; it keeps no bytes itself and never reads past
//! the body's end.

use bytes::{Buf, Bytes, BytesMut};

use super::{BodyLength, Response};

/// Most hexadecimal digits of a chunk size.
const SIZE_DIGITS_MAX: usize = 8;

/// Most bytes of one body that are read over: chunk extensions and trailer fields together.
const IGNORED_MAX: usize = 4096;

/// Why a body was refused. The connection closes after the answer: where the next request would
/// begin is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Larger than the caller allows.
    #[error("Payload too large")]
    TooLarge,
    /// A chunk size that is no plain hexadecimal number followed by CRLF or an extension, or too long extensions.
    #[error("Bad chunk size")]
    ChunkSize,
    /// A chunk that is not followed by CRLF.
    #[error("Bad chunk end")]
    ChunkEnd,
    /// What follows the last chunk is no field, or too much.
    #[error("Bad trailer")]
    Trailer,
}

impl BodyError {
    /// The status to answer with: 413 or 400.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge => 413,
            _ => 400,
        }
    }

    /// The plain-text body of the answer.
    #[must_use]
    pub fn text(&self) -> &'static str {
        match self {
            Self::TooLarge => "Payload too large",
            Self::ChunkSize => "Bad chunk size",
            Self::ChunkEnd => "Bad chunk end",
            Self::Trailer => "Bad trailer",
        }
    }

    /// The complete answer; send it and close.
    #[must_use]
    pub fn response(&self) -> Response {
        Response::text(self.status(), self.text())
    }
}

/// What [`BodyReader::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyStep {
    /// The next decoded bytes, never empty.
    Data(Bytes),
    /// The buffer must be filled further.
    NeedMore,
    /// The body is complete; what is left in the buffer is not part of it.
    End,
}

/// Reader of one request's body.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    /// Bytes that may still come before the limit is passed.
    room: u64,
    /// Bytes that may still be read over.
    ignored: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// So many bytes of a body of known length are missing.
    Sized(u64),
    /// A chunk-size line comes.
    Size,
    /// So many bytes of a chunk are missing.
    Chunk(u64),
    /// The CRLF behind a chunk comes.
    ChunkEnd,
    /// A trailer field or the empty line behind the last chunk comes.
    Trailer,
    Done,
}

impl BodyReader {
    /// A reader for a body delimited as `length` says, of at most `max` bytes.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] where the announced length is over `max` already.
    pub fn new(length: BodyLength, max: usize) -> Result<Self, BodyError> {
        let room = max as u64;
        let state = match length {
            BodyLength::None => State::Done,
            BodyLength::Length(length) if length > room => return Err(BodyError::TooLarge),
            BodyLength::Length(length) => State::Sized(length),
            BodyLength::Chunked => State::Size,
        };
        Ok(Self {
            state,
            room,
            ignored: IGNORED_MAX,
        })
    }

    /// Takes the next piece of the body from `buf`.
    ///
    /// # Errors
    /// The body breaks its framing or the limit; the caller answers, closes and does not call
    /// again.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<BodyStep, BodyError> {
        loop {
            match self.state {
                State::Done | State::Sized(0) => return Ok(BodyStep::End),
                State::Sized(left) | State::Chunk(left) if !buf.is_empty() => {
                    return Ok(BodyStep::Data(self.data(left, buf)));
                }
                State::Sized(_) | State::Chunk(_) => return Ok(BodyStep::NeedMore),
                State::Size => match size_line(buf, &mut self.ignored)? {
                    None => return Ok(BodyStep::NeedMore),
                    Some(0) => self.state = State::Trailer,
                    Some(size) => {
                        self.room = self.room.checked_sub(size).ok_or(BodyError::TooLarge)?;
                        self.state = State::Chunk(size);
                    }
                },
                State::ChunkEnd => match crlf(buf).ok_or(BodyError::ChunkEnd)? {
                    Line::Complete => self.state = State::Size,
                    Line::Partial => return Ok(BodyStep::NeedMore),
                },
                State::Trailer => match trailer_line(buf, &mut self.ignored)? {
                    None => return Ok(BodyStep::NeedMore),
                    Some(Trailer::Field) => {}
                    Some(Trailer::End) => self.state = State::Done,
                },
            }
        }
    }

    /// Takes what `buf` holds of the body into `body`; `true` once it is complete.
    ///
    /// # Errors
    /// As [`BodyReader::next`].
    pub fn read_into(&mut self, buf: &mut BytesMut, body: &mut Vec<u8>) -> Result<bool, BodyError> {
        loop {
            match self.next(buf)? {
                BodyStep::Data(data) => body.extend_from_slice(&data),
                BodyStep::NeedMore => return Ok(false),
                BodyStep::End => return Ok(true),
            }
        }
    }

    fn data(&mut self, left: u64, buf: &mut BytesMut) -> Bytes {
        let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        let left = left - len as u64;
        self.state = match self.state {
            State::Chunk(_) if left == 0 => State::ChunkEnd,
            State::Chunk(_) => State::Chunk(left),
            _ => State::Sized(left),
        };
        buf.split_to(len).freeze()
    }
}

enum Line {
    Complete,
    Partial,
}

/// Takes CRLF; `None` when something else stands there.
fn crlf(buf: &mut BytesMut) -> Option<Line> {
    match **buf {
        [] | [b'\r'] => Some(Line::Partial),
        [b'\r', b'\n', ..] => {
            buf.advance(2);
            Some(Line::Complete)
        }
        _ => None,
    }
}

/// Takes a chunk-size line; `None` while it is incomplete. Extensions are read over (RFC 9112 §7.1.1).
fn size_line(buf: &mut BytesMut, ignored: &mut usize) -> Result<Option<u64>, BodyError> {
    let digits = buf
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    if digits > SIZE_DIGITS_MAX {
        return Err(BodyError::ChunkSize);
    }
    let extension = text_len(&buf[digits..]);
    let first = buf[digits..digits + extension].trim_ascii_start().first();
    if extension > *ignored || first.is_some_and(|first| *first != b';') {
        return Err(BodyError::ChunkSize);
    }
    let is_well_formed = digits > 0 && (extension == 0 || first.is_some());
    match &buf[digits + extension..] {
        [] if digits > 0 || extension == 0 => Ok(None),
        [b'\r'] if is_well_formed => Ok(None),
        [b'\r', b'\n', ..] if is_well_formed => {
            let text = std::str::from_utf8(&buf[..digits]).map_err(|_| BodyError::ChunkSize)?;
            let size = u64::from_str_radix(text, 16).map_err(|_| BodyError::ChunkSize)?;
            *ignored -= extension;
            buf.advance(digits + extension + 2);
            Ok(Some(size))
        }
        _ => Err(BodyError::ChunkSize),
    }
}

enum Trailer {
    Field,
    End,
}

/// Takes a line behind the last chunk; `None` while it is incomplete. Fields are read over (RFC 9112 §7.1.2).
fn trailer_line(buf: &mut BytesMut, ignored: &mut usize) -> Result<Option<Trailer>, BodyError> {
    let len = text_len(buf);
    let colon = buf[..len].iter().position(|byte| *byte == b':');
    let name = &buf[..colon.unwrap_or(len)];
    let is_field = colon.is_some_and(|at| at > 0);
    if len > *ignored || !name.iter().all(|byte| is_token(*byte)) {
        return Err(BodyError::Trailer);
    }
    match &buf[len..] {
        [] if colon != Some(0) => Ok(None),
        [b'\r'] if len == 0 || is_field => Ok(None),
        [b'\r', b'\n', ..] if len == 0 || is_field => {
            *ignored -= len;
            buf.advance(len + 2);
            Ok(Some(if len == 0 {
                Trailer::End
            } else {
                Trailer::Field
            }))
        }
        _ => Err(BodyError::Trailer),
    }
}

/// How many bytes from the start may stand in a line: no line end, no other control byte but the tab.
fn text_len(bytes: &[u8]) -> usize {
    let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    bytes.iter().take_while(|byte| is_text(byte)).count()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
