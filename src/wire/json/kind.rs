//! Layer `wire`: finds the top-level `type` of a JSON object; it is **not** a validation.
//!
//! The scan goes through the whole object, because a second `type` must be refused (parsers differ
//! in which one they keep), but it only follows strings and brackets. What it accepts may still be
//! no JSON; what it says about the type of a text that *is* JSON is what every parser says.

use std::borrow::Cow;

use super::bytes::{find_quote_or_backslash, find_quote_or_bracket};
use super::{DEPTH_MAX, unicode};

/// Why a text has no usable type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// It does not begin with a brace.
    #[error("not a JSON object")]
    NotAnObject,
    /// It ends too early, goes on too long or has the wrong byte somewhere.
    #[error("invalid JSON")]
    Malformed,
    /// The object has no member `type`.
    #[error("no member \"type\"")]
    Missing,
    /// The member `type` is no string.
    #[error("\"type\" is not a string")]
    NotAString,
    /// The object has the member `type` twice.
    #[error("\"type\" given twice")]
    Duplicate,
    /// It nests deeper than [`DEPTH_MAX`].
    #[error("nested too deeply")]
    TooDeep,
}

/// The value of the top-level string member `type` of the object `text`.
///
/// Bounded by the length of the text; allocates only for a type with escapes.
///
/// # Errors
/// See [`KindError`].
pub fn kind(text: &[u8]) -> Result<Cow<'_, str>, KindError> {
    let mut scan = Scan { text, at: 0 };
    scan.skip_space();
    if !scan.take_if(b'{') {
        return Err(KindError::NotAnObject);
    }
    let mut found = None;
    scan.skip_space();
    if !scan.take_if(b'}') {
        loop {
            scan.member(&mut found)?;
            match scan.next() {
                Some(b',') => scan.skip_space(),
                Some(b'}') => break,
                _ => return Err(KindError::Malformed),
            }
        }
    }
    scan.skip_space();
    if scan.at != text.len() {
        return Err(KindError::Malformed);
    }
    found.ok_or(KindError::Missing)
}

/// A string between its quotes, as it stands in the text.
struct Raw<'a> {
    bytes: &'a [u8],
    escaped: bool,
}

impl<'a> Raw<'a> {
    fn is_type(&self) -> bool {
        if self.escaped {
            unicode::unescape(self.bytes).is_some_and(|key| key == "type")
        } else {
            self.bytes == b"type"
        }
    }

    fn decode(&self) -> Result<Cow<'a, str>, KindError> {
        let decoded = if self.escaped {
            unicode::unescape(self.bytes).map(Cow::Owned)
        } else {
            std::str::from_utf8(self.bytes).ok().map(Cow::Borrowed)
        };
        decoded.ok_or(KindError::Malformed)
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

    /// A key, its colon and its value, with the space around them.
    #[inline]
    fn member(&mut self, found: &mut Option<Cow<'a, str>>) -> Result<(), KindError> {
        if !self.take_if(b'"') {
            return Err(KindError::Malformed);
        }
        let key = self.string()?;
        self.skip_space();
        if !self.take_if(b':') {
            return Err(KindError::Malformed);
        }
        self.skip_space();
        if !key.is_type() {
            self.skip_value()?;
        } else if found.is_some() {
            return Err(KindError::Duplicate);
        } else if self.take_if(b'"') {
            *found = Some(self.string()?.decode()?);
        } else {
            return Err(KindError::NotAString);
        }
        self.skip_space();
        Ok(())
    }

    /// The rest of a string whose opening quote is taken.
    #[inline]
    fn string(&mut self) -> Result<Raw<'a>, KindError> {
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.text.get(self.at..).ok_or(KindError::Malformed)?;
            let found = find_quote_or_backslash(rest).ok_or(KindError::Malformed)?;
            self.at += found + 1;
            if rest[found] == b'"' {
                return Ok(Raw {
                    bytes: &self.text[start..self.at - 1],
                    escaped,
                });
            }
            escaped = true;
            self.at += 1;
        }
    }

    fn skip_value(&mut self) -> Result<(), KindError> {
        match self.next() {
            Some(b'"') => self.string().map(drop),
            Some(b'{' | b'[') => self.skip_nested(),
            Some(b'-' | b'0'..=b'9' | b'a'..=b'z') => {
                while let Some(b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'E') = self.peek()
                {
                    self.at += 1;
                }
                Ok(())
            }
            _ => Err(KindError::Malformed),
        }
    }

    /// The rest of an object or array within the outermost one.
    fn skip_nested(&mut self) -> Result<(), KindError> {
        let mut depth = 2;
        while depth > 1 {
            let rest = &self.text[self.at..];
            let found = find_quote_or_bracket(rest).ok_or(KindError::Malformed)?;
            self.at += found + 1;
            match rest[found] {
                b'"' => self.string().map(drop)?,
                b'{' | b'[' => {
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return Err(KindError::TooDeep);
                    }
                }
                _ => depth -= 1,
            }
        }
        Ok(())
    }
}
