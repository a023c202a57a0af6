//! Outside thread, REST: user settings (protocol.md §18.5). Durable first, then told to the live session.

use super::{Handled, auth, body, fail, param, reply};
use crate::base::ids::UserId;
use crate::services::context::Services;
use crate::services::store::{Change, Outcome};
use crate::session::rest::Call;
use crate::shard::mailbox::OutsideRequest;
use serde_json::{Map, Value, json};

/// `/api/client/user/settings`.
pub(super) async fn all(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::client(cx, r)?;
    let settings = if r.method == "GET" {
        super::apps::user_record(cx, &user).await?.user_settings
    } else {
        let Some(Value::Object(changes)) = body(r).get("settings").cloned() else {
            return Err(fail(400, "Settings object required"));
        };
        change(cx, &user, changes).await?
    };
    Ok(reply(
        200,
        &json!({ "success": true, "data": { "settings": settings }, "timestamp": cx.iso() }),
    ))
}

/// `/api/client/user/settings/key/:key`.
pub(super) async fn key(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::client(cx, r)?;
    let key = param(r, 0);
    let data = match r.method.as_str() {
        "GET" => {
            let settings = super::apps::user_record(cx, &user).await?.user_settings;
            let value = settings.get(key);
            json!({ "key": key, "value": value, "exists": value.is_some() })
        }
        "DELETE" => {
            change(cx, &user, Map::from_iter([(key.to_owned(), Value::Null)])).await?;
            json!({ "key": key, "deleted": true })
        }
        _ => {
            // A body that says nothing must not delete the key.
            let value = body(r).get("value").cloned();
            let value = value.ok_or_else(|| fail(400, "Value required"))?;
            change(cx, &user, Map::from_iter([(key.to_owned(), value.clone())])).await?;
            json!({ "key": key, "value": value })
        }
    };
    Ok(reply(
        200,
        &json!({ "success": true, "data": data, "timestamp": cx.iso() }),
    ))
}

async fn change(
    cx: &Services,
    user: &UserId,
    changes: Map<String, Value>,
) -> Handled<Map<String, Value>> {
    super::apps::user_record(cx, user).await?;
    let merged = match cx
        .writes
        .apply(Change::UserSettings(user.clone(), changes.clone()))
        .await?
    {
        Outcome::UserSettings(merged) => merged,
        Outcome::TotalTooLong => return Err(fail(400, "Too many settings")),
        _ => Map::new(),
    };
    cx.tell_session(user, Call::UserSettings { changes }).await;
    Ok(merged)
}
