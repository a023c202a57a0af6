//! Layer 1: the shape of JSON web tokens, and the one kind that is verified here: HMAC with SHA-2 (`protocol.md §1.5`). What their
//! claims mean is not known here.

use super::auth::{Claims, TokenError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Sha256, Sha384, Sha512};

/// Longest token looked at, in bytes: a request head has no room for more.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// What counts of a token's header.
#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// A token with this header, whose signature `sign` makes of the rest; `None` when it cannot.
pub fn encode(
    header: &str,
    claims: &str,
    sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Option<String> {
    let mut token = String::new();
    URL_SAFE_NO_PAD.encode_string(header, &mut token);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Some(token)
}

/// A token signed with HS256.
pub(super) fn encode_hs256(claims: &str, secret: &[u8]) -> Option<String> {
    encode(r#"{"typ":"JWT","alg":"HS256"}"#, claims, |message| {
        let mac = mac::<Hmac<Sha256>>(secret, message)?;
        Some(mac.finalize().into_bytes().to_vec())
    })
}

/// The claims of a token that `secret` signed; `none` and everything asymmetric are refused.
///
/// # Errors
/// See [`TokenError`]; the checks come in the order of the established library: shape, algorithm, signature.
pub(super) fn verified(token: &str, secret: &[u8]) -> Result<Claims, TokenError> {
    let parts: Vec<&str> = token.split('.').take(4).collect();
    let (&[header, claims, signature], true) = (&parts[..], token.len() <= TOKEN_BYTES_MAX) else {
        return Err(TokenError::Malformed);
    };
    if signature.is_empty() {
        return Err(TokenError::Unsigned);
    }
    let is_signed = match json::<Header>(header)?.alg.as_str() {
        "HS256" => is_signed::<Hmac<Sha256>>,
        "HS384" => is_signed::<Hmac<Sha384>>,
        "HS512" => is_signed::<Hmac<Sha512>>,
        _ => return Err(TokenError::Algorithm),
    };
    let message = &token[..header.len() + 1 + claims.len()];
    if !is_signed(secret, message.as_bytes(), &bytes(signature)?) {
        return Err(TokenError::Signature);
    }
    json(claims)
}

fn bytes(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Invalid)
}

fn json<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    serde_json::from_slice(&bytes(part)?).map_err(|_| TokenError::Invalid)
}

fn mac<M: Mac + KeyInit>(secret: &[u8], message: &[u8]) -> Option<M> {
    let mut mac = <M as KeyInit>::new_from_slice(secret).ok()?;
    mac.update(message);
    Some(mac)
}

/// In the same time whatever differs.
fn is_signed<M: Mac + KeyInit>(secret: &[u8], message: &[u8], signature: &[u8]) -> bool {
    mac::<M>(secret, message).is_some_and(|mac| mac.verify_slice(signature).is_ok())
}
