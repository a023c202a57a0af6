//! The tag inside every payload: who sent it, in which stream, as which number, and when it was meant to go.
//! In binary frames the first 24 bytes; in JSON 48 hexadecimal digits after [`MARK`].

/// Bytes of a tag, and the smallest audio frame.
pub(crate) const TAG_BYTES: usize = 24;
/// What stands before the hexadecimal digits in JSON texts.
pub(crate) const MARK: &[u8] = b"~tag:";

const MAGIC: u16 = 0x504c;
/// Where the checksum stands: the upper bytes of the number, which no run needs.
const SUM_AT: usize = 8;

/// Identity and time of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    /// Index of the stream in the scenario.
    pub(crate) stream: u8,
    /// Traffic phase of the run; what is left over from an earlier phase is not counted.
    pub(crate) phase: u8,
    /// Index of the user.
    pub(crate) user: u32,
    /// Number within (user, stream, phase), from 0, below 2^48.
    pub(crate) seq: u64,
    /// Monotonic nanoseconds at which it was meant to be sent.
    pub(crate) due: u64,
}

impl Tag {
    /// The 24 bytes.
    pub(crate) fn to_bytes(self) -> [u8; TAG_BYTES] {
        let mut out = [0; TAG_BYTES];
        out[..2].copy_from_slice(&MAGIC.to_be_bytes());
        out[2] = self.stream;
        out[3] = self.phase;
        out[4..8].copy_from_slice(&self.user.to_be_bytes());
        out[8..16].copy_from_slice(&self.seq.to_be_bytes());
        out[16..24].copy_from_slice(&self.due.to_be_bytes());
        let sum = checksum(&out);
        out[SUM_AT..SUM_AT + 2].copy_from_slice(&sum.to_be_bytes());
        out
    }

