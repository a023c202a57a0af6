//! Layer 2, flow: device state: updates, capabilities, snapshots (behaviour.md §7.3, protocol.md §17).

use crate::base::ids::{ConnId, Package};
use crate::base::metrics::Counter;
use crate::base::rarely::CLIENT_MS;
use crate::session::effects::{Class, Effect, StoreOp};
use crate::session::flow::{dashboard, microphone, screen, stop};
use crate::session::managers::device::{self, Source};
use crate::session::{Cx, Session, State};
use crate::wire::capabilities;
use crate::wire::json::ObjectWriter;
use crate::wire::records::{AppRecord, UserRecord};
use crate::wire::streams::Permission;
use serde_json::{Map, Value};

/// Loads what device, location, settings and calendar managers take from the stored user (behaviour.md §1.4 steps 3–4).
pub(crate) fn user_loaded(s: &mut Session, record: &UserRecord, cx: &mut Cx<'_>) {
    s.m.settings
        .load(record.user_settings.clone(), record.app_settings.clone());
    s.m.device.add_known_models(&record.glasses_models);
    if let Some(stored) = record.location
        && s.m.location.last().is_none()
    {
        s.m.location.seed(stored, cx.now);
        dashboard::position_changed(s, stored.lat, stored.lng, cx);
    }
    if s.m.device.model().is_none()
        && let Some(model) = s.m.settings.default_wearable().map(str::to_owned)
    {
        prefer_model(s, &model, cx);
    }
}

/// The user chose a default wearable: the model without a connection (behaviour.md §7.3.3). Apps are told even if it is the
/// model that they know, and judged anew.
pub(crate) fn prefer_model(s: &mut Session, model: &str, cx: &mut Cx<'_>) {
    let model = model.trim();
    if model.is_empty() {
        return;
    }
    if s.m.device.model() == Some(model) {
        new_hardware(s, cx);
        return;
    }
    let mut wish = Map::new();
    wish.insert("modelName".to_owned(), Value::from(model));
    update(s, wish, Source::Preference, cx);
}

/// What an update meant for the microphone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MicrophoneUpdate {
    /// The phone was told anew what is wanted of it.
    Resynced,
    /// Nothing.
    Untouched,
}

/// One update from any source (protocol.md §17.1). An update without a difference has no effect.
pub(crate) fn update(
    s: &mut Session,
    update: Map<String, Value>,
    source: Source,
    cx: &mut Cx<'_>,
) -> MicrophoneUpdate {
    let mut microphone = MicrophoneUpdate::Untouched;
    cx.metrics.inc(Counter::DeviceStateTotal);
    let had_glasses = s.m.device.has_glasses();
    let Some(change) = s.m.device.apply(update, source) else {
        cx.metrics.inc(Counter::DeviceStateDeduped);
        return microphone;
    };
    cx.metrics.inc(Counter::DeviceStateApplied);
    if change.hardware {
        new_hardware(s, cx);
    }
    // Before its ack a phone hears nothing (invariant 6); `acked` makes up for it.
    if s.state != State::Initializing {
        // Glasses that go away are only remembered, another model of connected ones is no news (behaviour.md §4.2).
        if change.connection && s.m.device.is_connected() {
            microphone::resync(s, cx);
            microphone = MicrophoneUpdate::Resynced;
        }
        if change.hardware || change.connection {
            let gone = had_glasses && change.connection && !s.m.device.is_connected();
            glasses_changed(s, gone, cx);
        }
    }
    broadcast(s, &change.diff, cx);
    microphone
}

/// Glasses that came back may have forgotten everything: the phone is told in any case (behaviour.md §4.2).
pub(crate) fn reconnected(s: &mut Session, microphone: MicrophoneUpdate, cx: &mut Cx<'_>) {
    if microphone == MicrophoneUpdate::Untouched && s.state != State::Initializing {
        microphone::resync(s, cx);
    }
}

/// Adds a connected model to the user's record. Not before that is read: the write would overtake the creation of a new user,
/// who would then be taken for an old one and get no pre-installed apps.
fn remember_model(s: &mut Session, cx: &mut Cx<'_>) {
    let Some(model) = s.m.device.model().map(str::to_owned) else {
        return;
    };
    if s.m.device.is_connected() && s.m.device.learn_model(&model) {
        cx.fx.push(Effect::Store {
            op: StoreOp::AddGlassesModel(model),
            ack: None,
        });
    }
}

/// A session that was loading has acked its phone: what the glasses that became known meanwhile mean for it.
pub(crate) fn acked(s: &mut Session, cx: &mut Cx<'_>) {
    remember_model(s, cx);
    if s.m.device.is_connected() {
        microphone::resync(s, cx);
    }
    if s.m.device.model().is_some() || s.m.device.is_connected() {
        glasses_changed(s, false, cx);
    }
}

/// The model or its connection changed: the dashboard's composition, and what was waiting to be painted unless they are `gone`
/// (simulated ones count as glasses even then).
fn glasses_changed(s: &mut Session, gone: bool, cx: &mut Cx<'_>) {
    let model = s.m.device.model().map(str::to_owned);
    dashboard::model_changed(s, model.as_deref(), cx);
    if !gone && glasses_connected(s) {
        screen::repaint(s, cx);
    }
}

/// The operator's profiles, at the start of the session and after a reload.
pub(crate) fn profiles_changed(s: &mut Session, cx: &mut Cx<'_>) {
    if s.m.device.set_profiles(&cx.apps.profiles) {
        new_hardware(s, cx);
    }
}

