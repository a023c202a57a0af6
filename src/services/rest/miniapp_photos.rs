//! Outside thread, REST: photos of phone mini-apps (protocol.md §18.8): upload tokens, files in the data directory, signed
//! short-lived links. Nobody without a token or link reads or writes a photo.

use super::{Handled, auth, body, files, member, multipart, param, query, refuse, reply, uuid};
use crate::base::ids::UserId;
use crate::base::settings::Settings;
use crate::services::context::Services;
use crate::services::lasting::{Spell, on_a_thread};
use crate::session::effects::RestAnswer;
use crate::session::flow::{gate, public_url};
use crate::session::rest::Call;
use crate::shard::mailbox::{Answer, OutsideRequest};
use crate::wire::auth::sha256_hex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const PURPOSE: &str = "miniapp_sdk_photo_upload";
/// Types that are served as they came; anything else as bytes.
const TYPES: &[&str] = &[
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/heic",
    "image/gif",
];

/// Secret of upload tokens and links.
pub(super) fn secret(settings: &Settings) -> String {
    if settings.device.photo_upload_secret.is_empty() {
        sha256_hex(format!("photo-upload:{}", settings.server.auth_jwt_secret))
    } else {
        settings.device.photo_upload_secret.clone()
    }
}

/// File name of a photo: nobody else's request can hit it.
pub(super) fn file_id(user: &UserId, request_id: &str) -> String {
    sha256_hex(format!("{user}\n{request_id}"))
}

/// A signed link to a stored photo.
pub(super) fn link(cx: &Services, id: &str, mime_type: &str) -> Handled<String> {
    let expires = cx.clock.now().unix_s() + cx.settings().device.photo_download_ttl_s;
    let claims = json!({ "photo": id, "type": mime_type, "exp": expires });
    let token = cx
        .memory
        .photo_keys
        .mint(&claims)
        .map_err(|_| refuse(500, "Failed to sign link"))?;
    Ok(format!(
        "{}/api/client/miniapp-sdk-photo/file/{id}?sig={token}",
        public_url::base(&cx.settings())
    ))
}

