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
