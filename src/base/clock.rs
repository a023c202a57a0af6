//! Layer 0: the only reader of operating-system time. Everything else is handed a [`Now`].

use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One reading of time, taken once per turn of a shard and passed down.
///
/// `mono_ms` orders deadlines and never jumps; `unix_ms` is what goes on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since an arbitrary origin of this process; monotonic.
    pub mono_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

impl Now {
    /// The same instant `ms` milliseconds later, on both clocks. For simulated time and tests.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self {
            mono_ms: self.mono_ms + ms,
            unix_ms: self.unix_ms + ms,
        }
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub fn unix_s(self) -> u64 {
        self.unix_ms / 1000
    }

    /// ISO-8601 UTC with milliseconds and `Z`, the form of protocol.md §0.3.
    #[must_use]
    pub fn iso(self) -> IsoTime {
        IsoTime::from_unix_ms(self.unix_ms)
    }
}

/// A formatted timestamp such as `2026-03-14T09:26:53.589Z`, without allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IsoTime([u8; 24]);

impl IsoTime {
    /// Formats milliseconds since the Unix epoch; years beyond 9999 are clamped.
    #[must_use]
    pub fn from_unix_ms(unix_ms: u64) -> Self {
        const LAST_MS: u64 = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z
        let unix_ms = unix_ms.min(LAST_MS);
        let (days, ms_of_day) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
        // Civil-from-days with the year starting in March, so that the leap day comes last.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_index = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_index + 2) / 5 + 1;
        let month = if month_index < 10 {
            month_index + 3
        } else {
            month_index - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        put(&mut text, 0, year / 100);
        put(&mut text, 2, year % 100);
        put(&mut text, 5, month);
        put(&mut text, 8, day);
        put(&mut text, 11, ms_of_day / 3_600_000);
        put(&mut text, 14, ms_of_day / 60_000 % 60);
        put(&mut text, 17, ms_of_day / 1000 % 60);
        put_ms(&mut text, ms_of_day % 1000);
        Self(text)
    }

    /// The text as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 24] {
        &self.0
    }

    /// The text; always 24 ASCII characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII digits and separators are ever written")
    }
}

/// The last [`IsoTime`]: of another millisecond of the same second only three digits differ.
#[derive(Debug)]
pub struct IsoMemo {
    second: u64,
    text: IsoTime,
}

impl Default for IsoMemo {
    fn default() -> Self {
        Self {
            second: 0,
            text: IsoTime::from_unix_ms(0),
        }
    }
}

impl IsoMemo {
    /// As [`Now::iso`].
    #[inline]
    pub fn of(&mut self, now: Now) -> IsoTime {
        if self.second == now.unix_s() {
            put_ms(&mut self.text.0, now.unix_ms % 1000);
        } else {
            self.text = now.iso();
            self.second = now.unix_s();
        }
        self.text
    }
}

/// Two digits of every number that has no more.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
};

#[inline]
fn put_ms(text: &mut [u8; 24], ms: u64) {
    text[20] = b'0' + (ms / 100) as u8;
    put(text, 21, ms % 100);
}

#[inline]
fn put(text: &mut [u8; 24], at: usize, number: u64) {
    text[at..at + 2].copy_from_slice(&PAIRS[number as usize]);
}

impl fmt::Display for IsoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for IsoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the operating system's clocks. Cheap to copy; all copies of one `Clock` share its origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that may read time"
)]
impl Clock {
    /// A clock whose `mono_ms` starts near 1 now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// Both clocks, read together.
    #[must_use]
    pub fn now(&self) -> Now {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            mono_ms: self.origin.elapsed().as_millis() as u64 + 1,
            unix_ms: unix.as_millis() as u64,
        }
    }

    /// Nanoseconds since this clock's origin, for latency histograms.
    #[must_use]
    pub fn mono_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_known_instants_as_javascript_does() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_773_480_413_589, "2026-03-14T09:26:53.589Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(IsoTime::from_unix_ms(unix_ms).as_str(), text);
        }
    }

    #[test]
    fn what_is_remembered_of_a_second_reads_as_if_written_anew() {
        let mut memo = IsoMemo::default();
        for unix_ms in [0, 7, 999, 1000, 1_773_480_413_589, 1_773_480_413_005, 1] {
            let now = Now {
                mono_ms: 1,
                unix_ms,
            };
            assert_eq!(memo.of(now), now.iso());
        }
    }
}
