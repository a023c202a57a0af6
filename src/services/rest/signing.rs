//! Outside thread, REST: RS256 for signed web-view user tokens (protocol.md §18.9). Reads one PKCS#8 key; knows no request.

use base64::Engine as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::Value;

/// The key.
pub(super) struct Signer(EncodingKey);

impl Signer {
    /// From PEM text; `None` for empty or unusable text (logged: the route then answers 500).
    pub(super) fn new(pem: &str) -> Option<Self> {
        if pem.trim().is_empty() {
            return None;
        }
        // Environment variables often carry the line breaks as two characters.
        let pem = pem.replace("\\n", "\n");
        let base64: String = pem.lines().filter(|line| !line.contains("-----")).collect();
        let der = base64::engine::general_purpose::STANDARD
            .decode(base64.replace(char::is_whitespace, ""))
            .ok();
        let key = der.as_deref().and_then(|der| {
            if pem.contains("RSA PRIVATE KEY") {
                Some(der)
            } else {
                inner_key(der)
            }
        });
        if key.is_none() {
            tracing::error!("device.webview_private_key is no PKCS#8 RSA key in PEM");
        }
        key.map(|key| Self(EncodingKey::from_rsa_der(key)))
    }

    /// Signs with header `kid: v1`.
    pub(super) fn sign(&self, claims: &Value) -> Option<String> {
        let header = Header {
            kid: Some("v1".into()),
            ..Header::new(Algorithm::RS256)
        };
        jsonwebtoken::encode(&header, claims, &self.0).ok()
    }
}

/// The PKCS#1 key within a PKCS#8 `PrivateKeyInfo { version, algorithm, OCTET STRING }`.
fn inner_key(der: &[u8]) -> Option<&[u8]> {
    let (info, _) = element(der, 0x30)?;
    let (_, rest) = element(info, 0x02)?;
    let (_, rest) = element(rest, 0x30)?;
    Some(element(rest, 0x04)?.0)
}

/// Content of the DER element with this tag at the start of `der`, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, first, rest @ ..] = der else {
        return None;
    };
    if *found != tag {
        return None;
    }
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.len() > 4 {
            return None;
        }
        (
            bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte)),
            rest,
        )
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};

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
        assert_eq!(
            decode_header(&token).expect("a header").kid.as_deref(),
            Some("v1")
        );
        let public = base64::engine::general_purpose::STANDARD
            .decode(PUBLIC)
            .expect("base64");
        let mut rules = Validation::new(Algorithm::RS256);
        rules.required_spec_claims.clear();
        let claims = decode::<Value>(&token, &DecodingKey::from_rsa_der(&public), &rules)
            .expect("verifies")
            .claims;
        assert_eq!(claims["sub"], "nadia@lumen.io");
    }

    #[test]
    fn unusable_keys_are_no_signers() {
        assert!(Signer::new("").is_none());
        assert!(Signer::new("nonsense").is_none());
        assert!(Signer::new(&pem()[..300]).is_none());
    }
}
