//! Layer 2, flow: the dashboard view: when it is rendered and who hears of its modes (behaviour.md §6.2). Never blocks or
//! throttles the main view.

use crate::base::ids::{CallId, Package};
use crate::base::settings::DashboardMode;
use crate::session::effects::{Class, Effect, HttpCall, HttpKind, HttpMethod};
use crate::session::event::HttpOutcome;
use crate::session::flow::ranking;
use crate::session::flow::screen::{reachable, send_own, text_wall};
use crate::session::flow::start::is_dashboard_app;
use crate::session::managers::dashboard::{Mode, Section, Units, content_text};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use bytes::Bytes;
use serde_json::Value;

/// Whether a text that is on the screen already is sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Skip,
    Send,
}

/// Some input changed: one render after the debounce.
pub(crate) fn input_changed(s: &mut Session, cx: &Cx<'_>) {
    let now_ms = cx.now.mono_ms;
    let cfg = &cx.cfg.dashboard;
    if s.timers.at(&Timer::DashboardRender).is_none() {
        s.timers
            .set(Timer::DashboardRender, now_ms + cfg.dashboard_debounce_ms);
    }
    if s.timers.at(&Timer::DashboardHeartbeat).is_none() {
        s.timers.set(
            Timer::DashboardHeartbeat,
            now_ms + cfg.dashboard_heartbeat_ms,
        );
    }
}

/// Phone or glasses returned: whatever was sent is gone.
pub(crate) fn repaint(s: &mut Session, cx: &mut Cx<'_>) {
    s.m.dashboard.forget_sent();
    input_changed(s, cx);
}

/// The user's time zone (IANA name).
pub(crate) fn timezone_changed(s: &mut Session, name: &str, cx: &mut Cx<'_>) {
    s.m.dashboard.set_timezone(name);
    input_changed(s, cx);
}

/// The glasses model decides the composition; `None` while none is connected.
pub(crate) fn model_changed(s: &mut Session, model: Option<&str>, cx: &mut Cx<'_>) {
    s.m.dashboard.set_model(model);
    input_changed(s, cx);
}

/// The user prefers other units.
pub(crate) fn units_changed(s: &mut Session, units: Units, cx: &mut Cx<'_>) {
    s.m.dashboard.weather.set_units(units);
    input_changed(s, cx);
}

/// The user is here: weather is fetched if what is known is too old or too far away.
pub(crate) fn position_changed(s: &mut Session, lat: f64, lng: f64, cx: &mut Cx<'_>) {
    let cfg = &cx.cfg.dashboard;
    if let Some(url) = s.m.dashboard.weather.wanted(lat, lng, cx.now.mono_ms, cfg) {
        let call = s.call_id();
        s.m.dashboard.weather.started(call);
        // The outside thread ends the call by itself; only an answer that got lost is missed.
        let late_ms = cx.now.mono_ms + 2 * cfg.weather_timeout_ms;
        s.timers.set(Timer::Weather(call), late_ms);
        cx.fx.push(Effect::Http(HttpCall {
            call,
            kind: HttpKind::Weather,
            method: HttpMethod::Get,
            url,
            headers: Vec::new(),
            body: Bytes::new(),
            timeout_ms: cfg.weather_timeout_ms,
        }));
    }
}

/// The answer to a weather request; `false`: the call is not ours. A failure keeps the previous text.
pub(crate) fn weather_result(
    s: &mut Session,
    call: CallId,
    outcome: &HttpOutcome,
    cx: &mut Cx<'_>,
) -> bool {
    if !s.m.dashboard.weather.ends(call) {
        return false;
    }
    s.timers.cancel(&Timer::Weather(call));
    if let HttpOutcome::Answer {
        status: 200..=299,
        body,
        ..
    } = outcome
        && s.m.dashboard.weather.read(body)
    {
        input_changed(s, cx);
    }
    // The user may have turned out to be elsewhere meanwhile: the place that the session began with is an old one.
    if let Some(fix) = s.m.location.last() {
        position_changed(s, fix.lat, fix.lng, cx);
    }
    true
}

/// The phone showed a notification, by its word at `unix_ms`, else now.
pub(crate) fn notification(
    s: &mut Session,
    id: &str,
    [app, title, content]: [&str; 3],
    unix_ms: Option<u64>,
    cx: &mut Cx<'_>,
) {
    let unix_ms = unix_ms.unwrap_or(cx.now.unix_ms);
    s.m.notifications
        .add(id, [app, title, content], unix_ms, &cx.cfg.dashboard);
    input_changed(s, cx);
    ranking::changed(s, cx);
}

/// The user dismissed a notification.
pub(crate) fn notification_dismissed(s: &mut Session, id: &str, cx: &mut Cx<'_>) {
    if s.m.notifications.dismiss(id) {
        input_changed(s, cx);
        ranking::changed(s, cx);
    }
}

