//! Layer 3: REST requests on their way to the outside thread.

use crate::base::ids::{Package, ReplyTo, UserId};
use crate::wire::http::RequestHead;
use bytes::{Bytes, BytesMut};
use std::net::IpAddr;
use std::os::fd::OwnedFd;

/// Pause between two calls of a tool (ms): the service makes it, and whoever waits for the answer must know of it.
pub const TOOL_PAUSE_MS: u64 = 1000;

/// The restart of an app server is answered within this (ms), be it that sessions are still recovered then.
pub const RESTART_MS: u64 = 120_000;

/// A plain HTTP connection on its way to the fallback upstream.
#[derive(Debug)]
pub struct ForUpstream {
    /// The connection.
    pub connection: OwnedFd,
    /// The request's head.
    pub head: RequestHead,
    /// What already came behind it.
    pub early: BytesMut,
    /// Effective client address.
    pub peer: IpAddr,
    /// For logs, and for the upstream.
    pub request_id: String,
}

/// A REST request for a service, authenticated as its row in the route table says.
#[derive(Clone, Debug)]
pub struct OutsideRequest {
    /// Which route.
    pub route: OutsideRoute,
    /// HTTP method.
    pub method: String,
    /// Path parameters, percent-decoded, in pattern order.
    pub params: Vec<String>,
    /// Query pairs, decoded.
    pub query: Vec<(String, String)>,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body of the request.
    pub body: Bytes,
    /// User of a verified core token.
    pub user: Option<UserId>,
    /// Package of verified app credentials.
    pub package: Option<Package>,
    /// Effective client address.
    pub peer: IpAddr,
    /// Request id (`x-request-id`, `x-correlation-id` or fresh).
    pub correlation_id: String,
    /// Where the answer goes.
    pub reply: ReplyTo,
}

/// Routes that services answer (protocol.md §1.7, §18). The table with methods, patterns and authentication is
/// `shard::routes`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OutsideRoute {
    /// `GET /health`.
    Health,
    /// `GET /metrics`.
    Metrics,
    /// `POST /apps/install/:pkg`.
    Install,
    /// `POST /apps/uninstall/:pkg`.
    Uninstall,
    /// `GET /apps`.
    Apps,
    /// `GET /apps/installed`.
    AppsInstalled,
    /// `GET /apps/available`.
    AppsAvailable,
    /// `GET /apps/public`.
    AppsPublic,
    /// `GET /apps/search`.
    AppsSearch,
    /// `GET /apps/:pkg`.
    App,
    /// `GET /apps/version`.
    AppsVersion,
    /// `GET /api/client/min-version`.
    MinVersion,
    /// `GET /api/sdk`, `/api/sdk/version`.
    SdkVersion,
    /// `GET|PUT|POST /api/client/user/settings`.
    UserSettings,
    /// `GET|PUT|DELETE /api/client/user/settings/key/:key`.
    UserSettingsKey,
    /// `POST /api/client/miniapp-sdk-photo/request`.
    MiniappPhotoRequest,
    /// `POST /api/client/miniapp-sdk-photo/upload/:requestId`.
    MiniappPhotoUpload,
    /// `GET` of a stored mini-app photo by signed link.
    MiniappPhotoFile,
    /// `POST /api/photos/upload`.
    PhotoUpload,
    /// `POST /auth/exchange-token`.
    ExchangeToken,
    /// `POST /api/auth/generate-webview-token`.
    WebviewToken,
    /// `POST /api/auth/generate-webview-signed-user-token`.
    WebviewSignedToken,
    /// `POST /api/auth/hash-with-api-key`.
    HashWithApiKey,
    /// `POST /api/auth/exchange-user-token`.
    ExchangeUserToken,
    /// `POST /api/auth/exchange-store-token`.
    ExchangeStoreToken,
    /// `POST /api/client/feedback`.
    Feedback,
    /// `POST /api/incidents`.
    Incident,
    /// `POST /api/incidents/:id/logs`.
    IncidentLogs,
    /// `POST /api/incidents/:id/attachments`.
    IncidentAttachments,
    /// `POST /app/error-report`, `/api/error-report`.
    ErrorReport,
    /// `GET /api/tts`.
    Tts,
    /// `GET /api/audio/:userId`.
    RecentAudio,
    /// `/api/sdk/simple-storage/:email`.
    Storage,
    /// `/api/sdk/simple-storage/:email/:key`.
    StorageKey,
    /// `GET|POST /appsettings/:pkg`.
    AppSettings,
    /// `GET /appsettings/user/:pkg`.
    AppSettingsUser,
    /// `GET /api/public/permissions/:pkg`.
    Permissions,
    /// `/api/streams/:streamId/outputs`.
    StreamOutputs,
    /// `DELETE /api/streams/:streamId/outputs/:outputId`.
    StreamOutput,
    /// `GET /api/sdk/system-app/apps`.
    SystemApps,
    /// `POST /api/sdk/system-app/:pkg/start`.
    SystemAppStart,
    /// `POST /api/sdk/system-app/:pkg/stop`.
    SystemAppStop,
    /// `GET /api/sdk/system-app/tools` and `…/apps/:target/tools`.
    SystemTools,
    /// `POST …/apps/:target/tool`, `POST …/invoke-tool`.
    SystemInvokeTool,
    /// `POST /api/tools/apps/:pkg/tool`.
    Tool,
    /// `GET /api/tools/apps/:pkg/tools`.
    AppTools,
    /// `GET /api/tools/users/:userId/tools`.
    UserTools,
    /// `POST /api/app-uptime/app-pkg-health-check`.
    AppHealthCheck,
    /// `POST /api/tpa-server/register`.
    ServerRegister,
    /// `POST /api/tpa-server/heartbeat`.
    ServerHeartbeat,
    /// `POST /api/tpa-server/restart`.
    ServerRestart,
    /// `GET /api/admin/connections`.
    AdminConnections,
    /// `GET /api/admin/connections/summary`.
    AdminSummary,
    /// `GET /api/admin/subscriptions`.
    AdminSubscriptions,
    /// `GET /api/admin/app-messages`.
    AdminAppMessages,
    /// `GET /api/admin/config`.
    AdminConfig,
    /// `POST /api/admin/reload`.
    AdminReload,
    /// `POST /api/admin/sessions/:user/dispose`.
    AdminDispose,
}
