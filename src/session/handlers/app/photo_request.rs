//! `photo_request`: an app wants a picture. Needs `CAMERA`, phone and glasses. The glasses upload it to the app; the result
//! (9.10) goes to the asker, at once where the app gave its own webhook, else from the phone or after 30 s as
//! `PHONE_TIMEOUT`. protocol.md §8.15, behaviour.md §7.5.
//!
//! `{"type":"photo_request","requestId":"photo_req_1","saveToGallery":false,"size":"medium","compress":"none"}`

use crate::session::flow::gate;
use crate::session::flow::photos::{self, Outcome, Upload};
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::managers::photos::Asker;
use crate::session::{Cx, Payer, Session};
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;
use crate::wire::streams::Permission;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::PhotoRequest,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    gate::permission(
        m.package,
        Permission::Camera,
        "Camera permission required to take photos",
        cx,
    )?;
    let request_id = gate::required(&members, "requestId")?;
    gate::hardware(s, gate::Request::Photo, cx).map_err(gate::internal)?;
    let asker = Asker::App(m.package.clone());
    s.m.photos
        .check(request_id, &asker, cx.cfg.device.photo_requests_max)
        .map_err(|refused| gate::internal(refused.to_string()))?;
    let custom = members.filled("customWebhookUrl");
    let own = cx
        .apps
        .get(m.package)
        .and_then(|record| record.endpoint("/photo-upload"));
    let upload = Upload {
        url: custom.or(own.as_deref()),
        token: members.filled("authToken"),
    };
    let asks = (Payer::App(m.package), m.package.as_str());
    if !photos::ask_phone(s, request_id, asks, upload, &members, cx) {
        return Err(gate::internal("Glasses WebSocket not connected"));
    }
    match custom {
        Some(url) => {
            let outcome = Outcome::Ready {
                url: url.to_owned(),
                saved: Some(members.flag("saveToGallery").unwrap_or(false)),
                at: Some(cx.now.iso()),
            };
            photos::forget(s, request_id);
            photos::tell_app(s, m.package, request_id, &outcome, cx);
        }
        None => photos::register(s, request_id, asker, cx),
    }
    Ok(())
}
