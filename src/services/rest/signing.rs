//! Outside thread, REST: RS256 for signed web-view user tokens (protocol.md §18.9). Reads one key; knows no request.

use crate::wire::jwt;
use base64::Engine as _;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::Signer as Rs256;
use serde_json::Value;

/// The key.
pub(super) struct Signer(Box<dyn Rs256>);

impl Signer {
    /// From PEM text; `None` for empty or unusable text (logged: the route then answers 500).
    pub(super) fn new(pem: &str) -> Option<Self> {
        if pem.trim().is_empty() {
            return None;
        }
        // Environment variables often carry the line breaks as two characters.
        let pem = pem.replace("\\n", "\n");
        let base64: String = pem.lines().filter(|line| !line.contains("-----")).collect();
        let key = rs256(&base64.replace(char::is_whitespace, ""));
        if key.is_none() {
            tracing::error!(
                "device.webview_private_key is no RSA key of at least 2048 bits in PEM"
            );
        }
        key.map(Self)
    }

    /// Signs with header `kid: v1`.
    pub(super) fn sign(&self, claims: &Value) -> Option<String> {
        let header = r#"{"typ":"JWT","alg":"RS256","kid":"v1"}"#;
        jwt::encode(header, &claims.to_string(), |message| {
            self.0.sign(message).ok()
        })
    }
}

