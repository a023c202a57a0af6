//! Layer 1: searches of JSON text many bytes at a time; it knows no JSON beyond its special
//! bytes.
//!
//! A search for any bytes (`memchr`) costs more to set up than most of our short strings take to walk.

/// Bytes looked at together while there are so many.
const BLOCK: usize = 16;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// With this bit turned the quote stands next to the control characters, which stay among themselves: all are below
/// [`TURNED_BELOW`].
const QUOTE_TURN: u8 = 0x02;
const TURNED_BELOW: u8 = 0x21;

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
    while let Some((block, behind)) = rest.split_first_chunk() {
        if let Some(found) = find_in_block(block) {
            return Some(text.len() - rest.len() + found);
        }
        rest = behind;
    }
    let found = find_by_words(rest)?;
    Some(text.len() - rest.len() + found)
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn find_in_block(block: &[u8; BLOCK]) -> Option<usize> {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8, _mm_xor_si128,
    };
    // SAFETY: every x86_64 has SSE2, and the one read is of the 16 bytes of `block`, which need not be aligned.
    let marks = unsafe {
        let block = _mm_loadu_si128(block.as_ptr().cast());
        let turned = _mm_xor_si128(block, _mm_set1_epi8(QUOTE_TURN.cast_signed()));
        let last = _mm_set1_epi8((TURNED_BELOW - 1).cast_signed());
        let below = _mm_cmpeq_epi8(_mm_min_epu8(turned, last), turned);
        let backslashes = _mm_cmpeq_epi8(block, _mm_set1_epi8(b'\\'.cast_signed()));
        _mm_movemask_epi8(_mm_or_si128(below, backslashes))
    };
    (marks != 0).then(|| marks.trailing_zeros() as usize)
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn find_in_block(block: &[u8; BLOCK]) -> Option<usize> {
    find_by_words(block)
}

/// [`find_escaped`] for the few bytes at the end of a text. Apart, so that the rest can be inlined.
#[inline(never)]
fn find_by_words(text: &[u8]) -> Option<usize> {
    let mut rest = text;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let turned = word ^ each(QUOTE_TURN);
        let marks = below(turned, TURNED_BELOW) | zero_bytes(word ^ each(b'\\'));
        if marks != 0 {
            return Some(text.len() - rest.len() + lowest(marks));
        }
        rest = behind;
    }
    let is_escaped = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let found = rest.iter().position(is_escaped)?;
    Some(text.len() - rest.len() + found)
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
            prop_assert_eq!(find_by_words(&text), escaped);
        }
    }
}
