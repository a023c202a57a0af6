//! Layer 1: searches of JSON text eight bytes at a time; it knows no JSON beyond its special
//! bytes.
//!
//! A vector search (`memchr`) costs more to set up than most of our short strings take to walk.

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

const fn each(byte: u8) -> u64 {
    LOW_BITS * byte as u64
}

/// Marks zero bytes by their high bit; the lowest mark is always a true one.
const fn zero_bytes(word: u64) -> u64 {
    below(word, 1)
}

/// Marks bytes below `limit` (at most 128) by their high bit; the lowest mark is always a true one.
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(each(limit)) & !word & HIGH_BITS
}

/// Where the lowest mark of a little-endian word stands.
const fn lowest(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// The first byte that a JSON string must escape.
#[inline]
pub(super) fn find_escaped(text: &[u8]) -> Option<usize> {
    let mut rest = text;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        // With this bit turned the quote is 0x20 and stands next to the control characters, which stay among themselves.
        let marks = below(word ^ each(0x02), 0x21) | zero_bytes(word ^ each(b'\\'));
        if marks != 0 {
            return Some(text.len() - rest.len() + lowest(marks));
        }
        rest = behind;
    }
    let found = find_bytewise(rest)?;
    Some(text.len() - rest.len() + found)
}

/// The same, for the few bytes at the end of a text. Apart, so that the rest can be inlined.
#[inline(never)]
fn find_bytewise(text: &[u8]) -> Option<usize> {
    text.iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn searches_find_what_a_byte_loop_finds(
            text in proptest::collection::vec(
                prop_oneof![Just(b'a'), Just(b'"'), Just(b'\\'), any::<u8>(), 0x78u8..0x80, 0x18u8..0x28],
                0..80,
            ),
        ) {
            let first = |wanted: fn(u8) -> bool| text.iter().position(|byte| wanted(*byte));
            let escaped = first(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(find_escaped(&text), escaped);
        }
    }
}
