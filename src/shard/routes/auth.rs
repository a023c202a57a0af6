//! Layer 3: who asks. Exact refusals of protocol.md §18.1 and §18.16.

use super::{Ask, Auth};
use crate::base::ids::{Package, UserId};
use crate::base::settings::Server;
use crate::session::effects::RestAnswer;
use crate::wire::auth::{TokenError, api_key_matches, sha256_hex};
use crate::wire::http::Method;
use crate::wire::json::ObjectWriter;

/// Verified credentials.
#[derive(Default, Debug)]
pub(super) struct Who {
    pub(super) user: Option<UserId>,
    pub(super) package: Option<Package>,
}

impl Who {
    fn user(email: &str) -> Self {
        Self {
            user: Some(UserId::new(email)),
            package: None,
        }
    }
}

/// A 401 with `error` and, where the form has one, `message`.
pub(super) fn refusal(error: &str, message: Option<&str>) -> RestAnswer {
    let mut body = Vec::with_capacity(96);
    ObjectWriter::begin(&mut body)
        .str("error", error)
        .opt_str("message", message)
        .end();
    RestAnswer::json(401, body)
}

pub(super) fn check(auth: Auth, ask: &Ask<'_>) -> Result<Who, RestAnswer> {
    match auth {
        Auth::None => Ok(Who::default()),
        Auth::Client => client(ask, Reason::Told),
        Auth::Apps => client(ask, Reason::Untold),
        Auth::Plain => plain(ask),
        Auth::Report => report(ask),
        Auth::Settings => settings(ask),
        Auth::App => app(ask),
        Auth::System => system(ask),
        Auth::Admin => admin(ask),
        Auth::Any => {
            let user = client(ask, Reason::Untold).unwrap_or_default().user;
            let package = app(ask)
                .or_else(|_| system(ask))
                .unwrap_or_default()
                .package;
            Ok(Who { user, package })
        }
    }
}

/// Whether a refused token's reason stands in the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Told,
    Untold,
}

fn client(ask: &Ask<'_>, reason: Reason) -> Result<Who, RestAnswer> {
    let header = ask.head.header("authorization").unwrap_or_default();
    let Some(token) = header.strip_prefix("Bearer ") else {
        return Err(refusal("Authorization header missing or invalid", None));
    };
    let token = token.trim();
    if matches!(token, "" | "null" | "undefined") && reason == Reason::Told {
        return Err(refusal("Invalid token", None));
    }
    match ask.keys.verify_core(token, ask.now.unix_s()) {
        Ok(claims) => Ok(Who::user(&claims.email)),
        Err(TokenError::NoUser) => Err(refusal("Invalid token data", None)),
        Err(error) => {
            let text = error.to_string();
            let message = (reason == Reason::Told).then_some(text.as_str());
            Err(refusal("Invalid or expired token", message))
        }
    }
}

fn plain(ask: &Ask<'_>) -> Result<Who, RestAnswer> {
    let header = ask.head.header("authorization").unwrap_or_default();
    let Some(token) = header.strip_prefix("Bearer ") else {
        return Err(refusal("Missing or invalid Authorization header", None));
    };
    match ask.keys.verify_core(token.trim(), ask.now.unix_s()) {
        Ok(claims) => Ok(Who::user(&claims.email)),
        Err(TokenError::NoUser) => Err(refusal("Invalid token data", None)),
        Err(_) => Err(refusal("Invalid or expired token", None)),
    }
}

/// Bug reports take a token without its scheme too.
fn report(ask: &Ask<'_>) -> Result<Who, RestAnswer> {
    let refused = |message: &str| {
        let mut body = Vec::with_capacity(64);
        ObjectWriter::begin(&mut body)
            .bool("success", false)
            .str("message", message)
            .end();
        Err(RestAnswer::json(401, body))
    };
    let header = ask.head.header("authorization").unwrap_or_default();
    let token = header.strip_prefix("Bearer ").unwrap_or(header).trim();
    if token.is_empty() {
        return refused("Missing authentication");
    }
    match ask.keys.verify_core(token, ask.now.unix_s()) {
        Ok(claims) => Ok(Who::user(&claims.email)),
        Err(_) => refused("Invalid token"),
    }
}

