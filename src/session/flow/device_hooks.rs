//! Layer 2, flow: the points where device, location, streams and settings touch microphone, display, dashboard, subscriptions
//! and the app life cycle. Each is one call; nothing is decided here.

use super::{dashboard, microphone, screen, stop, sync};
use crate::base::ids::Package;
use crate::session::managers::apps::StopWhy;
use crate::session::managers::dashboard::{AgendaEvent, Units};
use crate::session::{Cx, Session};
use crate::wire::streams::StreamEvent;

/// The microphone has to be told again what the server wants (glasses appeared or left).
pub(crate) fn microphone_resync(s: &mut Session, cx: &mut Cx<'_>) {
    microphone::resync(s, cx);
}

/// The glasses' model or their connection changed: the dashboard's composition, and what was waiting to be painted.
pub(crate) fn glasses_changed(s: &mut Session, cx: &mut Cx<'_>) {
    let model = s.m.device.model().map(str::to_owned);
    dashboard::model_changed(s, model.as_deref(), cx);
    if super::device::glasses_connected(s) {
        screen::repaint(s, cx);
    }
}

/// Calendar events changed: the agenda of the dashboard may differ.
pub(crate) fn agenda_changed(s: &mut Session, cx: &mut Cx<'_>) {
    let agenda = s.m.calendar.events().iter().map(|event| AgendaEvent {
        title: event.title.clone(),
        start_ms: event.start_ms,
        end_ms: event.end_ms,
        all_day: event.all_day,
    });
    let agenda = agenda.collect();
    screen::agenda_changed(s, agenda, cx);
}

/// The user is somewhere else: the weather of the dashboard may differ.
pub(crate) fn position_changed(s: &mut Session, cx: &mut Cx<'_>) {
    if let Some((lat, lng)) = s.m.location.last().map(|fix| (fix.lat, fix.lng)) {
        dashboard::position_changed(s, lat, lng, cx);
    }
}

/// Time zone, units or another setting that the dashboard shows changed.
pub(crate) fn dashboard_settings_changed(s: &mut Session, cx: &mut Cx<'_>) {
    let zone = s.m.settings.timezone().unwrap_or("UTC").to_owned();
    let units = if s.m.settings.is_metric() {
        Units::Metric
    } else {
        Units::Imperial
    };
    dashboard::timezone_changed(s, &zone, cx);
    dashboard::weather_changed(s, |weather| drop(weather.set_units(units)), cx);
}

/// A running app lacks hardware on the new model.
pub(crate) fn stop_incompatible(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    stop::stop(s, package, StopWhy::Incompatible, None, cx);
}

/// The phone unregistered UDP: its key must not be used again (protocol.md §11.6).
pub(crate) fn udp_key_forgotten(s: &mut Session) {
    s.m.phone.udp_key = None;
}

/// Rates of all stored `location_stream` subscriptions, whether or not their app has a socket now.
pub(crate) fn location_rates(s: &Session) -> Vec<Option<String>> {
    s.m.subscriptions
        .location_rates()
        .map(|(_, rate)| rate.map(str::to_owned))
        .collect()
}

/// Apps that get event `stream`, with the name under which each gets it.
pub(crate) fn subscribers(s: &Session, stream: &str, cx: &Cx<'_>) -> Vec<(Package, String)> {
    let event = StreamEvent::new(stream);
    s.m.subscriptions
        .iter()
        .filter_map(|one| {
            let granted = |permission| sync::granted(cx, &one.package, permission);
            Some((
                one.package.clone(),
                one.delivered_as(&event, granted)?.to_owned(),
            ))
        })
        .collect()
}

/// Apps with at least one subscription that starts with `augmentos:`.
pub(crate) fn settings_subscribers(s: &Session) -> Vec<Package> {
    s.m.subscriptions
        .iter()
        .filter(|one| {
            one.list()
                .iter()
                .any(|own| own.text.starts_with("augmentos:"))
        })
        .map(|one| one.package.clone())
        .collect()
}

/// Stores a subscription, for tests of flows that read them.
#[cfg(test)]
pub(crate) fn subscribe(s: &mut Session, package: &str, text: &str, rate: Option<&str>) {
    use crate::session::managers::subscriptions::Wish;
    use serde_json::{Value, json};
    let package = Package::new(package);
    let mut list: Vec<Value> =
        s.m.subscriptions
            .get(&package)
            .map(|one| one.list().iter().map(|own| json!(&*own.text)).collect())
            .unwrap_or_default();
    list.push(if text == "location_stream" {
        json!({ "stream": text, "rate": rate })
    } else {
        json!(text)
    });
    let user = s.user.clone();
    s.m.subscriptions
        .apply(&user, &package, Wish::read(&list, 256), 0, 0);
}

/// Removes all subscriptions of an app, for tests.
#[cfg(test)]
pub(crate) fn unsubscribe(s: &mut Session, package: &str) {
    s.m.subscriptions.remove(package, 0, 0);
}