/// Tells apps what the glasses can do, stops those that run or start and need more, remembers a connected model.
fn new_hardware(s: &mut Session, cx: &mut Cx<'_>) {
    let conns: Vec<ConnId> = s.m.apps.open().map(|(_, conn)| conn).collect();
    let profile = s.m.device.capabilities();
    let model = s.m.device.model().unwrap_or_default().to_owned();
    if !conns.is_empty() {
        cx.fx.text_to_all(conns, Class::Control, |out| {
            let mut object = ObjectWriter::begin(out);
            object
                .str("type", "capabilities_update")
                .raw("capabilities", profile.unwrap_or("null").as_bytes())
                .str("modelName", &model);
            object.end();
        });
    }
    if profile.is_none()
        && let Some(more) = s.m.device.unknown_lines.may(cx.now.mono_ms, CLIENT_MS)
    {
        tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), model, more, "capabilities of this model are unknown");
    }
    // Those on their way too: nobody would look at them again. One that is away for good is looked at when it is restarted.
    let concerned: Vec<Package> =
        s.m.apps
            .iter()
            .filter(|app| app.start.is_some() || app.state.is_expected())
            .map(|app| app.package.clone())
            .collect();
    for package in concerned {
        let lacks = cx
            .apps
            .last_known(&package)
            .is_some_and(|record| !missing_hardware(s, record).is_empty());
        if lacks {
            stop::incompatible(s, &package, cx);
        }
    }
    if s.state != State::Initializing {
        remember_model(s, cx);
    }
}

/// `device_state_update` with the differences to every open app socket.
fn broadcast(s: &Session, diff: &Map<String, Value>, cx: &mut Cx<'_>) {
    let (trusted, others): (Vec<_>, Vec<_>) = s.m.apps.open().partition(|(app, _)| {
        !diff.contains_key(device::HOTSPOT_PASSWORD) || may_see_all(&app.package, cx)
    });
    let trusted: Vec<ConnId> = trusted.into_iter().map(|(_, conn)| conn).collect();
    let others: Vec<ConnId> = others.into_iter().map(|(_, conn)| conn).collect();
    let now = cx.now.iso();
    if !trusted.is_empty() {
        cx.fx.text_to_all(trusted, Class::Control, |out| {
            write_update(out, diff, Extent::Changes, now.as_str());
        });
    }
    let public = device::public_part(diff);
    if !others.is_empty() && !public.is_empty() {
        cx.fx.text_to_all(others, Class::Control, |out| {
            write_update(out, &public, Extent::Changes, now.as_str());
        });
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Changes,
    Everything,
}

fn write_update(out: &mut Vec<u8>, state: &Map<String, Value>, extent: Extent, now: &str) {
    let mut object = ObjectWriter::begin(out);
    object
        .str("type", "device_state_update")
        .value("state", state)
        .bool("fullSnapshot", extent == Extent::Everything)
        .str("timestamp", now);
    object.end();
}

fn may_see_all(package: &str, cx: &Cx<'_>) -> bool {
    cx.apps
        .get(package)
        .is_some_and(|record| record.grants(Permission::All))
}

/// `device_state_update` with `fullSnapshot: true` to one app socket, after its ack.
pub(crate) fn send_snapshot(s: &Session, package: &str, conn: ConnId, cx: &mut Cx<'_>) {
    let everything = s.m.device.state();
    let now = cx.now.iso();
    let trusted = may_see_all(package, cx);
    cx.fx.text(conn, Class::Control, |out| {
        if trusted {
            write_update(out, everything, Extent::Everything, now.as_str());
        } else {
            let public = device::public_part(everything);
            write_update(out, &public, Extent::Everything, now.as_str());
        }
    });
}

/// Capabilities of the current model as JSON, or `null` (protocol.md §17.2).
pub(crate) fn capabilities_json(s: &Session) -> Vec<u8> {
    s.m.device
        .capabilities()
        .unwrap_or("null")
        .as_bytes()
        .to_vec()
}

/// `mentraosSettings` of the acks (protocol.md §9.1.1).
pub(crate) fn mentraos_settings_json(s: &Session) -> Vec<u8> {
    let mut out = Vec::with_capacity(384);
    s.m.settings.write_mentraos(&mut out);
    out
}

/// `settings` of the acks: one `{key, value, …}` per non-group setting (behaviour.md §2.6 step 4).
pub(crate) fn app_settings_json(s: &Session, record: &AppRecord) -> Vec<u8> {
    s.m.settings
        .app_values(&record.package_name, &record.settings)
}

/// Missing REQUIRED hardware of an app on the current model; empty = compatible (protocol.md §17.4).
pub(crate) fn missing_hardware(s: &Session, record: &AppRecord) -> Vec<String> {
    missing(s, record, "REQUIRED")
}

/// Missing OPTIONAL hardware, which is only worth a warning (behaviour.md §2.3).
pub(crate) fn missing_optional(s: &Session, record: &AppRecord) -> Vec<String> {
    missing(s, record, "OPTIONAL")
}

fn missing(s: &Session, record: &AppRecord, level: &str) -> Vec<String> {
    let Some(profile) = s.m.device.capabilities() else {
        return Vec::new();
    };
    record
        .hardware_requirements
        .iter()
        .filter(|need| need.level == level && !capabilities::has(profile, &need.kind))
        .map(|need| need.kind.clone())
        .collect()
}

/// Whether display, photo and stream requests have glasses to go to (protocol.md §17.3).
pub(crate) fn glasses_connected(s: &Session) -> bool {
    s.m.device.has_glasses()
}

/// Saves the last location at disposal.
pub(crate) fn save_location(s: &mut Session, cx: &mut Cx<'_>) {
    if let Some(at) = s.m.location.unsaved() {
        cx.fx.push(Effect::Store {
            op: StoreOp::SetLocation(at),
            ack: None,
        });
    }
}
