//! Layer 2, manager part: the calendar line of the dashboard (behaviour.md §6.2.1). Pure: events, an instant and a time zone in,
//! one line out.

use crate::base::footprint::owns;
use crate::base::settings::Dashboard as Config;
use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use chrono_tz::Tz;

owns! { AgendaEvent: title; }

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;

/// One calendar event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgendaEvent {
    /// Empty = untitled.
    pub title: String,
    /// Milliseconds since the Unix epoch.
    pub start_ms: u64,
    /// Milliseconds since the Unix epoch; not after the start = unknown.
    pub end_ms: u64,
    /// Flagged so by the phone.
    pub all_day: bool,
}

impl AgendaEvent {
    fn title(&self) -> &str {
        match self.title.trim() {
            "" => "Event",
            title => title,
        }
    }

    fn end_ms(&self) -> u64 {
        if self.end_ms > self.start_ms {
            self.end_ms
        } else {
            self.start_ms.saturating_add(HOUR_MS)
        }
    }

    fn is_all_day(&self) -> bool {
        self.all_day
            || (self.start_ms.is_multiple_of(DAY_MS)
                && self.end_ms.is_multiple_of(DAY_MS)
                && self.end_ms >= self.start_ms.saturating_add(DAY_MS))
    }

    fn is_relevant(&self, now_ms: u64, cfg: &Config) -> bool {
        if self.start_ms > now_ms {
            return self.start_ms - now_ms <= cfg.calendar_lookahead_days * DAY_MS;
        }
        now_ms - self.start_ms < cfg.calendar_recent_ms && self.end_ms() > now_ms
    }
}

/// The line for the next event, if one is relevant. `events` are sorted by their start.
pub(super) fn line(events: &[AgendaEvent], unix_ms: u64, zone: Tz, cfg: &Config) -> Option<String> {
    let today = local(unix_ms, zone)?.date_naive();
    let last = today + chrono::Days::new(cfg.calendar_lookahead_days);
    let timed = events
        .iter()
        .filter(|event| !event.is_all_day() && event.is_relevant(unix_ms, cfg))
        .find_map(|event| Some((local(event.start_ms, zone)?, event)));
    let all_day = events
        .iter()
        .filter(|event| event.is_all_day())
        .filter_map(|event| Some((local(event.start_ms, Tz::UTC)?.date_naive(), event)))
        .find(|(date, _)| (today..=last).contains(date));
    match (timed, all_day) {
        (Some((start, timed)), Some((date, all_day))) => {
            let timed_date = start.date_naive();
            if timed_date > today && date < timed_date {
                Some(all_day_text(all_day, date, today))
            } else {
                Some(timed_text(timed, start, today))
            }
        }
        (Some((start, timed)), None) => Some(timed_text(timed, start, today)),
        (None, Some((date, all_day))) => Some(all_day_text(all_day, date, today)),
        (None, None) => None,
    }
}

fn local(unix_ms: u64, zone: Tz) -> Option<DateTime<Tz>> {
    let utc = DateTime::from_timestamp_millis(i64::try_from(unix_ms).ok()?)?;
    Some(utc.with_timezone(&zone))
}

fn timed_text(event: &AgendaEvent, start: DateTime<Tz>, today: NaiveDate) -> String {
    let (is_pm, hour) = start.hour12();
    let minutes = match start.minute() {
        0 => String::new(),
        minute => format!(":{minute:02}"),
    };
    let half = if is_pm { "pm" } else { "am" };
    let text = format!("{} @ {hour}{minutes}{half}", event.title());
    let date = start.date_naive();
    if date <= today {
        text
    } else if Some(date) == today.succ_opt() {
        format!("tmr: {text}")
    } else {
        format!("{}/{}: {text}", date.month(), date.day())
    }
}