/// `POST …/request`.
pub(super) async fn request(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::client(cx, r)?;
    let fields = body(r);
    let request_id = member(&fields, "requestId").map_or_else(uuid, str::to_owned);
    if request_id.len() > gate::ID_BYTES_MAX {
        return Err(refuse(400, "requestId is too long"));
    }
    let now_s = cx.clock.now().unix_s();
    let claims = json!({
        "requestId": request_id,
        "userId": user.as_str(),
        "purpose": PURPOSE,
        "iat": now_s,
        "exp": now_s + cx.settings().device.photo_upload_token_ttl_s,
    });
    let token = cx
        .memory
        .photo_keys
        .mint(&claims)
        .map_err(|_| refuse(500, "Failed to sign upload token"))?;
    let path = request_id.bytes().fold(String::new(), |mut path, byte| {
        use std::fmt::Write as _;
        let _ = match byte {
            b'-' | b'_' | b'.' | b'~' => write!(path, "{}", char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => write!(path, "{}", char::from(byte)),
            byte => write!(path, "%{byte:02X}"),
        };
        path
    });
    let upload_url = format!(
        "{}/api/client/miniapp-sdk-photo/upload/{path}",
        public_url::base(&cx.settings())
    );
    Ok(cx
        .call_session(
            &user,
            Call::MiniappPhoto {
                body: r.body.clone(),
                request_id,
                upload_url,
                token,
            },
        )
        .await)
}

/// User and request of the upload token.
fn upload_owner(cx: &Services, r: &OutsideRequest) -> Handled<(UserId, String)> {
    let refused = || refuse(401, "Invalid or expired upload token");
    let token = auth::bearer(r).ok_or_else(refused)?;
    let claims = cx
        .memory
        .photo_keys
        .verify(token, cx.clock.now().unix_s())
        .map_err(|_| refused())?;
    let claim = |name: &str| claims.get(name).and_then(Value::as_str);
    match (claim("requestId"), claim("userId"), claim("purpose")) {
        (Some(request_id), Some(user), Some(PURPOSE)) if request_id == param(r, 0) => {
            Ok((UserId::new(user), request_id.to_owned()))
        }
        _ => Err(refused()),
    }
}

/// `POST …/upload/:requestId`.
pub(super) async fn upload(cx: &Services, r: &OutsideRequest) -> Handled {
    let (user, request_id) = upload_owner(cx, r)?;
    if let Some(error) = query(r, "error") {
        let result = Err(error.to_owned());
        cx.tell_session(&user, Call::MiniappPhotoUploaded { request_id, result })
            .await;
        return Ok(reply(200, &json!({ "received": true, "error": error })));
    }
    let photo = multipart::parts(r)
        .and_then(|parts| {
            parts
                .into_iter()
                .find(|part| part.name == "photo" && !part.data.is_empty())
        })
        .ok_or_else(|| refuse(400, "Missing photo file in form data"))?;
    if photo.data.len() as u64 > cx.settings().device.photo_upload_max_bytes {
        return Err(refuse(413, "Photo is too large"));
    }
    let mime_type = TYPES
        .iter()
        .find(|known| **known == photo.content_type)
        .copied()
        .unwrap_or("image/jpeg");
    let id = file_id(&user, &request_id);
    let size = photo.data.len() as u64;
    files::save(files::folder(cx, "photos"), id.clone(), photo.data).await?;
    let url = link(cx, &id, mime_type)?;
    let result = Ok((url.clone(), mime_type.to_owned(), size));
    cx.tell_session(&user, Call::MiniappPhotoUploaded { request_id, result })
        .await;
    Ok(reply(200, &json!({ "success": true, "photoUrl": url })))
}

/// `GET …/file/:id?sig=`.
pub(super) async fn file(cx: &Services, r: &OutsideRequest) -> Answer {
    match read(cx, r).await {
        Ok(answer) => {
            let headers = [
                ("Cache-Control", "private, no-store"),
                ("X-Content-Type-Options", "nosniff"),
            ];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Answer::WithHeaders(answer, headers.to_vec())
        }
        Err(answer) => Answer::Whole(answer),
    }
}

async fn read(cx: &Services, r: &OutsideRequest) -> Handled {
    let refused = || refuse(403, "Invalid or expired link");
    let signature = query(r, "sig").ok_or_else(refused)?;
    let claims = cx
        .memory
        .photo_keys
        .verify(signature, cx.clock.now().unix_s())
        .map_err(|_| refused())?;
    let claim = |name: &str| claims.get(name).and_then(Value::as_str);
    let id = claim("photo")
        .filter(|id| *id == param(r, 0) && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let id = id.ok_or_else(refused)?.to_owned();
    let content_type = TYPES
        .iter()
        .find(|known| claim("type") == Some(**known))
        .copied();
    let path = files::folder(cx, "photos").join(id);
    let data = tokio::fs::read(path)
        .await
        .map_err(|_| refuse(404, "Photo not found"))?;
    Ok(RestAnswer {
        content_type: content_type.unwrap_or("application/octet-stream"),
        ..RestAnswer::json(200, data)
    })
}

/// Deletes photos whose links have run out.
pub(super) async fn sweep(cx: Arc<Services>) {
    let mut spell = Spell::new("old photos");
    loop {
        let before = cx
            .clock
            .now()
            .unix_s()
            .saturating_sub(cx.settings().device.photo_download_ttl_s);
        let folder = files::folder(&cx, "photos");
        match on_a_thread(move || files::delete_older(&folder, before)).await {
            Ok(()) => spell.worked(),
            Err(error) => spell.failed(&error),
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::log_capture::lines_of;
    use crate::services::lasting::tests::without_threads;
    use crate::services::lock::lock;
    use crate::services::rest::testkit::Kit;
    use crate::shard::mailbox::OutsideRoute as Route;
    use tokio::time::timeout;

    #[test]
    fn a_sweep_without_a_thread_is_told_and_tried_again() {
        let lines = lines_of(|| {
            Kit::run_on(
                &without_threads(),
                |_| {},
                |kit| async move {
                    let swept = timeout(Duration::from_millis(1), sweep(Arc::clone(&kit.cx)));
                    assert!(swept.await.is_err(), "it waits for its next turn");
                },
            );
        });
        let told = |line: &&String| line.contains("background-task-failed task=\"old photos\"");
        assert_eq!(lines.iter().filter(told).count(), 1, "{lines:?}");
    }

    #[test]
    fn a_photo_is_not_waited_for_under_an_id_that_takes_much_room() {
        Kit::run(|kit| async move {
            kit.session(|_| Some(RestAnswer::json(200, "{}")));
            let asked = |bytes: usize| json!({"packageName": "m", "requestId": "x".repeat(bytes)});
            let ask = |bytes| kit.client(Route::MiniappPhotoRequest, "POST", &[], asked(bytes));
            let refused = json!({"error": "requestId is too long"});
            assert_eq!(ask(5000).await, (400, refused));
            assert!(lock(&kit.calls).is_empty());
            assert_eq!(ask(4000).await.0, 200);
        });
    }
}
