//! Outside thread, REST: per-user app settings (protocol.md §18.13). Durable first; then the live session tells the app, or
//! this file does when there is none.

use super::{Handled, auth, body, header, param, refuse, reply};
use crate::base::ids::{CallId, UserId};
use crate::services::context::Services;
use crate::services::crowd::Asker;
use crate::services::lines::{Line, may};
use crate::services::store::{Change, DocKey, Outcome};
use crate::session::effects::{HttpCall, HttpKind, HttpMethod, RestAnswer};
use crate::session::managers::settings::{full_values, in_force};
use crate::session::rest::Call;
use crate::shard::mailbox::OutsideRequest;
use crate::wire::auth::TokenError;
use crate::wire::ids::parse_app_session_id;
use crate::wire::records::{AppRecord, UserRecord};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Bodies of webhooks that wait for their servers (bytes), of which each counts as [`CALL_LEAST`] at least. Beyond it, and for a user who
/// has as many as are free, an app learns of its settings when it asks for them, or starts.
pub(super) const CALLS_BYTES_MAX: u64 = 32 << 20;
const CALL_LEAST: u64 = 4096;
const BAD_PAYLOAD: &str =
    "Invalid update payload format. Expected an array of settings or a single setting object.";

fn not_found() -> RestAnswer {
    refuse(404, "App not found")
}

fn client(cx: &Services, r: &OutsideRequest) -> Handled<UserId> {
    if let Some(user) = &r.user {
        return Ok(user.clone());
    }
    let value =
        header(r, "authorization").ok_or_else(|| refuse(401, "Authorization header missing"))?;
    let token = value
        .strip_prefix("Bearer ")
        .filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| refuse(401, "Invalid Authorization header format"))?;
    let deed = match r.method.as_str() {
        "POST" => "update",
        _ => "request",
    };
    auth::core_user(cx, token).map_err(|error| match error {
        TokenError::NoUser => refuse(400, "User ID missing in token"),
        _ => {
            let text = format!("Invalid core token or error processing {deed}");
            refuse(401, &text)
        }
    })
}

/// `/appsettings/:pkg`.
pub(super) async fn of_app(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = client(cx, r)?;
    let record = cx
        .registry()
        .get(param(r, 0))
        .cloned()
        .ok_or_else(not_found)?;
    if r.method == "GET" {
        read(cx, &user, &record).await
    } else {
        update(cx, r, &user, &record).await
    }
}

async fn read(cx: &Services, user: &UserId, record: &AppRecord) -> Handled {
    let stored = super::apps::user_record(cx, user).await?;
    let values = stored.app_settings.get(&record.package_name);
    let settings: Vec<_> = record
        .settings
        .iter()
        .map(|declared| with_selected(declared, values))
        .collect();
    Ok(reply(
        200,
        &json!({
            "success": true,
            "userId": user.as_str(),
            "name": record.display_name(),
            "description": record.description,
            "uninstallable": !cx.settings().apps.preinstalled_apps.contains(&record.package_name),
            "webviewURL": record.webview_url,
            "version": record.version,
            "settings": settings,
            "permissions": record.permissions,
            "organization": record.organization,
        }),
    ))
}

/// The user's value of a setting; `null` is none, as in an ack (protocol.md §9.1).
fn stored_value<'a>(key: Option<&Value>, values: Option<&'a Vec<Value>>) -> Option<&'a Value> {
    let entry = values?
        .iter()
        .find(|entry| entry.get("key") == key && key.is_some())?;
    entry.get("value").filter(|value| !value.is_null())
}

fn with_selected(declared: &Value, values: Option<&Vec<Value>>) -> Value {
    let mut setting = declared.clone();
    if let Value::Object(map) = &mut setting
        && map.get("type").and_then(Value::as_str) != Some("group")
    {
        let default = map.get("defaultValue").cloned().unwrap_or(Value::Null);
        let selected = stored_value(map.get("key"), values)
            .cloned()
            .unwrap_or(default);
        map.insert("selected".into(), selected);
    }
    setting
}

fn entries(body: Value) -> Option<Vec<Value>> {
    let list = match body {
        Value::Array(list) => list,
        Value::Object(map) => vec![Value::Object(map)],
        _ => return None,
    };
    let pair = |entry: &Value| {
        let key = entry.get("key")?.as_str().filter(|key| !key.is_empty())?;
        Some(json!({ "key": key, "value": entry.get("value")? }))
    };
    list.iter().map(pair).collect()
}

async fn update(
    cx: &Services,
    r: &OutsideRequest,
    user: &UserId,
    record: &Arc<AppRecord>,
) -> Handled {
    let entries = entries(body(r)).ok_or_else(|| refuse(400, BAD_PAYLOAD))?;
    super::apps::user_record(cx, user).await?;
    let package = record.package_name.clone();
    let change = Change::AppSettings(user.clone(), package.clone(), entries);
    let outcome = cx.writes.apply(change).await?;
    if outcome == Outcome::TotalTooLong {
        return Err(refuse(400, "Too many settings"));
    }
    if let Outcome::AppSettings(settings) = outcome {
        let told = cx
            .tell_session(
                user,
                Call::AppSettings {
                    package,
                    settings: settings.clone(),
                },
            )
            .await;
        if !told {
            tell_server(cx, user, record, &settings);
        }
    }
    Ok(reply(
        200,
        &json!({ "success": true, "message": "Settings updated successfully" }),
    ))
}

