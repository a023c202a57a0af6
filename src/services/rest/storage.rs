//! Outside thread, REST: simple storage (protocol.md §18.12, behaviour.md §7.11). Keys are literal, values are strings.

use super::{Handled, auth, body, fail, param, refuse, reply};
use crate::base::ids::UserId;
use crate::services::context::Services;
use crate::services::lock::lock;
use crate::services::store::{Change, DocKey, Outcome, Quota};
use crate::shard::mailbox::OutsideRequest;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// Writes of the current minute by user and package; emptied every minute.
#[derive(Default)]
pub(super) struct Rate {
    minute: u64,
    writes: HashMap<(UserId, String), u64>,
}

type Data = BTreeMap<String, String>;

fn done(message: impl Into<Value>) -> Handled {
    let message: Value = message.into();
    Ok(reply(200, &json!({ "success": true, "message": message })))
}

fn not_found(message: &str) -> crate::session::effects::RestAnswer {
    fail(404, message)
}

fn check_rate(cx: &Services, user: &UserId, package: &str) -> Handled<()> {
    let limit = cx.settings().messages.storage_rate_per_min;
    if limit == 0 {
        return Ok(());
    }
    let minute = cx.clock.now().mono_ms / 60_000;
    let mut rate = lock(&cx.memory.storage_rate);
    if rate.minute != minute {
        *rate = Rate {
            minute,
            writes: HashMap::new(),
        };
    }
    let count = rate
        .writes
        .entry((user.clone(), package.to_owned()))
        .or_insert(0);
    *count += 1;
    if *count > limit {
        let mut refusal = refuse(429, "Rate limit exceeded");
        refusal.retry_after_s = Some(60);
        return Err(refusal);
    }
    Ok(())
}

async fn merge(cx: &Services, user: UserId, package: &str, data: Data) -> Handled<()> {
    let messages = &cx.settings().messages;
    let quota = Quota {
        value_chars: messages.storage_value_chars,
        total_chars: messages.storage_total_chars,
    };
    match cx
        .writes
        .apply(Change::StorageMerge(user, package.to_owned(), data, quota))
        .await?
    {
        Outcome::ValueTooLong => Err(refuse(400, "Value exceeds 100KB limit")),
        Outcome::TotalTooLong => Err(refuse(413, "Total storage exceeds 1MB limit")),
        _ => Ok(()),
    }
}

/// `/api/sdk/simple-storage/:email`.
pub(super) async fn all(cx: &Services, r: &OutsideRequest) -> Handled {
    let package = auth::app(cx, r)?;
    let user = UserId::new(param(r, 0));
    match r.method.as_str() {
        "GET" => {
            let data: Option<Data> = cx.writes.read(DocKey::storage(&user, &package)).await?;
            Ok(reply(
                200,
                &json!({ "success": true, "data": data.unwrap_or_default() }),
            ))
        }
        "DELETE" => {
            check_rate(cx, &user, &package)?;
            match cx
                .writes
                .apply(Change::StorageClear(user, package.to_string()))
                .await?
            {
                Outcome::Absent => Err(not_found("Storage not found")),
                _ => done("Storage cleared"),
            }
        }
        _ => {
            let body = body(r);
            let shape = || {
                refuse(
                    400,
                    "Invalid body: expected { data: Record<string,string> }",
                )
            };
            let map = body
                .get("data")
                .and_then(Value::as_object)
                .ok_or_else(shape)?;
            let text =
                |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
            if let Some((key, _)) = map.iter().find(|(_, value)| !value.is_string()) {
                let detail = format!("Invalid value for key \"{key}\"");
                let body = json!({ "error": "All values must be strings", "detail": detail });
                return Err(reply(400, &body));
            }
            let data: Data = map.iter().filter_map(text).collect();
            check_rate(cx, &user, &package)?;
            merge(cx, user, &package, data).await?;
            done("Storage updated")
        }
    }
}

/// `/api/sdk/simple-storage/:email/:key`.
pub(super) async fn key(cx: &Services, r: &OutsideRequest) -> Handled {
    let package = auth::app(cx, r)?;
    let (user, key) = (UserId::new(param(r, 0)), param(r, 1));
    match r.method.as_str() {
        "GET" => {
            let data: Option<Data> = cx.writes.read(DocKey::storage(&user, &package)).await?;
            let value = data
                .as_ref()
                .and_then(|data| data.get(key))
                .ok_or_else(|| not_found("Key not found"))?;
            Ok(reply(
                200,
                &json!({ "success": true, "data": { "value": value } }),
            ))
        }
        "DELETE" => {
            check_rate(cx, &user, &package)?;
            match cx
                .writes
                .apply(Change::StorageDelete(
                    user,
                    package.to_string(),
                    key.to_owned(),
                ))
                .await?
            {
                Outcome::Absent => Err(not_found("Storage not found")),
                _ => done(format!("Key \"{key}\" deleted")),
            }
        }
        _ => {
            let body = body(r);
            let shape = || refuse(400, "Invalid body: expected { value: string }");
            let value = body
                .get("value")
                .and_then(Value::as_str)
                .ok_or_else(shape)?;
            check_rate(cx, &user, &package)?;
            merge(
                cx,
                user,
                &package,
                Data::from([(key.to_owned(), value.to_owned())]),
            )
            .await?;
            done(format!("Key \"{key}\" set"))
        }
    }
}
