//! Layer 2, flow: the points where device, location, streams and settings touch other rooms of the session. Each is one
//! call; nothing is decided here.

use crate::base::ids::Package;
use crate::session::{Cx, Session};

/// The microphone has to be told again what the server wants (glasses appeared or left).
pub(crate) fn microphone_resync(s: &mut Session, cx: &mut Cx<'_>) {
    let _ = (s, cx);
}

/// Calendar events changed: the agenda of the dashboard may differ.
pub(crate) fn agenda_changed(s: &mut Session, cx: &mut Cx<'_>) {
    super::screen::dashboard_input_changed(s, cx);
}

/// The user is somewhere else: the weather of the dashboard may differ.
pub(crate) fn position_changed(s: &mut Session, cx: &mut Cx<'_>) {
    super::screen::dashboard_input_changed(s, cx);
}

/// Time zone, units or another setting that the dashboard shows changed.
pub(crate) fn dashboard_settings_changed(s: &mut Session, cx: &mut Cx<'_>) {
    super::screen::dashboard_input_changed(s, cx);
}

/// A running app lacks hardware on the new model.
pub(crate) fn stop_incompatible(s: &mut Session, package: &str, cx: &mut Cx<'_>) {
    super::stop::incompatible(s, package, cx);
}

/// The phone unregistered UDP: its key must not be used again (protocol.md §11.6).
pub(crate) fn udp_key_forgotten(s: &mut Session) {
    let _ = s;
}

/// Rates of all stored `location_stream` subscriptions, whether or not their app has a socket now.
pub(crate) fn location_rates(s: &Session) -> Vec<Option<String>> {
    s.m.subscriptions
        .sets
        .iter()
        .flat_map(|(_, set)| set)
        .filter(|(text, _)| text == "location_stream")
        .map(|(_, rate)| rate.clone())
        .collect()
}

/// Apps that get event `stream`, with the name under which each gets it.
pub(crate) fn subscribers(s: &Session, stream: &str) -> Vec<(Package, String)> {
    let named = |text: &str| {
        text == stream
            || text == "*"
            || text == "all"
            || (stream == "location_update" && text == "location_stream")
    };
    s.m.subscriptions
        .sets
        .iter()
        .filter(|(_, set)| set.iter().any(|(text, _)| named(text)))
        .map(|(package, _)| (package.clone(), stream.to_owned()))
        .collect()
}

/// Apps with at least one subscription that starts with `augmentos:`.
pub(crate) fn settings_subscribers(s: &Session) -> Vec<Package> {
    s.m.subscriptions
        .sets
        .iter()
        .filter(|(_, set)| set.iter().any(|(text, _)| text.starts_with("augmentos:")))
        .map(|(package, _)| package.clone())
        .collect()
}

/// Stores a subscription, for tests of flows that read them.
#[cfg(test)]
pub(crate) fn subscribe(s: &mut Session, package: &str, text: &str, rate: Option<&str>) {
    let entry = (text.to_owned(), rate.map(str::to_owned));
    let sets = &mut s.m.subscriptions.sets;
    match sets.iter_mut().find(|(owner, _)| &**owner == package) {
        Some((_, set)) => set.push(entry),
        None => sets.push((Package::new(package), vec![entry])),
    }
}

/// Removes all subscriptions of an app, for tests.
#[cfg(test)]
pub(crate) fn unsubscribe(s: &mut Session, package: &str) {
    s.m.subscriptions
        .sets
        .retain(|(owner, _)| &**owner != package);
}
