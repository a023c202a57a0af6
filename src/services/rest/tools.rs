//! Outside thread, REST: tool schemas and tool calls (protocol.md §13.4, §18.16). Each needs the user, the app itself acting
//! for its user, a system app, or a server that the operator names: assistants that exist show no credentials. What tools an app has
//! is no secret.

use super::{Handled, auth, body, denied, header, member, param, query, reply, system_apps};
use crate::base::ids::{CallId, UserId};
use crate::base::network::any_contains;
use crate::services::context::Services;
use crate::services::store::DocKey;
use crate::session::effects::{HttpCall, HttpKind, HttpMethod, RestAnswer};
use crate::session::event::HttpOutcome;
use crate::shard::mailbox::{OutsideRequest, TOOL_PAUSE_MS};
use crate::wire::json::ObjectWriter;
use crate::wire::records::{AppRecord, UserRecord};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

fn error(status: u16, message: &str) -> RestAnswer {
    reply(status, &json!({ "error": true, "message": message }))
}

/// For whom the request may act: the token's user, or anyone for a system app; an app only for itself.
enum Caller {
    User(UserId),
    App(String),
    System,
    /// At an address of `assistant_addresses`, without credentials.
    Assistant,
}

fn caller(cx: &Services, r: &OutsideRequest) -> Handled<Caller> {
    let refused = || error(401, "Unauthorized");
    if query(r, "apiKey").is_some() {
        return auth::system_app(cx, r)
            .map(|_| Caller::System)
            .map_err(|_| refused());
    }
    let is_named = || any_contains(&cx.settings().apps.assistant_addresses, r.peer);
    if header(r, "authorization").is_none() && is_named() {
        return Ok(Caller::Assistant);
    }
    if let Ok(user) = auth::client(cx, r) {
        return Ok(Caller::User(user));
    }
    auth::app(cx, r)
        .map(|package| Caller::App(package.to_string()))
        .map_err(|_| refused())
}

/// How an app's `/tool` is called.
#[derive(Clone, Copy)]
struct Manner {
    /// With the hash of the app's key, by which it knows the server.
    with_key: bool,
    attempts: u64,
    /// Time limit of each attempt.
    limit_ms: u64,
}

