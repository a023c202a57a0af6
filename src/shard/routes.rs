//! Layer 3: REST routes: method and pattern to who may ask and who answers (protocol.md §18). Pure: it judges one request and
//! says where it goes; bodies of answers other than refusals are made elsewhere.

mod auth;
mod cors;
mod envelope;
mod table;
#[cfg(test)]
mod tests;

pub use auth::is_admin_key;
pub use cors::cors;
pub use envelope::Envelope;

use super::mailbox::OutsideRoute;
use super::shared::Shared;
use crate::base::clock::Now;
use crate::base::ids::{Package, UserId};
use crate::base::settings::Settings;
use crate::session::effects::RestAnswer;
use crate::session::rest::Call;
use crate::wire::auth::TokenKeys;
use crate::wire::http::{Method, RequestHead, decode_component};
use crate::wire::json::ObjectWriter;
use crate::wire::records::Registry;
use bytes::Bytes;

/// One request and what is needed to judge it.
pub struct Ask<'a> {
    /// Its head.
    pub head: &'a RequestHead,
    /// Its body.
    pub body: &'a Bytes,
    /// Keys of core and app tokens.
    pub keys: &'a TokenKeys,
    /// App records in force.
    pub apps: &'a Registry,
    /// Settings in force.
    pub cfg: &'a Settings,
    /// Draining flag, heartbeats.
    pub shared: &'a Shared,
    /// Now.
    pub now: Now,
}

/// A request for the outside thread.
#[derive(Debug)]
pub struct ForOutside {
    /// Which route.
    pub route: OutsideRoute,
    /// Path parameters, decoded, in pattern order.
    pub params: Vec<String>,
    /// User of verified credentials.
    pub user: Option<UserId>,
    /// Package of verified credentials.
    pub package: Option<Package>,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Decision {
    /// Nowhere: this is the answer.
    Answer(RestAnswer),
    /// To the session of this user.
    Session(UserId, Call),
    /// To the outside thread.
    Outside(ForOutside),
}

/// Who may ask. The letters are those of protocol.md §18.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Auth {
    /// Anybody.
    None,
    /// C (and C+S, whose second half the session's shard judges): a core token, errors as for `/api/client`.
    Client,
    /// C0: a core token, errors as for `/apps`.
    Apps,
    /// A core token, errors as for `/auth`, `/api/hardware` and `/api/photos`.
    Plain,
    /// A core token, errors as for `/api/incidents`.
    Report,
    /// A core token, errors as for `/appsettings`.
    Settings,
    /// A: package and API key.
    App,
    /// Q: API key, package and user in the query.
    System,
    /// A core token of an administrator.
    Admin,
    /// The service decides; verified credentials of any kind are passed on.
    Any,
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// This layer.
    Livez,
    /// The session of the authenticated user.
    Session(fn(Vec<String>, &Bytes) -> Call),
    /// The session of the user in the first path parameter.
    SessionOfPath(fn(Vec<String>, &Bytes) -> Call),
    /// The outside thread.
    Outside(OutsideRoute),
}

/// One row.
struct Route {
    method: Method,
    pattern: &'static str,
    auth: Auth,
    target: Target,
}

impl Route {
    /// Whether there is such a route: what is switched off is as unknown as what never was.
    fn is_on(&self, cfg: &Settings) -> bool {
        use OutsideRoute::{ServerHeartbeat, ServerRegister, ServerRestart};
        let registers = matches!(
            self.target,
            Target::Outside(ServerRegister | ServerHeartbeat | ServerRestart)
        );
        !registers || cfg.apps.app_server_registration_enabled
    }

    /// Whether a request that has its form asks for it. What proxies keep from strangers, by its path, has no other spelling.
    fn is_open_to(&self, head: &RequestHead, cfg: &Settings) -> bool {
        let is_hidden = self.is_for_operators() && !matches!(self.target, Target::Livez);
        self.is_on(cfg) && (!is_hidden || params(self.pattern, head.path()).is_some())
    }

    /// Whether it is there for those who run the server: the second listener has these and no others.
    fn is_for_operators(&self) -> bool {
        use OutsideRoute::{Health, Metrics};
        self.auth == Auth::Admin
            || matches!(
                self.target,
                Target::Livez | Target::Outside(Health | Metrics)
            )
    }
}

