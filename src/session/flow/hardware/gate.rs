//! Layer 2, flow: whether a hardware request has a phone and glasses to go to, with the texts that apps see
//! (protocol.md §17.3).

use crate::base::rarely::CLIENT_MS;
use crate::session::handlers::{ErrorCode, Reject};
use crate::session::{Cx, Session, State};
use crate::wire::members::Members;
use crate::wire::streams::Permission;

/// What the glasses are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// A photo.
    Photo,
    /// A video stream.
    Stream,
}

impl Request {
    fn as_str(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Stream => "stream",
        }
    }
}

/// Phone, then glasses.
///
/// # Errors
/// The text for the developer.
pub(crate) fn hardware(s: &mut Session, request: Request, cx: &Cx<'_>) -> Result<(), String> {
    if !cx.cfg.device.validation_enabled {
        return Ok(());
    }
    let kind = request.as_str();
    if s.m.phone.open().is_none() {
        return Err(if s.state == State::Disconnected {
            format!("Cannot process {kind} request - phone WebSocket is not open (state: 3)")
        } else {
            format!("Cannot process {kind} request - phone is not connected (no WebSocket)")
        });
    }
    if !s.m.device.has_glasses() {
        return Err(format!(
            "Cannot process {kind} request - smart glasses are not connected"
        ));
    }
    if let Some(silent_ms) = stale_ms(s, cx)
        && let Some(more) = s.m.device.silent_lines.may(cx.now.mono_ms, CLIENT_MS)
    {
        tracing::warn!(user = %s.user, correlation_id = %s.correlation(cx.now), kind, silent_ms, more, "hardware request to a silent phone");
    }
    Ok(())
}

/// How long the phone has been silent, where that is worth a word: what it said of its glasses may be out of date (behaviour.md
/// §7.3.2). The request is sent all the same.
fn stale_ms(s: &Session, cx: &Cx<'_>) -> Option<u64> {
    let silent_ms = s.m.health.silence_ms(s.m.phone.open()?, cx.now.mono_ms)?;
    (silent_ms > cx.cfg.device.device_state_stale_warn_ms).then_some(silent_ms)
}

/// Streams need Wi-Fi on models that have it.
///
/// # Errors
/// The text for the developer.
pub(crate) fn wifi(s: &Session, cx: &Cx<'_>) -> Result<(), String> {
    if cx.cfg.device.validation_enabled && s.m.device.lacks_wifi() {
        return Err(
            "Cannot process request - smart glasses must be connected to WiFi for this operation"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether the app's record grants `wanted`. One without a record, which runs on after it was taken out, gets nothing new of this
/// kind: that no record allows everything is said of subscriptions only (behaviour.md §3.2), and the replaced server refuses too.
///
/// # Errors
/// `PERMISSION_DENIED` with `text`.
pub(crate) fn permission(
    package: &str,
    wanted: Permission,
    text: &str,
    cx: &Cx<'_>,
) -> Result<(), Reject> {
    let granted = cx
        .apps
        .get(package)
        .is_some_and(|record| record.grants(wanted));
    if granted {
        Ok(())
    } else {
        Err(Reject::new(ErrorCode::PermissionDenied, text))
    }
}

/// For requests for video: the camera, and an app that runs.
///
/// # Errors
/// `PERMISSION_DENIED` with `text`, or `INTERNAL_ERROR`.
pub(crate) fn video(s: &Session, package: &str, text: &str, cx: &Cx<'_>) -> Result<(), Reject> {
    permission(package, Permission::Camera, text, cx)?;
    if s.m.apps.is_running(package) {
        Ok(())
    } else {
        Err(internal(format!("App {package} is not running")))
    }
}

/// For requests that only need the phone.
///
/// # Errors
/// `INTERNAL_ERROR` `Glasses not connected`.
pub(crate) fn phone(s: &Session) -> Result<(), Reject> {
    if s.m.phone.open().is_some() {
        Ok(())
    } else {
        Err(internal("Glasses not connected"))
    }
}

/// `INTERNAL_ERROR` with `text`, for a request that cannot be served now.
pub(crate) fn internal(text: impl Into<String>) -> Reject {
    Reject::new(ErrorCode::Refused, text)
}

/// `MALFORMED_MESSAGE` with `text`.
pub(crate) fn malformed(text: impl Into<String>) -> Reject {
    Reject::new(ErrorCode::MalformedMessage, text)
}

/// Longest id that waits for its answer (bytes).
pub(crate) const ID_BYTES_MAX: usize = 4096;

/// A text member that must be there and say something.
///
/// # Errors
/// `MALFORMED_MESSAGE`.
pub(crate) fn required<'m>(members: &'m Members, name: &str) -> Result<&'m str, Reject> {
    match members.filled(name) {
        None => Err(malformed(format!("{name} is required"))),
        Some(id) if id.len() > ID_BYTES_MAX => Err(malformed(format!("{name} is too long"))),
        Some(id) => Ok(id),
    }
}
