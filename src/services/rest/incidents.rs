//! Outside thread, REST: feedback, incidents, their logs and attachments (protocol.md §18.10). Bulk goes into files of the data
//! directory, the store keeps who, when and which.

use super::{
    Handled, STRANGERS_BYTES_MAX, auth, body, fail, files, header, member, multipart, param, reply,
    uuid,
};
use crate::base::ids::UserId;
use crate::services::context::Services;
use crate::services::lines::{Line, may};
use crate::services::store::{Change, DocKey, Outcome, StoreError, incidents_of};
use crate::session::effects::{IncidentLogs, RestAnswer};
use crate::session::rest::Call;
use crate::shard::mailbox::OutsideRequest;
use crate::wire::records::UserRecord;
use bytes::Bytes;
use serde_json::{Value, json};

/// Uploads of logs an incident takes.
const LOGS_MAX: usize = 64;
/// Attachments an incident takes.
const ATTACHMENTS_MAX: usize = 5;
const ATTACHMENT_BYTES_MAX: usize = 10 << 20;
/// `image/jpg` is what some phones call JPEG.
const ATTACHMENT_TYPES: &[&str] = &["image/png", "image/jpeg", "image/jpg", "image/webp"];
const UPLOAD_TOKEN_TTL_S: u64 = 300;
const SOURCES: &[&str] = &["phone", "glasses", "glasses_firmware"];

async fn create(cx: &Services, user: &UserId, fields: &Value) -> Handled<String> {
    counted(user, count_earlier(cx, user).await);
    let id = uuid();
    let incident = json!({
        "id": id,
        "user": user.as_str(),
        "createdAt": cx.iso(),
        "feedback": fields.get("feedback"),
        "phoneState": fields.get("phoneState"),
        "logs": [],
        "attachments": [],
    });
    cx.writes
        .apply(Change::PutIncident(id.clone(), incident))
        .await?;
    counted(user, count(cx, user, &id).await);
    Ok(id)
}

/// Logs a count that failed. The report is stored by then, so that it is not refused.
fn counted(user: &UserId, outcome: Result<(), StoreError>) {
    if let Err(error) = outcome
        && let Some(more) = may(Line::IncidentsUncounted)
    {
        tracing::warn!(user = user.log_tag(), %error, more, "incidents-uncounted");
    }
}

/// Counts a stored incident. Of a user who has too many the oldest are deleted.
async fn count(cx: &Services, user: &UserId, id: &str) -> Result<(), StoreError> {
    let max = cx.settings().store.incidents_per_user as usize;
    let noted = Change::NoteIncident(user.clone(), id.to_owned(), max);
    if let Outcome::Forgotten(ids) = cx.writes.apply(noted).await? {
        for old in ids {
            forget(cx, old).await?;
        }
    }
    Ok(())
}

/// Counts the user's incidents that an earlier version stored without counting. The search reads all incidents there are, so it is done
/// once per user and for one user at a time; whoever reports meanwhile, or when it fails, has it done at the next report.
async fn count_earlier(cx: &Services, user: &UserId) -> Result<(), StoreError> {
    let record: Option<UserRecord> = cx.writes.read(DocKey::user(user)).await?;
    if record.is_some_and(|record| record.incidents_counted) {
        return Ok(());
    }
    let Ok(_alone) = cx.memory.incident_search.try_lock() else {
        return Ok(());
    };
    let found = incidents_of(&**cx.writes.store(), user).await?;
    let counted = Change::CountIncidents(user.clone(), found);
    cx.writes.apply(counted).await.map(drop)
}

/// Removes an incident and its files. The id is one of ours, and safe as a folder.
async fn forget(cx: &Services, id: String) -> Result<(), StoreError> {
    let folder = files::folder(cx, "incidents").join(&id);
    cx.writes.apply(Change::RemoveIncident(id)).await?;
    // Most have none.
    let _ = tokio::fs::remove_dir_all(folder).await;
    Ok(())
}

