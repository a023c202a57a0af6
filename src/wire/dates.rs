//! Layer 1: reads the dates that phones send: ISO 8601 with or without time, fraction and zone, or milliseconds.
//! A time without zone is UTC. Refuses nothing loudly: what cannot be read is `None`.

use serde_json::Value;

/// Milliseconds since the Unix epoch of an ISO text or a number of milliseconds; dates before 1970 are not read.
#[must_use]
pub fn unix_ms(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => iso_unix_ms(text),
        Value::Number(number) => number
            .as_u64()
            .or_else(|| number.as_f64().filter(|ms| *ms >= 0.0).map(|ms| ms as u64)),
        _ => None,
    }
}

/// Milliseconds since the Unix epoch of `2026-03-14`, `2026-03-14T15:00:00.5Z`, `2026-03-14 15:00+02:00` and the like.
#[must_use]
pub fn iso_unix_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (
        digits(parts.next()?, 4)?,
        digits(parts.next()?, 2)?,
        digits(parts.next()?, 2)?,
    );
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let (clock, zone_min) = zone(time)?;
    let ms = days_from_civil(year, month, day) * 86_400_000 + clock_ms(clock)? - zone_min * 60_000;
    u64::try_from(ms).ok()
}

/// Splits the zone off; minutes east of Greenwich.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else {
        return Some((time, 0));
    };
    let sign = if time.as_bytes()[at] == b'-' { -1 } else { 1 };
    let offset = time[at + 1..].replace(':', "");
    let (hours, minutes) = match offset.len() {
        2 => (digits(&offset, 2)?, 0),
        // In the middle of a character there is no number.
        4 => (digits(offset.get(..2)?, 2)?, digits(offset.get(2..)?, 2)?),
        _ => return None,
    };
    Some((&time[..at], sign * (hours * 60 + minutes)))
}

/// Milliseconds since midnight of `15`, `15:00`, `15:00:30` or `15:00:30.25`; empty is midnight.
fn clock_ms(clock: &str) -> Option<i64> {
    if clock.is_empty() {
        return Some(0);
    }
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = whole.splitn(3, ':');
    let hours = digits(parts.next()?, 2)?;
    let minutes = parts.next().map_or(Some(0), |text| digits(text, 2))?;
    let seconds = parts.next().map_or(Some(0), |text| digits(text, 2))?;
    if hours > 24 || minutes > 59 || seconds > 60 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let ms = fraction
        .bytes()
        .chain(*b"000")
        .take(3)
        .fold(0, |ms, digit| ms * 10 + i64::from(digit - b'0'));
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + ms)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01, with a year that starts in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::IsoTime;

    #[test]
    fn every_usual_form_is_normalised() {
        for (text, iso) in [
            ("2026-03-14T15:00:00Z", "2026-03-14T15:00:00.000Z"),
            ("2026-03-14T15:00:00.25Z", "2026-03-14T15:00:00.250Z"),
            ("2026-03-14T16:00:00+01:00", "2026-03-14T15:00:00.000Z"),
            ("2026-03-14T10:30:00-0430", "2026-03-14T15:00:00.000Z"),
            ("2026-03-14 15:00", "2026-03-14T15:00:00.000Z"),
            ("2024-02-29", "2024-02-29T00:00:00.000Z"),
            ("2000-12-31T23:59:59.999Z", "2000-12-31T23:59:59.999Z"),
        ] {
            let ms = iso_unix_ms(text).expect(text);
            assert_eq!(IsoTime::from_unix_ms(ms).as_str(), iso, "{text}");
        }
        assert_eq!(
            unix_ms(&Value::from(1_773_480_413_589_u64)),
            Some(1_773_480_413_589)
        );
    }

    #[test]
    fn nonsense_is_not_a_date() {
        for text in [
            "",
            "soon",
            "2026-13-01",
            "2026-02-30",
            "2026-03-14T99:00",
            "2026-03-14T10:00+1",
            "2026-03-14T10:00+1€",
            "2026-03-14T10:00-€1",
            "1969-01-01",
            "é-1-1",
        ] {
            assert_eq!(iso_unix_ms(text), None, "{text}");
        }
    }
}
