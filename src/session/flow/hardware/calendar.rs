//! Layer 2, flow: calendar events meet apps and dashboard (behaviour.md §7.2).

use crate::session::flow::{relay, screen};
use crate::session::managers::calendar::CalendarEvent;
use crate::session::managers::dashboard::AgendaEvent;
use crate::session::{Cx, Session};

/// One batch from the phone: cached, relayed event by event; the dashboard hears of it once.
pub(crate) fn events_arrived(s: &mut Session, events: Vec<CalendarEvent>, cx: &mut Cx<'_>) {
    if events.is_empty() {
        return;
    }
    s.m.calendar.add(
        events.iter().cloned(),
        cx.now.unix_ms,
        cx.cfg.device.calendar_cache,
    );
    for event in &events {
        relay::server_event(s, "calendar_event", &event.data(), cx);
    }
    let agenda = s.m.calendar.events().iter().map(|event| AgendaEvent {
        title: event.title.clone(),
        start_ms: event.start_ms,
        end_ms: event.end_ms,
        all_day: event.all_day,
    });
    let agenda = agenda.collect();
    screen::agenda_changed(s, agenda, cx);
}

/// An app that newly listens gets every cached event, each in its own envelope.
pub(crate) fn replay(s: &Session, package: &str, cx: &mut Cx<'_>) {
    for event in s.m.calendar.events() {
        relay::to_app(s, package, "calendar_event", &event.data(), cx);
    }
}
