//! Outside thread, REST: one file per family, found by `OutsideRoute` (protocol.md §18). Handlers answer `Ok` or refuse with
//! `Err`, both whole answers; what must be durable is durable before the answer.

pub(crate) mod admin;
mod app_settings;
pub(crate) mod app_stats;
pub(crate) mod apps;
mod auth;
mod files;
pub(crate) mod incidents;
mod links;
mod miniapp_photos;
mod multipart;
mod outputs;
mod photos;
pub(crate) mod registrations;
mod signing;
mod storage;
mod system_apps;
mod tokens;
mod tools;
mod tts;
mod uptime;
mod user_settings;
mod versions;

use super::context::Services;
use super::crowd::{Asker, Crowd, Turns};
use super::lines::{Line, may};
use super::metrics;
use super::store::StoreError;
use crate::base::settings::Settings;
use crate::session::effects::RestAnswer;
use crate::shard::mailbox::{Answer, OutsideRequest, OutsideRoute as Route};
use crate::wire::json;
use crate::wire::members::settle_numbers;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// A handler's answer or refusal.
type Handled<T = RestAnswer> = Result<T, RestAnswer>;

/// What services remember between requests; lost with the process, every part bounded.
pub(crate) struct RestMemory {
    tickets: Mutex<tokens::Tickets>,
    storage_rate: Mutex<storage::Rate>,
    health: Mutex<uptime::LastSeen>,
    links: Mutex<links::Links>,
    incident_search: tokio::sync::Mutex<()>,
    pub(crate) reloads: tokio::sync::Mutex<()>,
    pub(crate) app_stats: Mutex<app_stats::AppStats>,
    /// Package and webhook URL of servers that have a registration.
    noted_servers: Mutex<std::collections::HashSet<(String, String)>>,
    photo_keys: crate::wire::auth::TokenKeys,
    signer: Option<signing::Signer>,
    turns: Turns,
    settings_calls: Crowd,
}

impl RestMemory {
    pub(crate) fn new(settings: &Settings) -> Self {
        let secret = miniapp_photos::secret(settings);
        Self {
            tickets: Mutex::default(),
            storage_rate: Mutex::default(),
            health: Mutex::default(),
            links: Mutex::default(),
            incident_search: Default::default(),
            reloads: Default::default(),
            app_stats: Mutex::default(),
            noted_servers: Mutex::default(),
            photo_keys: crate::wire::auth::TokenKeys::new(&secret),
            signer: signing::Signer::new(&settings.device.webview_private_key),
            turns: Turns::default(),
            settings_calls: Crowd::new(app_settings::CALLS_BYTES_MAX),
        }
    }
}

/// Starts the loops that REST families need.
pub(crate) fn start_background(cx: &Arc<Services>) {
    cx.keep("app health", uptime::poll);
    cx.keep("registrations", registrations::sweep::run);
    cx.keep("old photos", miniapp_photos::sweep);
}

/// Answers a request.
pub(crate) async fn answer(cx: &Arc<Services>, r: &OutsideRequest) -> Answer {
    // The front door leaves the body out; everything else is as for GET, above all: it changes nothing.
    if r.method == "HEAD" {
        if matches!(r.route, Route::Tts) {
            return tts::head(cx, r).await;
        }
        let as_get = OutsideRequest {
            method: "GET".into(),
            ..r.clone()
        };
        return answer_one(cx, &as_get).await;
    }
    answer_one(cx, r).await
}

async fn answer_one(cx: &Arc<Services>, r: &OutsideRequest) -> Answer {
    match r.route {
        Route::MiniappPhotoFile => return miniapp_photos::file(cx, r).await,
        Route::MinVersion => return versions::min_version(cx),
        Route::Tts => return tts::speak(cx, r).await,
        _ => {}
    }
    match handle(cx, r).await {
        Ok(answer) | Err(answer) => Answer::Whole(answer),
    }
}

/// Of what changes documents one asker has so much under way that others' changes need not wait for long.
async fn turn(cx: &Services, r: &OutsideRequest) -> Handled<Option<OwnedSemaphorePermit>> {
    let stores = matches!(
        r.route,
        Route::Storage
            | Route::StorageKey
            | Route::UserSettings
            | Route::UserSettingsKey
            | Route::AppSettings
            | Route::Feedback
            | Route::Incident
            | Route::IncidentLogs
    );
    if !stores || r.body.is_empty() {
        return Ok(None);
    }
    let asker = Asker::of(r.user.as_ref(), r.package.as_ref());
    let limit = Duration::from_millis(cx.settings().store.db_timeout_ms);
    let turn = timeout(limit, cx.memory.turns.wait(asker, r.body.len()));
    turn.await.map_err(|_| StoreError::Timeout.into())
}

