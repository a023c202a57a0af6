//! `camera_fov_set` (3.x): an app sets the camera's field of view. Needs `CAMERA` and legal values; forwarded, never answered.
//! protocol.md §8.8, §7.12.
//!
//! `{"type":"camera_fov_set","requestId":"fov_1","fov":92,"roiPosition":"top"}`

use crate::session::flow::gate;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use crate::wire::kinds::AppKind;
use crate::wire::members::Members;
use crate::wire::streams::Permission;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::CameraFovSet,
    run,
};

/// Degrees.
const FOVS: [f64; 4] = [82.0, 92.0, 102.0, 118.0];
const POSITIONS: [&str; 3] = ["center", "top", "bottom"];
const ILLEGAL: &str = r#"Invalid FOV/ROI: fov must be one of [82, 92, 102, 118], roiPosition must be one of "center", "top", "bottom""#;

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members = cx.scratch.parse(m.text).map_err(Reject::json)?;
    gate::permission(
        m.package,
        Permission::Camera,
        "Camera permission required to set FOV",
        cx,
    )?;
    let fov = members.number("fov").filter(|fov| FOVS.contains(fov));
    let position = members
        .text("roiPosition")
        .filter(|position| POSITIONS.contains(position));
    let (Some(fov), Some(position)) = (fov, position) else {
        return Err(gate::malformed(ILLEGAL));
    };
    gate::phone(s)?;
    let now = cx.now.iso();
    let _ = s.ask_phone(m.package, cx, |out| {
        let mut object = ObjectWriter::begin(out);
        object
            .str("type", "camera_fov_set")
            .str("sessionId", &s.user);
        if let Some(request_id) = members.get("requestId") {
            object.value("requestId", request_id);
        }
        object
            .str("appId", m.package)
            .num("fov", fov as u64)
            .str("roiPosition", position);
        object.str("timestamp", now.as_str());
        object.end();
    });
    Ok(())
}
