//! Layer 1: tokens and API keys (`protocol.md §1.5`); it reads no clock (the caller passes the
//! time) and looks nothing up.

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode_header, encode,
};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Algorithms accepted; `none` and everything asymmetric are refused.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

/// Longest token looked at, in bytes: a request head has no room for more.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Claims of a token as they are.
pub type Claims = Map<String, Value>;

/// Why a token was refused. The texts are those of the JavaScript library that clients of the
/// existing service have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts.
    #[error("jwt malformed")]
    Malformed,
    /// Three parts, the last one empty.
    #[error("jwt signature is required")]
    Unsigned,
    /// A part that is not base64url or not JSON, or a claim missing that this token must have.
    #[error("invalid token")]
    Invalid,
    /// Signed in another way than HMAC with SHA-2.
    #[error("invalid algorithm")]
    Algorithm,
    /// Signed with another secret, or changed since.
    #[error("invalid signature")]
    Signature,
    /// Past its `exp`.
    #[error("jwt expired")]
    Expired,
    /// Before its `nbf`.
    #[error("jwt not active")]
    NotActive,
    /// An `exp` that is no number.
    #[error("invalid exp value")]
    ExpValue,
    /// An `nbf` that is no number.
    #[error("invalid nbf value")]
    NbfValue,
    /// A core token that is good but names no user.
    #[error("no user ID")]
    NoUser,
}

/// What a core token says about its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreClaims {
    /// The user id: the e-mail address, lower-cased.
    pub email: String,
    /// The identity provider's id of the user.
    pub sub: Option<String>,
    /// The organisation in whose name the user acts.
    pub default_org: Option<String>,
}

/// What an app token says about its bearer.
#[derive(Clone, PartialEq, Eq)]
pub struct AppClaims {
    /// Package of the app.
    pub package_name: String,
    /// The app's API key in plain text, still to be checked against the stored hash.
    pub api_key: String,
}

impl std::fmt::Debug for AppClaims {
    /// Without the key, which must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppClaims")
            .field("package_name", &self.package_name)
            .finish_non_exhaustive()
    }
}

/// The shared secret of one kind of token.
#[derive(Clone)]
pub struct TokenKeys {
    verify: DecodingKey,
    sign: EncodingKey,
    validation: Validation,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKeys").finish_non_exhaustive()
    }
}

impl TokenKeys {
    /// Keys made of the bytes of `secret`.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.algorithms = ALGORITHMS.to_vec();
        validation.required_spec_claims.clear();
        // The library would read the system's clock; `check_times` uses the caller's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Self {
            verify: DecodingKey::from_secret(secret.as_bytes()),
            sign: EncodingKey::from_secret(secret.as_bytes()),
            validation,
        }
    }

    /// Checks a token's algorithm, signature, `nbf` and `exp` (each enforced if present) against
    /// `unix_s`, seconds since the Unix epoch, and returns its claims.
    ///
    /// # Errors
    /// See [`TokenError`]; the checks come in the order of its variants' texts in the established
    /// library: shape, algorithm, signature, times.
    pub fn verify(&self, token: &str, unix_s: u64) -> Result<Claims, TokenError> {
        let parts = token.split('.').count();
        if token.len() > TOKEN_BYTES_MAX || parts != 3 {
            return Err(TokenError::Malformed);
        }
        if token.ends_with('.') {
            return Err(TokenError::Unsigned);
        }
        let header = decode_header(token).map_err(|error| token_error(&error))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        let data = jsonwebtoken::decode::<Claims>(token, &self.verify, &self.validation)
            .map_err(|error| token_error(&error))?;
        check_times(&data.claims, unix_s)?;
        Ok(data.claims)
    }

    /// Verifies a core token: the phone's, and that of REST calls.
    ///
    /// # Errors
    /// As [`TokenKeys::verify`], and [`TokenError::NoUser`] without a usable `email` claim.
    pub fn verify_core(&self, token: &str, unix_s: u64) -> Result<CoreClaims, TokenError> {
        let claims = self.verify(token, unix_s)?;
        let email = text_claim(&claims, "email")
            .ok_or(TokenError::NoUser)?
            .to_lowercase();
        let sub = text_claim(&claims, "sub").map(str::to_owned);
        let default_org = text_claim(&claims, "defaultOrg").map(str::to_owned);
        Ok(CoreClaims {
            email,
            sub,
            default_org,
        })
    }

    /// Verifies an app token.
    ///
    /// # Errors
    /// As [`TokenKeys::verify`], and [`TokenError::Invalid`] without `packageName` or `apiKey`.
    pub fn verify_app(&self, token: &str, unix_s: u64) -> Result<AppClaims, TokenError> {
        let claims = self.verify(token, unix_s)?;
        let claim = |name| {
            text_claim(&claims, name)
                .map(str::to_owned)
                .ok_or(TokenError::Invalid)
        };
        Ok(AppClaims {
            package_name: claim("packageName")?,
            api_key: claim("apiKey")?,
        })
    }

    /// Signs claims with HS256. No claim is added, `iat` included.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] for claims that serialize to no JSON object.
    pub fn mint<T: Serialize>(&self, claims: &T) -> Result<String, TokenError> {
        let claims = match serde_json::to_value(claims) {
            Ok(Value::Object(claims)) => claims,
            _ => return Err(TokenError::Invalid),
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.sign).map_err(|_| TokenError::Invalid)
    }
}

