//! Layer 1: JSON straight into byte vectors; it holds no tree and checks no nesting.

use super::bytes::find_escaped;

/// Appends `s` as a JSON string with its quotes.
pub fn write_str(out: &mut Vec<u8>, s: &str) {
    out.reserve(s.len() + 2);
    out.push(b'"');
    let mut rest = s.as_bytes();
    while let Some(at) = find_escaped(rest) {
        out.extend_from_slice(&rest[..at]);
        escape(rest[at], out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cold]
fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0C => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 0xF)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends a number.
pub fn write_number(out: &mut Vec<u8>, number: impl JsonNumber) {
    number.write(out);
}

/// Types that are written as JSON numbers.
pub trait JsonNumber: Copy {
    /// Appends the number's digits.
    fn write(self, out: &mut Vec<u8>);
}

impl JsonNumber for u64 {
    fn write(self, out: &mut Vec<u8>) {
        const DIGITS_MAX: usize = 20;
        let mut digits = [0; DIGITS_MAX];
        let mut at = DIGITS_MAX;
        let mut rest = self;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        out.extend_from_slice(&digits[at..]);
    }
}

impl JsonNumber for i64 {
    fn write(self, out: &mut Vec<u8>) {
        if self < 0 {
            out.push(b'-');
        }
        self.unsigned_abs().write(out);
    }
}

impl JsonNumber for f64 {
    /// As JavaScript writes it: integers without a point, very large and small numbers with an
    /// exponent, what is not finite as `null`.
    fn write(self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        const PLAIN: std::ops::Range<f64> = 1e-6..1e21;
        let size = self.abs();
        let written = if !self.is_finite() {
            out.write_all(b"null")
        } else if size == 0.0 {
            out.write_all(b"0")
        } else if !PLAIN.contains(&size) {
            write!(out, "{self:e}")
        } else {
            write!(out, "{self}")
        };
        written.expect("writing into a vector cannot fail");
    }
}

macro_rules! widened {
    ($($narrow:ty => $wide:ty),+) => {
        $(impl JsonNumber for $narrow {
            fn write(self, out: &mut Vec<u8>) {
                (self as $wide).write(out);
            }
        })+
    };
}

widened!(u8 => u64, u16 => u64, u32 => u64, usize => u64, i8 => i64, i16 => i64, i32 => i64, isize => i64);

/// Writes one JSON object member by member.
///
/// Keys are names of the protocol, written as they are: they must need no escaping. A member whose
/// value is absent is not written at all, as the established serializer does.
///
/// ```
/// # use prism::wire::json::ObjectWriter;
/// let mut out = Vec::new();
/// ObjectWriter::begin(&mut out).str("type", "pong").num("timestamp", 5).end();
/// assert_eq!(out, br#"{"type":"pong","timestamp":5}"#);
/// ```
#[derive(Debug)]
pub struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> ObjectWriter<'a> {
    /// Opens an object at the end of `out`; [`ObjectWriter::end`] closes it.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// A member of any serialisable value; for rare messages, the others need no serde.
    pub fn value(&mut self, key: &str, value: &impl serde::Serialize) -> &mut Self {
        let slot = self.slot(key);
        serde_json::to_writer(slot, value).expect("plain data serialises into memory");
        self
    }

    /// Writes the key and colon; the caller appends exactly one JSON value to what is returned.
    pub fn slot(&mut self, key: &str) -> &mut Vec<u8> {
        debug_assert!(
            key.bytes()
                .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\'),
            "keys are plain names"
        );
        self.out.reserve(key.len() + 4);
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    #[inline]
    fn separate(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
    }

    /// A member as a client wrote it: `key` is a JSON string with its quotes and escapes, `json` a value, both proven.
    pub fn theirs(&mut self, key: &str, json: &str) -> &mut Self {
        self.separate();
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b':');
        self.out.extend_from_slice(json.as_bytes());
        self
    }

    /// A string.
    pub fn str(&mut self, key: &str, value: &str) -> &mut Self {
        write_str(self.slot(key), value);
        self
    }

    /// A string, where there is one.
    pub fn opt_str(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.str(key, value);
        }
        self
    }

    /// Bytes that are one JSON value already: own text, or a client's after
    /// [`kind`](super::kind()).
    pub fn raw(&mut self, key: &str, json: &[u8]) -> &mut Self {
        self.slot(key).extend_from_slice(json);
        self
    }

    /// `true` or `false`.
    pub fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        let word: &[u8] = if value { b"true" } else { b"false" };
        self.raw(key, word)
    }

    /// A number.
    pub fn num(&mut self, key: &str, value: impl JsonNumber) -> &mut Self {
        value.write(self.slot(key));
        self
    }

    /// A number, where there is one.
    pub fn opt_num(&mut self, key: &str, value: Option<impl JsonNumber>) -> &mut Self {
        if let Some(value) = value {
            self.num(key, value);
        }
        self
    }

    /// `null`.
    pub fn null(&mut self, key: &str) -> &mut Self {
        self.raw(key, b"null")
    }

    /// An object within; it is closed for the caller.
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut ObjectWriter<'_>)) -> &mut Self {
        let mut inner = ObjectWriter::begin(self.slot(key));
        fill(&mut inner);
        inner.end();
        self
    }

    /// An array within; it is closed for the caller.
    pub fn array(&mut self, key: &str, fill: impl FnOnce(&mut ArrayWriter<'_>)) -> &mut Self {
        let mut inner = ArrayWriter::begin(self.slot(key));
        fill(&mut inner);
        inner.end();
        self
    }

    /// Closes the object; nothing may be written with this writer afterwards.
    pub fn end(&mut self) {
        self.out.push(b'}');
    }
}

/// Writes one JSON array element by element.
#[derive(Debug)]
pub struct ArrayWriter<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> ArrayWriter<'a> {
    /// Opens an array at the end of `out`; [`ArrayWriter::end`] closes it.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, first: true }
    }

    /// Writes the comma, if one is due; the caller appends exactly one JSON value.
    pub fn value(&mut self) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out
    }

    /// A string.
    pub fn str(&mut self, value: &str) -> &mut Self {
        write_str(self.value(), value);
        self
    }

    /// An object; it is closed for the caller.
    pub fn object(&mut self, fill: impl FnOnce(&mut ObjectWriter<'_>)) -> &mut Self {
        let mut inner = ObjectWriter::begin(self.value());
        fill(&mut inner);
        inner.end();
        self
    }

    /// Closes the array.
    pub fn end(&mut self) {
        self.out.push(b']');
    }
}
