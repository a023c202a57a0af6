//! Layer 2, REST calls that need the live session: bodies and texts of protocol.md §18. Authentication, routing and store
//! reads happen outside; here a call arrives typed, and is answered exactly once.

mod apps;
mod connections;
pub(crate) mod device;
mod media;
mod subscriptions;

use super::{Cx, Session, State};
use crate::base::footprint::Footprint;
use crate::base::ids::ReplyTo;
use crate::session::flow::answers;
use crate::wire::records::InstalledApp;
use bytes::Bytes;

/// Answers one call, or keeps it until the user record is there.
pub(crate) fn call(s: &mut Session, reply: ReplyTo, call: Call, cx: &mut Cx<'_>) {
    if s.state == State::Initializing && call.waits_for_user() {
        let max = cx.cfg.connections.pending_frames_max as usize;
        if !s.m.phone.hold_call(reply, call, max) {
            answers::no_session(reply, cx);
        }
        return;
    }
    match call {
        Call::StartApp { .. }
        | Call::StopApp { .. }
        | Call::ListApps
        | Call::InstallChanged { .. }
        | Call::Goodbye
        | Call::Recover { .. }
        | Call::Snapshot
        | Call::Connections
        | Call::Subscriptions
        | Call::HealthPolled { .. }
        | Call::Dispose => apps::call(s, reply, call, cx),
        Call::Notification { .. }
        | Call::NotificationDismissed { .. }
        | Call::AudioConfigure { .. } => media::call(s, reply, call, cx),
        _ => device::call(s, reply, call, cx),
    }
}

/// A REST call addressed to a user's live session.
#[derive(Clone, PartialEq, Debug)]
pub enum Call {
    /// `POST /apps/:pkg/start` and its system-app twin.
    StartApp {
        /// Package of the app.
        package: String,
        /// Shape of the answer.
        shape: Shape,
    },
    /// `POST /apps/:pkg/stop` and its system-app twin.
    StopApp {
        /// Package of the app.
        package: String,
        /// Shape of the answer.
        shape: Shape,
    },
    /// `GET /api/client/apps`.
    ListApps,
    /// The store installed (`Some`) or removed (`None`) an app; an uninstall also stops it. Answer 200 `{}`.
    InstallChanged {
        /// Package of the app.
        package: String,
        /// The new entry.
        installed: Option<InstalledApp>,
    },
    /// `POST /api/client/goodbye`.
    Goodbye,
    /// `POST /api/client/device/state`.
    DeviceState {
        /// Body of the request.
        body: Bytes,
    },
    /// User settings were stored; `changes` holds what was sent (null deletes), `body` is the finished REST answer.
    UserSettings {
        /// Changed keys.
        changes: serde_json::Map<String, serde_json::Value>,
    },
    /// App settings were stored; the full merged array. Answer 200 `{}`.
    AppSettings {
        /// Package of the app.
        package: String,
        /// `[{key, value}]`.
        settings: Vec<serde_json::Value>,
    },
    /// `POST /api/client/audio/configure`.
    AudioConfigure {
        /// Body of the request.
        body: Bytes,
    },
    /// `POST /api/client/location`.
    Location {
        /// Body of the request.
        body: Bytes,
    },
    /// `POST /api/client/location/poll-response/:correlationId`.
    LocationPoll {
        /// Path parameter.
        correlation_id: String,
        /// Body of the request.
        body: Bytes,
    },
    /// `POST /api/client/calendar`.
    Calendar {
        /// Body of the request.
        body: Bytes,
    },
    /// `POST /api/client/notifications`.
    Notification {
        /// Body of the request.
        body: Bytes,
    },
    /// `POST /api/client/notifications/dismissed`.
    NotificationDismissed {
        /// Body of the request.
        body: Bytes,
    },
    /// `POST /api/client/photo/response`.
    PhotoResponse {
        /// Body of the request.
        body: Bytes,
    },
    /// `POST /api/client/miniapp-sdk-photo/request`; the token was minted outside.
    MiniappPhoto {
        /// Body of the request.
        body: Bytes,
        /// Request id (given or fresh).
        request_id: String,
        /// Upload URL.
        upload_url: String,
        /// Upload token.
        token: String,
    },
    /// An uploaded mini-app photo (`Ok`: URL, mime type, bytes) or the uploader's error code. Answer 200 `{}`.
    MiniappPhotoUploaded {
        /// Id of the request.
        request_id: String,
        /// Outcome.
        result: Result<(String, String, u64), String>,
    },
    /// `POST /api/photos/upload`: broadcast as `photo_taken`. Answer 200 `{}`.
    PhotoUploaded {
        /// Base64 of the file.
        data: String,
        /// MIME type.
        mime_type: String,
        /// File name; the server makes one for each picture.
        filename: String,
    },
    /// `POST /api/hardware/button-press`.
    ButtonPress {
        /// Body of the request.
        body: Bytes,
    },
    /// `GET /api/hardware/system-photo-request/:requestId`: whether a button press asked for this photo.
    SystemPhoto {
        /// Path parameter.
        request_id: String,
    },
    /// `GET /api/audio/stream/:userId/:streamId`: a streaming answer.
    AudioStream {
        /// Id of the stream.
        stream_id: String,
        /// Only the head is wanted (HEAD): the stream is not claimed.
        peek: bool,
    },
    /// An incident was opened: `request_telemetry` to every open app socket. Answer 200 `{}`.
    RequestTelemetry {
        /// Incident.
        incident_id: String,
        /// Mints one token per package; the map was made outside.
        tokens: Vec<(String, String)>,
    },
    /// Restream outputs (protocol.md §18.15).
    Outputs {
        /// Id of the stream.
        stream_id: String,
        /// Authenticated package.
        package: String,
        /// What is asked for.
        action: OutputAction,
    },
    /// App-server restart recovery (behaviour.md §2.14). Answer 200 when the webhook was accepted, 409 when skipped, 502 else.
    Recover {
        /// Which app.
        package: String,
        /// The registration's webhook.
        webhook_url: String,
        /// WebSocket base (`ws://host`) for the webhook body; empty = the usual.
        ws_base: String,
    },
    /// Running packages and capabilities, for app lists made outside: `{"running":[…],"capabilities":…}`.
    Snapshot,
    /// `GET /api/admin/connections`: a JSON array of this session's open connections and its last ended ones (behaviour.md
    /// §9.5).
    Connections,
    /// `GET /api/admin/subscriptions`: a JSON array of the subscribers of this session, their sets and the last changes.
    Subscriptions,
    /// An app server was asked how it is (behaviour.md §2.18); shown in app lists, decides nothing. Answer 200 `{}`.
    HealthPolled {
        /// Which app.
        package: String,
        /// Whether it said that it is well.
        healthy: bool,
    },
    /// Administrator: end the session. Answer 200 `{}`.
    Dispose,
}

