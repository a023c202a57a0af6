//! Layer 2, flow: the display meets apps, phone and glasses (behaviour.md §6.1). Builds what the server itself shows and sends
//! what the display manager decided.

use crate::base::ids::Package;
use crate::base::metrics::Counter;
use crate::session::effects::{Class, Effect, StoreOp};
use crate::session::flow::{dashboard, device};
use crate::session::managers::apps::AppState;
use crate::session::managers::dashboard::AgendaEvent;
use crate::session::managers::display::{Display, Outcome, Paint, Request, Stage};
use crate::session::{Cx, Session};
use crate::wire::json::{ObjectWriter, write_str};

/// An app's start passed its checks: boot screen.
pub(crate) fn app_starting(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    let name = match cx.apps.get(package) {
        Some(record) => record.display_name().to_owned(),
        None => package.to_owned(),
    };
    let package = Package::new(package);
    with_stage(s, cx, |display, stage| {
        display.app_starting(&package, &name, stage);
    });
}

/// An app stopped, failed to start, went dormant or released: display and dashboard content goes.
pub(crate) fn app_gone(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    with_stage(s, cx, |display, stage| display.app_gone(package, stage));
    dashboard::app_gone(s, package, cx);
}

/// The phone or the glasses (re)appeared: repaint.
pub(crate) fn repaint(s: &mut Session, cx: &mut Cx<'_>) {
    with_stage(s, cx, |display, stage| display.repaint(stage));
    dashboard::repaint(s, cx);
}

/// The user's calendar changed.
pub(crate) fn agenda_changed(s: &mut Session, events: Vec<AgendaEvent>, cx: &mut Cx<'_>) {
    s.m.dashboard.set_agenda(events);
    dashboard::input_changed(s, cx);
}

/// What the stored user record says about onboarding; the record is read once, at the session's start.
pub(crate) fn user_loaded(s: &mut Session, onboarded: &[String]) {
    let packages = onboarded.iter().map(|name| Package::new(name));
    s.m.display.add_onboarded(packages);
}

/// The phone has a new socket. A clear that went to the last one when it was dead already never arrived (behaviour.md §6.1.6).
pub(crate) fn phone_connected(s: &mut Session) {
    if !s.m.phone.has_got(s.m.display.wiped_pings) {
        s.m.display.may_show_wiped();
    }
}

/// A main-view request of an app.
pub(crate) fn request(s: &mut Session, request: Request, cx: &mut Cx<'_>) -> Outcome {
    let outcome = if s.m.apps.is_running(&request.package) {
        with_stage(s, cx, |display, stage| display.request(request, stage))
    } else {
        Outcome::Rejected
    };
    cx.metrics.inc(match outcome {
        Outcome::Sent => Counter::DisplaySent,
        Outcome::Throttled => Counter::DisplayThrottled,
        Outcome::Queued => Counter::DisplayQueued,
        Outcome::Rejected => Counter::DisplayRejected,
        Outcome::NotConnected => Counter::DisplayNotConnected,
    });
    outcome
}

/// Whether anything can be shown: phone socket open and glasses connected (protocol.md §14.3), unless nobody is to judge the
/// glasses (`validation_enabled`).
pub(crate) fn reachable(s: &Session, cx: &Cx<'_>) -> bool {
    let judged = cx.cfg.device.validation_enabled;
    s.m.phone.open().is_some() && (!judged || device::glasses_connected(s))
}

/// The boot screen of an app is over.
pub(crate) fn boot_due(s: &mut Session, package: &Package, cx: &mut Cx<'_>) {
    let apps = cx.apps;
    let instructions = apps
        .get(package)
        .map(|record| record.onboarding_instructions.as_str())
        .filter(|text| {
            cx.cfg.display.onboarding_display
                && !text.is_empty()
                && s.m.display.needs_onboarding(package)
        });
    with_stage(s, cx, |display, stage| {
        display.boot_due(package, instructions, stage);
    });
}

/// Runs one decision of the display manager and sends what it painted.
pub(crate) fn with_stage<R>(
    s: &mut Session,
    cx: &mut Cx<'_>,
    decide: impl FnOnce(&mut Display, &mut Stage<'_>) -> R,
) -> R {
    let mut out = Vec::new();
    let (reachable, main_app) = (reachable(s, cx), main_app(s, cx));
    let apps = &s.m.apps;
    let result = decide(
        &mut s.m.display,
        &mut Stage {
            now_ms: cx.now.mono_ms,
            cfg: &cx.cfg.display,
            reachable,
            main_app,
            running: &|package| apps.is_running(package),
            timers: &mut s.timers,
            out: &mut out,
        },
    );
    for paint in out {
        send(s, paint, cx);
    }
    result
}

/// The foreground app: type `standard`, connecting, running or in grace. Derived, never stored (behaviour.md §6.1.1).
fn main_app(s: &Session, cx: &Cx<'_>) -> Option<Package> {
    s.m.apps
        .iter()
        .filter(|app| cx.apps.is_standard(&app.package))
        .filter_map(|app| {
            let rank = match app.state {
                AppState::Running => 2,
                AppState::Connecting => 1,
                AppState::GracePeriod | AppState::TransportDown | AppState::Resurrecting => 0,
                AppState::Stopped | AppState::Stopping | AppState::Dormant => return None,
            };
            Some((rank, app))
        })
        .max_by_key(|(rank, app)| (*rank, app.attached_ms))
        .map(|(_, app)| app.package.clone())
}

fn send(s: &mut Session, paint: Paint, cx: &mut Cx<'_>) {
    match paint {
        Paint::Request(message) => {
            let _ = s.send_phone(cx, Class::Display, |out| out.extend_from_slice(&message));
        }
        Paint::Boot(names) => {
            let title = if names.len() > 1 {
                "// MentraOS - Starting Apps"
            } else {
                "// MentraOS - Starting App"
            };
            let text = names.join(", ");
            let layout = |out: &mut Vec<u8>| {
                ObjectWriter::begin(out)
                    .str("layoutType", "reference_card")
                    .str("title", title)
                    .str("text", &text)
                    .end();
            };
            send_own(s, "main", None, layout, cx);
        }
        Paint::Clear => {
            s.m.display.wiped_pings = s.m.phone.pings;
            send_own(s, "main", Some(0), |out| text_wall(out, ""), cx);
        }
        Paint::Card { app, text } => {
            let duration = cx.cfg.display.onboarding_display_ms;
            send_own(s, "main", Some(duration), |out| text_wall(out, &text), cx);
            cx.fx.push(Effect::Store {
                op: StoreOp::SetOnboarded(app),
                ack: None,
            });
        }
    }
}

/// A `text_wall` layout.
pub(crate) fn text_wall(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(br#"{"layoutType":"text_wall","text":"#);
    write_str(out, text);
    out.push(b'}');
}

/// A display of the server itself.
pub(crate) fn send_own(
    s: &Session,
    view: &str,
    duration_ms: Option<u64>,
    layout: impl FnOnce(&mut Vec<u8>),
    cx: &mut Cx<'_>,
) {
    let stamp = cx.now.iso();
    let package = cx.cfg.display.os_package_name.as_str();
    let _ = s.send_phone(cx, Class::Display, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "display_event")
            .str("packageName", package)
            .str("view", view);
        layout(object.slot("layout"));
        if let Some(duration_ms) = duration_ms {
            object.num("durationMs", duration_ms);
        }
        object.str("timestamp", stamp.as_str());
        object.end();
    });
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
