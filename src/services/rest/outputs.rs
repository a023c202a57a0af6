//! Outside thread, REST: restream outputs (protocol.md §18.15). Authenticates the app; the session owns the streams, and the
//! user who owns the stream is the one whose session answers.

use super::{Handled, auth, body, member, param, query, refuse, reply};
use crate::base::ids::UserId;
use crate::services::context::Services;
use crate::session::effects::RestAnswer;
use crate::session::rest::{Call, OutputAction};
use crate::shard::mailbox::OutsideRequest;
use serde_json::{Value, json};

fn error(status: u16, code: &str, message: &str) -> RestAnswer {
    reply(status, &json!({ "error": code, "message": message }))
}

fn package(cx: &Services, r: &OutsideRequest, fields: &Value) -> Handled<String> {
    if let Some(package) = &r.package {
        return Ok(package.to_string());
    }
    let token =
        auth::bearer(r).ok_or_else(|| refuse(401, "Missing or invalid Authorization header"))?;
    if token.is_empty() {
        return Err(refuse(401, "API Key required"));
    }
    let (named, key) = match token.split_once(':') {
        Some((package, key)) => (Some(package), key),
        None => (None, token),
    };
    let package = named
        .or_else(|| query(r, "packageName"))
        .or_else(|| query(r, "package"))
        .or_else(|| member(fields, "packageName"))
        .ok_or_else(|| refuse(400, "Package name required for API key validation"))?;
    if auth::key_matches(cx, package, key)? {
        Ok(package.to_owned())
    } else {
        let is_known = cx.registry().get(package).is_some();
        let text = match is_known {
            true => "Invalid API Key",
            false => "Invalid API Key or Package Name",
        };
        Err(refuse(401, text))
    }
}

/// All three routes.
pub(super) async fn handle(cx: &Services, r: &OutsideRequest) -> Handled {
    let fields = body(r);
    let package = package(cx, r, &fields)?;
    let action = match r.method.as_str() {
        "GET" => OutputAction::List,
        "DELETE" => OutputAction::Remove {
            output_id: param(r, 1).to_owned(),
        },
        _ => {
            let url = member(&fields, "url")
                .ok_or_else(|| error(400, "INVALID_URL", "URL is required and must be a string"))?;
            if !(url.starts_with("rtmp://") || url.starts_with("rtmps://")) {
                return Err(error(
                    400,
                    "INVALID_URL_FORMAT",
                    "URL must start with rtmp:// or rtmps://",
                ));
            }
            OutputAction::Add {
                url: url.to_owned(),
                name: member(&fields, "name").map(str::to_owned),
            }
        }
    };
    let stream_id = param(r, 0).to_owned();
    let candidates = match header_user(r) {
        Some(user) => vec![user],
        None => super::registrations::users_of(cx, &package),
    };
    let nowhere = match r.method.as_str() {
        "POST" => "Managed stream not found or app is not a viewer",
        _ => "Managed stream not found",
    };
    let last = || error(404, "STREAM_NOT_FOUND", nowhere);
    for user in candidates {
        let call = Call::Outputs {
            stream_id: stream_id.clone(),
            package: package.clone(),
            action: action.clone(),
        };
        let answer = cx.call_session(&user, call).await;
        match answer.status {
            503 => {}
            404 if answer
                .body
                .windows(16)
                .any(|text| text == b"STREAM_NOT_FOUND") => {}
            _ => return Ok(answer),
        }
    }
    Err(last())
}

fn header_user(r: &OutsideRequest) -> Option<UserId> {
    super::header(r, "x-user-id")
        .or_else(|| query(r, "userId"))
        .map(UserId::new)
}
