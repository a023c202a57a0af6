//! Outside thread, REST: who asks. The letters C, C0, A and Q are the kinds of credentials of protocol.md §18.1. What the shard has
//! checked already is taken over; the rest is checked here.

use super::{Handled, denied, fail, header, query, refuse, reply};
use crate::base::ids::{Package, UserId};
use crate::services::context::Services;
use crate::session::effects::RestAnswer;
use crate::shard::mailbox::OutsideRequest;
use crate::shard::routes::is_admin_key;
use crate::wire::auth::{TokenError, api_key_matches};
use serde_json::json;

/// The bearer token.
pub(super) fn bearer(r: &OutsideRequest) -> Option<&str> {
    header(r, "authorization").and_then(|value| value.strip_prefix("Bearer "))
}

/// C: the phone's user.
pub(super) fn client(cx: &Services, r: &OutsideRequest) -> Handled<UserId> {
    if let Some(user) = &r.user {
        return Ok(user.clone());
    }
    let token = bearer(r)
        .ok_or_else(|| refuse(401, "Authorization header missing or invalid"))?
        .trim();
    if matches!(token, "" | "null" | "undefined") {
        return Err(refuse(401, "Invalid token"));
    }
    core_user(cx, token).map_err(|error| match error {
        TokenError::NoUser => refuse(401, "Invalid token data"),
        error => reply(
            401,
            &json!({ "error": "Invalid or expired token", "message": error.to_string() }),
        ),
    })
}

/// C0: as [`client`], without `message`.
pub(super) fn client_plain(cx: &Services, r: &OutsideRequest) -> Handled<UserId> {
    client(cx, r).map_err(|refusal| {
        let body: serde_json::Value = serde_json::from_slice(&refusal.body).unwrap_or_default();
        refuse(
            refusal.status,
            body["error"].as_str().unwrap_or("Invalid or expired token"),
        )
    })
}

/// C of `/auth`, `/api/hardware` and `/api/photos`.
pub(super) fn client_of_old(cx: &Services, r: &OutsideRequest) -> Handled<UserId> {
    if let Some(user) = &r.user {
        return Ok(user.clone());
    }
    let refused = |text: &str| refuse(401, text);
    let token = bearer(r).ok_or_else(|| refused("Missing or invalid Authorization header"))?;
    core_user(cx, token.trim()).map_err(|error| match error {
        TokenError::NoUser => refused("Invalid token data"),
        _ => refused("Invalid or expired token"),
    })
}

/// C of `/api/incidents`; the scheme may be left out.
pub(super) fn reporter(cx: &Services, r: &OutsideRequest) -> Handled<UserId> {
    if let Some(user) = &r.user {
        return Ok(user.clone());
    }
    let token = plain_token(r).ok_or_else(|| fail(401, "Missing authentication"))?;
    core_user(cx, token).map_err(|_| fail(401, "Invalid token"))
}

/// The token of a bug report's request.
pub(super) fn plain_token(r: &OutsideRequest) -> Option<&str> {
    let header = header(r, "authorization")?;
    let token = header.strip_prefix("Bearer ").unwrap_or(header).trim();
    (!token.is_empty()).then_some(token)
}

/// The user of a core token.
pub(super) fn core_user(cx: &Services, token: &str) -> Result<UserId, TokenError> {
    cx.tokens
        .verify_core(token, cx.clock.now().unix_s())
        .map(|claims| UserId::new(&claims.email))
}

/// A: an app server.
pub(super) fn app(cx: &Services, r: &OutsideRequest) -> Handled<Package> {
    if let Some(package) = &r.package {
        return Ok(package.clone());
    }
    let refusal =
        |error: &str, message: &str| reply(401, &json!({ "error": error, "message": message }));
    let value = header(r, "authorization").ok_or_else(|| {
        refusal(
            "Missing Authorization header",
            "Expected Bearer <packageName>:<apiKey>",
        )
    })?;
    let token = value.strip_prefix("Bearer ").ok_or_else(|| {
        refusal(
            "Invalid Authorization format",
            "Expected Bearer <packageName>:<apiKey>",
        )
    })?;
    let mut parts = token.split(':');
    let (Some(package), Some(key), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(refusal(
            "Invalid token format",
            "Expected <packageName>:<apiKey>",
        ));
    };
    if package.trim().is_empty() || key.trim().is_empty() {
        return Err(refusal(
            "Invalid credentials",
            "Package name and API key must not be empty",
        ));
    }
    if !key_matches(cx, package, key)? {
        return Err(refusal(
            "Invalid API key",
            "The API key does not belong to this package",
        ));
    }
    Ok(Package::new(package))
}

/// Whether `key` is the API key of `package`; 503 for an unknown one while the store's records could not be read yet.
pub(super) fn key_matches(cx: &Services, package: &str, key: &str) -> Handled<bool> {
    let registry = cx.registry();
    match registry.get(package) {
        Some(record) => Ok(api_key_matches(key, &record.key_sha256)),
        None if registry.loaded => Ok(false),
        None => Err(RestAnswer {
            retry_after_s: Some(5),
            ..refuse(503, "App records are not available")
        }),
    }
}

/// Q: a whitelisted system app acting for a user.
pub(super) fn system_app(cx: &Services, r: &OutsideRequest) -> Handled<(Package, UserId)> {
    let (Some(key), Some(package), Some(user)) = (
        query(r, "apiKey"),
        query(r, "packageName"),
        query(r, "userId"),
    ) else {
        return Err(denied(
            400,
            "Missing required query parameters: apiKey, packageName, userId",
        ));
    };
    if !cx
        .settings()
        .apps
        .system_app_packages
        .iter()
        .any(|known| known == package)
    {
        return Err(denied(
            403,
            "Package not authorized for API key authentication",
        ));
    }
    if !key_matches(cx, package, key)? {
        return Err(denied(401, "Invalid API key"));
    }
    Ok((Package::new(package), UserId::new(user)))
}

/// An administrator's core token, or the key of an agent.
pub(super) fn admin(cx: &Services, r: &OutsideRequest) -> Handled<UserId> {
    let settings = cx.settings();
    if bearer(r).is_some_and(|key| is_admin_key(&settings.server, key)) {
        return Ok(UserId::new("agent"));
    }
    let user = client(cx, r)?;
    if settings
        .server
        .admin_emails
        .iter()
        .any(|email| UserId::new(email.trim()) == user)
    {
        Ok(user)
    } else {
        Err(refuse(403, "Admin access required"))
    }
}