impl Call {
    /// Whether the stored user record must have been read before (or else what was stored would overwrite it). Device state
    /// is never stored, so a report of the glasses stands whatever the record says.
    fn waits_for_user(&self) -> bool {
        !matches!(
            self,
            Self::DeviceState { .. }
                | Self::Goodbye
                | Self::Connections
                | Self::Subscriptions
                | Self::Dispose
                | Self::Snapshot
        )
    }
}

impl Call {
    /// Body of the request, where it is read here.
    fn body(&self) -> &[u8] {
        match self {
            Self::DeviceState { body }
            | Self::AudioConfigure { body }
            | Self::Location { body }
            | Self::LocationPoll { body, .. }
            | Self::Calendar { body }
            | Self::Notification { body }
            | Self::NotificationDismissed { body }
            | Self::PhotoResponse { body }
            | Self::MiniappPhoto { body, .. }
            | Self::ButtonPress { body } => body,
            _ => &[],
        }
    }
}

impl Footprint for Call {
    fn heap_bytes(&self) -> usize {
        let texts = |texts: &[&String]| texts.iter().map(|text| text.heap_bytes()).sum();
        let rest: usize = match self {
            Self::StartApp { package, .. }
            | Self::StopApp { package, .. }
            | Self::HealthPolled { package, .. } => package.heap_bytes(),
            Self::InstallChanged { package, installed } => {
                package.heap_bytes() + installed.heap_bytes()
            }
            Self::LocationPoll { correlation_id, .. } => correlation_id.heap_bytes(),
            Self::UserSettings { changes } => changes.heap_bytes(),
            Self::AppSettings { package, settings } => package.heap_bytes() + settings.heap_bytes(),
            Self::MiniappPhoto {
                request_id,
                upload_url,
                token,
                ..
            } => texts(&[request_id, upload_url, token]),
            Self::MiniappPhotoUploaded { request_id, result } => match result {
                Ok((url, mime_type, _)) => texts(&[request_id, url, mime_type]),
                Err(code) => texts(&[request_id, code]),
            },
            Self::PhotoUploaded {
                data,
                mime_type,
                filename,
            } => texts(&[data, mime_type, filename]),
            Self::SystemPhoto { request_id } => request_id.heap_bytes(),
            Self::AudioStream { stream_id, .. } => stream_id.heap_bytes(),
            Self::RequestTelemetry {
                incident_id,
                tokens,
            } => incident_id.heap_bytes() + tokens.heap_bytes(),
            Self::Outputs {
                stream_id,
                package,
                action,
            } => texts(&[stream_id, package]) + action.heap_bytes(),
            Self::Recover {
                package,
                webhook_url,
                ws_base,
            } => texts(&[package, webhook_url, ws_base]),
            // Nothing but a body, which counts already.
            _ => 0,
        };
        self.body().len() + rest
    }
}

impl Footprint for OutputAction {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Add { url, name } => url.heap_bytes() + name.heap_bytes(),
            Self::Remove { output_id } => output_id.heap_bytes(),
            Self::List => 0,
        }
    }
}

/// How a start or stop answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// protocol.md §18.3.
    Phone,
    /// protocol.md §18.16.
    SystemApp,
}

/// What to do with restream outputs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OutputAction {
    /// Add one.
    Add {
        /// `rtmp(s)://…`.
        url: String,
        /// Label for people.
        name: Option<String>,
    },
    /// Remove one.
    Remove {
        /// Id of the output.
        output_id: String,
    },
    /// List all.
    List,
}