/// PKCS#8 or PKCS#1.
fn rs256(base64: &str) -> Option<Box<dyn Rs256>> {
    let der = base64::engine::general_purpose::STANDARD
        .decode(base64)
        .ok()?;
    let key = any_supported_type(&PrivateKeyDer::try_from(der).ok()?).ok()?;
    key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    /// Made for this test alone.
    const PRIVATE: &str = "\
        MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCTqsIjWsWG/k5F9bNDuY4+jbGsGZyUYr86+FRdbs\
        xpA+4nBgBDUfOie+53XGhXDt/WUVr7U7PP47N6NCKXvIZrff1l+CYmjFD3SdjbdTB+2QSTEI15VwoOLOXy4pf6E2+G\
        psg1ESfs//r5EUvONSciNJ18diuRFkjDh0uI9s+Yn1YAFEKqSNjlhkuCqenbJnuN1WN4CVX1GL9LTus45YaJ7nsiot\
        1NnvDLm7iPUnOeuHF43agd+m5qJdMXQR+EYxj0x2G6hFkz4eMZuxmnhIiCjU7ht+pFYleXnbeWFwExfIJqMFTjhT9V\
        S23kY2wkZ5oNRO6yS6h85qEaa4MUWqv7AgMBAAECggEAOnc1foIGCzjNDO4HGB1zsFixrA5H7IhcZqDD5mpkDIA93r\
        2FhSIBcKfY9vFjbnS5M0Xq2+98Fid1fEEAIUvHfO/ZUHI7yK9trztR3TI9DTwnj4LSQOSxWoN0WAJXYfAoDAwk4L32\
        LOP9Hng2p2JsKCLk585x2XQVQzViNsxhzW9OshMic5srWVzFAlQ293bjq4VsuVd38OAw4Dnyxrvqs1jkKROp/PCRJB\
        oCvdEFkJ6LHhrzx6C7drQwjZjhyuulhSKslhJCPS2Gg/7FaTPrj4ijWJg8yvJKw0wEZpg237sa01sHWQbhuWCEYSVF\
        YcB7eKoHDvI4zT3J+nchyOVegQKBgQDJfcbTitB9KIwuWQ0WqTLRyNWdfhHUX8ze91C2zfaJgyUNZIKNlMBkkLtywa\
        rErVGkzKMsk1QGvGqcj/2gPIxzfEbYYcfUezUCRCOxlZnMB1LR0HAsPo+xrGLehzRK0BQPhFKqxRZyG+Ia+HmnX7MD\
        wHqhuXlcyXlKGJpU2eP8qwKBgQC7nWVYAnzoLwaFg1cy0YYpDh1ADKGU1odAau7S5YUsJzraDPniFiLMlqMdl3lR3y\
        sYAJTBrqzYtTF+GP0FdWeXdBSMGgpMS0jhc2S4sbss1uZ7UaY+aNv77wfI+IDyXZmYXS9yHpuvHGxOSbOjoO7c2XaF\
        tf8/RnFVWNzb/G9t8QKBgQCJmDy4pSju70ubMvC/MtgjbnSB0l+2mZ07/cO+sjPTgB1DYgnNSXGAu11mZl6JZJpGYg\
        BkJk/RMcXUGHhofjCjhJCUn2Fo9qIiZAnD8ZdPPwkNgru3WxmhiUkTEV1iYWnxlrklKOXFEsl7BYd+Btomi8CyxAfe\
        ly8erGJn40vPdQKBgDe4X0jsNDyg+sbcYyFsqPO4hWdoWPTjYff3ykZIdGzQmeH4yJ4lBODOPFOlkRqHtTzDr2p2fk\
        8+QRy6PytH2yRYDWIuubA/C74pj1hrMLP4fytQ7JbMfcktDJrbczCIK/3cbyLthD9VqbT2nquSOF7PFyxPCSe5vB8k\
        7TNIna+BAoGANQuG/lnH2e0bdzP2dhTgrrxHMx6+P4ZmFnPD0uUeoL+N9B/x3gOkhsWwoq8/AZTHJXAAog4UCY0N7p\
        3wHzb+es52cMT7H6j6Xdm25ikqlKyxMwKXqFi8IcU8gvkU8tC0pTPAwQs5V38q9G41AGG+kFX/U2Jw+MLHlAASDzhB\
        I6w=";
    const PUBLIC: &str = "\
        MIIBCgKCAQEAk6rCI1rFhv5ORfWzQ7mOPo2xrBmclGK/OvhUXW7MaQPuJwYAQ1Hzonvud1xoVw7f1lFa+1Ozz+Ozej\
        Qil7yGa339ZfgmJoxQ90nY23UwftkEkxCNeVcKDizl8uKX+hNvhqbINREn7P/6+RFLzjUnIjSdfHYrkRZIw4dLiPbP\
        mJ9WABRCqkjY5YZLgqnp2yZ7jdVjeAlV9Ri/S07rOOWGie57IqLdTZ7wy5u4j1JznrhxeN2oHfpuaiXTF0EfhGMY9M\
        dhuoRZM+HjGbsZp4SIgo1O4bfqRWJXl523lhcBMXyCajBU44U/VUtt5GNsJGeaDUTuskuofOahGmuDFFqr+wIDAQAB";

    fn pem() -> String {
        // Assembled here, so that no file of the repository looks like somebody's key.
        let kind = ["PRIVATE", "KEY"].join(" ");
        format!("-----BEGIN {kind}-----\\n{PRIVATE}\\n-----END {kind}-----")
    }

    #[test]
    fn tokens_verify_with_the_public_key_and_name_it() {
        let signer = Signer::new(&pem()).expect("a key");
        let token = signer
            .sign(&serde_json::json!({ "sub": "nadia@lumen.io", "iss": "x" }))
            .expect("signs");
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        let parts: Vec<Value> = message
            .split('.')
            .map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64"))
            .map(|json| serde_json::from_slice(&json).expect("JSON"))
            .collect();
        assert_eq!(
            parts,
            [
                serde_json::json!({ "typ": "JWT", "alg": "RS256", "kid": "v1" }),
                serde_json::json!({ "sub": "nadia@lumen.io", "iss": "x" })
            ]
        );
        let known = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        let (_, verifiers) = known
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256)
            .expect("known");
        verifiers[0]
            .verify_signature(
                &STANDARD.decode(PUBLIC).expect("base64"),
                message.as_bytes(),
                &URL_SAFE_NO_PAD.decode(signature).expect("base64"),
            )
            .expect("verifies");
    }

    #[test]
    fn unusable_keys_are_no_signers() {
        assert!(Signer::new("").is_none());
        assert!(Signer::new("nonsense").is_none());
        assert!(Signer::new(&pem()[..300]).is_none());
    }
}
