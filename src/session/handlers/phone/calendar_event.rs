//! `calendar_event`: one calendar event (phones normally post batches). Normalised, cached, broadcast. protocol.md §6.15, §5.8.
//!
//! `{"type":"calendar_event","eventId":"ev-81","title":"Design review","dtStart":"2026-03-14T15:00:00Z","dtEnd":"2026-03-14T15:30:00Z"}`

use crate::session::flow::{calendar, gate};
use crate::session::handlers::{PhoneHandler, PhoneMessage, Reject};
use crate::session::managers::calendar::CalendarEvent;
use crate::session::{Cx, Session};
use crate::wire::kinds::PhoneKind;
use crate::wire::members::Members;
use serde_json::Value;

pub(super) const HANDLER: PhoneHandler = PhoneHandler {
    kind: PhoneKind::CalendarEvent,
    run,
};

fn run(s: &mut Session, m: &PhoneMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    let event = CalendarEvent::from_value(&Value::Object(members.0), cx.now.unix_ms)
        .ok_or_else(|| gate::malformed("eventId, title and dtStart are required"))?;
    calendar::events_arrived(s, vec![event], cx);
    Ok(())
}