fn text_claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

/// Enforces `nbf` and `exp` where they are present; the instant of `exp` itself is too late.
fn check_times(claims: &Claims, unix_s: u64) -> Result<(), TokenError> {
    let number = |name, error| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(error),
    };
    let now = unix_s as f64;
    if number("nbf", TokenError::NbfValue)?.is_some_and(|from| from > now) {
        return Err(TokenError::NotActive);
    }
    if number("exp", TokenError::ExpValue)?.is_some_and(|until| now >= until) {
        return Err(TokenError::Expired);
    }
    Ok(())
}

fn token_error(error: &Error) -> TokenError {
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm => TokenError::Algorithm,
        ErrorKind::Json(error) if error.to_string().contains("unknown variant") => {
            TokenError::Algorithm
        }
        _ => TokenError::Invalid,
    }
}

/// Lower-case hexadecimal SHA-256 of `text`: the form in which API keys are stored.
#[must_use]
pub fn sha256_hex(text: impl AsRef<[u8]>) -> String {
    hex_digest(text.as_ref())
        .iter()
        .map(|digit| char::from(*digit))
        .collect()
}

/// Whether `plain` is the API key whose stored hash is `sha256_hex` (either case); takes the same
/// time whatever differs. An empty or malformed stored hash matches nothing.
#[must_use]
pub fn api_key_matches(plain: &str, sha256_hex: &str) -> bool {
    let digest = hex_digest(plain.as_bytes());
    let stored = sha256_hex.to_ascii_lowercase();
    digest.ct_eq(stored.as_bytes()).into()
}