/// The first row for a canonical path that also is `wanted`, and the path's parameters.
fn find(
    method: Method,
    path: &str,
    wanted: impl Fn(&Route) -> bool,
) -> Option<(&'static Route, Vec<String>)> {
    let method = match method {
        Method::Head => Method::Get,
        method => method,
    };
    table::ROUTES.iter().find_map(|route| {
        let is_asked = route.method == method && wanted(route);
        let params = is_asked.then(|| params(route.pattern, path))??;
        Some((route, params))
    })
}

/// What the second listener answers.
#[derive(Debug)]
pub enum ForOperators {
    /// [`livez`].
    Livez,
    /// What the outside thread says to these path parameters.
    Outside(OutsideRoute, Vec<String>),
}

/// The route of a request at the second listener, for operators; it judges nobody, the services do.
#[must_use]
pub fn for_operators(method: &str, path: &str) -> Option<ForOperators> {
    let method = Method::from_token(method);
    let (route, params) = find(method, &canonical(path), Route::is_for_operators)?;
    match route.target {
        Target::Livez => Some(ForOperators::Livez),
        Target::Outside(route) => Some(ForOperators::Outside(route, params)),
        Target::Session(_) | Target::SessionOfPath(_) => None,
    }
}

/// Whether a request belongs to the fallback upstream, pre-flights included: its path is unknown here, or was left there by
/// `upstream_paths`. Judged on the head alone, so that the body can be streamed.
#[must_use]
pub fn goes_upstream(head: &RequestHead, cfg: &Settings, shared: &Shared) -> bool {
    let http = &cfg.http;
    if http.fallback_upstream.is_empty() || head.method == Method::Other || shared.is_draining() {
        return false;
    }
    let asked = head.route_path();
    let path = canonical(&asked);
    let is_known = || {
        table::ROUTES.iter().any(|route| {
            let asked = match head.method {
                // A pre-flight asks for whatever the path has.
                Method::Options => route.method,
                Method::Head => Method::Get,
                method => method,
            };
            let is_asked = route.method == asked && route.is_open_to(head, cfg);
            is_asked && params(route.pattern, &path).is_some()
        })
    };
    let is_left = |prefix: &String| {
        lies_below(bare(&asked), bare(prefix)) || lies_below(&path, &canonical(prefix))
    };
    http.upstream_paths.iter().any(is_left) || !is_known()
}

/// Whether `path` is `prefix` or something below it: `/apps` is not the place of `/appsettings`.
fn lies_below(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
}

/// Bytes and milliseconds that a request's body may take, judged on its head. Pictures are larger than any other body, and may be
/// sent only by someone who is let in; a photo of the glasses that is too large is then refused in its own words.
#[must_use]
pub fn body_limits(ask: &Ask<'_>) -> (u64, u64) {
    let http = &ask.cfg.http;
    let usual = (http.http_body_bytes_max, http.http_body_timeout_ms);
    // Every other request is judged once, with its body.
    let path = ask.head.path();
    if !path.contains("/attachments") && !path.contains("/photos/upload") {
        return usual;
    }
    match decide(ask) {
        Decision::Outside(ForOutside {
            route: OutsideRoute::IncidentAttachments | OutsideRoute::PhotoUpload,
            ..
        }) => (
            usual.0.max(http.http_upload_bytes_max),
            usual.1.max(http.http_upload_timeout_ms),
        ),
        _ => usual,
    }
}

/// Judges a request.
#[must_use]
pub fn decide(ask: &Ask<'_>) -> Decision {
    let method = ask.head.method;
    if method == Method::Options {
        return Decision::Answer(empty(204));
    }
    let path = canonical(&ask.head.route_path());
    let found = find(method, &path, |route| route.is_open_to(ask.head, ask.cfg));
    let undisturbed = matches!(
        found,
        Some((
            Route {
                target: Target::Livez | Target::Outside(OutsideRoute::Metrics),
                ..
            },
            _
        ))
    );
    if ask.shared.is_draining() && !undisturbed {
        return Decision::Answer(RestAnswer::json(
            503,
            r#"{"status":"draining","message":"Server is shutting down"}"#,
        ));
    }
    let Some((route, params)) = found else {
        return unknown(ask);
    };
    let who = match auth::check(route.auth, ask) {
        Ok(who) => who,
        Err(answer) => return Decision::Answer(answer),
    };
    match route.target {
        Target::Livez => Decision::Answer(livez(
            ask.shared,
            ask.now.mono_ms,
            ask.cfg.observability.livez_stall_ms,
        )),
        Target::Outside(route) => Decision::Outside(ForOutside {
            route,
            params,
            user: who.user,
            package: who.package,
        }),
        Target::Session(call) => match who.user {
            Some(user) => Decision::Session(user, call(params, ask.body)),
            None => Decision::Answer(auth::refusal("Invalid token data", None)),
        },
        Target::SessionOfPath(call) => {
            let user = UserId::new(params.first().map_or("", String::as_str));
            let mut call = call(params, ask.body);
            if let Call::AudioStream { peek, .. } = &mut call {
                *peek = ask.head.method == Method::Head;
            }
            Decision::Session(user, call)
        }
    }
}

