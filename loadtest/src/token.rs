//! Core tokens of simulated phones (`protocol.md §1.5`).

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    email: &'a str,
    iat: u64,
}

/// Mints HS256 core tokens with one secret.
pub(crate) struct Mint {
    key: EncodingKey,
    header: Header,
    issued_at_s: u64,
}

impl Mint {
    /// A mint whose tokens say they were issued at `issued_at_s` (Unix seconds).
    pub(crate) fn new(secret: &str, issued_at_s: u64) -> Self {
        Self {
            key: EncodingKey::from_secret(secret.as_bytes()),
            header: Header::new(Algorithm::HS256),
            issued_at_s,
        }
    }

    /// The token of `email`.
    pub(crate) fn token(&self, email: &str) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = Claims {
            sub: email,
            email,
            iat: self.issued_at_s,
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation};

    #[test]
    fn a_server_with_the_same_secret_accepts_the_token_and_another_refuses_it() {
        let token = Mint::new("secret", 1_700_000_000)
            .token("a@b.test")
            .unwrap();
        let mut rules = Validation::new(Algorithm::HS256);
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        let decode = |secret: &str| {
            jsonwebtoken::decode::<serde_json::Value>(
                &token,
                &DecodingKey::from_secret(secret.as_bytes()),
                &rules,
            )
        };
        let claims = decode("secret").unwrap().claims;
        assert_eq!(claims["email"], "a@b.test");
        assert_eq!(
            (&claims["sub"], &claims["iat"]),
            (&"a@b.test".into(), &1_700_000_000_u64.into())
        );
        assert!(decode("other").is_err());
    }
}