fn all_day_text(event: &AgendaEvent, date: NaiveDate, today: NaiveDate) -> String {
    let title = event.title();
    if date == today {
        format!("{title} Today")
    } else if Some(date) == today.succ_opt() {
        format!("{title} tmr")
    } else {
        format!("{title} {}/{}", date.month(), date.day())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    /// Saturday 2026-03-14, 09:00 in Lisbon (UTC).
    const NOW: &str = "2026-03-14T09:00:00Z";

    fn at(text: &str) -> u64 {
        let time: DateTime<chrono::FixedOffset> =
            DateTime::parse_from_rfc3339(text).expect("a valid time");
        time.timestamp_millis() as u64
    }

    fn event(title: &str, start: &str, end: &str) -> AgendaEvent {
        AgendaEvent {
            title: title.into(),
            start_ms: at(start),
            end_ms: if end.is_empty() { 0 } else { at(end) },
            all_day: false,
        }
    }

    fn shown(mut events: Vec<AgendaEvent>, now: &str, zone: &str) -> Option<String> {
        events.sort_by_key(|event| event.start_ms);
        let cfg = crate::base::settings::Settings::default().dashboard;
        line(&events, at(now), zone.parse().expect("a zone"), &cfg)
    }

    #[test]
    fn timed_events_name_day_and_hour() {
        let cases = [
            ("2026-03-14T16:00:00Z", "T @ 4pm"),
            ("2026-03-14T16:30:00Z", "T @ 4:30pm"),
            ("2026-03-14T12:05:00Z", "T @ 12:05pm"),
            ("2026-03-15T00:00:00Z", "tmr: T @ 12am"),
            ("2026-03-17T08:00:00Z", "3/17: T @ 8am"),
        ];
        for (start, text) in cases {
            assert_eq!(
                shown(vec![event("T", start, "")], NOW, "UTC").as_deref(),
                Some(text)
            );
        }
        assert_eq!(
            shown(vec![event("T", "2026-03-21T09:00:01Z", "")], NOW, "UTC"),
            None
        );
    }

    #[test]
    fn the_zone_decides_hour_and_day() {
        let evening = vec![event("", "2026-03-14T23:30:00Z", "")];
        assert_eq!(
            shown(evening.clone(), NOW, "America/New_York").as_deref(),
            Some("Event @ 7:30pm")
        );
        assert_eq!(
            shown(evening, NOW, "Asia/Tokyo").as_deref(),
            Some("tmr: Event @ 8:30am")
        );
    }

    #[test]
    fn a_running_event_stays_an_hour_at_most() {
        let event = |end| vec![event("T", "2026-03-14T08:30:00Z", end)];
        assert!(shown(event("2026-03-14T10:30:00Z"), NOW, "UTC").is_some());
        assert!(shown(event("2026-03-14T10:30:00Z"), "2026-03-14T09:30:00Z", "UTC").is_none());
        assert!(shown(event("2026-03-14T08:45:00Z"), NOW, "UTC").is_none());
        assert!(shown(event(""), NOW, "UTC").is_some());
    }

    #[test]
    fn all_day_events_keep_their_date_everywhere() {
        let fair = |date: &str, days: u64| {
            let start_ms = Tz::UTC
                .with_ymd_and_hms(2026, 3, date.parse().expect("a day"), 0, 0, 0)
                .unwrap()
                .timestamp_millis() as u64;
            AgendaEvent {
                title: "Fair".into(),
                start_ms,
                end_ms: start_ms + days * DAY_MS,
                all_day: days == 0,
            }
        };
        let zone = "America/Los_Angeles";
        assert_eq!(
            shown(vec![fair("14", 1)], NOW, zone).as_deref(),
            Some("Fair Today")
        );
        assert_eq!(
            shown(vec![fair("15", 0)], NOW, zone).as_deref(),
            Some("Fair tmr")
        );
        assert_eq!(
            shown(vec![fair("18", 2)], NOW, zone).as_deref(),
            Some("Fair 3/18")
        );
        assert_eq!(shown(vec![fair("13", 1)], NOW, zone), None);

        let talk = event("Talk", "2026-03-15T10:00:00Z", "");
        let both = |date| shown(vec![fair(date, 1), talk.clone()], NOW, "UTC");
        assert_eq!(both("14").as_deref(), Some("Fair Today"));
        assert_eq!(both("15").as_deref(), Some("tmr: Talk @ 10am"));
        let today = event("Talk", "2026-03-14T10:00:00Z", "");
        assert_eq!(
            shown(vec![fair("14", 1), today], NOW, "UTC").as_deref(),
            Some("Talk @ 10am")
        );
    }
}
