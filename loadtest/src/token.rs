//! Core tokens of simulated phones (`protocol.md §1.5`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha2::Sha256;

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    email: &'a str,
    iat: u64,
}

/// Mints HS256 core tokens with one secret.
pub(crate) struct Mint {
    key: Hmac<Sha256>,
    issued_at_s: u64,
}

impl Mint {
    /// A mint whose tokens say they were issued at `issued_at_s` (Unix seconds).
    pub(crate) fn new(secret: &str, issued_at_s: u64) -> Self {
        Self {
            key: Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length"),
            issued_at_s,
        }
    }

    /// The token of `email`.
    pub(crate) fn token(&self, email: &str) -> Result<String, serde_json::Error> {
        let claims = Claims {
            sub: email,
            email,
            iat: self.issued_at_s,
        };
        let claims = serde_json::to_string(&claims)?;
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let message = format!(
            "{}.{}",
            part(r#"{"typ":"JWT","alg":"HS256"}"#),
            part(&claims)
        );
        let mac = self.key.clone().chain_update(&message).finalize();
        let signature = URL_SAFE_NO_PAD.encode(mac.into_bytes());
        Ok(format!("{message}.{signature}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_another_library() {
        // Made by Node's `crypto`.
        let token = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.\
            eyJzdWIiOiJhQGIudGVzdCIsImVtYWlsIjoiYUBiLnRlc3QiLCJpYXQiOjE3MDAwMDAwMDB9.\
            KvapUF7kzS0ZhZGv05rsgNft7w-3Jyd8Y3q7hAZrpZ4";
        assert_eq!(
            Mint::new("secret", 1_700_000_000)
                .token("a@b.test")
                .unwrap(),
            token
        );
    }
}
