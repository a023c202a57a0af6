//! Outside thread, REST: tokens (protocol.md §18.9). Web-view tickets live in memory for 60 s and work once.

use super::{Handled, auth, body, denied, member, refuse, reply};
use crate::base::ids::UserId;
use crate::services::context::Services;
use crate::services::lock::lock;
use crate::shard::mailbox::OutsideRequest;
use crate::wire::auth::{TokenKeys, sha256_hex};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};

const TICKET_MS: u64 = 60_000;
/// Used and expired tickets are remembered that long, so that the answer can say so.
const REMEMBERED_MS: u64 = 300_000;
const TICKETS_MAX: usize = 100_000;
/// Of one user; a new one takes the place of the oldest, so that nobody keeps the others from theirs.
const TICKETS_OF_USER: usize = 64;
/// Longest package that a ticket is for (bytes): a longer one could not be stored, and is no app's.
const PACKAGE_BYTES_MAX: usize = 512;
const SIGNED_TTL_S: u64 = 600;
/// SDKs verify this text.
const ISSUER: &str = "https://prod.augmentos.cloud";
const STORE_PACKAGE: &str = "org.augmentos.store";

/// Tickets by their text, and each user's in the order of their issue.
#[derive(Default)]
pub(super) struct Tickets {
    all: HashMap<String, Ticket>,
    of_user: HashMap<UserId, VecDeque<String>>,
}

struct Ticket {
    user: UserId,
    package: String,
    expires_ms: u64,
    used: bool,
}

impl Tickets {
    fn issue(&mut self, user: UserId, package: String, now_ms: u64) -> Option<String> {
        if let Some(own) = self.of_user.get_mut(&user)
            && own.len() >= TICKETS_OF_USER
            && let Some(oldest) = own.pop_front()
        {
            self.all.remove(&oldest);
        }
        if self.all.len() >= TICKETS_MAX {
            self.forget_old(now_ms);
        }
        if self.all.len() >= TICKETS_MAX {
            return None;
        }
        let text = format!("{}{}", super::uuid(), super::uuid()).replace('-', "");
        let own = self.of_user.entry(user.clone()).or_default();
        own.push_back(text.clone());
        self.all.insert(
            text.clone(),
            Ticket {
                user,
                package,
                expires_ms: now_ms + TICKET_MS,
                used: false,
            },
        );
        Some(text)
    }

    fn forget_old(&mut self, now_ms: u64) {
        let all = &mut self.all;
        all.retain(|_, ticket| ticket.expires_ms + REMEMBERED_MS > now_ms);
        self.of_user.retain(|_, own| {
            own.retain(|text| all.contains_key(text));
            !own.is_empty()
        });
    }

    /// Redeems a ticket for `package`.
    fn redeem(
        &mut self,
        text: &str,
        package: &str,
        now_ms: u64,
    ) -> Result<UserId, (&'static str, &'static str)> {
        let ticket = self
            .all
            .get_mut(text)
            .ok_or(("token_not_found", "Temporary token not found"))?;
        if ticket.used {
            return Err(("token_used", "Temporary token already used"));
        }
        if now_ms >= ticket.expires_ms {
            return Err(("token_expired", "Temporary token expired"));
        }
        if ticket.package != package {
            return Err((
                "token_package_mismatch",
                "Temporary token was issued for a different app",
            ));
        }
        ticket.used = true;
        Ok(ticket.user.clone())
    }
}

/// `POST /auth/exchange-token`.
pub(super) async fn exchange(cx: &Services, r: &OutsideRequest) -> Handled {
    let fields = body(r);
    let settings = cx.settings();
    let providers = [
        ("supabaseToken", &settings.server.supabase_jwt_secret),
        ("authingToken", &settings.server.authing_app_secret),
    ];
    let given = providers
        .into_iter()
        .find_map(|(field, secret)| Some((member(&fields, field)?, secret)));
    let (token, secret) = given.ok_or_else(|| refuse(400, "No token provided"))?;
    let refused = || refuse(401, "Invalid token");
    // Without a secret anybody could sign.
    if secret.is_empty() {
        return Err(refused());
    }
    let now_s = cx.clock.now().unix_s();
    let claims = TokenKeys::new(secret)
        .verify_core(token, now_s)
        .map_err(|_| refused())?;
    let user = UserId::new(&claims.email);
    super::apps::user_record(cx, &user).await?;
    let core = core_token(cx, claims.sub.as_deref(), user.as_str())?;
    Ok(reply(200, &json!({ "coreToken": core })))
}