fn hex_digest(bytes: &[u8]) -> [u8; 64] {
    let mut hex = [0; 64];
    for (digits, byte) in hex
        .as_chunks_mut::<2>()
        .0
        .iter_mut()
        .zip(Sha256::digest(bytes))
    {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        *digits = [digit(byte >> 4), digit(byte & 0xF)];
    }
    hex
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_773_480_413;

    fn keys() -> TokenKeys {
        TokenKeys::new("a development secret")
    }

    fn signed(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    fn unsigned(header: &Value, claims: &Value, signature: &str) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{signature}", part(header), part(claims))
    }

    #[test]
    fn core_tokens_of_the_three_hmac_variants() {
        let claims = json!({"sub": "u-1", "email": "Nadia@Lumen.io", "organizations": ["o"],
            "defaultOrg": null, "iat": NOW, "aud": "authenticated"});
        for algorithm in ALGORITHMS {
            let token = signed(algorithm, "a development secret", &claims);
            let core = keys().verify_core(&token, NOW).unwrap();
            assert_eq!(core.email, "nadia@lumen.io");
            assert_eq!((core.sub.as_deref(), core.default_org), (Some("u-1"), None));
        }
        // The well-known example token, made by another library.
        let foreign = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
            eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.\
            SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
        let claims = TokenKeys::new("your-256-bit-secret")
            .verify(foreign, NOW)
            .unwrap();
        assert_eq!(claims["name"], "John Doe");
    }

    #[test]
    fn minted_tokens_verify() {
        let token = keys().mint(&json!({"email": "a@b.co"})).unwrap();
        assert_eq!(keys().verify_core(&token, NOW).unwrap().email, "a@b.co");
        assert_eq!(keys().mint(&"text"), Err(TokenError::Invalid));
    }

    #[test]
    fn users_must_be_named() {
        for claims in [
            json!({}),
            json!({"email": ""}),
            json!({"email": 5}),
            json!({"sub": "x"}),
        ] {
            let token = keys().mint(&claims).unwrap();
            assert_eq!(
                keys().verify_core(&token, NOW),
                Err(TokenError::NoUser),
                "{claims}"
            );
        }
    }

    #[test]
    fn app_tokens_need_both_claims() {
        let token = keys()
            .mint(&json!({"packageName": "com.acme.x", "apiKey": "k"}))
            .unwrap();
        let app = keys().verify_app(&token, NOW).unwrap();
        assert_eq!(
            (app.package_name.as_str(), app.api_key.as_str()),
            ("com.acme.x", "k")
        );
        assert!(!format!("{app:?}").contains("api_key"));
        for claims in [json!({"packageName": "com.acme.x"}), json!({"apiKey": "k"})] {
            let token = keys().mint(&claims).unwrap();
            assert_eq!(keys().verify_app(&token, NOW), Err(TokenError::Invalid));
        }
    }

    #[test]
    fn times_are_enforced_where_present() {
        for (claims, expected) in [
            (json!({}), None),
            (json!({"exp": NOW + 1}), None),
            (json!({"exp": NOW as f64 + 0.5}), None),
            (json!({"exp": NOW}), Some("jwt expired")),
            (json!({"exp": 0}), Some("jwt expired")),
            (json!({"exp": "soon"}), Some("invalid exp value")),
            (json!({"nbf": NOW}), None),
            (json!({"nbf": NOW + 1}), Some("jwt not active")),
            (
                json!({"nbf": NOW + 1, "exp": NOW - 1}),
                Some("jwt not active"),
            ),
            (json!({"nbf": null}), Some("invalid nbf value")),
        ] {
            let token = keys().mint(&claims).unwrap();
            let error = keys()
                .verify(&token, NOW)
                .err()
                .map(|error| error.to_string());
            assert_eq!(error.as_deref(), expected, "{claims}");
        }
    }

    #[test]
    fn forged_and_broken_tokens_are_refused_with_the_known_texts() {
        let claims = json!({"email": "a@b.co"});
        let good = keys().mint(&claims).unwrap();
        let (message, signature) = good.rsplit_once('.').unwrap();
        let none = json!({"alg": "none", "typ": "JWT"});
        let asymmetric = json!({"alg": "RS256", "typ": "JWT"});
        let unknown = json!({"alg": "HS1", "typ": "JWT"});
        for (token, text) in [
            (String::new(), "jwt malformed"),
            ("garbage".to_owned(), "jwt malformed"),
            (message.to_owned(), "jwt malformed"),
            (format!("{good}.x"), "jwt malformed"),
            (format!("{message}."), "jwt signature is required"),
            (unsigned(&none, &claims, ""), "jwt signature is required"),
            (unsigned(&none, &claims, "AAAA"), "invalid algorithm"),
            (
                unsigned(&asymmetric, &claims, signature),
                "invalid algorithm",
            ),
            (unsigned(&unknown, &claims, signature), "invalid algorithm"),
            ("a.b.c".to_owned(), "invalid token"),
            (format!("{message}.%%%"), "invalid token"),
            (
                format!("{message}.{}", &signature[1..]),
                "invalid signature",
            ),
            (
                signed(Algorithm::HS256, "another secret", &claims),
                "invalid signature",
            ),
            (good.replacen(".ey", ".ez", 1), "invalid signature"),
        ] {
            let error = keys().verify(&token, NOW).unwrap_err();
            assert_eq!(error.to_string(), text, "{token}");
        }
    }

    #[test]
    fn api_keys_are_compared_by_hash() {
        let hash = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
        assert_eq!(sha256_hex("key"), hash);
        assert!(api_key_matches("key", hash));
        assert!(api_key_matches("key", &hash.to_uppercase()));
        assert!(!api_key_matches("Key", hash));
        for stored in ["", "2c70", &format!("{hash}00"), "key"] {
            assert!(!api_key_matches("key", stored));
        }
    }
}
