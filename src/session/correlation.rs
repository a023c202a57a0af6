//! Layer 2: the name under which all log lines of one inbound message are found (behaviour.md §1.11). Never sent to a peer.

use crate::base::ids::BASE36;
use std::fmt::{self, Write as _};

/// `<hash of the user>-<base-36 milliseconds>-<6 base-36 characters>`. Three numbers; the text is made only when a line is
/// really written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Correlation {
    /// [`crate::base::ids::UserId::hash32`].
    pub(super) user: u32,
    /// When the message arrived (ms since the Unix epoch).
    pub(super) unix_ms: u64,
    /// [`crate::session::Session::epoch`].
    pub(super) epoch: u64,
    /// Which message of its session.
    pub(super) message: u64,
}

impl Correlation {
    /// The last part: different for neighbouring messages and for sessions of one user.
    fn suffix(&self) -> u64 {
        let mut mixed = self
            .epoch
            .wrapping_add(self.message.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl fmt::Display for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-", self.user)?;
        let mut digits = [0; 13]; // 36^13 > 2^64
        let mut rest = self.unix_ms;
        let mut used = 0;
        while rest > 0 || used == 0 {
            digits[used] = (rest % 36) as usize;
            rest /= 36;
            used += 1;
        }
        for digit in digits[..used].iter().rev() {
            f.write_char(char::from(BASE36[*digit]))?;
        }
        f.write_char('-')?;
        let mut suffix = self.suffix();
        for _ in 0..6 {
            f.write_char(char::from(BASE36[(suffix % 36) as usize]))?;
            suffix /= 36;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Correlation = Correlation {
        user: 3_718_288_755,
        unix_ms: 1_773_480_413_589,
        epoch: 7,
        message: 1,
    };

    #[test]
    fn the_form_is_hash_time_and_six_characters() {
        let text = ONE.to_string();
        let parts: Vec<&str> = text.split('-').collect();
        assert_eq!(parts.len(), 3);
        assert_eq!(u32::from_str_radix(parts[0], 16), Ok(ONE.user));
        assert_eq!(u64::from_str_radix(parts[1], 36), Ok(ONE.unix_ms));
        assert_eq!(parts[2].len(), 6);
        assert!(u64::from_str_radix(parts[2], 36).is_ok());
    }

    #[test]
    fn messages_of_one_millisecond_differ_and_one_message_does_not() {
        let next = Correlation { message: 2, ..ONE };
        assert_ne!(ONE.to_string(), next.to_string());
        assert_eq!(ONE.to_string(), { ONE }.to_string());
        let edge = Correlation { unix_ms: 0, ..ONE };
        assert!(edge.to_string().contains("-0-"));
        let far = Correlation {
            unix_ms: u64::MAX,
            ..ONE
        };
        assert!(far.to_string().contains("-3w5e11264sgsf-"));
    }
}