    /// Reads the first 24 bytes; `None` when they are no tag.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; TAG_BYTES] = bytes.get(..TAG_BYTES)?.try_into().ok()?;
        if u16::from_be_bytes([bytes[0], bytes[1]]) != MAGIC {
            return None;
        }
        let mut bytes = *bytes;
        let sum = u16::from_be_bytes([bytes[SUM_AT], bytes[SUM_AT + 1]]);
        bytes[SUM_AT..SUM_AT + 2].fill(0);
        if checksum(&bytes) != sum {
            return None;
        }
        Some(Self {
            stream: bytes[2],
            phase: bytes[3],
            user: u32::from_be_bytes(bytes[4..8].try_into().ok()?),
            seq: u64::from_be_bytes(bytes[8..16].try_into().ok()?),
            due: u64::from_be_bytes(bytes[16..24].try_into().ok()?),
        })
    }

    /// Writes the digits over `out`, which must be 48 bytes long.
    pub(crate) fn write_hex(self, out: &mut [u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (pair, byte) in out.chunks_exact_mut(2).zip(self.to_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
    }

    /// Whether a tag begins at `hint`, as [`Tag::find_hex`] left it; when that found none, it is damaged.
    pub(crate) fn is_marked(text: &[u8], hint: usize) -> bool {
        text.get(hint..hint + MARK.len()) == Some(MARK)
    }

    /// Finds and reads the tag of a JSON text. `hint` is where the mark stood last time on this socket.
    pub(crate) fn find_hex(text: &[u8], hint: &mut usize) -> Option<Self> {
        let at = match text.get(*hint..*hint + MARK.len()) {
            Some(found) if found == MARK => *hint,
            _ => text.windows(MARK.len()).position(|window| window == MARK)?,
        };
        *hint = at;
        let digits = text.get(at + MARK.len()..at + MARK.len() + 2 * TAG_BYTES)?;
        let mut bytes = [0; TAG_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Self::from_bytes(&bytes)
    }
}

/// Weighted sum of the 16-bit words of a tag whose place for it is zero; any one wrong byte changes it. A damaged number would
/// else be taken for a huge gap, a damaged time for a latency.
fn checksum(bytes: &[u8; TAG_BYTES]) -> u16 {
    /// The largest prime below 2^16.
    const MODULUS: u32 = 65_521;
    let sum: u32 = (1..)
        .zip(bytes.chunks_exact(2))
        .map(|(weight, word)| weight * u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    u16::try_from(sum % MODULUS).unwrap_or(0)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Where a message carries its tag.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Its first bytes: binary frames.
    Start,
    /// Hexadecimal digits from here on.
    Digits(usize),
    /// Nowhere: the message itself is known.
    None,
}

/// A message with a place for the tag, made once per stream and stamped for every send.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    place: Place,
}

impl Template {
    /// A binary frame of `size` bytes (at least a tag), filled with a pattern that shows damage.
    pub(crate) fn binary(size: usize) -> Self {
        let bytes = (0..size.max(TAG_BYTES))
            .map(|index| u8::try_from(index * 7 % 251).unwrap_or(0))
            .collect();
        Self {
            bytes,
            place: Place::Start,
        }
    }

    /// A message that no tag is written into.
    pub(crate) fn fixed(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            place: Place::None,
        }
    }

    /// A JSON text of about `size` bytes: `head`, mark and digits, padding, `tail`.
    pub(crate) fn json(head: &str, tail: &str, size: usize) -> Self {
        let mut bytes = head.as_bytes().to_vec();
        bytes.extend_from_slice(MARK);
        let digits_at = bytes.len();
        bytes.extend_from_slice(&[b'0'; 2 * TAG_BYTES]);
        let room = size.saturating_sub(bytes.len() + tail.len());
        bytes.extend((0..room).map(|index| b'a' + u8::try_from(index % 26).unwrap_or(0)));
        bytes.extend_from_slice(tail.as_bytes());
        Self {
            bytes,
            place: Place::Digits(digits_at),
        }
    }

    /// The message carrying `tag`.
    pub(crate) fn stamp(&mut self, tag: Tag) -> &[u8] {
        match self.place {
            Place::None => {}
            Place::Start => self.bytes[..TAG_BYTES].copy_from_slice(&tag.to_bytes()),
            Place::Digits(at) => tag.write_hex(&mut self.bytes[at..at + 2 * TAG_BYTES]),
        }
        &self.bytes
    }

    /// Whether a received binary frame is this template with some tag.
    pub(crate) fn same_filler(&self, received: &[u8]) -> bool {
        received.get(TAG_BYTES..) == self.bytes.get(TAG_BYTES..)
    }

    /// Whether a received text holds this whole message, stamped with `tag`, byte for byte.
    /// `hint` is where the mark of the tag stands in the text.
    pub(crate) fn contained_in(&self, text: &[u8], hint: usize, tag: Tag) -> bool {
        let Place::Digits(digits_at) = self.place else {
            return false;
        };
        let Some(start) = (hint + MARK.len()).checked_sub(digits_at) else {
            return false;
        };
        let Some(found) = text.get(start..start + self.bytes.len()) else {
            return false;
        };
        let mut digits = [0; 2 * TAG_BYTES];
        tag.write_hex(&mut digits);
        let end = digits_at + digits.len();
        found[..digits_at] == self.bytes[..digits_at]
            && found[digits_at..end] == digits
            && found[end..] == self.bytes[end..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Tag = Tag {
        stream: 3,
        phase: 9,
        user: 70_000,
        seq: 1 << 40,
        due: 123_456_789_012,
    };

    #[test]
    fn a_binary_frame_carries_its_tag_and_shows_damage() {
        let mut template = Template::binary(100);
        let mut frame = template.stamp(TAG).to_vec();
        assert_eq!((frame.len(), Tag::from_bytes(&frame)), (100, Some(TAG)));
        assert!(template.same_filler(&frame));
        frame[60] ^= 1;
        assert!(!template.same_filler(&frame));
        assert!(!template.same_filler(&frame[..99]));
    }

    #[test]
    fn a_tag_is_found_wherever_the_envelope_moved_it() {
        let mut template = Template::json(r#"{"type":"button_press","id":""#, "\"}", 200);
        let message = String::from_utf8(template.stamp(TAG).to_vec()).unwrap();
        assert_eq!(message.len(), 200);
        let mut hint = 0;
        for prefix in ["", "{\"data\":", "{\"a much longer head\":"] {
            let text = format!("{prefix}{message}}}");
            assert_eq!(Tag::find_hex(text.as_bytes(), &mut hint), Some(TAG));
            assert!(template.contained_in(text.as_bytes(), hint, TAG));
            let other = text.replace("button", "butter");
            assert!(!template.contained_in(other.as_bytes(), hint, TAG));
        }
        let pong = b"{\"type\":\"pong\"}";
        assert_eq!(Tag::find_hex(pong, &mut hint), None);
        assert!(!Tag::is_marked(pong, hint));
        let cut = &message.as_bytes()[..60];
        assert_eq!(Tag::find_hex(cut, &mut hint), None);
        assert!(Tag::is_marked(cut, hint));
    }

    #[test]
    fn a_tag_with_any_one_byte_changed_is_no_tag() {
        let good = TAG.to_bytes();
        for at in 0..TAG_BYTES {
            for change in 1..=255_u8 {
                let mut bytes = good;
                bytes[at] ^= change;
                assert_eq!(Tag::from_bytes(&bytes), None, "byte {at} ^ {change}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_tag_are_refused() {
        assert_eq!(Tag::from_bytes(&[0; 24]), None);
        assert_eq!(Tag::from_bytes(&[0x50, 0x4c]), None);
    }
}