/// protocol.md §18.13.
fn settings(ask: &Ask<'_>) -> Result<Who, RestAnswer> {
    let Some(header) = ask.head.header("authorization") else {
        return Err(refusal("Authorization header missing", None));
    };
    let Some(token) = header.strip_prefix("Bearer ") else {
        return Err(refusal("Invalid Authorization header format", None));
    };
    let deed = match ask.head.method {
        Method::Post => "update",
        _ => "request",
    };
    match ask.keys.verify_core(token.trim(), ask.now.unix_s()) {
        Ok(claims) => Ok(Who::user(&claims.email)),
        Err(TokenError::NoUser) => Err(RestAnswer {
            status: 400,
            ..refusal("User ID missing in token", None)
        }),
        Err(_) => {
            let text = format!("Invalid core token or error processing {deed}");
            Err(refusal(&text, None))
        }
    }
}

fn app(ask: &Ask<'_>) -> Result<Who, RestAnswer> {
    // Clients may read either member, so both carry the reason.
    let refused = |message: &str| Err(refusal(message, Some(message)));
    let Some(header) = ask.head.header("authorization") else {
        return refused("Missing Authorization header");
    };
    let Some(credentials) = header.strip_prefix("Bearer ") else {
        return refused("Invalid Authorization format");
    };
    let Some((package, key)) = credentials
        .split_once(':')
        .filter(|(_, key)| !key.contains(':'))
    else {
        return refused("Invalid token format");
    };
    if package.is_empty() || key.is_empty() {
        return refused("Invalid credentials");
    }
    if key_is_valid(ask, package, key)? {
        Ok(Who {
            user: None,
            package: Some(Package::new(package)),
        })
    } else {
        refused("Invalid API key")
    }
}

/// An app unknown only because its record could not be read yet gets 503: that must never look like a wrong key.
fn key_is_valid(ask: &Ask<'_>, package: &str, key: &str) -> Result<bool, RestAnswer> {
    match ask.apps.get(package) {
        Some(app) => Ok(api_key_matches(key, &app.key_sha256)),
        None if ask.apps.loaded => Ok(false),
        None => Err(RestAnswer {
            retry_after_s: Some(5),
            ..RestAnswer::json(503, r#"{"error":"App records are not available"}"#)
        }),
    }
}

fn system(ask: &Ask<'_>) -> Result<Who, RestAnswer> {
    let refused = |status: u16, error: &str| {
        let mut body = Vec::with_capacity(96);
        ObjectWriter::begin(&mut body)
            .bool("success", false)
            .str("error", error)
            .end();
        Err(RestAnswer::json(status, body))
    };
    let query = |name| ask.head.query(name).filter(|value| !value.is_empty());
    let (Some(key), Some(package), Some(user)) =
        (query("apiKey"), query("packageName"), query("userId"))
    else {
        return refused(
            400,
            "Missing required query parameters: apiKey, packageName, userId",
        );
    };
    let listed = &ask.cfg.apps.system_app_packages;
    if !listed.contains(&package) {
        return refused(403, "Package not authorized for API key authentication");
    }
    if !key_is_valid(ask, &package, &key)? {
        return refused(401, "Invalid API key");
    }
    Ok(Who {
        user: Some(UserId::new(&user)),
        package: Some(Package::new(&package)),
    })
}

/// Whether `key` is the one of the settings; none is where none is set. Takes as long for a wrong one as for the right one.
#[must_use]
pub fn is_admin_key(cfg: &Server, key: &str) -> bool {
    let wanted = &cfg.admin_api_key;
    !wanted.is_empty() && api_key_matches(key, &sha256_hex(wanted))
}

fn admin(ask: &Ask<'_>) -> Result<Who, RestAnswer> {
    let header = ask.head.header("authorization").unwrap_or_default();
    let key = header.strip_prefix("Bearer ").unwrap_or_default();
    if is_admin_key(&ask.cfg.server, key) {
        return Ok(Who::default());
    }
    let who = client(ask, Reason::Told)?;
    let listed = &ask.cfg.server.admin_emails;
    let is_admin = who.user.as_ref().is_some_and(|user| {
        listed
            .iter()
            .any(|email| UserId::new(email.trim()) == *user)
    });
    if is_admin {
        Ok(who)
    } else {
        Err(RestAnswer::json(403, r#"{"error":"Forbidden"}"#))
    }
}
