//! Outside thread, REST: tool schemas and tool calls (protocol.md §13.4, §18.16). Each needs the user, the app itself acting
//! for its user, or a system app.

use super::{Handled, auth, body, member, param, query, reply, system_apps};
use crate::base::ids::{CallId, UserId};
use crate::services::context::Services;
use crate::session::effects::{HttpCall, HttpKind, HttpMethod, RestAnswer};
use crate::session::event::HttpOutcome;
use crate::shard::mailbox::OutsideRequest;
use crate::wire::records::AppRecord;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const RETRY_PAUSE: Duration = Duration::from_secs(1);

fn error(status: u16, message: &str) -> RestAnswer {
    reply(status, &json!({ "error": true, "message": message }))
}

/// For whom the request may act: the token's user, or anyone for a system app; an app only for itself.
enum Caller {
    User(UserId),
    App(String),
    System,
}

fn caller(cx: &Services, r: &OutsideRequest) -> Handled<Caller> {
    let refused = || error(401, "Unauthorized");
    if query(r, "apiKey").is_some() {
        return auth::system_app(cx, r)
            .map(|_| Caller::System)
            .map_err(|_| refused());
    }
    if let Ok(user) = auth::client(cx, r) {
        return Ok(Caller::User(user));
    }
    auth::app(cx, r)
        .map(|package| Caller::App(package.to_string()))
        .map_err(|_| refused())
}

async fn post(
    cx: &Services,
    record: &AppRecord,
    body: &Value,
    keyed: bool,
    attempts: u64,
    limit_ms: u64,
) -> HttpOutcome {
    let mut outcome = HttpOutcome::Failed {
        error: "no attempt".into(),
    };
    for attempt in 0..attempts {
        if attempt > 0 {
            sleep(RETRY_PAUSE).await;
        }
        let call = HttpCall {
            call: CallId(0),
            kind: HttpKind::Tool,
            method: HttpMethod::Post,
            url: format!("{}/tool", record.public_url.trim_end_matches('/')),
            headers: if keyed {
                vec![("x-app-api-key", record.key_sha256.clone())]
            } else {
                Vec::new()
            },
            body: body.to_string().into(),
            timeout_ms: limit_ms,
        };
        outcome = cx.webhooks.call(call, None).await;
        // As the server that this one replaces has it: an app that answers anything but success is asked once more.
        if matches!(
            outcome,
            HttpOutcome::Answer {
                status: 200..=299,
                ..
            }
        ) {
            break;
        }
    }
    outcome
}

fn relayed(outcome: HttpOutcome) -> Handled {
    match outcome {
        HttpOutcome::Answer { status, body, .. } => Ok(RestAnswer::json(status, body)),
        HttpOutcome::Failed { error: cause } => {
            Err(error(502, &format!("Tool call failed: {cause}")))
        }
    }
}

/// `POST /api/tools/apps/:pkg/tool`.
pub(super) async fn call(cx: &Services, r: &OutsideRequest) -> Handled {
    let caller = caller(cx, r)?;
    let fields = body(r);
    let package = param(r, 0);
    let missing: Vec<_> = ["toolId", "userId"]
        .into_iter()
        .filter(|name| member(&fields, name).is_none())
        .collect();
    let (Some(tool), Some(user)) = (member(&fields, "toolId"), member(&fields, "userId")) else {
        return Err(error(
            400,
            &format!("Missing required fields: {}", missing.join(", ")),
        ));
    };
    let user = UserId::new(user);
    let allowed = match &caller {
        Caller::User(own) => *own == user,
        Caller::App(own) => own == package,
        Caller::System => query(r, "userId").is_some_and(|own| UserId::new(own) == user),
    };
    if !allowed {
        return Err(error(401, "Unauthorized"));
    }
    let record = known_app(cx, package)?;
    let apps = &cx.settings().apps;
    let body = tool_body(cx, tool, fields.get("toolParameters"), &user);
    relayed(
        post(
            cx,
            &record,
            &body,
            true,
            apps.tool_webhook_attempts,
            apps.tool_webhook_timeout_ms,
        )
        .await,
    )
}

fn tool_body(cx: &Services, tool: &str, parameters: Option<&Value>, user: &UserId) -> Value {
    let parameters = parameters.cloned().unwrap_or_else(|| json!({}));
    json!({ "toolId": tool, "toolParameters": parameters, "userId": user.as_str(), "timestamp": cx.iso() })
}

