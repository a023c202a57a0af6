//! Layer 2, flow: changed settings meet apps, device and dashboard (behaviour.md §7.4, §2.19).

use crate::session::effects::{Class, Effect, HttpCall, HttpKind, HttpMethod};
use crate::session::flow::{dashboard, device, relay};
use crate::session::managers::dashboard::Units;
use crate::session::managers::settings::full_values;
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use serde_json::{Map, Value};

/// User settings were stored: side effects first, then the full map to every app that listens to any of them.
pub(crate) fn user_changed(s: &mut Session, changes: &Map<String, Value>, cx: &mut Cx<'_>) {
    s.m.settings.merge(changes);
    if let Some(model) = changes
        .get("default_wearable")
        .and_then(Value::as_str)
        .filter(|model| !model.is_empty())
    {
        device::prefer_model(s, model, cx);
    }
    if changes.contains_key("timezone") || changes.contains_key("metric_system") {
        dashboard_changed(s, cx);
    }
    tell_apps(s, cx);
}

/// The full map, to every app that listens to any user setting.
pub(crate) fn tell_apps(s: &Session, cx: &mut Cx<'_>) {
    let settings = device::mentraos_settings_json(s);
    let now = cx.now.iso();
    for package in relay::settings_subscribers(s) {
        if !s.m.apps.is_running(&package) {
            continue;
        }
        let id = s.app_session_id(&package);
        let _ = s.send_app(&package, cx, Class::Control, |out| {
            let mut object = ObjectWriter::begin(out);
            object
                .str("type", "augmentos_settings_update")
                .str("sessionId", &id)
                .raw("settings", &settings)
                .str("timestamp", now.as_str());
            object.end();
        });
    }
}

/// Time zone or units, which the dashboard shows, may have changed.
pub(crate) fn dashboard_changed(s: &mut Session, cx: &mut Cx<'_>) {
    let zone = s.m.settings.timezone().unwrap_or("UTC").to_owned();
    let units = if s.m.settings.is_metric() {
        Units::Metric
    } else {
        Units::Imperial
    };
    dashboard::timezone_changed(s, &zone, cx);
    dashboard::units_changed(s, units, cx);
}

/// The settings of one app were stored: to its socket, and to its settings webhook (one attempt, never awaited).
pub(crate) fn app_changed(s: &mut Session, package: &str, stored: Vec<Value>, cx: &mut Cx<'_>) {
    let declared = cx.apps.get(package).map(|record| &*record.settings);
    let values = full_values(&stored, declared.unwrap_or_default());
    let id = s.app_session_id(package);
    let now = cx.now.iso();
    if s.m.apps.is_running(package) {
        let _ = s.send_app(package, cx, Class::Control, |out| {
            let mut object = ObjectWriter::begin(out);
            object
                .str("type", "settings_update")
                .str("packageName", package)
                .str("sessionId", &id)
                .value("settings", &values)
                .str("timestamp", now.as_str());
            object.end();
        });
    }
    webhook(s, package, &values, cx);
    s.m.settings.set_app(package, stored);
}

fn webhook(s: &mut Session, package: &str, values: &[Value], cx: &mut Cx<'_>) {
    let record = cx.apps.get(package);
    let Some(url) = record.and_then(|record| record.endpoint("/settings")) else {
        return;
    };
    let mut body = Vec::with_capacity(128);
    let mut object = ObjectWriter::begin(&mut body);
    object
        .str("userIdForSettings", &s.user)
        .value("settings", &values);
    object.end();
    let call = s.call_id();
    s.m.settings.webhook_sent(call);
    cx.fx.push(Effect::Http(HttpCall {
        call,
        kind: HttpKind::Settings,
        method: HttpMethod::Post,
        url,
        headers: Vec::new(),
        body: body.into(),
        timeout_ms: cx.cfg.apps.settings_webhook_timeout_ms,
    }));
}