/// Not awaited: the answer does not depend on the app server (protocol.md §13.3). What waits for servers that hang is bounded.
fn tell_server(cx: &Services, user: &UserId, record: &AppRecord, settings: &[Value]) {
    let Some(call) = settings_call(cx, user, record, settings) else {
        return;
    };
    let bytes = CALL_LEAST.max(call.body.len() as u64);
    let asker = Asker::User(user.clone());
    let Some(place) = cx.memory.settings_calls.enter_with(asker, bytes) else {
        if let Some(more) = may(Line::SettingsUntold) {
            let (user, package) = (user.log_tag(), &record.package_name);
            tracing::warn!(user, package, bytes, more, "settings-untold");
        }
        return;
    };
    let (webhooks, user) = (Arc::clone(&cx.webhooks), user.clone());
    tokio::spawn(async move {
        let _place = place;
        webhooks.call_for(call, &user).await
    });
}

/// `None`: the app has no server.
fn settings_call(
    cx: &Services,
    user: &UserId,
    record: &AppRecord,
    stored: &[Value],
) -> Option<HttpCall> {
    let settings = full_values(stored, &record.settings);
    Some(HttpCall {
        call: CallId(0),
        kind: HttpKind::Settings,
        method: HttpMethod::Post,
        url: record.endpoint("/settings")?,
        headers: Vec::new(),
        body: json!({ "userIdForSettings": user.as_str(), "settings": settings })
            .to_string()
            .into(),
        timeout_ms: cx.settings().apps.settings_webhook_timeout_ms,
    })
}

/// `GET /appsettings/user/:pkg`: app credentials with `x-user-id`, or the id of a live app session; never a bare e-mail.
pub(super) async fn of_user(cx: &Services, r: &OutsideRequest) -> Handled {
    let package = param(r, 0);
    let user = if let Some(user) = header(r, "x-user-id") {
        if *auth::app(cx, r)? != *package {
            return Err(refuse(403, "Package does not match credentials"));
        }
        UserId::new(user)
    } else {
        let token = auth::bearer(r)
            .ok_or_else(|| refuse(400, "User ID missing in Authorization header"))?;
        let parsed = parse_app_session_id(token, |user| cx.shared.live.contains(user));
        match parsed {
            Some((user, of)) if of == package && cx.shared.live.contains(&user) => {
                UserId::new(&user)
            }
            _ => return Err(refuse(401, "Invalid session")),
        }
    };
    let record = cx.registry().get(package).cloned().ok_or_else(not_found)?;
    // An app could name any number of users: none is made for it.
    let stored: Option<UserRecord> = cx.writes.read(DocKey::user(&user)).await?;
    let stored = stored.unwrap_or_default();
    let values = stored
        .app_settings
        .get(package)
        .map_or(&[][..], Vec::as_slice);
    // The same as an ack and an update carry: a 2.x SDK replaces its whole set with it.
    let settings: Vec<_> = in_force(values, &record.settings)
        .into_iter()
        .map(|(key, value, source)| {
            let mut item = Map::new();
            for name in ["type", "label", "options", "defaultValue"] {
                let member = source.get(name).cloned().unwrap_or(Value::Null);
                item.insert(name.into(), member);
            }
            item.insert("key".into(), key.into());
            item.insert("value".into(), value.clone());
            Value::Object(item)
        })
        .collect();
    Ok(reply(
        200,
        &json!({ "success": true, "settings": settings }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::rest::testkit::{APP, Kit};
    use crate::shard::mailbox::OutsideRoute as Route;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[test]
    fn webhooks_of_changed_settings_take_no_memory_without_end() {
        Kit::run(|kit| async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            let mut record = AppRecord::clone(kit.cx.registry().get(APP).expect("known"));
            record.public_url = format!("http://{}", listener.local_addr().expect("bound"));
            kit.cx.apps.set_file(vec![record]);
            crate::services::registry::refresh(&kit.cx).await;
            let change = async |size: u64| {
                let body = json!({"key": "size", "value": size});
                let changed = kit.client(Route::AppSettings, "POST", &[APP], body);
                assert_eq!(changed.await.0, 200);
            };
            let others = Asker::User(UserId::new("eve@lumen.io"));
            let calls = &kit.cx.memory.settings_calls;
            let taken = calls.enter_with(others, CALLS_BYTES_MAX - 1);
            assert!(taken.is_some());
            change(1).await;
            drop(taken);
            change(2).await;
            let (mut socket, _) = listener.accept().await.expect("told");
            let mut request = Vec::new();
            while !String::from_utf8_lossy(&request).contains(r#""value":2"#) {
                assert!(socket.read_buf(&mut request).await.expect("readable") > 0);
            }
            // Until it is answered.
            let rest = Asker::User(UserId::new("eve@lumen.io"));
            assert!(calls.enter_with(rest.clone(), CALLS_BYTES_MAX).is_none());
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            socket.write_all(answer).await.expect("writable");
            while calls.enter_with(rest.clone(), CALLS_BYTES_MAX).is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    #[test]
    fn the_webhook_carries_settings_that_the_user_never_touched_too() {
        Kit::run(|kit| async move {
            let mut record = AppRecord::clone(kit.cx.registry().get(APP).expect("known"));
            record.public_url = "https://scribe.acme.dev/".into();
            let stored = [json!({"key": "size", "value": 3})];
            let call = settings_call(&kit.cx, &Kit::user(), &record, &stored).expect("an address");
            assert_eq!(call.url, "https://scribe.acme.dev/settings");
            assert_eq!(
                serde_json::from_slice::<Value>(&call.body).expect("JSON"),
                json!({"userIdForSettings": "nadia@lumen.io", "settings": [
                    {"key": "lang", "value": "en"}, {"key": "size", "value": 3}
                ]})
            );
        });
    }
}
