//! Outside thread, REST: small answers without state: versions and permissions (protocol.md §18.2, §18.14).

use super::{Handled, param, query, refuse, reply};
use crate::services::context::Services;
use crate::session::effects::RestAnswer;
use crate::shard::mailbox::{Answer, OutsideRequest};
use serde_json::json;

/// SDK releases that the server was made for; SDKs only print a hint when theirs is older.
const SDK_REQUIRED: &str = "2.0.0";
const SDK_LATEST: &str = "3.0.0";
const TAGS: &[&str] = &["latest", "beta", "alpha", "hono", "rc", "canary", "next"];

/// `GET /api/client/min-version`.
pub(super) fn min_version(cx: &Services) -> Answer {
    let version = &cx.settings().device.client_min_version;
    let body = json!({
        "success": true,
        "data": { "required": version, "recommended": version },
        "timestamp": cx.iso(),
    });
    let headers = vec![(
        "Cache-Control".to_owned(),
        "no-store, no-cache, must-revalidate".to_owned(),
    )];
    Answer::WithHeaders(reply(200, &body), headers)
}

/// `GET /apps/version`.
pub(super) fn apps_version(cx: &Services) -> RestAnswer {
    reply(
        200,
        &json!({ "version": cx.settings().device.client_min_version }),
    )
}

/// `GET /api/sdk` and `/api/sdk/version`.
pub(super) fn sdk(cx: &Services, r: &OutsideRequest) -> Handled {
    let tag = query(r, "tag")
        .filter(|tag| TAGS.contains(tag))
        .unwrap_or("latest");
    let data = json!({ "required": SDK_REQUIRED, "latest": SDK_LATEST, "tag": tag });
    Ok(reply(
        200,
        &json!({ "success": true, "data": data, "timestamp": cx.iso() }),
    ))
}

/// `GET /api/public/permissions/:pkg`.
pub(super) fn permissions(cx: &Services, r: &OutsideRequest) -> Handled {
    let registry = cx.registry();
    let record = registry
        .get(param(r, 0))
        .ok_or_else(|| refuse(404, "App not found"))?;
    let body = json!({ "success": true, "packageName": record.package_name, "permissions": record.permissions });
    Ok(reply(200, &body))
}
