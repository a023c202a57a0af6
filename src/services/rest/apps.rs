//! Outside thread, REST: app lists, install and uninstall (protocol.md §18.3).

use super::{Handled, auth, fail, param, query, reply};
use crate::base::ids::UserId;
use crate::services::context::Services;
use crate::services::store::{Change, Outcome, StoreError};
use crate::session::effects::RestAnswer;
use crate::session::rest::Call;
use crate::shard::mailbox::OutsideRequest;
use crate::wire::records::{AppRecord, HardwareRequirement, InstalledApp, UserRecord};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// The stored record of a user, who is created when new.
pub(crate) async fn user_record(cx: &Services, user: &UserId) -> Result<UserRecord, StoreError> {
    let registry = cx.registry();
    let wanted = &cx.settings().apps.preinstalled_apps;
    let packages = wanted
        .iter()
        .filter(|package| registry.get(package).is_some())
        .cloned()
        .collect();
    cx.writes.user(user, packages, cx.unix_ms()).await
}

/// What a live session says of itself.
pub(super) struct Snapshot {
    pub(super) running: HashSet<String>,
    pub(super) capabilities: Value,
}

/// `None` without a live session.
pub(super) async fn snapshot(cx: &Services, user: &UserId) -> Option<Snapshot> {
    let answer = cx.call_session(user, Call::Snapshot).await;
    if answer.status != 200 {
        return None;
    }
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let running = body["running"].as_array().into_iter().flatten();
    Some(Snapshot {
        running: running
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        capabilities: body["capabilities"].clone(),
    })
}

/// The public part of a record: everything but the key's hash.
fn public(record: &AppRecord) -> Map<String, Value> {
    let Ok(Value::Object(mut map)) = serde_json::to_value(record) else {
        return Map::new();
    };
    map.remove("hashedApiKey");
    map.remove("allowedIps");
    map
}

/// Requirements that the glasses do not meet, by level (protocol.md §17.4). Unknown glasses meet everything.
pub(super) fn compatibility(record: &AppRecord, capabilities: &Value) -> Value {
    let has = |kind: &str| {
        let flag = match kind {
            "CAMERA" => "hasCamera",
            "DISPLAY" => "hasDisplay",
            "MICROPHONE" => "hasMicrophone",
            "SPEAKER" => "hasSpeaker",
            "IMU" => "hasIMU",
            "BUTTON" => "hasButton",
            "LIGHT" => "hasLight",
            "WIFI" => "hasWifi",
            "EXIST" => return true,
            _ => return false,
        };
        capabilities[flag] == true
    };
    if capabilities.is_null() {
        return json!({});
    }
    let missing = |level: &str| -> Vec<Value> {
        let unmet = record
            .hardware_requirements
            .iter()
            .filter(|need| need.level == level && !has(&need.kind));
        unmet.map(shown).collect()
    };
    let required = missing("REQUIRED");
    json!({ "isCompatible": required.is_empty(), "missingRequired": required, "missingOptional": missing("OPTIONAL") })
}

fn shown(need: &HardwareRequirement) -> Value {
    match &need.description {
        Some(text) => json!({ "type": need.kind, "description": text }),
        None => json!({ "type": need.kind }),
    }
}

/// Records with what is known of them for one user.
pub(super) async fn enriched<'a>(
    cx: &Services,
    user: &UserId,
    records: impl Iterator<Item = &'a AppRecord>,
    live: Option<Snapshot>,
) -> Vec<Value> {
    let live = match live {
        Some(live) => Some(live),
        None => snapshot(cx, user).await,
    };
    let (running, capabilities) = live.map_or((HashSet::new(), Value::Null), |live| {
        (live.running, live.capabilities)
    });
    let mut list: Vec<_> = records
        .map(|record| {
            let mut map = public(record);
            map.insert("compatibility".into(), compatibility(record, &capabilities));
            map.insert(
                "is_running".into(),
                running.contains(&record.package_name).into(),
            );
            map.insert(
                "isOnline".into(),
                super::uptime::is_healthy(cx, &record.package_name).into(),
            );
            Value::Object(map)
        })
        .collect();
    list.sort_by(|left, right| {
        left["packageName"]
            .as_str()
            .cmp(&right["packageName"].as_str())
    });
    list
}

fn data(list: &[Value]) -> RestAnswer {
    reply(200, &json!({ "success": true, "data": list }))
}

