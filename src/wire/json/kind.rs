//! Layer 1: proves that a text is one JSON object and finds its top-level `type`, in one pass without memory.
//!
//! What is accepted is JSON by its grammar (RFC 8259) and may stand as it is inside another message. Numbers may exceed what
//! a machine holds: they are passed on, not computed with. Of several `type` the last one counts, as for the `JSON.parse` of
//! all who read the text after us.

use std::borrow::Cow;

use super::bytes::find_escaped;
use super::{DEPTH_MAX, PROVEN_DEPTH_MAX, unicode};

/// Why a text has no usable type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// It does not begin with a brace.
    #[error("not a JSON object")]
    NotAnObject,
    /// It is no JSON.
    #[error("invalid JSON")]
    Malformed,
    /// The object has no member `type`.
    #[error("no member \"type\"")]
    Missing,
    /// The member `type` is no string.
    #[error("\"type\" is not a string")]
    NotAString,
    /// It nests deeper than [`PROVEN_DEPTH_MAX`].
    #[error("nested too deeply")]
    TooDeep,
}

/// The value of the top-level string member `type` of the object `text`, which is proven to be JSON nested at most
/// [`PROVEN_DEPTH_MAX`] deep.
///
/// Bounded by the length of the text; allocates only for a type with escapes.
///
/// # Errors
/// See [`KindError`]; what is no JSON is never said to lack a type.
pub fn kind(text: &str) -> Result<Cow<'_, str>, KindError> {
    let mut scan = Scan {
        text: text.as_bytes(),
        at: 0,
    };
    if scan.token() != Some(b'{') {
        return Err(KindError::NotAnObject);
    }
    let mut found = Err(KindError::Missing);
    scan.members(|scan, key, first| {
        if !key.is_type() {
            return scan.value(first, 1);
        }
        found = if first == Some(b'"') {
            let from = scan.at;
            let is_escaped = scan.string()?.escaped;
            Ok(decoded(&text[from..scan.at - 1], is_escaped)?)
        } else {
            scan.value(first, 1)?;
            Err(KindError::NotAString)
        };
        Ok(())
    })?;
    scan.skip_space();
    if scan.at == text.len() {
        found
    } else {
        Err(KindError::Malformed)
    }
}

/// The value of a string that stands like this between its quotes.
fn decoded(raw: &str, is_escaped: bool) -> Result<Cow<'_, str>, KindError> {
    if !is_escaped {
        return Ok(Cow::Borrowed(raw));
    }
    let value = unicode::unescape(raw.as_bytes());
    value.map(Cow::Owned).ok_or(KindError::Malformed)
}

/// Whether `text` is one number by the grammar of JSON.
pub(super) fn is_number(text: &[u8]) -> bool {
    let mut scan = Scan { text, at: 0 };
    let first = scan.next();
    let begins = |first: &u8| matches!(first, b'-' | b'0'..=b'9');
    first
        .filter(begins)
        .is_some_and(|first| scan.number(first).is_ok())
        && scan.at == text.len()
}

/// A string between its quotes, as it stands in the text.
struct Raw<'a> {
    bytes: &'a [u8],
    escaped: bool,
}