/// An app's `dashboard_content_update`, by its word of `unix_ms`, else of now.
pub(crate) fn content(
    s: &mut Session,
    package: &Package,
    content: &Value,
    unix_ms: Option<u64>,
    modes: &[Mode],
    cx: &mut Cx<'_>,
) {
    let text = content_text(content);
    let unix_ms = unix_ms.unwrap_or(cx.now.unix_ms);
    match cx.cfg.dashboard.dashboard_mode {
        DashboardMode::Internal => {
            if !modes.contains(&Mode::Main) {
                return;
            }
            s.m.dashboard.set_widget(package, text, unix_ms);
        }
        DashboardMode::App => {
            let max = cx.cfg.dashboard.dashboard_queue_size as usize;
            for mode in modes {
                let dashboard = &mut s.m.dashboard;
                dashboard.set_content(*mode, package, text.clone(), unix_ms, max);
            }
        }
    }
    input_changed(s, cx);
}

/// Whose `dashboard` view stays one (behaviour.md §6.1.3): the system's.
pub(crate) fn may_draw(package: &str, cx: &Cx<'_>) -> bool {
    cx.cfg.display.os_package_name == package || is_dashboard_app(cx.cfg, package)
}

/// The system dashboard sets a corner; from others it is ignored without an error (behaviour.md §2.20).
pub(crate) fn section(
    s: &mut Session,
    package: &str,
    section: Section,
    text: String,
    cx: &mut Cx<'_>,
) {
    if is_dashboard_app(cx.cfg, package) {
        s.m.dashboard.sections.set_corner(section, text);
        input_changed(s, cx);
    }
}

/// The system dashboard changes the mode; all apps hear of it.
pub(crate) fn mode(s: &mut Session, package: &str, mode: Mode, cx: &mut Cx<'_>) {
    if !is_dashboard_app(cx.cfg, package) {
        return;
    }
    let Some(before) = s.m.dashboard.sections.set_mode(mode) else {
        return;
    };
    let stamp = cx.now.iso();
    let conns = || s.m.apps.open().map(|(_, conn)| conn);
    cx.fx.text_to_all(conns(), Class::Control, |out| {
        ObjectWriter::begin(out)
            .str("type", "dashboard_mode_changed")
            .str("mode", mode.as_str())
            .str("timestamp", stamp.as_str())
            .end();
    });
    if (before == Mode::AlwaysOn) != (mode == Mode::AlwaysOn) {
        cx.fx.text_to_all(conns(), Class::Control, |out| {
            ObjectWriter::begin(out)
                .str("type", "dashboard_always_on_changed")
                .bool("enabled", mode == Mode::AlwaysOn)
                .str("timestamp", stamp.as_str())
                .end();
        });
    }
    input_changed(s, cx);
}

/// The head went up: the next widget, at once (protocol.md §6.11).
pub(crate) fn head_up(s: &mut Session, cx: &mut Cx<'_>) {
    if s.m.dashboard.head_up(cx.now.mono_ms) {
        s.timers.cancel(&Timer::DashboardRender);
        if render(s, Repeat::Send, cx) {
            s.m.notifications.viewed(&cx.cfg.dashboard);
        }
    }
}

/// An app is gone with all its content.
pub(crate) fn app_gone(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    if s.m.dashboard.remove_app(package) {
        input_changed(s, cx);
    }
}

/// The debounce ended.
pub(crate) fn render_due(s: &mut Session, cx: &mut Cx<'_>) {
    render(s, Repeat::Skip, cx);
}

/// Once a minute: old events leave, weather is renewed. While nothing can be shown, or on glasses without a display, nothing is
/// rendered.
pub(crate) fn heartbeat_due(s: &mut Session, cx: &mut Cx<'_>) {
    let cfg = &cx.cfg.dashboard;
    let (now_ms, every_ms) = (cx.now.mono_ms, cfg.dashboard_heartbeat_ms);
    s.timers.set(Timer::DashboardHeartbeat, now_ms + every_ms);
    if reachable(s, cx) && !s.m.device.lacks_display() {
        s.m.dashboard.forget_sent();
        input_changed(s, cx);
        if let Some((lat, lng)) = s.m.dashboard.weather.place() {
            position_changed(s, lat, lng, cx);
        }
    }
}

/// Says whether it was sent.
fn render(s: &mut Session, repeat: Repeat, cx: &mut Cx<'_>) -> bool {
    if !reachable(s, cx) {
        return false;
    }
    match cx.cfg.dashboard.dashboard_mode {
        DashboardMode::Internal => {
            let lines = s.m.notifications.lines(&cx.cfg.dashboard);
            let text =
                s.m.dashboard
                    .compose(cx.now.unix_ms, lines, &cx.cfg.dashboard);
            if !s.m.dashboard.is_news(&text) && repeat == Repeat::Skip {
                return false;
            }
            send_own(s, "dashboard", None, |out| text_wall(out, &text), cx);
        }
        DashboardMode::App => {
            let layout = s.m.dashboard.sections.layout();
            let text = String::from_utf8_lossy(&layout);
            if !s.m.dashboard.is_news(&text) && repeat == Repeat::Skip {
                return false;
            }
            send_own(
                s,
                "dashboard",
                None,
                |out| out.extend_from_slice(&layout),
                cx,
            );
        }
    }
    true
}

#[cfg(test)]
#[path = "dashboard_tests.rs"]
mod tests;
