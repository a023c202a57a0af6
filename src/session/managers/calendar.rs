//! Layer 2, manager: calendar events of the session (behaviour.md §7.2). Kept in memory only.

use crate::base::clock::IsoTime;
use crate::base::footprint::owns;
use crate::wire::dates;
use crate::wire::json::ObjectWriter;
use crate::wire::members::{Members, cut};
use serde_json::Value;

owns! {
    CalendarEvent: id, title, timezone;
    Calendar: events;
}

/// One event, normalised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CalendarEvent {
    /// The calendar's id; recurring events share it.
    pub id: String,
    /// Title.
    pub title: String,
    /// Milliseconds since the Unix epoch.
    pub start_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub end_ms: u64,
    /// IANA name as the phone gave it; may be empty.
    pub timezone: String,
    /// When the phone (or this server) stamped it.
    pub stamp_ms: u64,
    /// All day.
    pub all_day: bool,
}

/// Longest id; an event with a longer one is left out (bytes).
const ID_BYTES_MAX: usize = 1024;
/// Longest title; a longer one is cut (bytes).
const TITLE_BYTES_MAX: usize = 4096;
/// Longest name of a time zone; a longer one counts as none (bytes).
const ZONE_BYTES_MAX: usize = 64;

impl CalendarEvent {
    /// Events of one batch that are read; each is compared with those that are known and sent to every app that wants it.
    pub const BATCH_MAX: usize = 2000;

    /// From any of the forms of protocol.md §18.7 and §6.15; `None` without id, title or a readable start.
    #[must_use]
    pub fn from_value(value: &Value, unix_ms: u64) -> Option<Self> {
        let members = Members(value.as_object()?.clone());
        let first = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| members.get(name).and_then(dates::unix_ms))
        };
        let start_ms = first(&["startDate", "start", "dtStart", "start_time"])?;
        Some(Self {
            id: id_of(&members).filter(|id| id.len() <= ID_BYTES_MAX)?,
            title: cut(members.filled("title")?, TITLE_BYTES_MAX).to_owned(),
            start_ms,
            end_ms: first(&["endDate", "end", "dtEnd", "end_time"]).unwrap_or(start_ms),
            timezone: members
                .text("timeZone")
                .or_else(|| members.text("timezone"))
                .filter(|zone| zone.len() <= ZONE_BYTES_MAX)
                .unwrap_or_default()
                .to_owned(),
            stamp_ms: first(&["timeStamp"]).unwrap_or(unix_ms),
            all_day: members.flag("allDay") == Some(true),
        })
    }

    /// The data of its event.
    #[must_use]
    pub fn data(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let mut object = ObjectWriter::begin(&mut out);
        object
            .str("type", "calendar_event")
            .str("eventId", &self.id)
            .str("title", &self.title)
            .str("dtStart", IsoTime::from_unix_ms(self.start_ms).as_str())
            .str("dtEnd", IsoTime::from_unix_ms(self.end_ms).as_str())
            .str("timezone", &self.timezone)
            .str("timeStamp", IsoTime::from_unix_ms(self.stamp_ms).as_str());
        if self.all_day {
            object.bool("allDay", true);
        }
        object.end();
        out
    }
}

fn id_of(members: &Members) -> Option<String> {
    ["id", "eventId"]
        .iter()
        .find_map(|name| match members.get(name)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
}

/// Cached events: present and future ones by ascending start, then past ones by descending start.
#[derive(Default)]
pub struct Calendar {
    events: Vec<CalendarEvent>,
}

impl Calendar {
    /// All events, most relevant first.
    #[must_use]
    pub fn events(&self) -> &[CalendarEvent] {
        &self.events
    }

    /// Adds events; the same id and start replaces. The least relevant beyond `max` are forgotten.
    pub fn add(&mut self, events: impl IntoIterator<Item = CalendarEvent>, unix_ms: u64, max: u64) {
        for event in events {
            self.events
                .retain(|known| known.id != event.id || known.start_ms != event.start_ms);
            self.events.push(event);
        }
        self.events.sort_by_key(|event| {
            let is_past = event.end_ms < unix_ms;
            let order = if is_past {
                u64::MAX - event.start_ms
            } else {
                event.start_ms
            };
            (is_past, order)
        });
        self.events.truncate(max as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW_MS: u64 = 1_773_480_413_589;

    fn event(id: &str, start_ms: u64) -> CalendarEvent {
        let value = json!({"id": id, "title": id, "start": start_ms});
        CalendarEvent::from_value(&value, NOW_MS).expect("complete")
    }

    #[test]
    fn all_forms_become_one() {
        let wanted = r#"{"type":"calendar_event","eventId":"ev-81","title":"Design review","dtStart":"2026-03-14T15:00:00.000Z","dtEnd":"2026-03-14T15:30:00.000Z","timezone":"Europe/Lisbon","timeStamp":"2026-03-14T09:00:00.000Z"}"#;
        for (start, end, zone) in [
            ("startDate", "endDate", "timeZone"),
            ("start", "end", "timezone"),
            ("dtStart", "dtEnd", "timezone"),
            ("start_time", "end_time", "timezone"),
        ] {
            let value = json!({"eventId": "ev-81", "title": "Design review", start: "2026-03-14T16:00:00+01:00",
                end: "2026-03-14T15:30:00Z", zone: "Europe/Lisbon", "timeStamp": "2026-03-14T09:00:00Z"});
            let event = CalendarEvent::from_value(&value, NOW_MS).expect("complete");
            assert_eq!(String::from_utf8(event.data()).expect("text"), wanted);
        }
    }

    #[test]
    fn the_end_defaults_to_the_start_and_all_day_is_kept() {
        let value = json!({"id": 7, "title": "Trip", "start": "2026-03-20", "allDay": true});
        let event = CalendarEvent::from_value(&value, NOW_MS).expect("complete");
        assert_eq!(event.end_ms, event.start_ms);
        let text = String::from_utf8(event.data()).expect("text");
        assert!(
            text.contains(r#""eventId":"7""#) && text.ends_with(r#""allDay":true}"#),
            "{text}"
        );
    }

    #[test]
    fn incomplete_events_are_skipped() {
        for value in [
            json!({"title": "x", "start": 5}),
            json!({"id": "a", "start": 5}),
            json!({"id": "a", "title": "x"}),
            json!({"id": "a", "title": "x", "start": "soon"}),
            json!("a"),
        ] {
            assert_eq!(CalendarEvent::from_value(&value, NOW_MS), None, "{value}");
        }
    }

    #[test]
    fn the_next_come_first_then_the_latest_past() {
        let mut calendar = Calendar::default();
        let events = [
            ("old", NOW_MS - 9000),
            ("later", NOW_MS + 9000),
            ("recent", NOW_MS - 10),
            ("next", NOW_MS),
        ];
        calendar.add(events.map(|(id, at)| event(id, at)), NOW_MS, 3);
        let ids: Vec<_> = calendar
            .events()
            .iter()
            .map(|event| event.id.as_str())
            .collect();
        assert_eq!(ids, ["next", "later", "recent"]);
    }

    #[test]
    fn the_same_id_at_another_time_is_another_event() {
        let mut calendar = Calendar::default();
        calendar.add(
            [
                event("a", NOW_MS),
                event("a", NOW_MS),
                event("a", NOW_MS + 5),
            ],
            NOW_MS,
            100,
        );
        assert_eq!(calendar.events().len(), 2);
    }
}
