//! Outside thread, REST: `POST /api/photos/upload` (protocol.md §18.8): stored, then broadcast as `photo_taken`.

use super::{Handled, auth, files, miniapp_photos, multipart, refuse, reply};
use crate::services::context::Services;
use crate::session::rest::Call;
use crate::shard::mailbox::OutsideRequest;
use base64::Engine as _;
use serde_json::{Value, json};

/// A name that no other picture has: glasses call all of theirs alike, and apps save them under it.
fn fresh_name(cx: &Services, mime_type: &str) -> String {
    let extension = match mime_type {
        "image/png" => "png",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "image/heic" => "heic",
        "image/heif" => "heif",
        _ => "jpg",
    };
    let stamp = cx.iso().replace([':', '.'], "-");
    format!("{stamp}_{}.{extension}", super::uuid())
}

/// The handler.
pub(super) async fn upload(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::client_of_old(cx, r)?;
    let parts = multipart::parts(r).ok_or_else(|| refuse(400, "Invalid form data"))?;
    let find = |name: &str| parts.iter().find(|part| part.name == name);
    let metadata: Value = match find("metadata") {
        Some(part) if !part.data.is_empty() => crate::wire::json::from_slice(&part.data)
            .map_err(|_| refuse(400, "Invalid metadata format"))?,
        _ => Value::Null,
    };
    let request_id = super::member(&metadata, "requestId")
        .ok_or_else(|| refuse(400, "Request ID is required"))?;
    let file = find("file").ok_or_else(|| refuse(400, "No photo uploaded"))?;
    if !file.content_type.starts_with("image/") {
        let text = format!("Invalid file type: {}", file.content_type);
        return Err(refuse(400, &text));
    }
    let max_bytes = cx.settings().device.photo_upload_max_bytes;
    if file.data.len() as u64 > max_bytes {
        let text = format!("File too large. Maximum size is {}MB", max_bytes >> 20);
        return Err(refuse(400, &text));
    }
    if file.data.is_empty() {
        return Err(refuse(400, "Invalid file data - no buffer"));
    }
    // Nobody would ever fetch it.
    if !cx.shared.live.contains(&user) {
        return Err(refuse(404, "User session not found"));
    }
    let id = miniapp_photos::file_id(&user, request_id);
    files::save(files::folder(cx, "photos"), id.clone(), file.data.clone()).await?;
    let answer = cx
        .call_session(
            &user,
            Call::PhotoUploaded {
                data: base64::engine::general_purpose::STANDARD.encode(&file.data),
                mime_type: file.content_type.clone(),
                filename: fresh_name(cx, &file.content_type),
            },
        )
        .await;
    if answer.status != 200 {
        return Err(refuse(404, "User session not found"));
    }
    let url = miniapp_photos::link(cx, &id, &file.content_type)?;
    Ok(reply(
        200,
        &json!({ "success": true, "photoUrl": url, "requestId": request_id }),
    ))
}