/// A route that nobody knows.
fn unknown(ask: &Ask<'_>) -> Decision {
    let mut body = Vec::with_capacity(128);
    ObjectWriter::begin(&mut body)
        .str("error", "Not found")
        .str("path", ask.head.path())
        .str("timestamp", ask.now.iso().as_str())
        .end();
    Decision::Answer(RestAnswer::json(404, body))
}

/// The answer of `/livez`, on whichever listener: whether the shards live, read from shared words, so that a stalled shard cannot
/// hide behind its silence.
#[must_use]
pub fn livez(shared: &Shared, now_ms: u64, stall_ms: u64) -> RestAnswer {
    let (status, text) = if shared.is_stalled(now_ms, stall_ms) {
        (503, "stalled")
    } else {
        (200, "ok")
    };
    RestAnswer {
        content_type: "text/plain; charset=utf-8",
        ..RestAnswer::json(status, text)
    }
}

fn empty(status: u16) -> RestAnswer {
    RestAnswer {
        content_type: "",
        ..RestAnswer::json(status, Bytes::new())
    }
}

/// Mounts that stand for one another.
const MOUNTS: [(&str, &str); 4] = [
    ("/api/apps", "/apps"),
    ("/api/auth", "/auth"),
    ("/tpasettings", "/appsettings"),
    ("/api/app-server", "/api/tpa-server"),
];

/// What the 2.x-style sessions of 3.x SDKs leave in front of every REST path: they cut `/app-ws` alone off the URL of their socket.
const SOCKET_MOUNT: &str = "/ws/miniapp";

/// Whether an app asks for such a path. Below the mount nothing else is reached: a proxy may hide `/metrics` or `/api/admin` by
/// their paths.
fn is_for_apps(path: &str) -> bool {
    let is_api = path.starts_with("/api/") && !path.starts_with("/api/admin/");
    is_api || path.starts_with("/appsettings/")
}

/// `path` without what means nothing: a slash at its end, the mount of sockets before an app's REST path.
fn bare(path: &str) -> &str {
    let path = match path.strip_suffix('/') {
        Some(shorter) if !shorter.is_empty() => shorter,
        _ => path,
    };
    match path.strip_prefix(SOCKET_MOUNT) {
        Some(rest) if is_for_apps(rest) => rest,
        _ => path,
    }
}

/// The one path that all spellings and mounts of a route share.
fn canonical(path: &str) -> String {
    let path = bare(path);
    for (alias, mount) in MOUNTS {
        if let Some(rest) = path.strip_prefix(alias)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return format!("{mount}{rest}");
        }
    }
    path.to_owned()
}

/// Path parameters of `path`, if it has the form of `pattern`.
fn params(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let (mut parts, mut segments) = (pattern.split('/'), path.split('/'));
    loop {
        match (parts.next(), segments.next()) {
            (None, None) => return Some(found),
            (Some(part), Some(segment)) if part.starts_with(':') => {
                if segment.is_empty() {
                    return None;
                }
                found.push(decode_component(segment)?);
            }
            (Some(part), Some(segment)) if part == segment => {}
            _ => return None,
        }
    }
}

/// All query pairs of a target, decoded.
#[must_use]
pub fn query_pairs(target: &str) -> Vec<(String, String)> {
    let Some((_, query)) = target.split_once('?') else {
        return Vec::new();
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter_map(|pair| {
            let name = pair.split('=').next().unwrap_or(pair);
            // Decoding the pair alone keeps repeated names apart.
            let decoded = decode_form(name);
            let value = crate::wire::http::query_value(pair, &decoded)?;
            Some((decoded, value))
        })
        .collect()
}

fn decode_form(text: &str) -> String {
    decode_component(&text.replace('+', "%20")).unwrap_or_else(|| text.to_owned())
}