/// `GET /apps`: for the token's user, or by a system app for a user who has a session.
pub(super) async fn all(cx: &Services, r: &OutsideRequest) -> Handled {
    let (user, live) = if r.user.is_none() && query(r, "apiKey").is_some() {
        let (_, user) = auth::system_app(cx, r)?;
        let live = super::system_apps::live(cx, &user).await?;
        (user, Some(live))
    } else {
        (auth::client_plain(cx, r)?, None)
    };
    let registry = cx.registry();
    let records = registry.iter().map(|(_, record)| &**record);
    Ok(data(&enriched(cx, &user, records, live).await))
}

/// `GET /apps/installed`.
pub(super) async fn installed(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::client_plain(cx, r)?;
    let (record, registry) = (user_record(cx, &user).await?, cx.registry());
    let known = record
        .installed_apps
        .iter()
        .filter_map(|entry| registry.get(&entry.package_name))
        .map(|record| &**record);
    Ok(data(&enriched(cx, &user, known, None).await))
}

fn sorted(cx: &Services, wanted: impl Fn(&AppRecord) -> bool) -> Vec<Value> {
    let registry = cx.registry();
    let mut list: Vec<_> = registry
        .iter()
        .map(|(_, record)| record)
        .filter(|record| wanted(record))
        .collect();
    list.sort_by(|left, right| left.package_name.cmp(&right.package_name));
    list.into_iter()
        .map(|record| Value::Object(public(record)))
        .collect()
}

/// `GET /apps/available` and `/apps/public`.
pub(super) fn available(cx: &Services) -> RestAnswer {
    data(&sorted(cx, |_| true))
}

/// `GET /apps/search?query=`.
pub(super) fn search(cx: &Services, r: &OutsideRequest) -> Handled {
    let wanted = query(r, "query")
        .or_else(|| query(r, "q"))
        .ok_or_else(|| fail(400, "Search query is required"))?;
    let wanted = wanted.to_lowercase();
    Ok(data(&sorted(cx, |record| {
        [&record.package_name, &record.name, &record.description]
            .iter()
            .any(|text| text.to_lowercase().contains(&wanted))
    })))
}

/// `GET /apps/:pkg`.
pub(super) fn one(cx: &Services, r: &OutsideRequest) -> Handled {
    let registry = cx.registry();
    let record = registry
        .get(param(r, 0))
        .ok_or_else(|| fail(404, "App not found"))?;
    Ok(reply(
        200,
        &json!({ "success": true, "data": public(record) }),
    ))
}

/// `POST /apps/install/:pkg`.
pub(super) async fn install(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::client_plain(cx, r)?;
    let package = param(r, 0);
    if cx.registry().get(package).is_none() {
        return Err(fail(404, "App not found"));
    }
    let mut stored = user_record(cx, &user).await?.installed_apps;
    stored.retain(|entry| entry.package_name == package);
    let entry = InstalledApp {
        package_name: package.to_owned(),
        installed_ms: cx.unix_ms(),
        last_active_ms: 0,
    };
    let change = Change::Install(user.clone(), entry.clone());
    let outcome = cx.writes.apply(change).await?;
    let was_there = !stored.is_empty();
    let installed = Some(stored.pop().unwrap_or(entry));
    tell_installed(cx, &user, package, installed).await;
    // What was not there is there by this call's doing, though a cut commit may have had to be repeated.
    if was_there && !matches!(outcome, Outcome::Installed(_)) {
        return Err(fail(400, "App is already installed"));
    }
    let message = format!("App {package} installed successfully");
    Ok(reply(200, &json!({ "success": true, "message": message })))
}

/// `POST /apps/uninstall/:pkg`.
pub(super) async fn uninstall(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::client_plain(cx, r)?;
    let package = param(r, 0);
    let stored = user_record(cx, &user).await?.installed_apps;
    let was_there = stored.iter().any(|entry| entry.package_name == package);
    let change = Change::Uninstall(user.clone(), package.to_owned());
    let outcome = cx.writes.apply(change).await?;
    tell_installed(cx, &user, package, None).await;
    // Likewise.
    if !was_there && outcome == Outcome::Absent {
        return Err(fail(400, "App is not installed"));
    }
    let message = format!("App {package} uninstalled successfully");
    Ok(reply(200, &json!({ "success": true, "message": message })))
}

/// Tells the session what is stored now, whether this call changed it or one before that was answered 503, and written later.
async fn tell_installed(
    cx: &Services,
    user: &UserId,
    package: &str,
    installed: Option<InstalledApp>,
) {
    let package = package.to_owned();
    let call = Call::InstallChanged { package, installed };
    cx.tell_session(user, call).await;
}
