//! Layer 1: escapes of JSON strings; it searches no members.
//!
//! JavaScript strings may be cut in the middle of a surrogate pair, and `JSON.stringify` then
//! writes the half as an escape. That is JSON by its grammar but no Unicode text; like the
//! platforms' own decoders we read U+FFFD there instead of refusing the message.

use std::ops::RangeInclusive;

const HIGH: RangeInclusive<u32> = 0xD800..=0xDBFF;
const LOW: RangeInclusive<u32> = 0xDC00..=0xDFFF;

/// The text of a string between its quotes; `None` for a broken escape or bad UTF-8.
pub(super) fn unescape(raw: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = *rest.get(at + 1)?;
        rest = &rest[at + 2..];
        let character = match escape {
            b'"' | b'\\' | b'/' => char::from(escape),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (character, used) = code_units(rest)?;
                rest = &rest[used..];
                character
            }
            _ => return None,
        };
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    out.extend_from_slice(rest);
    String::from_utf8(out).ok()
}

/// How long the rest of an escape is whose backslash is taken; `None` for none that JSON knows.
pub(super) fn escape_len(rest: &[u8]) -> Option<usize> {
    match rest.first()? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(1),
        b'u' => hex4(&rest[1..]).map(|_| 5),
        _ => None,
    }
}

/// Overwrites escapes of half surrogate pairs in a JSON text by `\ufffd`, in place.
pub(super) fn repair_surrogates(text: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &text[at..]) {
        at += found + 2;
        if text.get(at - 1) != Some(&b'u') {
            if at > text.len() {
                return;
            }
            continue;
        }
        let Some((character, used)) = code_units(&text[at..]) else {
            continue;
        };
        if character == char::REPLACEMENT_CHARACTER {
            text[at..at + 4].copy_from_slice(b"fffd");
        }
        at += used;
    }
}

/// The character that stands behind `\u`, and how many bytes it takes: 4, or 10 for a pair.
fn code_units(text: &[u8]) -> Option<(char, usize)> {
    let first = hex4(text)?;
    if HIGH.contains(&first)
        && let [b'\\', b'u', second @ ..] = &text[4..]
        && let Some(second) = hex4(second).filter(|unit| LOW.contains(unit))
    {
        let pair = 0x1_0000 + ((first - HIGH.start()) << 10) + (second - LOW.start());
        return Some((char::from_u32(pair)?, 10));
    }
    Some((
        char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
        4,
    ))
}

fn hex4(text: &[u8]) -> Option<u32> {
    let digits = text.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | digit)
    })
}