/// `POST /api/client/feedback`.
pub(super) async fn feedback(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::client(cx, r)?;
    let fields = body(r);
    let refused = |text: &str| {
        let body = json!({ "success": false, "message": text, "timestamp": cx.iso() });
        reply(400, &body)
    };
    match fields.get("feedback") {
        Some(Value::Object(given)) if given.contains_key("type") => {}
        Some(Value::Object(_)) => {
            let text = "Structured feedback must include 'type' field ('bug' or 'feature')";
            return Err(refused(text));
        }
        Some(Value::String(text)) if !text.trim().is_empty() => {}
        _ => return Err(refused("Feedback content required")),
    }
    create(cx, &user, &fields).await?;
    Ok(reply(
        200,
        &json!({ "success": true, "timestamp": cx.iso() }),
    ))
}

/// `POST /api/incidents`.
pub(super) async fn open(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::reporter(cx, r)?;
    let fields = report(r)?;
    match fields.get("feedback") {
        Some(Value::Object(given)) if given.get("type") == Some(&json!("bug")) => {}
        Some(Value::Object(_)) => {
            return Err(fail(400, "Incidents are only for bug reports"));
        }
        _ => return Err(fail(400, "Missing feedback data")),
    }
    let id = create(cx, &user, &fields).await?;
    if let Some(live) = super::apps::snapshot(cx, &user).await {
        let tokens = live
            .running
            .iter()
            .filter_map(|package| Some((package.clone(), upload_token(cx, &id, package, &user)?)));
        cx.tell_session(
            &user,
            Call::RequestTelemetry {
                incident_id: id.clone(),
                tokens: tokens.collect(),
            },
        )
        .await;
    }
    Ok(reply(200, &json!({ "success": true, "incidentId": id })))
}

/// The body of these routes. Unlike elsewhere, one that is no JSON is refused.
fn report(r: &OutsideRequest) -> Handled<Value> {
    crate::wire::json::from_slice(&r.body).map_err(|_| fail(400, "Invalid JSON body"))
}

fn upload_token(cx: &Services, incident: &str, package: &str, user: &UserId) -> Option<String> {
    let now_s = cx.clock.now().unix_s();
    let claims = json!({
        "incidentId": incident, "packageName": package, "userId": user.as_str(), "iat": now_s, "exp": now_s + UPLOAD_TOKEN_TTL_S,
    });
    cx.tokens.mint(&claims).ok()
}

/// Who uploads: the user, and the app that does it for them.
struct Uploader {
    user: UserId,
    package: Option<String>,
}

/// Package and user of an upload token for this incident.
fn token_owner(cx: &Services, token: &str, incident: &str) -> Option<(String, UserId)> {
    let claims = cx.tokens.verify(token, cx.clock.now().unix_s()).ok()?;
    let claim = |name: &str| claims.get(name).and_then(Value::as_str);
    let owner = || {
        Some((
            claim("packageName")?.to_owned(),
            UserId::new(claim("userId")?),
        ))
    };
    (claim("incidentId")? == incident).then(owner)?
}

/// Who uploads. A token of the phone comes before an app's credentials.
fn uploader(
    cx: &Services,
    r: &OutsideRequest,
    fields: &Value,
    incident: &str,
) -> Handled<Uploader> {
    let refused = |text: &str| fail(401, text);
    if let Some(token) = auth::plain_token(r) {
        // SDK 3.x sends its upload token where a phone has its own.
        return match auth::reporter(cx, r) {
            Ok(user) => Ok(Uploader {
                user,
                package: None,
            }),
            Err(refusal) => token_owner(cx, token, incident)
                .map(|(package, user)| Uploader {
                    user,
                    package: Some(package),
                })
                .ok_or(refusal),
        };
    }
    let (Some(key), Some(package)) = (header(r, "x-app-api-key"), header(r, "x-app-package"))
    else {
        return Err(refused("Missing authentication"));
    };
    if !auth::key_matches(cx, package, key)? {
        return Err(refused("Invalid app credentials"));
    }
    let token = member(fields, "uploadToken")
        .ok_or_else(|| refused("Missing uploadToken for app telemetry"))?;
    if cx.tokens.verify(token, cx.clock.now().unix_s()).is_err() {
        return Err(refused("Invalid or expired uploadToken"));
    }
    match token_owner(cx, token, incident) {
        Some((of, user)) if of == package => Ok(Uploader {
            user,
            package: Some(of),
        }),
        _ => Err(refused("Invalid uploadToken")),
    }
}

