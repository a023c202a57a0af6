//! Layer 2, the handler tables. A new message is one file, one table row and one line in `wire::kinds`.

pub mod app;
pub mod phone;

use super::{Cx, Session};
use crate::base::ids::{ConnId, Package};
use crate::base::metrics::Counter;
use crate::base::panics;
use crate::wire::json::JsonError;
use crate::wire::kinds::{AppKind, PhoneKind};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A text message of the phone.
pub struct PhoneMessage<'a> {
    /// Socket it came on.
    pub conn: ConnId,
    /// Its `type` member.
    pub name: &'a str,
    /// The whole text: one JSON object in valid UTF-8, which may stand as it is in another message.
    pub text: &'a [u8],
}

/// A text message of an attached app socket.
pub struct AppMessage<'a> {
    /// Socket it came on.
    pub conn: ConnId,
    /// The package the socket authenticated as; the body's `packageName` is never believed.
    pub package: &'a Package,
    /// The whole text: one JSON object in valid UTF-8, which may stand as it is in another message.
    pub text: &'a [u8],
}

/// One row of the phone table.
pub struct PhoneHandler {
    /// Which type.
    pub kind: PhoneKind,
    /// What happens.
    pub run: fn(&mut Session, &PhoneMessage<'_>, &mut Cx<'_>) -> Result<(), Reject>,
}

/// One row of the app table.
pub struct AppHandler {
    /// Which type.
    pub kind: AppKind,
    /// What happens.
    pub run: fn(&mut Session, &AppMessage<'_>, &mut Cx<'_>) -> Result<(), Reject>,
}

/// `tpa_connection_error.code` of a refused request (protocol.md §15.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorCode {
    /// Invalid JSON, wrong or missing field.
    MalformedMessage,
    /// The app lacks a permission.
    PermissionDenied,
    /// Streams need Wi-Fi.
    WifiNotConnected,
    /// Audio output stream.
    StreamCreateFailed,
    /// No user session, or not initialised.
    SessionNotFound,
    /// The request cannot be served now (no phone, no glasses, a conflict); the app has done nothing wrong, nor have we.
    Refused,
    /// A failure of ours; enough of them close the socket (behaviour.md §2.20).
    InternalError,
}

impl ErrorCode {
    /// On the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedMessage => "MALFORMED_MESSAGE",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::WifiNotConnected => "WIFI_NOT_CONNECTED",
            Self::StreamCreateFailed => "STREAM_CREATE_FAILED",
            Self::SessionNotFound => "SESSION_NOT_FOUND",
            Self::Refused | Self::InternalError => "INTERNAL_ERROR",
        }
    }
}

/// A message that was refused. Apps are answered `tpa_connection_error` and keep their socket; phones are never answered.
/// The session is as it was before.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct Reject {
    /// Error code.
    pub code: ErrorCode,
    /// Text for the developer.
    pub message: String,
}

impl Reject {
    /// Any refusal.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// A text that is no JSON or lacks what its type needs.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "used as a map_err function")]
    pub fn json(error: JsonError) -> Self {
        Self::new(ErrorCode::MalformedMessage, error.to_string())
    }
}

/// Longest message that names things: ids, addresses, options. What is kept of it is bounded by this (bytes).
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Longest message with properties of a room, which every member hears again at each change (bytes).
const ROOM_BYTES_MAX: usize = 8 * 1024;
/// Longest request for the managed stream: the phone gets much of it, however much else it was asked (bytes).
const MANAGED_BYTES_MAX: usize = 16 * 1024;
/// Longest message with content for the dashboard, of which the last few are kept (bytes).
const DASHBOARD_BYTES_MAX: usize = 1024 * 1024;

/// How long a message of an app may be. Most leave something behind: an id that waits for its answer, an address.
///
/// # Errors
/// It is longer.
pub(crate) fn app_message_fits(kind: AppKind, bytes: usize) -> Result<(), Reject> {
    let max = match kind {
        // Content: pictures, logs, sound in a `data:` URL, what users say to each other. As long as a frame may be.
        AppKind::DisplayEvent
        | AppKind::TelemetryResponse
        | AppKind::AudioPlayRequest
        | AppKind::AppBroadcastMessage
        | AppKind::AppDirectMessage => return Ok(()),
        // Bounded by what is read of them.
        AppKind::SubscriptionUpdate | AppKind::Ping | AppKind::Pong => return Ok(()),
        AppKind::AppRoomJoin | AppKind::AppRoomLeave => ROOM_BYTES_MAX,
        AppKind::ManagedStreamRequest => MANAGED_BYTES_MAX,
        AppKind::DashboardContentUpdate => DASHBOARD_BYTES_MAX,
        _ => MESSAGE_BYTES_MAX,
    };
    fits(bytes, max)
}

/// How long a message of the phone may be. What is only passed on, or read with bounds of its own, may be as long as a frame.
///
/// # Errors
/// It is longer.
pub(crate) fn phone_message_fits(kind: Option<PhoneKind>, bytes: usize) -> Result<(), Reject> {
    match kind {
        Some(
            PhoneKind::StartApp
            | PhoneKind::StopApp
            | PhoneKind::StreamRequest
            | PhoneKind::StreamStop
            | PhoneKind::StreamStatus
            | PhoneKind::ManagedStreamRequest
            | PhoneKind::ManagedStreamStop,
        ) => fits(bytes, MESSAGE_BYTES_MAX),
        _ => Ok(()),
    }
}

fn fits(bytes: usize, max: usize) -> Result<(), Reject> {
    if bytes <= max {
        return Ok(());
    }
    let text = format!("Message too long: {bytes} bytes of at most {max}");
    Err(Reject::new(ErrorCode::MalformedMessage, text))
}

/// Runs the handler of a message of type `kind`. A defect in it costs this message, not the session (behaviour.md §1.10, 2.20);
/// what it had done stays done.
///
/// # Errors
/// The handler's, or [`ErrorCode::InternalError`] for a panic.
#[inline]
pub fn contained(
    kind: &str,
    s: &mut Session,
    cx: &mut Cx<'_>,
    run: impl FnOnce(&mut Session, &mut Cx<'_>) -> Result<(), Reject>,
) -> Result<(), Reject> {
    // Unwind safety: state that stays half-changed is the session's own, and its next panic outside of a handler ends it.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(test)]
        assert!(!s.m.audio.is_defective, "a defect");
        run(s, cx)
    }));
    outcome.unwrap_or_else(|panic| Err(panicked(kind, s, cx, &*panic)))
}

#[cold]
#[inline(never)]
fn panicked(kind: &str, s: &Session, cx: &mut Cx<'_>, panic: &(dyn Any + Send)) -> Reject {
    cx.metrics.inc(Counter::HandlerPanics);
    let panic = panics::text(panic);
    tracing::error!(user = %s.user, correlation_id = %s.correlation(cx.now), kind, panic, "a message was dropped because of a defect");
    Reject::new(ErrorCode::InternalError, "Internal server error")
}