/// The token that a phone shows from now on.
fn core_token(cx: &Services, subject: Option<&str>, email: &str) -> Handled<String> {
    let claims = json!({
        "sub": subject, "email": email, "organizations": [], "defaultOrg": null,
        "iat": cx.clock.now().unix_s(),
    });
    let signed = cx.tokens.mint(&claims);
    signed.map_err(|_| refuse(500, "Failed to sign token"))
}

fn package_of(fields: &Value) -> Handled<&str> {
    member(fields, "packageName").ok_or_else(|| denied(400, "packageName is required"))
}

fn ticket(cx: &Services, user: UserId, package: &str) -> Handled {
    if package.len() > PACKAGE_BYTES_MAX {
        return Err(denied(400, "packageName is too long"));
    }
    let issued = lock(&cx.memory.tickets).issue(user, package.to_owned(), cx.clock.now().mono_ms);
    let token = issued.ok_or_else(|| refuse(503, "Too many tokens are outstanding"))?;
    Ok(reply(200, &json!({ "success": true, "token": token })))
}

/// `POST /api/auth/generate-webview-token`.
pub(super) fn webview(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::client_of_old(cx, r)?;
    let fields = body(r);
    ticket(cx, user, package_of(&fields)?)
}

/// Hex SHA-256 of the text followed by the app's stored key hash.
fn keyed_hash(cx: &Services, package: &str, text: &str) -> Handled<String> {
    let registry = cx.registry();
    let record = registry
        .get(package)
        .ok_or_else(|| denied(404, "App not found"))?;
    Ok(sha256_hex(format!("{text}{}", record.key_sha256)))
}

/// `POST /api/auth/generate-webview-signed-user-token`.
pub(super) fn signed(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::client_of_old(cx, r)?;
    let fields = body(r);
    let hash = keyed_hash(cx, package_of(&fields)?, &user)?;
    let now_s = cx.clock.now().unix_s();
    let claims = json!({
        "sub": user.as_str(), "frontendToken": format!("{user}:{hash}"), "iss": ISSUER, "iat": now_s, "exp": now_s + SIGNED_TTL_S,
    });
    let token = cx
        .memory
        .signer
        .as_ref()
        .and_then(|signer| signer.sign(&claims));
    let token = token.ok_or_else(|| denied(500, "Failed to generate token"))?;
    Ok(reply(
        200,
        &json!({ "success": true, "token": token, "expiresIn": "10m" }),
    ))
}

/// Whether the hash of `text` would make its holder another user to an app's page: it is the second half of that user's
/// `frontendToken`, whose first has no colon. Phones have addresses of clouds hashed.
fn is_anothers_name(text: &str, user: &UserId) -> bool {
    text.contains('@') && !text.contains(':') && UserId::new(text) != *user
}

/// `POST /api/auth/hash-with-api-key`.
pub(super) fn hash(cx: &Services, r: &OutsideRequest) -> Handled {
    let user = auth::client_of_old(cx, r)?;
    let fields = body(r);
    let (Some(text), Some(package)) = (
        member(&fields, "stringToHash"),
        member(&fields, "packageName"),
    ) else {
        return Err(denied(400, "stringToHash and packageName are required"));
    };
    if is_anothers_name(text, &user) {
        return Err(denied(403, "stringToHash names another user"));
    }
    Ok(reply(
        200,
        &json!({ "success": true, "hash": keyed_hash(cx, package, text)? }),
    ))
}

