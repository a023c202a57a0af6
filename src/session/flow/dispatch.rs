//! Layer 2, flow: one event to its flow or handler.

use crate::base::close::CloseReason;
use crate::base::ids::{CallId, ConnId};
use crate::base::metrics::Counter;
use crate::session::event::{Event, HttpOutcome};
use crate::session::flow::{
    answers, app_in, app_messages, audio_output, dashboard, device, heartbeat, hello, lifecycle,
    lost, ranking, recognisers, requests, stop, sync, timers, webhook,
};
use crate::session::{Cx, Session, rest};

/// Routes one event.
pub(crate) fn event(s: &mut Session, event: Event, cx: &mut Cx<'_>) {
    match event {
        Event::AppBinary { conn, data } => app_in::binary(s, conn, data, cx),
        Event::Tick => timers::tick(s, cx),
        Event::Pong { conn, payload } => heartbeat::pong(s, conn, &payload, cx),
        Event::Activity { conn } => s.m.health.seen(conn, cx.now.mono_ms, 0),
        Event::PhoneConnected { conn, flags } => lifecycle::phone_connected(s, conn, flags, cx),
        Event::PhoneClosed { conn, info } => lifecycle::phone_closed(s, conn, &info, cx),
        Event::AppHello { conn, hello } => hello::said(s, conn, hello, cx),
        Event::AppParked {
            conn,
            hello,
            expires_ms,
        } => hello::parked_before(s, conn, hello, expires_ms, cx),
        Event::AppClosed { conn, info } => lost::closed(s, conn, &info, cx),
        Event::UserLoaded { record } => lifecycle::user_loaded(s, record, cx),
        Event::Http { call, outcome } => http(s, call, &outcome, cx),
        Event::Stored { call, outcome } => answers::stored(s, call, outcome, cx),
        Event::Rest { reply, call } => rest::call(s, reply, call, cx),
        Event::ReplyGone { reply } => audio_output::reader_gone(s, reply, cx),
        Event::AppMessage { message } => app_messages::arrived(s, &message, cx),
        Event::Speech { id, report } => recognisers::reported(s, id, report, cx),
        // Keys and addresses are checked at the next hello.
        Event::RegistryChanged => {
            device::profiles_changed(s, cx);
            sync::permissions_changed(s, cx);
            requests::permissions_changed(s, cx);
            sync::sockets_changed(s, cx);
        }
        Event::SpeechSettingsChanged => recognisers::settings_changed(s, cx),
        Event::MassDisconnect { package, jitter_ms } => {
            lost::mass_disconnect(s, &package, jitter_ms);
        }
        Event::Overloaded { conn } => overloaded(s, conn, cx),
        Event::PhoneFull { by } => app_in::phone_full(s, by, cx),
    }
}

fn http(s: &mut Session, call: CallId, outcome: &HttpOutcome, cx: &mut Cx<'_>) {
    if let Some(package) = s.m.apps.by_start_call(call).cloned() {
        webhook::session_request_result(s, &package, outcome, cx);
    } else if let Some(package) = s.m.apps.by_stop_call(call).cloned() {
        stop::webhook_done(s, &package, cx);
    } else if !s.m.apps.answered(call)
        && !dashboard::weather_result(s, call, outcome, cx)
        && !ranking::result(s, call, outcome, cx)
        && !requests::http_result(s, call, outcome, cx)
    {
        cx.metrics.inc(Counter::CorrelationOrphans);
    }
}

/// The transport is closing this socket with 1013; for us it is gone now.
fn overloaded(s: &mut Session, conn: ConnId, cx: &mut Cx<'_>) {
    let info = CloseReason::Overloaded.into();
    if s.m.phone.knows(conn) {
        lifecycle::phone_closed(s, conn, &info, cx);
    } else {
        lost::closed(s, conn, &info, cx);
    }
}