/// Whether the headers alone show that somebody known uploads, so that the body may be read for the rest.
fn may_upload(cx: &Services, r: &OutsideRequest, incident: &str) -> bool {
    if let Some(token) = auth::plain_token(r) {
        return auth::reporter(cx, r).is_ok() || token_owner(cx, token, incident).is_some();
    }
    match (header(r, "x-app-api-key"), header(r, "x-app-package")) {
        (Some(key), Some(package)) => auth::key_matches(cx, package, key).unwrap_or(true),
        _ => false,
    }
}

async fn stored(cx: &Services, id: &str) -> Handled<Value> {
    let incident: Option<Value> = cx.writes.read(DocKey::incident(id)).await?;
    incident.ok_or_else(|| fail(404, "Incident not found"))
}

fn check_owner(incident: &Value, user: &UserId) -> Handled<()> {
    if incident["user"] == user.as_str() {
        Ok(())
    } else {
        Err(fail(403, "Forbidden"))
    }
}

async fn append(
    cx: &Services,
    id: &str,
    list: &'static str,
    entry: Value,
    max: usize,
) -> Handled<()> {
    let change = Change::AppendIncident {
        id: id.to_owned(),
        list,
        entries: vec![entry],
        max,
    };
    match cx.writes.apply(change).await? {
        Outcome::Absent => Err(fail(404, "Incident not found")),
        Outcome::TotalTooLong => Err(fail(400, "Too many uploads for this incident")),
        _ => Ok(()),
    }
}