async fn handle(cx: &Arc<Services>, r: &OutsideRequest) -> Handled {
    let _turn = turn(cx, r).await?;
    match r.route {
        Route::Health => {
            metrics::fresh(cx).await;
            Ok(metrics::health::answer(cx))
        }
        Route::Metrics => {
            metrics::fresh(cx).await;
            Ok(RestAnswer {
                content_type: metrics::CONTENT_TYPE,
                ..RestAnswer::json(200, metrics::render(cx))
            })
        }
        Route::Install => apps::install(cx, r).await,
        Route::Uninstall => apps::uninstall(cx, r).await,
        Route::Apps => apps::all(cx, r).await,
        Route::AppsInstalled => apps::installed(cx, r).await,
        Route::AppsAvailable | Route::AppsPublic => Ok(apps::available(cx)),
        Route::AppsSearch => apps::search(cx, r),
        Route::App => apps::one(cx, r),
        Route::AppsVersion => Ok(versions::apps_version(cx)),
        Route::SdkVersion => versions::sdk(cx, r),
        Route::UserSettings => user_settings::all(cx, r).await,
        Route::UserSettingsKey => user_settings::key(cx, r).await,
        Route::MiniappPhotoRequest => miniapp_photos::request(cx, r).await,
        Route::MiniappPhotoUpload => miniapp_photos::upload(cx, r).await,
        Route::PhotoUpload => photos::upload(cx, r).await,
        Route::ExchangeToken => tokens::exchange(cx, r).await,
        Route::WebviewToken => tokens::webview(cx, r),
        Route::WebviewSignedToken => tokens::signed(cx, r),
        Route::HashWithApiKey => tokens::hash(cx, r),
        Route::ExchangeUserToken => tokens::exchange_user(cx, r),
        Route::ExchangeStoreToken => tokens::exchange_store(cx, r),
        Route::Feedback => incidents::feedback(cx, r).await,
        Route::Incident => incidents::open(cx, r).await,
        Route::IncidentLogs => incidents::logs(cx, r).await,
        Route::IncidentAttachments => incidents::attachments(cx, r).await,
        Route::ErrorReport => Ok(incidents::error_report(r)),
        Route::RecentAudio => system_apps::recent_audio(cx, r),
        Route::Storage => storage::all(cx, r).await,
        Route::StorageKey => storage::key(cx, r).await,
        Route::AppSettings => app_settings::of_app(cx, r).await,
        Route::AppSettingsUser => app_settings::of_user(cx, r).await,
        Route::Permissions => versions::permissions(cx, r),
        Route::StreamOutputs | Route::StreamOutput => outputs::handle(cx, r).await,
        Route::SystemApps => system_apps::list(cx, r).await,
        Route::SystemAppStart | Route::SystemAppStop => system_apps::start_or_stop(cx, r).await,
        Route::SystemTools => tools::of_system(cx, r).await,
        Route::SystemInvokeTool => tools::of_assistant(cx, r).await,
        Route::Tool => tools::call(cx, r).await,
        Route::AppTools => tools::of_app(cx, r),
        Route::UserTools => tools::of_user(cx, r).await,
        Route::AppHealthCheck => uptime::check(cx, r).await,
        Route::ServerRegister => registrations::register(cx, r).await,
        Route::ServerHeartbeat => registrations::heartbeat(cx, r).await,
        Route::ServerRestart => registrations::restart(cx, r).await,
        Route::AdminConnections => admin::connections(cx, r).await,
        Route::AdminSummary => admin::summary(cx, r).await,
        Route::AdminSubscriptions => admin::subscriptions(cx, r).await,
        Route::AdminAppMessages => admin::app_messages(cx, r),
        Route::AdminConfig => admin::config(cx, r),
        Route::AdminReload => admin::reload_route(cx, r).await,
        Route::AdminDispose => admin::dispose(cx, r).await,
        Route::MiniappPhotoFile | Route::MinVersion | Route::Tts => Err(refuse(404, "Not found")),
    }
}

fn reply(status: u16, body: &Value) -> RestAnswer {
    RestAnswer::json(status, body.to_string())
}

/// `{"error": text}`.
fn refuse(status: u16, text: &str) -> RestAnswer {
    reply(status, &json!({ "error": text }))
}

/// `{"success": false, "error": text}`.
fn denied(status: u16, text: &str) -> RestAnswer {
    reply(status, &json!({ "success": false, "error": text }))
}

/// `{"success": false, "message": text}`.
fn fail(status: u16, text: &str) -> RestAnswer {
    reply(status, &json!({ "success": false, "message": text }))
}

impl From<StoreError> for RestAnswer {
    fn from(error: StoreError) -> Self {
        let is_the_callers = matches!(error, StoreError::TooLarge | StoreError::Refused(_));
        if !is_the_callers && let Some(more) = may(Line::RestOverStore) {
            tracing::warn!(%error, more, "a REST call met the store's failure");
        }
        let (status, text) = match error {
            StoreError::TooLarge => (413, "Too much is stored there already"),
            StoreError::Refused(_) => (400, "This cannot be stored"),
            StoreError::Timeout
            | StoreError::Unfinished(_)
            | StoreError::Full
            | StoreError::Closed
            | StoreError::Unreachable(_) => (503, "Storage is busy"),
            _ => (500, "Internal server error"),
        };
        let body = json!({ "success": false, "error": text, "message": text });
        Self {
            retry_after_s: (status == 503).then_some(1),
            ..reply(status, &body)
        }
    }
}

/// Longest body that is parsed for somebody of whom nothing is known yet (bytes): parsed values take a hundred times the room of
/// their text.
const STRANGERS_BYTES_MAX: usize = 256 * 1024;

/// The JSON body; one that cannot be parsed counts as `{}`.
fn body(r: &OutsideRequest) -> Value {
    let is_strange = r.user.is_none() && r.package.is_none();
    if is_strange && r.body.len() > STRANGERS_BYTES_MAX {
        return json!({});
    }
    let mut body = json::from_slice(&r.body).unwrap_or_else(|_| json!({}));
    settle_numbers(&mut body);
    body
}

/// A non-empty text member.
fn member<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

fn header<'a>(r: &'a OutsideRequest, name: &str) -> Option<&'a str> {
    r.headers
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

fn query<'a>(r: &'a OutsideRequest, name: &str) -> Option<&'a str> {
    r.query
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
        .filter(|value| !value.is_empty())
}

fn param(r: &OutsideRequest, index: usize) -> &str {
    r.params.get(index).map_or("", String::as_str)
}

/// Random UUID (version 4).
fn uuid() -> String {
    let mut bytes = [0; 16];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .expect("the operating system's random source does not fail");
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod incident_tests;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
