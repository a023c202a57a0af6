//! Outside thread, REST: what assistants may do for a user (protocol.md §18.16, kind Q).

use super::{Handled, apps, auth, denied, param, refuse, reply};
use crate::base::ids::UserId;
use crate::services::context::Services;
use crate::session::rest::{Call, Shape};
use crate::shard::mailbox::{OutsideRequest, OutsideRoute};
use serde_json::json;

pub(super) async fn live(cx: &Services, user: &UserId) -> Handled<apps::Snapshot> {
    apps::snapshot(cx, user)
        .await
        .ok_or_else(|| denied(401, "No active session found for user"))
}

/// `GET /api/sdk/system-app/apps`.
pub(super) async fn list(cx: &Services, r: &OutsideRequest) -> Handled {
    let (_, user) = auth::system_app(cx, r)?;
    let live = live(cx, &user).await?;
    let (stored, registry) = (apps::user_record(cx, &user).await?, cx.registry());
    let known = stored
        .installed_apps
        .iter()
        .filter_map(|entry| registry.get(&entry.package_name));
    let list = apps::enriched(cx, &user, known.map(|record| &**record), Some(live)).await;
    Ok(reply(200, &json!({ "success": true, "data": list })))
}

/// `POST /api/sdk/system-app/:pkg/start` and `…/stop`.
pub(super) async fn start_or_stop(cx: &Services, r: &OutsideRequest) -> Handled {
    let (_, user) = auth::system_app(cx, r)?;
    live(cx, &user).await?;
    let package = param(r, 0).to_owned();
    let shape = Shape::SystemApp;
    let call = if r.route == OutsideRoute::SystemAppStop {
        Call::StopApp { package, shape }
    } else {
        let stored = apps::user_record(cx, &user).await?;
        let mut installed = stored.installed_apps.iter();
        if !installed.any(|entry| entry.package_name == package) {
            return Err(denied(404, "App is not installed"));
        }
        Call::StartApp { package, shape }
    };
    let answer = cx.call_session(&user, call).await;
    if answer.status == 503 {
        Err(denied(401, "No active session found for user"))
    } else {
        Ok(answer)
    }
}

/// `GET /api/audio/:userId`: no buffer is kept.
pub(super) fn recent_audio(cx: &Services, r: &OutsideRequest) -> Handled {
    auth::system_app(cx, r)?;
    Err(refuse(404, "No audio available"))
}