/// Writes an upload and lists it with its incident. `id` names a stored incident, so it is one of our UUIDs and safe as a folder.
async fn keep(
    cx: &Services,
    id: &str,
    (list, max): (&'static str, usize),
    entry: Value,
    (name, data): (String, Bytes),
) -> Handled<()> {
    let folder = files::folder(cx, "incidents").join(id);
    let file = folder.join(&name);
    files::save(folder, name, data).await?;
    let listed = append(cx, id, list, entry, max).await;
    // After a failure of the store it may be listed all the same.
    if listed.as_ref().is_err_and(|refusal| refusal.status < 500) {
        let _ = tokio::fs::remove_file(file).await;
    }
    listed
}

/// `POST /api/incidents/:id/logs`.
pub(super) async fn logs(cx: &Services, r: &OutsideRequest) -> Handled {
    let id = param(r, 0);
    if r.body.len() > STRANGERS_BYTES_MAX && !may_upload(cx, r, id) {
        return Err(fail(401, "Missing authentication"));
    }
    let fields = report(r)?;
    let logs = fields
        .get("logs")
        .filter(|logs| logs.is_array())
        .ok_or_else(|| fail(400, "Invalid payload: logs array required"))?;
    let uploader = uploader(cx, r, &fields, id)?;
    check_owner(&stored(cx, id).await?, &uploader.user)?;
    let source = match &uploader.package {
        Some(package) => format!("app:{package}"),
        None => {
            let named = member(&fields, "source").unwrap_or("phone");
            let known = SOURCES.iter().find(|known| **known == named);
            known.map_or("phone", |known| *known).to_owned()
        }
    };
    add_logs(cx, id, &source, logs.to_string()).await?;
    Ok(reply(200, &json!({ "success": true })))
}

/// `telemetry_response` of an app socket (protocol.md §8.21): stored like an upload when the user has this incident.
pub(crate) async fn from_socket(cx: &Services, user: &UserId, from: &IncidentLogs) -> Handled<()> {
    check_owner(&stored(cx, &from.incident_id).await?, user)?;
    let source = format!("app:{}", from.package);
    add_logs(cx, &from.incident_id, &source, from.logs.clone()).await
}

async fn add_logs(cx: &Services, id: &str, source: &str, logs: String) -> Handled<()> {
    let name = format!("{}.json", uuid());
    let data = Bytes::from(logs);
    let entry = json!({ "source": source, "file": name, "bytes": data.len(), "at": cx.iso() });
    keep(cx, id, ("logs", LOGS_MAX), entry, (name, data)).await
}

/// `POST /api/incidents/:id/attachments`. One picture that cannot be kept does not cost the others; the phone counts both.
pub(super) async fn attachments(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::reporter(cx, r)?;
    let id = param(r, 0);
    let incident = stored(cx, id).await?;
    check_owner(&incident, &user)?;
    let uploads = pictures(r, &incident)?;
    let (mut uploaded, mut errors) = (Vec::new(), Vec::new());
    for part in uploads {
        let filename = part.filename.clone();
        match attach(cx, id, part).await {
            Ok(name) => uploaded.push(json!({ "filename": filename, "storedAs": name })),
            Err(error) => errors.push(json!({ "filename": filename, "error": error })),
        }
    }
    let mut answer = json!({ "success": !uploaded.is_empty(), "uploaded": uploaded });
    if !errors.is_empty() {
        answer["errors"] = errors.into();
    }
    Ok(reply(200, &answer))
}

/// The pictures of a request, if the incident has room for all of them.
fn pictures(r: &OutsideRequest, incident: &Value) -> Handled<Vec<multipart::Part>> {
    let known = incident["attachments"].as_array().map_or(0, Vec::len);
    let room = ATTACHMENTS_MAX.saturating_sub(known);
    if room == 0 {
        let text = format!("Maximum {ATTACHMENTS_MAX} attachments allowed");
        return Err(fail(400, &text));
    }
    let parts = multipart::parts(r).ok_or_else(|| fail(400, "Invalid multipart body"))?;
    let uploads: Vec<_> = parts
        .into_iter()
        .filter(|part| part.name == "files" && part.filename.is_some())
        .collect();
    match uploads.len() {
        0 => Err(fail(400, "No files provided")),
        many if many > room => {
            let text = format!("Can only add {room} more attachment(s)");
            Err(fail(400, &text))
        }
        _ => Ok(uploads),
    }
}

/// Keeps one picture: the name of its file, or why not.
async fn attach(cx: &Services, id: &str, part: multipart::Part) -> Result<String, String> {
    let bytes = part.data.len();
    if !ATTACHMENT_TYPES.contains(&part.content_type.as_str()) {
        return Err(format!(
            "Invalid file type: {}. Allowed: PNG, JPEG, WebP",
            part.content_type
        ));
    }
    if bytes > ATTACHMENT_BYTES_MAX {
        let megabytes = bytes as f64 / f64::from(1 << 20);
        return Err(format!("File too large: {megabytes:.1}MB. Max: 10MB"));
    }
    if bytes == 0 {
        return Err("Empty file data".to_owned());
    }
    let name = uuid();
    let entry = json!({
        "file": name, "filename": part.filename, "type": part.content_type, "bytes": bytes, "at": cx.iso(),
    });
    let list = ("attachments", ATTACHMENTS_MAX);
    match keep(cx, id, list, entry, (name.clone(), part.data)).await {
        Ok(()) => Ok(name),
        Err(refusal) => {
            if let Some(more) = may(Line::AttachmentLost) {
                tracing::warn!(
                    incident = id,
                    status = refusal.status,
                    more,
                    "attachment-lost"
                );
            }
            Err("Upload failed".to_owned())
        }
    }
}

/// `POST /app/error-report`: noted, never refused. Anybody may send them, so not each gets a line.
pub(super) fn error_report(r: &OutsideRequest) -> RestAnswer {
    if let Some(more) = may(Line::ErrorReport) {
        tracing::info!(
            bytes = r.body.len(),
            correlation_id = r.correlation_id,
            more,
            "error-report"
        );
    }
    reply(200, &json!({ "success": true }))
}