impl Raw<'_> {
    fn is_type(&self) -> bool {
        if self.escaped {
            unicode::unescape(self.bytes).is_some_and(|key| key == "type")
        } else {
            self.bytes == b"type"
        }
    }
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take_if(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// The next byte that is no space, taken.
    #[inline]
    fn token(&mut self) -> Option<u8> {
        self.skip_space();
        self.next()
    }

    /// What must come next.
    #[inline]
    fn expect(&mut self, token: u8) -> Result<(), KindError> {
        if self.token() == Some(token) {
            Ok(())
        } else {
            Err(KindError::Malformed)
        }
    }

    /// The members of an object whose brace is taken, up to its end; `value` takes the value of a key, of which the first byte is
    /// taken.
    #[inline]
    fn members(
        &mut self,
        mut value: impl FnMut(&mut Self, Raw<'a>, Option<u8>) -> Result<(), KindError>,
    ) -> Result<(), KindError> {
        self.list(b'}', |scan| {
            scan.expect(b'"')?;
            let key = scan.string()?;
            scan.expect(b':')?;
            let first = scan.token();
            value(scan, key, first)
        })
    }

    /// What stands between commas, up to and with `end`; `item` takes one.
    #[inline]
    fn list(
        &mut self,
        end: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), KindError>,
    ) -> Result<(), KindError> {
        self.skip_space();
        if self.take_if(end) {
            return Ok(());
        }
        loop {
            item(self)?;
            match self.token() {
                Some(b',') => {}
                Some(byte) if byte == end => return Ok(()),
                _ => return Err(KindError::Malformed),
            }
        }
    }

    /// One value that begins with `first`, which is taken, and stands in `depth` containers.
    fn value(&mut self, first: Option<u8>, depth: usize) -> Result<(), KindError> {
        match first {
            Some(b'"') => self.string().map(drop),
            Some(open @ (b'{' | b'[')) if depth == DEPTH_MAX => self.deep(open),
            Some(b'{') => self.members(|scan, _, first| scan.value(first, depth + 1)),
            Some(b'[') => self.list(b']', |scan| {
                let first = scan.token();
                scan.value(first, depth + 1)
            }),
            Some(b't') => self.rest_of(b"rue"),
            Some(b'f') => self.rest_of(b"alse"),
            Some(b'n') => self.rest_of(b"ull"),
            Some(first @ (b'-' | b'0'..=b'9')) => self.number(first),
            _ => Err(KindError::Malformed),
        }
    }

    /// The rest of a deeply nested container, without recursion: one bit per open container says which kind it is.
    #[cold]
    #[inline(never)]
    fn deep(&mut self, open: u8) -> Result<(), KindError> {
        let mut objects = [0u64; (PROVEN_DEPTH_MAX - DEPTH_MAX).div_ceil(64)];
        let is_object = |objects: &[u64], at: usize| objects[at / 64] >> (at % 64) & 1 == 1;
        let end = |objects: &[u64], at| if is_object(objects, at) { b'}' } else { b']' };
        let mut depth = 0;
        let mut opened = Some(open);
        loop {
            if let Some(open) = opened.take() {
                if DEPTH_MAX + depth == PROVEN_DEPTH_MAX {
                    return Err(KindError::TooDeep);
                }
                let bit = 1 << (depth % 64);
                objects[depth / 64] &= !bit;
                objects[depth / 64] |= bit * u64::from(open == b'{');
                self.skip_space();
                if !self.take_if(end(&objects, depth)) {
                    opened = self.item(open == b'{')?;
                    depth += 1;
                    continue;
                }
            }
            // A value is over.
            if depth == 0 {
                return Ok(());
            }
            match self.token() {
                Some(b',') => opened = self.item(is_object(&objects, depth - 1))?,
                Some(byte) if byte == end(&objects, depth - 1) => depth -= 1,
                _ => return Err(KindError::Malformed),
            }
        }
    }

    /// A value that is no container, with its key if it stands in an object; or the bracket of a container.
    fn item(&mut self, in_object: bool) -> Result<Option<u8>, KindError> {
        if in_object {
            self.expect(b'"')?;
            self.string()?;
            self.expect(b':')?;
        }
        match self.token() {
            Some(open @ (b'{' | b'[')) => Ok(Some(open)),
            first => self.value(first, DEPTH_MAX).map(|()| None),
        }
    }

    fn rest_of(&mut self, word: &[u8]) -> Result<(), KindError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(KindError::Malformed);
        }
        self.at += word.len();
        Ok(())
    }

    /// The rest of a string whose opening quote is taken.
    #[inline]
    fn string(&mut self) -> Result<Raw<'a>, KindError> {
        let rest = self.text.get(self.at..).ok_or(KindError::Malformed)?;
        let found = find_escaped(rest).ok_or(KindError::Malformed)?;
        if rest[found] != b'"' {
            return self.escaped_string();
        }
        self.at += found + 1;
        Ok(Raw {
            bytes: &rest[..found],
            escaped: false,
        })
    }

    /// The same of one that holds an escape, or is none. Apart, so that all others can be inlined.
    #[inline(never)]
    fn escaped_string(&mut self) -> Result<Raw<'a>, KindError> {
        let start = self.at;
        loop {
            let rest = self.text.get(self.at..).ok_or(KindError::Malformed)?;
            let found = find_escaped(rest).ok_or(KindError::Malformed)?;
            self.at += found + 1;
            match rest[found] {
                b'"' => {
                    return Ok(Raw {
                        bytes: &self.text[start..self.at - 1],
                        escaped: true,
                    });
                }
                b'\\' => {
                    self.at +=
                        unicode::escape_len(&rest[found + 1..]).ok_or(KindError::Malformed)?;
                }
                // A control character.
                _ => return Err(KindError::Malformed),
            }
        }
    }

    /// The rest of a number.
    fn number(&mut self, first: u8) -> Result<(), KindError> {
        let leading = if first == b'-' {
            self.next()
        } else {
            Some(first)
        };
        match leading {
            Some(b'0') => {}
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return Err(KindError::Malformed),
        }
        if self.take_if(b'.') {
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    fn digits(&mut self) -> Result<(), KindError> {
        let from = self.at;
        self.skip_digits();
        if self.at > from {
            Ok(())
        } else {
            Err(KindError::Malformed)
        }
    }
}