/// Only the text of the call is kept while its answer is awaited: the values that it was made of are many times as large.
async fn post(
    cx: &Services,
    record: &AppRecord,
    user: &UserId,
    body: Bytes,
    manner: Manner,
) -> HttpOutcome {
    let mut outcome = HttpOutcome::Failed {
        error: "no attempt".into(),
    };
    for attempt in 0..manner.attempts {
        if attempt > 0 {
            sleep(Duration::from_millis(TOOL_PAUSE_MS)).await;
        }
        let call = HttpCall {
            call: CallId(0),
            kind: HttpKind::Tool,
            method: HttpMethod::Post,
            url: format!("{}/tool", record.base_url()),
            headers: if manner.with_key {
                vec![("x-app-api-key", record.key_sha256.clone())]
            } else {
                Vec::new()
            },
            body: body.clone(),
            timeout_ms: manner.limit_ms,
        };
        outcome = cx.webhooks.call_for(call, user).await;
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
    let given = |name: &str| {
        let missing = || error(400, &format!("Missing required fields: {name}"));
        member(&fields, name).ok_or_else(missing)
    };
    let (tool, user) = (given("toolId")?, given("userId")?);
    let user = UserId::new(user);
    let allowed = match &caller {
        Caller::User(own) => *own == user,
        Caller::App(own) => own == package,
        Caller::System => query(r, "userId").is_some_and(|own| UserId::new(own) == user),
        Caller::Assistant => true,
    };
    if !allowed {
        return Err(error(401, "Unauthorized"));
    }
    let record = known_app(cx, package)?;
    let apps = &cx.settings().apps;
    let body = tool_body(cx, tool, fields.get("toolParameters"), &user);
    drop(fields);
    let manner = Manner {
        with_key: true,
        attempts: apps.tool_webhook_attempts,
        limit_ms: apps.tool_webhook_timeout_ms,
    };
    relayed(post(cx, &record, &user, body, manner).await)
}

fn tool_body(cx: &Services, tool: &str, parameters: Option<&Value>, user: &UserId) -> Bytes {
    let none = json!({});
    let parameters = parameters.unwrap_or(&none);
    let mut body = Vec::new();
    let mut object = ObjectWriter::begin(&mut body);
    object
        .str("toolId", tool)
        .value("toolParameters", parameters)
        .str("userId", user)
        .str("timestamp", &cx.iso());
    object.end();
    body.into()
}

/// `POST …/system-app/apps/:target/tool` and `…/invoke-tool`.
pub(super) async fn of_assistant(cx: &Services, r: &OutsideRequest) -> Handled {
    let (_, user) = auth::system_app(cx, r)?;
    let live = system_apps::live(cx, &user).await?;
    match param(r, 0) {
        "" => invoke(cx, r, &user, &live).await,
        target => pass_on(cx, r, &user, target).await,
    }
}

/// Passes the call on as it came, and the app's answer back; only for the user whose session was checked.
async fn pass_on(cx: &Services, r: &OutsideRequest, user: &UserId, target: &str) -> Handled {
    let fields = body(r);
    for name in ["toolId", "userId"] {
        if member(&fields, name).is_none() {
            return Err(denied(400, &format!("Missing required field: {name}")));
        }
    }
    if member(&fields, "userId").map(UserId::new).as_ref() != Some(user) {
        return Err(denied(403, "userId must be the user of the query"));
    }
    let record = cx.registry().get(target).cloned();
    let record = record.ok_or_else(|| denied(404, "App not found"))?;
    if record.public_url.is_empty() {
        return Err(denied(400, "App does not have a public URL"));
    }
    let manner = Manner {
        with_key: true,
        attempts: 1,
        limit_ms: cx.settings().apps.tool_webhook_timeout_ms,
    };
    let call = fields.to_string().into();
    drop(fields);
    passed_on(&post(cx, &record, user, call, manner).await)
}

fn passed_on(outcome: &HttpOutcome) -> Handled {
    match said(outcome) {
        Ok(data) => Ok(reply(200, &json!({ "success": true, "data": data }))),
        Err(text) => Err(denied(500, &text)),
    }
}

/// A tool of an app that runs for the user.
async fn invoke(
    cx: &Services,
    r: &OutsideRequest,
    user: &UserId,
    live: &super::apps::Snapshot,
) -> Handled {
    let fields = body(r);
    let given = |name: &str| {
        let missing = || denied(400, &format!("{name} is required"));
        member(&fields, name).ok_or_else(missing)
    };
    let owned = |name: &str| given(name).map(str::to_owned);
    let (target, tool) = (&owned("targetPackageName")?, &owned("toolId")?);
    if !live.running.contains(target) {
        let text = format!(
            "App {target} is not running. Start it first using /api/sdk/system-app/{target}/start"
        );
        return Err(denied(400, &text));
    }
    let record = cx.registry().get(target).cloned();
    let Some(record) = record.filter(|record| !record.public_url.is_empty()) else {
        let text = format!("App {target} does not have a public URL configured");
        return Err(denied(400, &text));
    };
    let limit_ms = cx.settings().apps.tool_invoke_timeout_ms;
    let call = tool_body(cx, tool, tool_parameters(&fields), user);
    drop(fields);
    let manner = Manner {
        with_key: false,
        attempts: 1,
        limit_ms,
    };
    let call = post(cx, &record, user, call, manner);
    let outcome = timeout(Duration::from_millis(limit_ms), call).await;
    let late = || HttpOutcome::Failed {
        error: "timeout".into(),
    };
    invoked(target, tool, &outcome.unwrap_or_else(|_| late()))
}

/// What the tool is called with: assistants name it as the replaced server did, or as every other route for tools does.
fn tool_parameters(fields: &Value) -> Option<&Value> {
    let named = |name: &str| fields.get(name);
    named("parameters").or_else(|| named("toolParameters"))
}

fn invoked(target: &str, tool: &str, outcome: &HttpOutcome) -> Handled {
    match said(outcome) {
        Ok(data) if data["status"] == "success" => {
            let text = format!("Tool {tool} executed successfully on {target}");
            let body = json!({ "success": true, "result": data["reply"], "message": text });
            Ok(reply(200, &body))
        }
        Ok(data) => {
            let text = member(&data, "message").unwrap_or("Tool execution failed");
            Err(denied(500, text))
        }
        Err(text) => Err(denied(500, &format!("Tool execution failed: {text}"))),
    }
}

/// What the app answered, or its words for why not.
fn said(outcome: &HttpOutcome) -> Result<Value, String> {
    match outcome {
        HttpOutcome::Answer { status, body, .. } => {
            let data: Value = crate::wire::json::from_slice(body).unwrap_or_default();
            if outcome.is_success() {
                return Ok(data);
            }
            let text = || format!("Request failed with status code {status}");
            Err(member(&data, "message").map_or_else(text, str::to_owned))
        }
        HttpOutcome::Failed { error } => Err(error.clone()),
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

/// `GET …/system-app/tools`, the user's, and `…/apps/:target/tools`, those of one app.
pub(super) async fn of_system(cx: &Services, r: &OutsideRequest) -> Handled {
    let (_, user) = auth::system_app(cx, r)?;
    system_apps::live(cx, &user).await?;
    let tools = match param(r, 0) {
        "" => installed_tools(cx, &user).await?,
        target => {
            let record = cx.registry().get(target).cloned();
            let record = record.ok_or_else(|| denied(404, "App not found"))?;
            record.tools.clone()
        }
    };
    Ok(reply(200, &json!({ "success": true, "data": tools })))
}

fn known_app(cx: &Services, package: &str) -> Result<Arc<AppRecord>, RestAnswer> {
    let known = cx.registry().get(package).cloned();
    known.ok_or_else(|| error(404, "App not found"))
}

/// `GET /api/tools/apps/:pkg/tools`.
pub(super) fn of_app(cx: &Services, r: &OutsideRequest) -> Handled {
    let record = known_app(cx, param(r, 0))?;
    Ok(reply(200, &Value::Array(schemas(&record).collect())))
}

/// `GET /api/tools/users/:userId/tools`.
pub(super) async fn of_user(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = UserId::new(param(r, 0));
    let caller = caller(cx, r)?;
    let allowed = match &caller {
        Caller::User(own) => *own == user,
        Caller::System => query(r, "userId").is_some_and(|own| UserId::new(own) == user),
        Caller::App(_) | Caller::Assistant => true,
    };
    if !allowed {
        return Err(error(401, "Unauthorized"));
    }
    // Who asks for others could name any number of users: none is made for it.
    let known: Option<UserRecord> = cx.writes.read(DocKey::user(&user)).await?;
    if known.is_none() {
        return Err(error(404, "User not found"));
    }
    let mut tools = installed_tools(cx, &user).await?;
    if let Caller::App(own) = caller {
        tools.retain(|tool| tool["appPackageName"] == own.as_str());
    }
    Ok(reply(200, &Value::Array(tools)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::rest::testkit::{APP, KEY, Kit, USER};
    use crate::shard::mailbox::OutsideRoute as Route;

    fn answer(status: u16, body: &'static str) -> HttpOutcome {
        HttpOutcome::Answer {
            status,
            body: body.into(),
            retry_after_s: None,
        }
    }

    fn shown(handled: Handled) -> (u16, Value) {
        let answer = handled.unwrap_or_else(|refusal| refusal);
        let body = serde_json::from_slice(&answer.body).expect("JSON");
        (answer.status, body)
    }

    #[test]
    fn an_assistant_hears_the_reply_of_a_tool_or_what_the_app_says_of_its_failure() {
        let failed = |text: &str| (500, json!({"success": false, "error": text}));
        for (outcome, wanted) in [
            (
                answer(200, r#"{"status":"success","reply":[1]}"#),
                (
                    200,
                    json!({"success": true, "result": [1], "message": "Tool t executed successfully on a"}),
                ),
            ),
            (
                answer(200, r#"{"status":"error","message":"no"}"#),
                failed("no"),
            ),
            (answer(200, "ok"), failed("Tool execution failed")),
            (
                answer(500, r#"{"message":"no"}"#),
                failed("Tool execution failed: no"),
            ),
            (
                answer(404, ""),
                failed("Tool execution failed: Request failed with status code 404"),
            ),
        ] {
            assert_eq!(shown(invoked("a", "t", &outcome)), wanted);
        }
        let data = json!({"success": true, "data": {"x": 1}});
        assert_eq!(shown(passed_on(&answer(200, r#"{"x":1}"#))), (200, data));
        assert_eq!(
            shown(passed_on(&answer(500, r#"{"message":"no"}"#))),
            failed("no")
        );
    }

    #[test]
    fn a_tool_gets_its_parameters_under_either_name() {
        let milk = json!({"text": "milk"});
        for call in [
            json!({"toolId": "t", "parameters": milk.clone()}),
            json!({"toolId": "t", "toolParameters": milk.clone()}),
            json!({"toolId": "t", "parameters": milk.clone(), "toolParameters": {}}),
        ] {
            assert_eq!(tool_parameters(&call), Some(&milk), "{call}");
        }
        assert_eq!(tool_parameters(&json!({"toolId": "t"})), None);
    }

    #[test]
    fn an_assistant_calls_tools_of_running_apps_by_their_names() {
        Kit::run(|kit| async move {
            kit.session(|_| {
                let live = r#"{"running":["com.acme.scribe"],"capabilities":null}"#;
                Some(RestAnswer::json(200, live))
            });
            let asked = |params: &[&str], body: Value| {
                let mut r = Kit::request(Route::SystemInvokeTool, "POST", params, &body);
                let query = [
                    ("apiKey", KEY),
                    ("packageName", "com.mentra.assistant"),
                    ("userId", USER),
                ];
                r.query = query
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .to_vec();
                r
            };
            let named = |target: &str| json!({"targetPackageName": target, "toolId": "t"});
            for (params, body, status, text) in [
                (&[][..], json!({}), 400, "targetPackageName is required"),
                (
                    &[],
                    json!({"targetPackageName": APP}),
                    400,
                    "toolId is required",
                ),
                (
                    &[],
                    named("com.acme.other"),
                    400,
                    "App com.acme.other is not running. Start it first using /api/sdk/system-app/com.acme.other/start",
                ),
                (
                    &[],
                    named(APP),
                    400,
                    "App com.acme.scribe does not have a public URL configured",
                ),
                (&[APP], json!({}), 400, "Missing required field: toolId"),
                (
                    &[APP],
                    json!({"toolId": "t"}),
                    400,
                    "Missing required field: userId",
                ),
                (
                    &[APP],
                    json!({"toolId": "t", "userId": "eve@lumen.io"}),
                    403,
                    "userId must be the user of the query",
                ),
                (
                    &["com.nobody"],
                    json!({"toolId": "t", "userId": "Nadia@lumen.io"}),
                    404,
                    "App not found",
                ),
                (
                    &[APP],
                    json!({"toolId": "t", "userId": USER}),
                    400,
                    "App does not have a public URL",
                ),
            ] {
                let answer = kit.send(&asked(params, body)).await;
                assert_eq!(answer, (status, json!({"success": false, "error": text})));
            }
        });
    }
}