/// The package of an app's credentials, new form or old.
fn app_of(cx: &Services, r: &OutsideRequest, fields: &Value) -> Handled<String> {
    let named = member(fields, "packageName");
    if let Some(package) = &r.package {
        return match named {
            Some(named) if *named != **package => Err(refuse(401, "Invalid credentials")),
            _ => Ok(package.to_string()),
        };
    }
    let token = auth::bearer(r).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| refuse(401, "Missing or invalid Authorization header"))?;
    let (package, key) = match token.split_once(':') {
        Some((_, key)) if key.contains(':') => return Err(refuse(401, "Invalid token format")),
        Some((package, key)) => (package, key),
        None => (
            named.ok_or_else(|| refuse(401, "Invalid token format"))?,
            token,
        ),
    };
    if package.is_empty() || key.is_empty() || named.is_some_and(|named| named != package) {
        return Err(refuse(401, "Invalid credentials"));
    }
    if auth::key_matches(cx, package, key)? {
        Ok(package.to_owned())
    } else {
        Err(refuse(401, "Invalid API key"))
    }
}

fn redeem(cx: &Services, token: &str, package: &str) -> Handled<UserId> {
    let redeemed = lock(&cx.memory.tickets).redeem(token, package, cx.clock.now().mono_ms);
    redeemed.map_err(|(code, error)| {
        reply(
            401,
            &json!({ "success": false, "code": code, "error": error }),
        )
    })
}

/// `POST /api/auth/exchange-user-token`.
pub(super) fn exchange_user(cx: &Services, r: &OutsideRequest) -> Handled {
    let fields = body(r);
    let package = app_of(cx, r, &fields)?;
    let token =
        member(&fields, "aos_temp_token").ok_or_else(|| denied(400, "Missing aos_temp_token"))?;
    let user = redeem(cx, token, &package)?;
    Ok(reply(
        200,
        &json!({ "success": true, "userId": user.as_str() }),
    ))
}

/// `POST /api/auth/exchange-store-token`.
pub(super) fn exchange_store(cx: &Services, r: &OutsideRequest) -> Handled {
    let fields = body(r);
    let token =
        member(&fields, "aos_temp_token").ok_or_else(|| denied(400, "Missing aos_temp_token"))?;
    if member(&fields, "packageName") != Some(STORE_PACKAGE) {
        return Err(denied(403, "Invalid package name for this endpoint"));
    }
    let user = redeem(cx, token, STORE_PACKAGE)?;
    let user = user.as_str();
    let core = core_token(cx, Some(user), user)?;
    Ok(reply(
        200,
        // The store's page reads both levels.
        &json!({ "success": true, "userId": user, "tokens": { "coreToken": core } }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_works_once_for_its_package_and_a_minute() {
        let mut tickets = Tickets::default();
        let user = UserId::new("nadia@lumen.io");
        let first = tickets.issue(user.clone(), "a".into(), 0).expect("room");
        assert_eq!(
            tickets.redeem("nonsense", "a", 1).map_err(|error| error.0),
            Err("token_not_found")
        );
        assert_eq!(
            tickets.redeem(&first, "b", 1).map_err(|error| error.0),
            Err("token_package_mismatch")
        );
        assert_eq!(tickets.redeem(&first, "a", 1), Ok(user.clone()));
        assert_eq!(
            tickets.redeem(&first, "a", 2).map_err(|error| error.0),
            Err("token_used")
        );
        let second = tickets.issue(user, "a".into(), 0).expect("room");
        assert_eq!(
            tickets
                .redeem(&second, "a", TICKET_MS)
                .map_err(|error| error.0),
            Err("token_expired")
        );
    }

    #[test]
    fn nobody_takes_more_tickets_than_a_user_needs() {
        let mut tickets = Tickets::default();
        let greedy = UserId::new("eve@lumen.io");
        let mut issue = |now_ms| {
            let issued = tickets.issue(greedy.clone(), "a".into(), now_ms);
            issued.expect("room")
        };
        let first = issue(0);
        let many: Vec<_> = (0..1000).map(|_| issue(0)).collect();
        assert_eq!(tickets.all.len(), TICKETS_OF_USER);
        let forgotten = tickets.redeem(&first, "a", 1).map_err(|error| error.0);
        assert_eq!(forgotten, Err("token_not_found"));
        let newest = many.last().expect("many");
        assert_eq!(tickets.redeem(newest, "a", 1), Ok(greedy));
        tickets.forget_old(TICKET_MS + REMEMBERED_MS);
        assert!(tickets.all.is_empty() && tickets.of_user.is_empty());
    }
}