/// `POST …/system-app/apps/:target/tool` and `…/invoke-tool`.
pub(super) async fn invoke(cx: &Services, r: &OutsideRequest) -> Handled {
    let (_, user) = auth::system_app(cx, r)?;
    system_apps::live(cx, &user).await?;
    let fields = body(r);
    let refused = |status, text: &str| reply(status, &json!({ "success": false, "error": text }));
    let target = Some(param(r, 0))
        .filter(|target| !target.is_empty())
        .or_else(|| member(&fields, "targetPackage"))
        .or_else(|| member(&fields, "packageName"))
        .ok_or_else(|| refused(400, "Missing target package"))?;
    let tool =
        member(&fields, "toolId").ok_or_else(|| refused(400, "Missing required fields: toolId"))?;
    let record = cx
        .registry()
        .get(target)
        .cloned()
        .ok_or_else(|| refused(404, "App not found"))?;
    if !super::apps::user_record(cx, &user)
        .await?
        .installed_apps
        .iter()
        .any(|entry| entry.package_name == target)
    {
        return Err(refused(404, "App is not installed"));
    }
    let limit_ms = cx.settings().apps.tool_invoke_timeout_ms;
    let body = tool_body(cx, tool, fields.get("toolParameters"), &user);
    let call = post(cx, &record, &body, false, 1, limit_ms);
    match timeout(Duration::from_millis(limit_ms), call).await {
        Ok(outcome) => relayed(outcome),
        Err(_) => Err(refused(504, "Tool call timed out")),
    }
}

fn schemas(record: &AppRecord) -> impl Iterator<Item = Value> {
    record.tools.iter().map(|tool| {
        let mut tool = tool.clone();
        if let Value::Object(map) = &mut tool {
            map.insert("appPackageName".into(), record.package_name.clone().into());
        }
        tool
    })
}

async fn installed_tools(cx: &Services, user: &UserId) -> Handled<Vec<Value>> {
    let stored = super::apps::user_record(cx, user).await?;
    let registry = cx.registry();
    let records = stored
        .installed_apps
        .iter()
        .filter_map(|entry| registry.get(&entry.package_name));
    Ok(records.flat_map(|record| schemas(record)).collect())
}

/// `GET …/system-app/tools` and `…/apps/:target/tools`.
pub(super) async fn of_system(cx: &Services, r: &OutsideRequest) -> Handled {
    let (_, user) = auth::system_app(cx, r)?;
    system_apps::live(cx, &user).await?;
    let mut tools = installed_tools(cx, &user).await?;
    if !param(r, 0).is_empty() {
        tools.retain(|tool| tool["appPackageName"] == param(r, 0));
    }
    Ok(reply(
        200,
        &json!({ "success": true, "data": tools, "tools": tools }),
    ))
}

fn known_app(cx: &Services, package: &str) -> Result<Arc<AppRecord>, RestAnswer> {
    let known = cx.registry().get(package).cloned();
    known.ok_or_else(|| error(404, "App not found"))
}

/// `GET /api/tools/apps/:pkg/tools`.
pub(super) fn of_app(cx: &Services, r: &OutsideRequest) -> Handled {
    let package = param(r, 0);
    if matches!(caller(cx, r)?, Caller::App(own) if own != package) {
        return Err(error(401, "Unauthorized"));
    }
    let record = known_app(cx, package)?;
    Ok(reply(200, &Value::Array(schemas(&record).collect())))
}

/// `GET /api/tools/users/:userId/tools`.
pub(super) async fn of_user(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = UserId::new(param(r, 0));
    let tools = match caller(cx, r)? {
        Caller::User(own) if own == user => installed_tools(cx, &user).await?,
        Caller::System if query(r, "userId").is_some_and(|own| UserId::new(own) == user) => {
            installed_tools(cx, &user).await?
        }
        Caller::App(own) => {
            let mut tools = installed_tools(cx, &user).await?;
            tools.retain(|tool| tool["appPackageName"] == own.as_str());
            tools
        }
        _ => return Err(error(401, "Unauthorized")),
    };
    Ok(reply(200, &Value::Array(tools)))
}
